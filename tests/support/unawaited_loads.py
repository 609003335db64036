"""Actors that forget `await`: importable by fresh processes. `params`: url, kind (a key of KINDS) and what else they read.

Each appends a line to params["log"] per call, so that a test knows the number of calls from outside the engine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from wasp_ray import Gun, Response, VirtualUser

KINDS: dict[str, Callable[[Any], Awaitable[Any]]] = {}


def kind(function: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """Adds a call by the name of its function."""
    KINDS[function.__name__] = function
    return function


@kind
async def dropped(actor: Any) -> None:
    """The mistake itself."""
    actor.http.get("/good/1")


@kind
async def assigned(actor: Any) -> None:
    """To a name that nobody reads."""
    answer = actor.http.get("/good/1")  # noqa: F841


@kind
async def second(actor: Any) -> None:
    """One is awaited, the next one is not."""
    await actor.http.get("/good/1")
    actor.http.get("/items/{id}", path={"id": 7})


@kind
async def named(actor: Any) -> None:
    """A POST with a group of its own."""
    actor.http.post("/good/1", json={}, group="buy")


@kind
async def purged(actor: Any) -> None:
    """A method without a function of its name."""
    actor.http.request("PURGE", "/good/1")


@kind
async def returned(actor: Any) -> Any:
    """Forgotten behind `return`."""
    return actor.http.get("/good/1")


@kind
async def answered(actor: Any) -> Response:
    """Beside a Response that says ok."""
    actor.http.get("/good/1")
    return Response("own")


@kind
async def entered(actor: Any) -> None:
    """As a response of aiohttp is, which this is none of."""
    async with actor.http.get("/good/1"):
        pass


@kind
async def listed(actor: Any) -> None:
    """Made for a gather that was forgotten."""
    requests = [actor.http.get(f"/good/{number}") for number in (1, 2)]
    assert len(requests) == 2


@kind
async def in_helper(actor: Any) -> None:
    """In a coroutine that a gather of the call runs."""
    await asyncio.gather(dropped(actor), dropped(actor))


@kind
async def helper(actor: Any) -> None:
    """The user's own coroutine, which would have awaited."""
    second(actor)


@kind
async def in_group(actor: Any) -> None:
    """Inside a timed block."""
    with actor.group("step"):
        actor.http.get("/good/1")


@kind
async def awaited(actor: Any) -> None:
    """As it should be, in all ways: awaited, gathered, in a task."""
    one, two = actor.http.get("/good/1"), actor.http.get("/good/2")
    await two
    await one
    await asyncio.gather(actor.http.get("/good/3"), actor.http.get("/good/4"))
    await asyncio.create_task(actor.http.get("/good/5"))
    async with asyncio.TaskGroup() as group:
        group.create_task(actor.http.get("/good/6"))
    await asyncio.wait_for(actor.http.get("/good/7"), 60)


@kind
async def in_background(actor: Any) -> None:
    """Tasks that the call does not wait for, begun or not when it ends."""
    actor.context.spawn(actor.http.get("/good/1"))
    actor.task = asyncio.create_task(actor.http.get("/good/2"))
    actor.both = asyncio.gather(actor.http.get("/good/3"), actor.http.get("/good/4"))


@kind
async def kept(actor: Any) -> None:
    """By the actor, until the next call replaces it."""
    actor.kept = actor.http.get("/good/1")


@kind
async def closed(actor: Any) -> None:
    """Thrown away on purpose."""
    actor.http.get("/good/1").close()


@kind
async def of_aiohttp(actor: Any) -> None:
    """A session of aiohttp."""
    actor.session.get("/good/1")


@kind
async def of_aiohttp_named(actor: Any) -> None:
    """With a group of its own."""
    actor.session.post("/good/1", trace_request_ctx={"group": "buy"})


@kind
async def of_aiohttp_with_phases(actor: Any) -> None:
    """A session whose requests aiohttp traces."""
    actor.session.post("/good/1", trace_request_ctx={"group": "buy"})


@kind
async def of_aiohttp_returned(actor: Any) -> Any:
    """Forgotten behind `return`."""
    return actor.session.get("/good/1")


@kind
async def of_http2(actor: Any) -> None:
    """A client of httpx2."""
    actor.client.get("/good/1")


@kind
async def of_http2_named(actor: Any) -> None:
    """With a group of its own, by the general function."""
    actor.client.request("GET", "/good/1", extensions={"wasp": {"group": "buy"}})


@kind
async def of_http2_sent(actor: Any) -> None:
    """A request that was built before."""
    actor.client.send(actor.client.build_request("GET", "/good/1", extensions={"wasp": {"group": "buy"}}))


@kind
async def nothing(_actor: Any) -> None:
    """A call without a request."""
    await asyncio.sleep(0.001)


class Forgetful:
    """What both actors do. params["in"] names the method that runs the kind: call, setup or teardown."""

    context: Any

    async def setup(self) -> None:
        """Makes the clients that the kind uses."""
        url, name = self.context.params["url"], self.context.params["kind"]
        self.http = self.context.http(url)
        if name.startswith("of_aiohttp"):
            self.session = self.context.aiohttp(url, phases=name.endswith("phases"))
        if name.startswith("of_http2"):
            self.client = self.context.http2(url)
        await self.run_in("setup")

    async def call(self) -> Any:
        """One line in the log, one kind of call."""
        log = os.open(self.context.params["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, b"call\n")
        os.close(log)
        return await self.run_in("call")

    async def teardown(self) -> None:
        """Ends the actor."""
        await self.run_in("teardown")

    async def run_in(self, method: str) -> Any:
        """The kind, where it belongs."""
        if self.context.params.get("in", "call") == method:
            return await KINDS[self.context.params["kind"]](self)
        return None


class ForgetfulGun(Forgetful, Gun):
    """One object, many calls at once."""


class ForgetfulUser(Forgetful, VirtualUser):
    """Each has clients of its own."""


class SyncSetup(VirtualUser):
    """Forgets it in a setup that is no coroutine function."""

    def setup(self) -> None:
        self.http = self.context.http(self.context.params["url"])
        self.http.get("/good/1")

    async def call(self) -> None:
        await self.http.get("/good/2")


class AsyncGroup(VirtualUser):
    """Enters a group as if it were asynchronous."""

    async def call(self) -> None:
        async with self.group("step"):  # type: ignore[attr-defined]
            pass
