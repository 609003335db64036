"""Starts and ends the zygote and the aggregator: processes of their own sessions, or threads of the inline runtime."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wasp_ray.clock import now_ns, sleep_s
from wasp_ray.wire.arena import Arena
from wasp_ray.wire.channel import Channel, channel_pair

_CODE = "import json,sys;sys.path[:]=json.loads(sys.argv.pop());from {module} import main;sys.exit(main())"
_END_NS = 5_000_000_000
_GROUP_NS = 500_000_000


class Engine:
    """One engine process or thread, and the channel to it."""

    def __init__(
        self, channel: Channel, process: subprocess.Popen[bytes] | None, thread: threading.Thread | None
    ) -> None:
        self.channel, self._process, self._thread = channel, process, thread
        self.hand_over: Callable[[Arena], None] = lambda arena: None  # inline: gives the zygote its memory

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return not self.channel.closed and (self._process is None or self._process.poll() is None)

    @property
    def pid(self) -> int:
        """0 for a thread."""
        return self._process.pid if self._process is not None else 0

    def bury(self) -> None:
        """Of one that has died: ends what it started, and waits for that. Its channel closes before its children are killed,
        and they go on calling meanwhile.
        """
        if self._process is None:
            return
        give_up = now_ns() + _END_NS
        while self._process.poll() is None and now_ns() < give_up:
            sleep_s(0.002)
        give_up = now_ns() + _GROUP_NS
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
            while now_ns() < give_up:  # where nobody reaps orphans they are there for ever, as zombies
                sleep_s(0.002)
                os.killpg(self._process.pid, 0)

    def end(self) -> None:
        """Closes the channel, which ends it; kills what does not leave within 5 s. Safe to call twice."""
        if self._process is None:
            with suppress(OSError):
                self.channel.sock.shutdown(socket.SHUT_RDWR)
            if self._thread is not None:
                self._thread.join(5.0)
            self.channel.close()
            return
        self.channel.close()
        give_up = now_ns() + _END_NS
        while self._process.poll() is None and now_ns() < give_up:
            sleep_s(0.002)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # users' own subprocesses


def start_process(module: str) -> Engine:
    """A fresh interpreter with this one's flags and sys.path, in its own session, running `module.main()`."""
    channel, theirs = channel_pair()
    try:
        process = subprocess.Popen(
            python_command(module, str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
    finally:
        theirs.close()
    return Engine(channel, process, None)


def python_command(module: str, *arguments: str) -> list[str]:
    """The command of a fresh interpreter with this one's flags and sys.path that runs `module.main()`."""
    return [
        sys.executable, *_interpreter_flags(), "-P", "-c", _CODE.format(module=module), *arguments, json.dumps(sys.path)
    ]  # fmt: skip


def _interpreter_flags() -> list[str]:
    """-O, -W, -X, -B... of this interpreter, as multiprocessing passes them on."""
    return list(subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]


def start_zygote(inline: bool, profile: Any) -> Engine:
    """The zygote; inline it is a thread that is given the profile itself."""
    if not inline:
        return start_process("wasp_ray.runtime.birth")
    from wasp_ray.runtime.zygote import Zygote

    channel, theirs = channel_pair()
    zygote = Zygote(Channel(theirs), inline=True, profile=profile)
    engine = Engine(channel, None, _thread(zygote.serve, "wasp-zygote"))
    engine.hand_over = zygote.take
    return engine


def start_aggregator(inline: bool, arena: Arena, feed: socket.socket | None) -> Engine:
    """The aggregator; it waits for its plan. `feed`: the way to the exporter, which a process is sent with the plan."""
    if not inline:
        return start_process("wasp_ray.aggregator.serve")
    from wasp_ray.aggregator.serve import serve

    channel, theirs = channel_pair()
    return Engine(channel, None, _thread(lambda: serve(Channel(theirs), arena, feed), "wasp-aggregator"))


def start_exporter(inline: bool, feed: socket.socket) -> Engine:
    """The exporter; it waits for its plan. `feed`: where samples come from, which a process is sent with the plan."""
    if not inline:
        return start_process("wasp_ray.sinks.serve")
    from wasp_ray.sinks.serve import serve

    channel, theirs = channel_pair()
    return Engine(channel, None, _thread(lambda: serve(Channel(theirs), feed), "wasp-exporter"))


def _thread(target: Any, name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
