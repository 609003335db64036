"""Durations on the terminal, and commands whose output goes to a log file. Owns no state."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import HarnessError

TAIL_BYTES = 3000


@contextmanager
def step(name: str) -> Iterator[None]:
    """Prints how long the body took, also when it failed."""
    began = time.monotonic()
    try:
        yield
    except BaseException as error:
        print(f"e2e: {name}: {type(error).__name__} after {time.monotonic() - began:.1f} s", flush=True)
        raise
    print(f"e2e: {name}: {time.monotonic() - began:.1f} s", flush=True)


def tail(log: Path) -> str:
    """The end of a log file, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError as error:
        return f"({error})"


def run_logged(
    command: Sequence[str],
    log: Path,
    timeout_s: float,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    keep_open: int | None = None,
) -> None:
    """Runs a command to its end, output appended to the log; the command inherits the descriptor `keep_open`.

    Raises:
        HarnessError: it failed or took longer than `timeout_s`; the message has the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(f"\n$ {' '.join(command)}\n".encode())
        file.flush()
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=cwd,
                env=env,
                timeout=timeout_s,
                pass_fds=() if keep_open is None else (keep_open,),
            )
        except subprocess.TimeoutExpired:
            raise HarnessError(
                f"{command[0]} did not end within {timeout_s:.0f} s; {log} ends with:\n{tail(log)}"
            ) from None
    if done.returncode:
        raise HarnessError(f"{' '.join(command)} exited {done.returncode}; {log} ends with:\n{tail(log)}")
