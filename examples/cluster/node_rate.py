"""Searches at a rate against TARGET_URL, by an async client. Each word is in every pod: it travels in the image.

wasp run node_rate.py                     here, the whole load
wasp cluster run node_rate.py --jobs 10   on ten pods, a tenth of the load each
"""

import json
import os
from pathlib import Path

import aiohttp

from wasp_ray import Generator, Gun, Profile, Response, plain, ramp

DATA = Path(__file__).parent / "data"


class Search(Gun):
    """One session a worker, many calls at once on it."""

    async def setup(self):
        self.words = json.loads(bytes(self.context.shared_data))
        self.session = aiohttp.ClientSession(os.environ["TARGET_URL"])

    async def call(self):
        word = self.context.random.choice(self.words)
        async with self.session.get("/search", params={"q": word}) as answer:
            body = await answer.read()
            return Response(
                path="/search", status=answer.status, failed=answer.status >= 500,
                error="HTTP 5xx" if answer.status >= 500 else "", bytes_in=len(body),
            )  # fmt: skip

    async def teardown(self):
        await self.session.close()


def profile(rate: float = 50, seconds: float = 10) -> Profile:
    """`-p rate=500 -p seconds=60` for another load; the rate is that of all pods together."""
    return Profile(
        Generator(
            "search",
            gun=Search,
            schedule=ramp(1, rate, f"{seconds / 5}s", name="ramp") + plain(rate, f"{seconds * 4 / 5}s", name="full"),
            shared_data=json.loads((DATA / "words.json").read_text()),  # read once a pod, one copy for all its workers
        ),
        name="cluster-rate",
        thresholds=["p99(response) of search < 1s", "failed of search < 5%"],
    )
