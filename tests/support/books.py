"""Books that must close, and the processes behind a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from wasp_ray import Run, RunResult


def closed_books(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary itself, whose books close on each node and in all."""
    for ledger in (summary["ledger"], *(node["ledger"] for node in summary["nodes"])):
        ends = sum(ledger[name] for name in ("ok", "failed", "timeout", "killed", "interrupted", "lost"))
        assert ledger["scheduled"] == ledger["started"] + ledger["dropped"] and ledger["started"] == ends, ledger
    for column, number in summary["ledger"].items():
        assert number == sum(node["ledger"][column] for node in summary["nodes"]), column
    return summary


def check_books(result: RunResult) -> None:
    """scheduled = started + dropped, started = the sum of its ends, in each Generator."""
    for generator in result.generators.values():
        ledger = generator.ledger
        assert ledger.scheduled == ledger.started + ledger.dropped, (generator.name, ledger)
        ends = ledger.ok + ledger.failed + ledger.timeout + ledger.killed + ledger.interrupted + ledger.lost
        assert ledger.started == ends, (generator.name, ledger)
        assert min(vars(ledger).values()) >= 0, (generator.name, ledger)


def wait_until(what: Callable[[], object], deadline_s: float = 60.0) -> None:
    """Until it is true."""
    give_up = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < give_up, "it did not come true"
        time.sleep(0.01)


def is_over(going: Run) -> bool:
    """Whether a run in the background has its result."""
    try:
        going.wait(0)
    except TimeoutError:
        return False
    except Exception:  # that is one as well
        return True
    return True


def wait_for_start(going: Run, deadline_s: float = 60.0) -> None:
    """Until t = 0 of a run in the background."""
    wait_until(lambda: going.elapsed_s is not None or is_over(going), deadline_s)


def pids_of(going: Run, kind: str) -> list[int]:
    """Pids of a run's processes of a kind, for instance "worker"; in the inline runtime they are threads of this process."""
    return [process.pid for process in going.processes() if process.kind == kind]


def pid_of(going: Run, kind: str) -> int:
    """The pid of a run's one process of a kind."""
    (pid,) = pids_of(going, kind)
    return pid
