"""Many light users: a hundred in two processes, each with its own state and think time."""

import asyncio

from wasp_ray import Generator, Profile, VirtualUser, exponential, plain, ramp


class Chatter(VirtualUser):
    async def setup(self):
        self.messages = 0

    async def call(self):
        with self.group("poll"):
            await asyncio.sleep(0.005)  # your async client's request
        self.messages += 1
        self.count("messages")


profile = Profile(
    Generator(
        "chat",
        user=Chatter,
        schedule=ramp(0, 100, "1s") + plain(100, "2s"),
        users_per_process=50,
        think_time=exponential("200ms"),
    ),
    thresholds=["count(messages) of chat > 500", "p99 of chat/poll < 1s"],
)
