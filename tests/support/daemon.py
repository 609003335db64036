"""A real server under test: a process of its own on loopback ports, ready when it says so, ended by its pid.

Its data outlive a stop, so one that is started again goes on where it was, at the same address.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import requests
from e2e.harness.progress import tail

from support.query_answers import ANSWER_S, Refused, ask
from wasp_ray.worker.child import PR_SET_PDEATHSIG, load_prctl

READY_S = 60.0
TERM_S = 10.0


class Daemon:
    """`command` runs when it is started; `ready`: the path that answers well once it serves."""

    def __init__(self, name: str, command: list[str], port: int, ready: str, folder: Path) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"{name}.log"
        self._command = command
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it is ready. Raises AssertionError with the end of its log when it is not within a minute."""
        assert self._process is None, f"{self.name} is running"
        prctl = load_prctl()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # should pytest be killed
            )
        try:
            self.wait_until(self._is_ready, "ready", READY_S)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended with {self._process.returncode}:\n{tail(self.log)}"
        try:
            ask("GET", self.url + self._ready)
        except (requests.ConnectionError, Refused):
            return False
        return True

    def wait_until(self, check: Callable[[], bool], what: str, deadline_s: float = ANSWER_S) -> None:
        """Asks until the answer is yes. Raises AssertionError with the end of the log."""
        give_up = time.monotonic() + deadline_s
        while not check():
            assert time.monotonic() < give_up, f"{self.name}: not {what} within {deadline_s:g} s:\n{tail(self.log)}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Asks it to end, kills it after 10 s."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it without a chance to save anything."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(TERM_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(TERM_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            error.add_note(f"{self.log} ends with:\n{tail(self.log)}")
