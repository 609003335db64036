"""The alert checks of a run, for the process that makes its verdict: starts theirs, passes on its messages, waits for it.

The load's own loop only ever reads what is there already; the wait comes after it and ends by a deadline or a signal.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Sequence
from typing import Any

from wasp_ray.alerts.check import check_name
from wasp_ray.alerts.server import problems_here
from wasp_ray.alerts.telling import Told, told
from wasp_ray.alerts.watch import LONGEST_WAIT_S, PATIENCE_S
from wasp_ray.clock import now_ns
from wasp_ray.errors import BadInput
from wasp_ray.node.engines import Engine, start_process
from wasp_ray.plan import AlertPlan, Plan
from wasp_ray.wire.channel import ChannelClosed, Message

TURN_S = 0.1
LAST_WORD_S = 5.0
"""What the process has to tell what it knows."""
GIVE_UP_S = LONGEST_WAIT_S + 2 * PATIENCE_S + 20.0
SAY_FROM_S = 2.0
"""A shorter wait need not be reported."""
DIED = "the process that asks for alerts died or does not answer"


class AlertChecks:
    """The checks of one plan. `is_foreign`: see server_of. Raises BadInput when one of them cannot be made from here."""

    def __init__(
        self, checks: Sequence[AlertPlan], run_id: str, note: Callable[[str], None], *, is_foreign: bool = False
    ) -> None:
        problems = problems_here(checks, os.environ, is_foreign=is_foreign)
        if problems:
            raise BadInput(problems)
        self._checks, self._note = checks, note
        self._results: list[dict[str, Any]] | None = None
        self._engine: Engine = start_process("wasp_ray.alerts.serve")
        self._tell(
            {"op": "watch", "checks": [check.to_data() for check in checks], "run_id": run_id, "is_foreign": is_foreign}
        )

    @property
    def pid(self) -> int | None:
        """Pid of its process, None when that has exited."""
        return None if self._engine.channel.closed else self._engine.pid

    def turn(self) -> None:
        """Passes on what is there; never waits."""
        self._hear(self._engine.channel.receive())

    def finish(self, start_s: float, end_s: float, wait: bool, cut: Callable[[], bool]) -> list[dict[str, Any]]:
        """What came of each check, with its options. `wait`: one interval and `for` after the load, until `cut()`."""
        self._tell({"op": "finish", "start_s": start_s, "end_s": end_s})
        give_up = now_ns() + int((GIVE_UP_S if wait else 0.0) * 1e9)
        while self._results is None and not self._engine.channel.closed and now_ns() < give_up and not cut():
            self._hear(self._engine.channel.wait(TURN_S))
        if self._results is None:
            self._tell({"op": "cut"})
            give_up = now_ns() + int(LAST_WORD_S * 1e9)
        while self._results is None and not self._engine.channel.closed and now_ns() < give_up:
            self._hear(self._engine.channel.wait(TURN_S))
        found = self._results if self._results is not None else [_nothing()] * len(self._checks)
        return [{"name": check_name(c), **c.to_data(), **result} for c, result in zip(self._checks, found, strict=True)]

    def close(self) -> None:
        """Ends the process; may be called again."""
        self._engine.end()

    def _hear(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if "note" in message:
                self._note(message["note"])
            elif "until" in message and message["until"] > SAY_FROM_S:
                self._note(
                    f"waiting {message['until']:.0f} s for the last evaluations of alert rules; Ctrl-C ends that"
                )
            elif "results" in message:
                self._results = message["results"]

    def _tell(self, message: Message) -> None:
        try:
            self._engine.channel.send(message)
        except ChannelClosed:
            self._note(DIED)


def _nothing() -> dict[str, Any]:
    return {
        "state": "unknown", "rules": [], "fired": [], "fired_before": [], "left_out": 0, "unknown": [DIED], "blind": [],
        "polls": 0,
    }  # fmt: skip


class AlertPart:
    """The alert checks of a run, if its plan has any, and what ends the wait for them early. `is_foreign`: see server_of."""

    def __init__(self, note: Callable[[str], None], *, is_foreign: bool = False) -> None:
        self._note, self._is_foreign = note, is_foreign
        self._checks: AlertChecks | None = None
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.cut_by: str | None = None
        """The signal that ended the wait."""
        self._was_cut = False

    def begin(self, plan: Plan, run_id: str) -> None:
        """Raises BadInput when a check cannot be made from here."""
        if plan.alerts and self._checks is None:
            self._checks = AlertChecks(plan.alerts, run_id, self._note, is_foreign=self._is_foreign)

    @property
    def pid(self) -> int | None:
        """Pid of the process that queries, None without one."""
        return self._checks.pid if self._checks is not None else None

    @property
    def is_asked(self) -> bool:
        """Whether there are any."""
        return self._checks is not None

    def turn(self) -> None:
        """See AlertChecks."""
        if self._checks is not None:
            self._checks.turn()

    def abort_wait(self, signal_name: str | None) -> None:
        """Stop waiting for evaluations. Async-signal-safe."""
        self._asked.put(signal_name)

    def finish(self, start_s: float, end_s: float, wait: bool) -> tuple[list[dict[str, Any]], Told]:
        """Return results and what they mean. Unknown is only a warning where an error or a signal has decided the verdict."""
        if self._checks is None:
            return [], Told([], [], [])
        before = 0
        while not self._asked.empty():  # asked for while the load went on: once ends that, twice this too
            self._asked.get_nowait()
            before += 1
        self._was_cut = before > 1 or not wait
        results = self._checks.finish(start_s, end_s, not self._was_cut, self._cut)
        found = told(results)
        if not wait or self.cut_by is not None:
            found = Told(found.failed, [], [*found.warnings, *found.unknown])
        return results, found

    def _cut(self) -> bool:
        if not self._asked.empty():
            self.cut_by = self._asked.get_nowait()
            self._was_cut = True
        return self._was_cut

    def close(self) -> None:
        """Ends what was begun."""
        if self._checks is not None:
            self._checks.close()
