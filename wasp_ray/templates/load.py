"""A first load test. Run it: wasp run load.py"""

import asyncio
import hashlib

from wasp_ray import Generator, Gun, Profile, VirtualUser, plain, ramp


class Search(Gun):
    """Fired at due times, whatever the target does: put your async client here."""

    async def setup(self):
        self.delay_s = 0.01  # open your client's session here

    async def call(self):
        await asyncio.sleep(self.delay_s)  # and make its request here


class Checkout(VirtualUser):
    """Loops until the end, a process each: CPU-heavy work and blocking libraries are fine."""

    def call(self):
        with self.group("hash"):  # a timed request inside the call
            hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 20_000)


profile = Profile(
    Generator("search", gun=Search, schedule=ramp(10, 100, "3s") + plain(100, "5s")),
    Generator("checkout", user=Checkout, schedule=plain(2, "8s"), think_time="100ms"),
    thresholds=["p99(response) of search < 300ms", "failed < 1%"],
)
