"""The handle of a run in the background: its result for every thread that waits, errors included."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from wasp_ray import BadInput, Run


class Execution:
    """Ends when it is released, with a result or an error."""

    def __init__(self, outcome: Any) -> None:
        self.outcome, self.release = outcome, threading.Event()

    def run(self) -> Any:
        """Blocks until released."""
        self.release.wait(30)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def test_every_thread_that_waits_gets_the_result() -> None:
    """And those that ask again later."""
    execution, result = Execution("done"), object()
    run = Run(execution, lambda outcome: result)  # type: ignore[arg-type,return-value]
    with pytest.raises(TimeoutError, match=r"not finished within 0\.01 s"):
        run.wait(0.01)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(run.wait, 30) for _ in range(4)]
        execution.release.set()
        assert [one.result() for one in waiting] == [result] * 4
    assert run.wait() is result


def test_every_thread_that_waits_gets_the_error() -> None:
    """Bad input of a run in the background."""
    execution = Execution(BadInput("no such file"))
    run = Run(execution, lambda outcome: outcome)  # type: ignore[arg-type]
    execution.release.set()
    for _ in range(3):
        with pytest.raises(BadInput, match="no such file"):
            run.wait(30)
