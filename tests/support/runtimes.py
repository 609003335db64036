"""Every home a worker can have, behind one way to run a load: forks, threads, and processes that somebody else starts."""

from __future__ import annotations

import base64
import copy
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from support.books import check_books
from wasp_ray import Generator, Placement, Profile, Run, RunResult
from wasp_ray.execution import Execution, Listener, Settings
from wasp_ray.load.locate import dumps_profile
from wasp_ray.wire.channel import ChannelClosed, channel_pair

LIVE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); from wasp_ray.runtime.placed_user import live;"
    " live(sys.argv[1], json.loads(sys.argv[2]))"
)


class Placer:
    """Starts processes for one node's placed users, as Ray would: no child of the node, and none of its descriptors."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self._folder.name) / "users.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(128)
        self._channel, theirs = channel_pair()
        self.fds = (theirs.detach(), listener.detach())
        self.processes: dict[tuple[int, ...], subprocess.Popen[bytes]] = {}
        self.refuses: Callable[[list[int]], bool] = lambda name: False
        self._thread = threading.Thread(target=self._serve, name="placer")
        self._thread.start()

    def close(self) -> None:
        """After the run."""
        self._thread.join(10)
        self._folder.cleanup()

    def _serve(self) -> None:
        while not self._channel.closed:
            for message in self._channel.wait(0.05):
                self._obey(message)
            for name, process in list(self.processes.items()):
                if process.poll() is not None:
                    del self.processes[name]
                    if process.returncode:
                        self._tell(name, f"it was ended by {process.returncode}")
        for process in self.processes.values():
            process.wait(10)
        self._channel.close()

    def _obey(self, message: dict[str, Any]) -> None:
        name = message["name"]
        if message["op"] == "end":
            process = self.processes.get(tuple(name))
            if process is not None:
                process.kill()
        elif self.refuses(name):
            self._tell(name, "there is no place for it")
        else:
            arguments = [self.path, json.dumps(name), json.dumps(sys.path)]
            self.processes[tuple(name)] = subprocess.Popen([sys.executable, "-P", "-c", LIVE, *arguments])

    def _tell(self, name: Any, why: str) -> None:
        with suppress(ChannelClosed):
            self._channel.send({"op": "gone", "name": list(name), "why": why})


class Runtime:
    """A context. "process", "inline", or "placed": users, not guns, are processes of a Placer."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.placers: list[Placer] = []

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for placer in self.placers:
            placer.close()

    def start(self, profile: Profile, **options: Any) -> Run:
        """In the background."""
        if self.name != "placed":
            return profile.start(runtime=self.name, **options)
        profile = copy.copy(profile)
        profile.generators = tuple(_placed(generator) for generator in profile.generators)
        source = {"pickle": base64.b64encode(dumps_profile(profile)).decode()}
        folder = os.path.dirname(__file__)
        execution = Execution(
            Settings(source=source, profile=profile, seed=options.get("seed"), user_dir=folder), Listener()
        )
        placer = Placer()
        self.placers.append(placer)
        execution.node.options.places, execution.node.options.placer = True, placer.fds
        return Run(execution, RunResult.of)

    def run(self, profile: Profile, **options: Any) -> RunResult:
        """To its result; its books close."""
        result = self.start(profile, **options).wait(120)
        check_books(result)
        return result


def _placed(generator: Generator) -> Generator:
    if generator.kind == "rate":
        return generator
    placed = copy.copy(generator)
    placed.placement = Placement()
    return placed
