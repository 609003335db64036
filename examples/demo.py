"""The demo's load: searches at a rate against a web server, and checkouts by CPU-heavy users, one process each.

TARGET_URL must name the server of examples/target.py; `make demo` starts it.
"""

import hashlib
import hmac
import json
import os

import aiohttp

from wasp_ray import Generator, Gun, Profile, Response, VirtualUser, between, plain, ramp, steps


class Search(Gun):
    """An async client: one session a worker, many calls at once on it."""

    async def setup(self):
        self.session = aiohttp.ClientSession(os.environ["TARGET_URL"])

    async def call(self):
        path = "/slow" if self.context.random.random() < 0.01 else "/search?q=wasp"
        async with self.session.get(path) as answer:
            body = await answer.read()
            return Response(
                group="slow" if path == "/slow" else "search", path=path.split("?")[0], status=answer.status,
                failed=answer.status >= 500, error="HTTP 500" if answer.status == 500 else "", bytes_in=len(body),
            )  # fmt: skip

    async def teardown(self):
        await self.session.close()


class Checkout(VirtualUser):
    """Work that keeps a CPU busy: a password, a basket, a signature."""

    def setup(self):
        self.basket = {"items": [{"id": i, "price": i * 1.5} for i in range(200)]}

    def call(self):
        with self.group("password"):
            key = hashlib.pbkdf2_hmac("sha256", b"correct horse", b"battery staple", 4_000)
        with self.group("basket"):
            text = json.dumps(self.basket, sort_keys=True)
            json.loads(text)
        with self.group("signature"):
            hmac.new(key, text.encode(), hashlib.sha512).hexdigest()
        self.count("baskets")


profile = Profile(
    Generator("search", gun=Search, schedule=ramp(10, 150, "8s", name="ramp") + plain(150, "12s", name="full")),
    Generator("checkout", user=Checkout, schedule=steps(1, 1, 5, duration="20s"), think_time=between("20ms", "60ms")),
    name="demo",
    labels={"kind": "demo"},
    thresholds=["p99(response) of search/search < 1s", "failed of search < 5%", "failed of checkout == 0"],
)
