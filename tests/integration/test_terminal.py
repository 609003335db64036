"""A real terminal: what it shows in its width, that it is closed, and SIGHUP that is ignored or comes twice."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.books import closed_books, wait_until
from support.processes import descendants, is_alive

RUN = [sys.executable, "-P", "-m", "wasp_ray", "run", "load.py", "--out", "out"]
LOAD = """
import os, time
from wasp_ray import *

class Looper(VirtualUser):
    def setup(self):
        self.file = os.open("witness", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def call(self):
        print("a line for the live view", flush=True)
        time.sleep(0.5)
        os.write(self.file, b"call\\n")

    def teardown(self):
        os.write(self.file, b"teardown\\n")

profile = Profile(Generator("looper", user=Looper, schedule=plain(3, "SECONDS")))
"""


def write(folder: Path, seconds: str) -> None:
    """The load file."""
    (folder / "load.py").write_text(LOAD.replace("SECONDS", seconds))


def has_load(folder: Path) -> bool:
    """Whether the first second of the load is in the series."""
    series = folder / "out/series.jsonl"
    return series.exists() and series.stat().st_size > 0


def in_terminal(command: list[str], folder: Path, until: Callable[[], bool]) -> tuple[subprocess.Popen[bytes], bytes]:
    """Start a command as the leader of a pseudo-terminal's session, and close that terminal once `until` holds."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    shown = b""

    def show_and_look() -> bool:
        nonlocal shown
        if select.select([ours], [], [], 0)[0]:
            shown += os.read(ours, 1 << 16)
        return until()

    try:
        wait_until(show_and_look)
    finally:
        os.close(ours)
    return process, shown


def kept_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run that SIGHUP ended with its grace: every call that the witness saw is in it, every user was torn down."""
    summary = closed_books(json.loads((folder / "out/summary.json").read_text()))
    assert summary["verdict"] == "interrupted" and summary["reasons"] == ["interrupted by SIGHUP"], summary["reasons"]
    witness = (folder / "witness").read_text().split()
    assert witness.count("teardown") == 3
    assert summary["ledger"]["ok"] == summary["ledger"]["started"] == witness.count("call") > 0
    return summary


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_a_closed_terminal_ends_the_run_as_sigterm_does(tmp_path: Path, nodes: str) -> None:
    """Exit 143 with the results kept, though nothing can be printed any more."""
    write(tmp_path, "60s")
    process, shown = in_terminal([*RUN, "--nodes", nodes], tmp_path, lambda: has_load(tmp_path))
    assert process.wait(60) == 143
    assert b"a line for the live view" in shown
    kept_summary(tmp_path)


@pytest.mark.parametrize("shell", [["sh", "-c"], ["bash", "--norc", "-i", "-c"]])
def test_a_terminal_closed_above_a_shell_is_one_request_to_stop(tmp_path: Path, shell: list[str]) -> None:
    """The shell and the kernel both send SIGHUP: calls in flight have their grace all the same."""
    write(tmp_path, "60s")
    before, family = descendants(), set[int]()

    def has_load_and_family() -> bool:
        family.update(descendants() - before)  # they are nobody's children once the shell is gone
        return has_load(tmp_path)

    process, _ = in_terminal([*shell, f"{shlex.join(RUN)}; true"], tmp_path, has_load_and_family)
    process.wait(60)
    wait_until(lambda: not any(is_alive(pid) for pid in family), 60)
    kept_summary(tmp_path)


def test_a_second_sighup_does_not_end_the_run_at_once(tmp_path: Path) -> None:
    """As a shell and the kernel send it."""
    write(tmp_path, "60s")
    process = subprocess.Popen(RUN, cwd=tmp_path, stdout=subprocess.DEVNULL)
    wait_until(lambda: has_load(tmp_path))
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: not has_pending(process.pid, signal.SIGHUP))
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 143
    kept_summary(tmp_path)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Give tmux with a server of its own, which ends with the test."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")

    def run(*arguments: str) -> str:
        command = ["tmux", "-u", "-f", "/dev/null", "-S", str(tmp_path / "tmux"), *arguments]
        env = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
        # env is given although it is ours: readline, once imported, adds COLUMNS=80 to what children inherit without it
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60, env=env
        ).stdout

    yield run
    run("kill-server")


@pytest.mark.parametrize(("width", "is_wide"), [(80, False), (120, True)])
def test_the_live_view_fits_the_terminal(tmp_path: Path, tmux: Callable[..., str], width: int, is_wide: bool) -> None:
    """All columns at 80, sparklines of rate and p99 beside them at 120, and no line that the terminal has to break."""
    write(tmp_path, "60s")
    tmux("new-session", "-d", "-x", str(width), "-y", "30", "env", "LC_ALL=C.UTF-8", *RUN)

    shown: list[str] = []

    def shows_a_second_of_calls() -> bool:
        screen = tmux("capture-pane", "-p").splitlines()
        at = next((at for at, line in enumerate(screen) if line.startswith(" GENERATOR")), len(screen))
        shown[:] = screen[at - 1 : at + 2]
        if len(shown) < 3 or not re.search(r"\d m?s$", shown[2][:80].rstrip()):
            return False
        return not is_wide or bool(re.search("[▁-█]{2} +[▁-█]+$", shown[2]))

    wait_until(shows_a_second_of_calls)
    progress, head, looper = shown
    assert re.fullmatch(r" load  running  00:\d\d / 01:00  [━─]+  \d+ %", progress) and len(progress) <= 80
    table = "GENERATOR asked got in flight calls failed dropped p50 p99"
    assert " ".join(head.split()) == table + (" rate p99" if is_wide else "")
    assert looper.split()[:5] == ["looper", "users", "3", "3", "3"] and len(looper) <= width
    assert ("█" in looper) is is_wide
    tmux("send-keys", "C-c")
    wait_until((tmp_path / "out" / "summary.json").exists, 60)


def has_pending(pid: int, number: signal.Signals) -> bool:
    """Whether a signal has been sent to a process that has not taken it yet; two of a kind at once would be one."""
    with open(f"/proc/{pid}/status") as file:
        masks = [int(line.split()[1], 16) for line in file if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_sighup_stays_ignored_where_it_was(tmp_path: Path) -> None:
    """Under nohup a run continues to its own end."""
    write(tmp_path, "2s")
    process = subprocess.Popen(
        RUN, cwd=tmp_path, stdout=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    wait_until(lambda: has_load(tmp_path))
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    summary = closed_books(json.loads((tmp_path / "out/summary.json").read_text()))
    assert summary["verdict"] == "passed" and summary["ledger"]["ok"] == (tmp_path / "witness").read_text().count(
        "call"
    )


def test_a_closed_pipe_does_not_hide_the_verdict(tmp_path: Path) -> None:
    """`wasp run ... | head` runs to its end, with the exit code of a broken threshold."""
    write(tmp_path, "2s")
    process = subprocess.Popen([*RUN, "--threshold", "failed > 0"], cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 1
    assert closed_books(json.loads((tmp_path / "out/summary.json").read_text()))["verdict"] == "failed"
