"""Guns and users that load HTTP: importable by fresh processes. params: url, and what else their texts say.

Each call does one of a few things by its number, so that a test knows from the counts of groups what must be in the books.
"""

from __future__ import annotations

from typing import Any

from wasp_ray import Gun, Response, VirtualUser

KINDS = ("good", "good", "fails", "two fail", "json", "hangs", "cut", "returned", "raises", "expected")
FAIL_ONCE = ("fails", "json", "hangs", "cut", "returned", "raises")
"""Kinds of calls that fail by one request, whose group has that name; `two fail` has two."""


def options(context: Any) -> dict[str, Any]:
    """Of the client."""
    return {
        "headers": {"X-Generator": context.generator},
        "timeout": "20s",
        **context.params.get("options", {}),
    }


class AsyncCalls:
    """What an async actor calls; `self.done` counts its calls."""

    context: Any
    done = 0

    def setup(self) -> None:
        """Makes a client; no request yet."""
        self.http = self.context.http(self.context.params["url"], **options(self.context))

    async def call(self) -> Response | None:
        """The next kind of call."""
        self.done += 1
        number, kind, http = self.done, KINDS[self.done % len(KINDS)], self.http
        if kind == "good":
            assert (await http.get(f"/good/{number}")).json() == {"number": number}
        elif kind == "two fail":
            await http.get("/500", group="two fail")
            await http.get("/500", group="two fail")
        elif kind == "json":
            (await http.get("/500", group="json")).json()
            raise AssertionError("the call had to end there")
        elif kind == "hangs":
            await http.get("/hang", group="hangs", timeout="200ms")
        elif kind == "cut":
            await http.get("/cut", group="cut")
        elif kind == "returned":
            failed: Response = await http.get("/500", group="returned")
            return failed
        elif kind == "raises":
            assert (await http.get("/good/0", group="raises")).error == "no"
        elif kind == "expected":
            assert (await http.get("/500", group="expected", expect=500)).ok
        else:
            await http.get("/500", group="fails")
        return None


class AsyncGun(AsyncCalls, Gun):
    """One object, many calls at once."""


class AsyncUser(AsyncCalls, VirtualUser):
    """One client each."""


class SyncCalls:
    """The same without await."""

    context: Any
    done = 0

    def setup(self) -> None:
        """Makes a client; no request yet."""
        self.http = self.context.http(self.context.params["url"], **options(self.context))

    def call(self) -> Response | None:
        """The next kind of call."""
        self.done += 1
        kind, http = KINDS[self.done % len(KINDS)], self.http
        if kind == "good":
            assert http.get(f"/good/{self.done}").json() == {"number": self.done}
        elif kind == "two fail":
            http.get("/500", group="two fail")
            http.get("/500", group="two fail")
        elif kind == "json":
            http.get("/500", group="json").json()
            raise AssertionError("the call had to end there")
        elif kind == "hangs":
            http.get("/hang", group="hangs", timeout="200ms")
        elif kind == "cut":
            http.get("/cut", group="cut")
        elif kind == "returned":
            failed: Response = http.get("/500", group="returned")
            return failed
        elif kind == "raises":
            assert http.get("/good/0", group="raises").error == "no"
        elif kind == "expected":
            assert http.get("/500", group="expected", expect=500).ok
        else:
            http.get("/500", group="fails")
        return None


class SyncGun(SyncCalls, Gun):
    """Workers with a call at a time."""


class SyncUser(SyncCalls, VirtualUser):
    """A process each."""


class Simple(VirtualUser):
    """GET of params["path"], async."""

    def setup(self) -> None:
        self.http = self.context.http(self.context.params["url"], **options(self.context))

    async def call(self) -> None:
        await self.http.get(self.context.params["path"], **self.context.params.get("asks", {}))


class SimpleGun(Gun):
    """The same as a gun."""

    setup = Simple.setup
    call = Simple.call


class SimpleSync(VirtualUser):
    """GET of params["path"], blocking."""

    def setup(self) -> None:
        self.http = self.context.http(self.context.params["url"], **options(self.context))

    def call(self) -> None:
        self.http.get(self.context.params["path"], **self.context.params.get("asks", {}))


class Spawns(VirtualUser):
    """A request of a task that is spawned in setup, outside of any call, and one in each call."""

    async def setup(self) -> None:
        self.http = self.context.http(self.context.params["url"], **options(self.context))
        await self.http.get("/good/0", group="in setup")

    async def call(self) -> None:
        await self.http.get("/good/1", group="in call")
