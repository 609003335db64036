"""Books that must close, and the workers behind a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from wasp_ray import RunResult


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


def wait_for_start(going: Any, deadline_s: float = 60.0) -> None:
    """Until t = 0 of a run in the background is known."""
    give_up = time.monotonic() + deadline_s
    while not going._execution.node.has_begun and going._thread.is_alive():
        assert time.monotonic() < give_up, "the run did not start"
        time.sleep(0.01)


def workers_of(going: Any) -> list[int]:
    """Pids of the live workers of a run in the background."""
    zygote = going._execution.node.engines.zygote
    if zygote is None or not zygote.pid:
        return []
    try:
        with open(f"/proc/{zygote.pid}/task/{zygote.pid}/children") as file:
            return [int(pid) for pid in file.read().split() if os.path.exists(f"/proc/{pid}")]
    except OSError:
        return []
