"""Calls that take 5 to 50 ms and fail now and then, with results in Loki: something for the dashboard to show."""

import asyncio

from wasp_ray import Alert, Dashboard, Generator, Gun, Loki, Profile, Response, VirtualUser, plain, ramp


class Search(Gun):
    async def call(self):
        await asyncio.sleep(self.context.random.uniform(0.005, 0.05))
        failed = self.context.random.random() < 0.02
        return Response(group="search", status=500 if failed else 200, failed=failed, error="HTTP 500" if failed else "")


class Checkout(VirtualUser):
    async def call(self):
        with self.group("pay"):
            await asyncio.sleep(self.context.random.uniform(0.01, 0.03))


def profile(seconds: int = 60, branch: str = "main", commit: str = ""):
    return Profile(
        Generator("search", gun=Search, schedule=ramp(20, 100, f"{seconds}s") + plain(100, f"{seconds}s")),
        Generator("checkout", user=Checkout, schedule=plain(5, f"{2 * seconds}s"), think_time="200ms"),
        name="shop",
        labels={"branch": branch, **({"commit": commit} if commit else {})},
        sinks=[Loki()],  # LOKI_URL says where
    )


dashboard = Dashboard(
    profile(),
    alerts=[
        Alert.percentile("p95 of search", 95, above="200ms", generator="search", held="10s"),
        Alert.failures("failures of search", above="5%", generator="search"),
        Alert.timeouts("timeouts", above=0),
    ],
)
