"""The load of benchmarks.http_sessions for `wasp run`: users whose sessions are those of other libraries."""

from __future__ import annotations

from typing import Any

from wasp_ray import Generator, Profile, VirtualUser, plain


class Aiohttp(VirtualUser):
    """A plain GET by an aiohttp.ClientSession."""

    async def setup(self) -> None:
        self.url = self.context.params["url"]
        self.session = self.context.aiohttp()

    async def call(self) -> None:
        async with self.session.get(self.url) as answer:
            await answer.read()


class Requests(VirtualUser):
    """A plain GET by a requests.Session."""

    def setup(self) -> None:
        self.url = self.context.params["url"]
        self.session = self.context.requests()

    def call(self) -> None:
        self.session.get(self.url)


class Http2(VirtualUser):
    """A plain GET by an httpx2.AsyncClient, on a connection of its own."""

    async def setup(self) -> None:
        self.url = self.context.params["url"]
        self.client = self.context.http2()

    async def call(self) -> None:
        await self.client.get(self.url)


ACTORS: dict[str, Any] = {"aiohttp": Aiohttp, "requests": Requests, "http2": Http2}


def profile(kind: str, url: str, users: int, seconds: float) -> Profile:
    """All async users in one process."""
    per_process = 1 if kind == "requests" else users
    return Profile(
        Generator(
            "g",
            user=ACTORS[kind],
            schedule=plain(users, f"{seconds}s"),
            params={"url": url},
            users_per_process=per_process,
        )
    )
