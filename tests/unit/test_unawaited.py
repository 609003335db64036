"""Python's report of coroutines that were never awaited, in a process that has workers and code of others."""

from __future__ import annotations

import warnings

import pytest

from wasp_ray.worker.call_state import CallState, current_call
from wasp_ray.worker.unawaited import HOOK, describe, noticed, stage


async def forgotten() -> None:
    """Never runs."""


def test_code_outside_of_actors_gets_pythons_own_warning() -> None:
    """As in a test that runs a load inline; after the last worker nothing of ours is left in the module."""
    before = getattr(warnings, HOOK)
    with noticed(), noticed():
        assert getattr(warnings, HOOK) is not before
        with pytest.warns(RuntimeWarning, match="^coroutine 'forgotten' was never awaited"):
            forgotten()  # type: ignore[unused-coroutine]
    assert getattr(warnings, HOOK) is before


def test_a_call_keeps_the_first_coroutine_that_it_dropped_and_forgets_it_with_its_end() -> None:
    """A warning shows the line of each."""
    call = CallState(0)
    token = current_call.set(call)
    try:
        with noticed(), pytest.warns(RuntimeWarning, match="was never awaited: write `await` before it") as warned:
            forgotten()  # type: ignore[unused-coroutine]
    finally:
        current_call.reset(token)
    assert call.failed and call.unawaited == "forgotten() was never awaited: write `await` before it"
    assert warned[0].filename == __file__
    call.reset()
    assert not call.failed and call.unawaited == ""


def test_a_call_does_not_inherit_what_the_exception_of_the_one_before_holds() -> None:
    """Its traceback has the frame, and the frame the coroutine: it is freed as the state is made ready for the next call."""
    call = CallState(0)
    token = current_call.set(call)

    def raises() -> None:
        answer = forgotten()
        raise ValueError(str(answer))

    try:
        with noticed(), pytest.warns(RuntimeWarning):
            try:
                raises()
            except ValueError as exc:
                call.seen = exc
            call.reset()
    finally:
        current_call.reset(token)
    assert not call.failed and call.unawaited == ""


def test_a_setup_keeps_it_as_long_as_it_lasts() -> None:
    """Before the call in whose context it runs again, after RestartUser."""
    call = CallState(0)
    token = current_call.set(call)
    try:
        with noticed(), pytest.warns(RuntimeWarning), stage() as current:
            forgotten()  # type: ignore[unused-coroutine]
    finally:
        current_call.reset(token)
    assert current.unawaited.startswith("forgotten() was never awaited") and current.is_over and not call.failed


def test_a_name_inside_a_function_is_short() -> None:
    """Without the functions around it."""

    async def inner() -> None:
        pass

    coroutine = inner()
    assert describe(coroutine) == "inner() was never awaited: write `await` before it"
    coroutine.close()
