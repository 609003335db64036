"""Searches at a rate against TARGET_URL, with a token that comes from a Secret.

wasp run load.py                            here, the whole load
wasp run load.py --on ray --nodes 4         on four hosts of a Ray cluster, a quarter of the load each
"""

import os

from wasp_ray import Generator, Gun, Profile, plain, ramp


class Search(Gun):
    """Many calls at once on kept connections."""

    async def setup(self):
        self.http = self.context.http(os.environ["TARGET_URL"], auth=os.environ["API_TOKEN"], timeout="5s")

    async def call(self):
        await self.http.get("/search", query={"q": "wasp"})


def profile(rate: float = 400, seconds: float = 120) -> Profile:
    """`-p rate=2000 -p seconds=600` for another load; the rate is that of all nodes together."""
    return Profile(
        Generator(
            "search",
            gun=Search,
            schedule=ramp(1, rate, f"{seconds / 4}s", name="ramp") + plain(rate, f"{seconds * 3 / 4}s", name="full"),
        ),
        name="kuberay",
        thresholds=["p99(response) of search < 1s", "failed of search < 5%"],
    )
