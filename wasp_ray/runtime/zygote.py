"""The zygote: imports the user's module once, describes the load as a plan, then starts, wakes, kills and reaps
workers on order.

A process of its own by exec (single-threaded, so that it can fork), or a thread of the inline runtime. One loop, one message
at a time; it decides nothing. It ends when the generator has exited, and its workers with it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wasp_ray.clock import now_ns
from wasp_ray.errors import BadInput
from wasp_ray.load.build import apply_options, make_plan
from wasp_ray.load.generator import Generator
from wasp_ray.load.import_effects import import_warnings, socket_problems, thread_problems
from wasp_ray.load.locate import find_profile, trim_traceback
from wasp_ray.load.validate import limit_problems, problems_of
from wasp_ray.process import raise_descriptor_limit
from wasp_ray.runtime.hooks import HookFailed, run_hook
from wasp_ray.runtime.inline import ThreadBackend
from wasp_ray.runtime.orphans import become_subreaper, children, end_orphans
from wasp_ray.runtime.parts import PartsFactory
from wasp_ray.runtime.worker_backend import WorkerBackend
from wasp_ray.wire.arena import Arena, SlabLayout
from wasp_ray.wire.channel import Channel, ChannelClosed, Message, served_channel
from wasp_ray.wire.control import Control
from wasp_ray.worker.forks import end_if_forked
from wasp_ray.worker.spec import GeneratorPart, WorkerSpec

if TYPE_CHECKING:
    from wasp_ray.runtime.placed import PlacedBackend

INLINE_POLL_MS = 5.0
NO_PLACES = "placement= is for runs on Ray, which finds the places: use --on ray, or leave it out here"


class Zygote:
    """Answers the generator's messages. `profile` is given by the inline runtime only."""

    def __init__(self, channel: Channel, *, inline: bool, profile: Any = None) -> None:
        self._channel, self._inline, self._profile = channel, inline, profile
        self._arena: Arena | None = None
        self._backend: WorkerBackend | None = None
        self._placed: PlacedBackend | None = None
        self._load_order: Message = {}
        self._factory: PartsFactory | None = None
        self._parts: list[GeneratorPart] = []
        self._run: Message = {}
        self._setup_data: Any = None
        self._signals = -1
        self._of_import: set[int] = set()  # processes that the load file started
        self._poller = select.poll()

    def take(self, arena: Arena) -> None:
        """Inline: the memory itself, where a process is sent a descriptor."""
        self._arena = arena

    def serve(self) -> None:
        """Until the channel ends."""
        poller = self._poller
        poller.register(self._channel, select.POLLIN)
        if not self._inline:
            self._signals = _child_signals()
            poller.register(self._signals, select.POLLIN)
        try:
            while not self._channel.closed:
                poller.poll(INLINE_POLL_MS if self._inline else None)
                if self._signals >= 0:
                    with suppress(BlockingIOError):
                        os.read(self._signals, 4096)
                self._reap()
                for message in self._channel.receive():
                    self._answer(message)
        except ChannelClosed:
            pass
        finally:
            for backend in self._backends():
                backend.end_all()
            if not self._inline:
                end_orphans(self._of_import)
            if self._factory is not None:
                self._factory.close()
            self._channel.close()

    def _answer(self, message: Message) -> None:
        match message["op"]:
            case "load":
                self._channel.send(self._load(message))
            case "prepare":
                self._channel.send(self._prepare(message))
            case "spawn":
                self._spawn(message)
            case "wake" | "kill":
                for gen, worker in message["workers"]:
                    backend = self._backend_of(gen)
                    act = backend.wake if message["op"] == "wake" else backend.kill
                    act((gen, worker))
            case "teardown":
                self._channel.send(self._tear_down())

    # -- the plan

    def _load(self, message: Message) -> Message:
        """Imports and checks everything; starts nothing."""
        self._load_order = message
        sys.path[:] = message["path"] or sys.path
        pid = os.getpid()
        try:
            profile = self._profile if self._profile is not None else find_profile(message)
            end_if_forked(pid)
            profile = apply_options(profile, message)
            problems = problems_of(profile)
            if not problems and message["load"] == "total":
                problems = limit_problems(profile, message["nodes"])
            if not message["places"]:
                problems += [
                    f"Generator {g.name!r}: {NO_PLACES}"
                    for g in profile.generators
                    if isinstance(g, Generator) and g.placement is not None
                ]
            warnings: list[str] = []
            if not self._inline:
                problems += thread_problems()
                (warnings if profile.import_sockets == "warn" else problems).extend(socket_problems())
                warnings += import_warnings()
            if problems:
                return {"problems": problems}
            self._profile = profile
            self._of_import = children()
            return {"plan": make_plan(profile, message).to_data(), "warnings": warnings}
        except BadInput as exc:
            end_if_forked(pid, exc)
            return {"problems": exc.problems}

    # -- preparation

    def _prepare(self, message: Message) -> Message:
        """Rows, shared data, the profile's own setup; from here on workers can be started."""
        self._run = message
        if self._arena is None:
            arena_fd, *self._fds = self._channel.fds
            self._arena = Arena.attach([SlabLayout(**slab) for slab in message["slabs"]], arena_fd)
        else:
            self._fds = message["fds"]
        try:
            self._factory = PartsFactory(self._profile, message, inline=self._inline)
            self._parts = self._factory.parts()
            if not self._inline:
                self._warm_up()
            self._setup_data = run_hook(self._profile.setup, forked=not self._inline, user_dir=message["user_dir"])
        except BadInput as exc:
            return {"problems": exc.problems}
        except HookFailed as exc:
            return {"failed": f"Profile setup failed: {exc}"}
        except Exception as exc:
            return {"failed": f"{type(exc).__name__}: {exc}\n{trim_traceback(exc, message['user_dir'])}"}
        if message["placed"]:
            self._placed = self._make_placed()
        self._backend = self._make_backend()
        return {"prepared": True}

    def _warm_up(self) -> None:
        """Imports what workers need, once, before the first fork."""
        import wasp_ray.worker.sync_user
        from wasp_ray.runtime.prefork import preimport

        if any(part.is_async for part in self._parts):
            import asyncio

            import uvloop  # noqa: F401

            import wasp_ray.worker.async_gun
            import wasp_ray.worker.async_user  # noqa: F401

            asyncio.new_event_loop().close()
        preimport(part.actor for part in self._parts)

    def _make_backend(self) -> WorkerBackend:
        if self._inline:
            return ThreadBackend()
        from wasp_ray.runtime.forked import ForkBackend
        from wasp_ray.runtime.prefork import warm_up

        blocking = next((part for part in self._parts if not part.is_async and not part.is_placed), None)
        if blocking is not None:
            order = {"gen": blocking.index, "worker": 0, "ring": 0, "workers": 1, "users": 1, "incarnation": 0}
            warm_up(blocking, self._spec(order))

        return ForkBackend(self._foreign, self._fds[1])

    def _foreign(self) -> list[int]:
        """Descriptors of this process that no fork may hold."""
        return [self._channel.fileno(), self._signals, *(self._placed.fds if self._placed is not None else ())]

    def _make_placed(self) -> PlacedBackend:
        from wasp_ray.runtime.placed import PlacedBackend

        *self._fds, placer, listener = self._fds
        placed = PlacedBackend(Channel(socket.socket(fileno=placer)), socket.socket(fileno=listener), self._orders)
        self._poller.register(placed, select.POLLIN)
        return placed

    def _orders(self, spec: WorkerSpec) -> tuple[Message, list[int]]:
        """What a process that is no fork needs to become this worker."""
        assert self._arena is not None and self._arena.fd is not None and self._factory is not None
        gen = spec.part.index
        message = {
            "gen": gen, "user": spec.global_user(spec.first_user), "spec": spec.to_data(), "load": self._load_order,
            "prepare": self._run,
        }  # fmt: skip
        return message, [self._fds[0], self._fds[1], self._arena.fd, *self._factory.files(gen)]

    # -- workers

    def _is_placed(self, gen: int) -> bool:
        return self._parts[gen].is_placed

    def _backend_of(self, gen: int) -> WorkerBackend:
        backend = self._placed if self._is_placed(gen) else self._backend
        assert backend is not None
        return backend

    def _backends(self) -> list[WorkerBackend]:
        return [backend for backend in (self._placed, self._backend) if backend is not None]

    def _spawn(self, message: Message) -> None:
        orders = message["workers"]
        refused = self._backend_of(orders[0]["gen"]).launch([self._spec(order) for order in orders])
        for order, why in zip(orders, refused, strict=True):
            if why:
                self._channel.send({"refused": [order["gen"], order["worker"]], "error": why})

    def _spec(self, message: Message) -> WorkerSpec:
        assert self._arena is not None
        run, gen = self._run, message["gen"]
        part = self._parts[gen]
        per_process = part.users_per_process if part.kind == "users" else 1
        first = message["worker"] * per_process
        return WorkerSpec(
            arena=self._arena, control=Control(self._arena), part=part, ring=message["ring"], worker=message["worker"],
            workers=message["workers"], incarnation=message["incarnation"], first_user=first,
            users=min(per_process, message["users"] - first) if part.kind == "users" else 1,
            node=run["node"], nodes=run["nodes"], share=run["share"], shares=run["shares"],
            seed=run["seed"], run_id=run["run_id"], user_dir=run["user_dir"],
            wake_fd=-1, notes_fd=self._fds[0], ticks_fd=self._fds[2 + gen] if len(self._fds) > 2 + gen else -1,
            wants_raw=run["wants_raw"], verbose=run["verbose"], setup_data=self._setup_data,
            setup_backoff_ns=message.get("setup_backoff_ns", ()), stopped_users=message.get("stopped_users", ()),
        )  # fmt: skip

    def _reap(self) -> None:
        backends = self._backends()
        exits = [exit_ for backend in backends for exit_ in backend.reap()]
        standstills = [over for backend in backends for over in backend.standstills()]
        if standstills:
            self._channel.send({"standstills": [[*s.key, s.since_ns, s.until_ns] for s in standstills]})
        if exits:
            now = now_ns()  # the generator process may read this much later; deadlines are judged by the death
            self._channel.send({
                "exits": [[e.key[0], e.key[1], e.pid, e.status, e.cpu_s, e.cpu_wait_s, e.rss, now] for e in exits]
            })  # fmt: skip

    def _tear_down(self) -> Message:
        try:
            run_hook(self._profile.teardown, forked=not self._inline, user_dir=self._run["user_dir"])
        except HookFailed as exc:
            return {"torn_down": False, "failed": f"Profile teardown failed: {exc}"}
        return {"torn_down": True}


def _child_signals() -> int:
    """A descriptor that turns readable when a child ends."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read


def main() -> None:
    """The process."""
    os.environ.setdefault("WASP_ZYGOTE", "1")
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    channel = served_channel()
    with suppress(OSError):  # descriptor 3 is the workers' wake pipe
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        if null != 3:
            os.close(null)
    become_subreaper()
    raise_descriptor_limit()
    Zygote(channel, inline=False).serve()
