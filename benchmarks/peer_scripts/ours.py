"""The load of benchmarks.peers for `wasp run`, written as its users write.

Kinds: `async` users (all in one process), an async `gun`, `sync` users (a process each), `aiohttp` users.
"""

from __future__ import annotations

from typing import Any

from wasp_ray import Generator, Gun, Profile, VirtualUser, plain


class Load(VirtualUser):
    """An async user with a client of its own."""

    async def setup(self) -> None:
        params = self.context.params
        self.path, self.item = params["path"], 0
        self.http = self.context.http(params["base"], verify=params["ca"] or True)


class Get(Load):
    """A plain GET."""

    async def call(self) -> None:
        await self.http.get(self.path)


class GetJson(Load):
    """A GET whose answer is parsed and checked."""

    async def call(self) -> None:
        found = (await self.http.get(self.path)).json()
        assert found["total"] == 8 and found["items"][7]["id"] == 8


class Post(Load):
    """A POST of a JSON body that is new each time."""

    async def call(self) -> None:
        self.item += 1
        await self.http.post(self.path, json={"item": self.item, "quantity": 2, "note": "by the door"}, expect=200)


class SyncLoad(VirtualUser):
    """A sync user with a client of its own."""

    def setup(self) -> None:
        params = self.context.params
        self.path, self.item = params["path"], 0
        self.http = self.context.http(params["base"], verify=params["ca"] or True)


class SyncGet(SyncLoad):
    """As Get."""

    def call(self) -> None:
        self.http.get(self.path)


class SyncGetJson(SyncLoad):
    """As GetJson."""

    def call(self) -> None:
        found = self.http.get(self.path).json()
        assert found["total"] == 8 and found["items"][7]["id"] == 8


class SyncPost(SyncLoad):
    """As Post."""

    def call(self) -> None:
        self.item += 1
        self.http.post(self.path, json={"item": self.item, "quantity": 2, "note": "by the door"}, expect=200)


class Fire(Gun):
    """An async gun: one client for all calls in flight."""

    async def setup(self) -> None:
        params = self.context.params
        self.path, self.item = params["path"], 0
        self.http = self.context.http(params["base"], verify=params["ca"] or True)


class FireGet(Fire):
    """As Get."""

    async def call(self) -> None:
        await self.http.get(self.path)


class FireGetJson(Fire):
    """As GetJson."""

    async def call(self) -> None:
        found = (await self.http.get(self.path)).json()
        assert found["total"] == 8 and found["items"][7]["id"] == 8


class FirePost(Fire):
    """As Post."""

    async def call(self) -> None:
        self.item += 1
        await self.http.post(self.path, json={"item": self.item, "quantity": 2, "note": "by the door"}, expect=200)


class AiohttpGet(VirtualUser):
    """A plain GET by aiohttp's own session, whose requests are recorded."""

    async def setup(self) -> None:
        params = self.context.params
        self.url = params["base"] + params["path"]
        context: Any = self.context
        self.session = context.aiohttp()

    async def call(self) -> None:
        async with self.session.get(self.url) as answer:
            await answer.read()


ACTORS: dict[str, dict[str, Any]] = {
    "async": {"json": GetJson, "post": Post, "": Get},
    "sync": {"json": SyncGetJson, "post": SyncPost, "": SyncGet},
    "gun": {"json": FireGetJson, "post": FirePost, "": FireGet},
    "aiohttp": {"": AiohttpGet},
}


def profile(
    kind: str, case: str, base: str, path: str, seconds: float, ca: str = "", users: int = 32, rate: int = 0,
    limit: int = 0, think_s: float = 0.0, pacing_s: float = 0.0,
) -> Profile:  # fmt: skip
    """`limit`: of calls in flight of a gun, 0 for the default."""
    actors = ACTORS[kind]
    actor = actors.get(case, actors[""])
    params = {"base": base, "path": path, "ca": ca}
    if kind == "gun":
        more: dict[str, Any] = {"max_in_flight": limit} if limit else {}
        return Profile(Generator("g", gun=actor, schedule=plain(rate, f"{seconds}s"), params=params, **more))
    return Profile(
        Generator(
            "g", user=actor, schedule=plain(users, f"{seconds}s"), params=params, think_time=think_s,
            pacing=pacing_s or None, users_per_process=1 if kind == "sync" else users,
        )
    )  # fmt: skip
