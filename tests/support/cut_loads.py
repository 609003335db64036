"""Users that ask a server for the path of a row, by each client, under the group `pay`; a path may never be answered."""

from __future__ import annotations

import asyncio
import urllib.request

from wasp_ray import VirtualUser


class SyncHttp(VirtualUser):
    """context.http(), blocking."""

    def setup(self) -> None:
        self.client = self.context.http(self.context.params["base"])

    def call(self) -> None:
        self.client.get(self.context.feed("paths")["path"], group="pay")


class AsyncHttp(VirtualUser):
    """context.http() on an event loop."""

    async def setup(self) -> None:
        self.client = self.context.http(self.context.params["base"])

    async def call(self) -> None:
        await self.client.get(self.context.feed("paths")["path"], group="pay")


class Aiohttp(VirtualUser):
    """A session of aiohttp."""

    async def setup(self) -> None:
        self.session = self.context.aiohttp(self.context.params["base"], group="pay")

    async def call(self) -> None:
        async with self.session.get(self.context.feed("paths")["path"]) as answer:
            await answer.read()


class Requests(VirtualUser):
    """A session of requests."""

    def setup(self) -> None:
        self.session = self.context.requests(self.context.params["base"], group="pay")

    def call(self) -> None:
        self.session.get(self.context.feed("paths")["path"])


class SyncGroup(VirtualUser):
    """self.group() around a client that wasp_ray does not know."""

    def call(self) -> None:
        url = self.context.params["base"] + self.context.feed("paths")["path"]
        with self.group("pay"):
            urllib.request.urlopen(url).read()


class AsyncGroup(VirtualUser):
    """As SyncGroup, on an event loop."""

    async def call(self) -> None:
        url = self.context.params["base"] + self.context.feed("paths")["path"]
        with self.group("pay"):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))
            writer.write(f"GET /{url.split('/', 3)[3]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            try:
                await reader.read()
            finally:
                writer.close()
