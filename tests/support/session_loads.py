"""Users whose sessions are those of other libraries: importable by fresh processes. `params`: base, path, options."""

from __future__ import annotations

import asyncio
from typing import Any

from wasp_ray import Gun, RestartUser, VirtualUser


class Aiohttp(VirtualUser):
    """GET of params["path"], read whole."""

    async def setup(self) -> None:
        params = self.context.params
        self.session = self.context.aiohttp(params["base"], **params.get("options", {}))

    async def call(self) -> None:
        async with self.session.get(self.context.params["path"]) as answer:
            await answer.read()


class Requests(VirtualUser):
    """As Aiohttp."""

    def setup(self) -> None:
        params = self.context.params
        self.session = self.context.requests(params["base"], **params.get("options", {}))

    def call(self) -> None:
        self.session.get(self.context.params["path"])


class Http2(VirtualUser):
    """As Aiohttp."""

    async def setup(self) -> None:
        params = self.context.params
        self.client = self.context.http2(params["base"], **params.get("options", {}))

    async def call(self) -> None:
        await self.client.get(self.context.params["path"])


class EveryWay(Aiohttp):
    """All the ways in which code of aiohttp ends a request; each is one."""

    async def call(self) -> None:
        session = self.session
        own = {"group": "own name", "expect": 404}
        async with session.get("/big") as answer:  # left before its end
            await answer.content.read(10)
        async with session.get("/big") as answer:
            async for _ in answer.content.iter_chunked(10_000):
                pass
        answer = await session.get("/items/7")
        answer.release()
        answer = await asyncio.create_task(session.get("/items/8"))
        await answer.json()
        async with session.request("get", "/status/404", trace_request_ctx=own) as answer:
            pass
        async with session.post("/echo", json={"a": 1}) as answer:
            assert (await answer.json())["size"] == 8
        async with session.get("/hop/3") as answer:
            assert len(answer.history) == 3
        one, two = await asyncio.gather(session.get("/items/1"), session.get("/items/2"))
        assert (await one.json(), await two.json()) == ({"id": "1"}, {"id": "2"})
        async with session.ws_connect("/ws") as talk:
            await talk.send_str("hello")
            assert (await talk.receive_str()) == "hello"


class EveryWayOfRequests(Requests):
    """As EveryWay."""

    def call(self) -> None:
        session = self.session
        with session.get("/big", stream=True) as answer:
            next(answer.iter_content(10))
        with session.get("/big", stream=True) as answer:
            assert sum(map(len, answer.iter_content(10_000))) == 300_000
        assert session.get("/items/7").json() == {"id": "7"}
        session.request("get", "/status/404", group="own name", expect=404)
        assert session.post("/echo", json={"a": 1}).json()["size"] == 8
        assert len(session.get("/hop/3").history) == 3


class EveryWayOfHttp2(Http2):
    """As EveryWay."""

    async def call(self) -> None:
        client = self.client
        async with client.stream("GET", "/big") as answer:
            async for _ in answer.aiter_bytes():
                break
        async with client.stream("GET", "/big") as answer:
            assert sum([len(piece) async for piece in answer.aiter_bytes()]) == 300_000
        assert (await client.get("/items/7")).json() == {"id": "7"}
        await client.get("/status/404", extensions={"wasp": {"group": "own name", "expect": 404}})
        assert (await client.post("/echo", json={"a": 1})).json()["size"] == 7
        assert len((await client.get("/hop/3", follow_redirects=True)).history) == 3


class Impatient(Aiohttp):
    """Gives up by itself, then raises for its own reasons."""

    async def call(self) -> None:
        try:
            async with asyncio.timeout(0.2), self.session.get("/slow"):
                pass
        except TimeoutError:
            pass
        async with self.session.get("/items/1") as answer:
            await answer.read()
            raise ValueError("of the user")


class Secretive(VirtualUser):
    """Sends secrets to a server that fails, and raises what it gets."""

    async def setup(self) -> None:
        params: Any = self.context.params
        self.session = self.context.aiohttp(
            params["base"], auth="tok-SECRET-1", headers={"X-Key": "SECRET-2"}, cookies={"sid": "SECRET-3"}
        )

    async def call(self) -> None:
        async with self.session.get("/status/500?key=SECRET-4", raise_for_status=True):
            pass


class AiohttpGun(Gun):
    """As Aiohttp, many calls at once on one session."""

    async def setup(self) -> None:
        self.session = self.context.aiohttp(self.context.params["base"])

    async def call(self) -> None:
        async with self.session.get(self.context.params["path"]) as answer:
            await answer.read()


class RequestsGun(Gun):
    """As Requests."""

    def setup(self) -> None:
        self.session = self.context.requests(self.context.params["base"])

    def call(self) -> None:
        self.session.get(self.context.params["path"])


class Misplaced(VirtualUser):
    """A blocking session in an async actor."""

    async def setup(self) -> None:
        self.context.requests()

    async def call(self) -> None:
        pass


class MisplacedSync(VirtualUser):
    """An async session in a sync actor."""

    def setup(self) -> None:
        self.context.aiohttp()

    def call(self) -> None:
        pass


class Restarting(Aiohttp):
    """Starts again after each call, with a new session."""

    async def call(self) -> None:
        async with self.session.get("/items/1") as answer:
            await answer.read()
        raise RestartUser("again")
