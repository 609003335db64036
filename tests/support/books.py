"""Books that must close, and the workers behind a run."""

from __future__ import annotations

import os
from typing import Any

from wasp_ray import RunResult


def check_books(result: RunResult) -> None:
    """scheduled = started + dropped, started = the sum of its ends, in each Generator."""
    for generator in result.generators.values():
        ledger = generator.ledger
        assert ledger.scheduled == ledger.started + ledger.dropped, (generator.name, ledger)
        ends = ledger.ok + ledger.failed + ledger.timeout + ledger.killed + ledger.interrupted + ledger.lost
        assert ledger.started == ends, (generator.name, ledger)
        assert min(vars(ledger).values()) >= 0, (generator.name, ledger)


def workers_of(going: Any) -> list[int]:
    """Pids of the live workers of a run in the background."""
    zygote = going._execution.node._zygote
    if zygote is None or not zygote.pid:
        return []
    try:
        with open(f"/proc/{zygote.pid}/task/{zygote.pid}/children") as file:
            return [int(pid) for pid in file.read().split() if os.path.exists(f"/proc/{pid}")]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
