"""Draws scenarios of one kind of worker: an ordinary load, and up to two hazards that hit it while it runs.

Simple choices come first in every draw, so that hypothesis shrinks towards them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from model import known
from model import scenario as s

Draw = Callable[[st.SearchStrategy[Any]], Any]
NAMES = st.sampled_from(["a", "b"])
SHORT_MS = st.sampled_from([1, 5, 20])
LEAF = st.one_of(
    st.builds(s.Sleep, SHORT_MS), st.builds(s.Record, NAMES), st.builds(s.Record, NAMES, fails=st.just(True))
)
GROUPS = st.builds(s.Group, NAMES, st.lists(LEAF, max_size=2).map(tuple), fails=st.booleans(), catches=st.booleans())
NESTED = st.builds(lambda outer, inner: replace(outer, steps=(*outer.steps, inner)), GROUPS, GROUPS)
RAISING = st.builds(lambda group: replace(group, steps=(*group.steps, s.Raise())), GROUPS)
STEPS = st.one_of(st.builds(s.Sleep, SHORT_MS), LEAF, GROUPS, NESTED, RAISING)
LAST: list[s.Program] = [
    (), (), (s.Return("ok"),), (s.Raise(),), (s.Return("failed", "a"),), (s.Return("error"),), (s.Return("timeout"),),
    (s.Return("wrong"),), (s.Return("ok", "own"),),
]  # fmt: skip
PROGRAMS = st.builds(
    lambda nap, steps, last: (s.Sleep(nap), *steps, *last), SHORT_MS, st.lists(STEPS, max_size=2), st.sampled_from(LAST)
)
AFTER_MS = st.sampled_from([0, 50, 150, 300])


def scenarios(kind: s.Kind, runtime: s.Runtime, nodes: int) -> st.SearchStrategy[s.Scenario]:
    """Return the scenarios of one cell: those that can be judged, outside the regions that known.py avoids."""
    return _scenario(kind, runtime, nodes).filter(lambda found: not s.problems(found) and not known.avoided(found))


@st.composite
def _scenario(draw: Draw, kind: s.Kind, runtime: s.Runtime, nodes: int) -> s.Scenario:
    loads = [draw(_load(kind, runtime))]
    if draw(st.sampled_from([False, False, False, True])):
        loads.append(draw(_load(draw(st.sampled_from(s.KINDS)), runtime)))
    events = draw(_events(runtime, len(loads)))
    slots = draw(st.sampled_from([None, 64])) if nodes == 1 else None
    if any(load.ring_wait_ms is not None for load in loads):
        if runtime == "inline" or nodes > 1:
            loads = [replace(load, ring_wait_ms=None) for load in loads]
        else:
            slots, events = 64, (s.Event("freeze", 100, hold_ms=300), *events)
    return s.Scenario(tuple(loads), runtime, nodes, events, slots)


@st.composite
def _load(draw: Draw, kind: s.Kind, runtime: s.Runtime) -> s.Load:
    is_rate = kind.endswith("gun")
    load = s.Load(
        kind, draw(_schedule(is_rate)), tuple(draw(st.lists(PROGRAMS, min_size=1, max_size=3))), graceful_ms=3000,
        pack=draw(st.sampled_from([2, 3])),
    )  # fmt: skip
    if draw(st.booleans()):
        load = replace(load, setup=(draw(LEAF),), teardown=draw(st.sampled_from([(), (s.Record("b"),), (s.Raise(),)])))
    hazards = [hazard for hazard in HAZARDS if _fits(hazard, load, runtime)]
    for hazard in draw(st.lists(st.sampled_from(hazards), max_size=2, unique=True)):
        load = hazard(draw, load)
    return load


@st.composite
def _schedule(draw: Draw, is_rate: bool) -> tuple[s.Part, ...]:
    values = st.sampled_from([20, 5, 40, 80, 0] if is_rate else [2, 1, 3, 4, 0])
    parts: list[s.Part] = []
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        start = draw(values)
        end = draw(st.one_of(st.just(start), values))
        length = st.sampled_from([400, 200, 100, 600])
        parts.append(draw(st.sampled_from([s.Piece(start, end, draw(length))] * 5 + [s.Idle(100)])))
    return tuple(parts)


@st.composite
def _events(draw: Draw, runtime: s.Runtime, loads: int) -> tuple[s.Event, ...]:
    names = ["", "", "pause", "stop", "stop twice", "stop at once", "pause and stop", "stop and pause"]
    names += ["early stop", "early pause"] + (
        [] if runtime == "inline" else ["kill", "kill", "stall", "freeze", "kill and stop"]
    )
    at, load, nth = draw(AFTER_MS), draw(st.integers(0, loads - 1)), draw(st.integers(0, 2))
    later = draw(AFTER_MS)
    match draw(st.sampled_from(names)):
        case "pause":
            return s.Event("pause", at), s.Event("resume", draw(st.sampled_from([50, 300, 1200])))
        case "stop":
            return (s.Event("stop", at),)
        case "stop twice":
            return s.Event("stop", at), s.Event("stop", later)
        case "stop at once":
            return s.Event("stop", at), s.Event("stop", 0)
        case "pause and stop":
            return s.Event("pause", at), s.Event("stop", later)
        case "stop and pause":
            return s.Event("stop", at), s.Event("pause", later), s.Event("resume", 100)
        case "early stop":
            return (s.Event("stop", draw(st.sampled_from([-1, -2]))),)
        case "early pause":
            early = draw(st.sampled_from([-1, -2]))
            return s.Event("pause", early), s.Event("resume", draw(st.sampled_from([early, 100])))
        case "kill":
            kills = [s.Event("kill", at, load, nth), s.Event("kill", later, load, nth + 1)]
            return tuple(kills[: draw(st.integers(1, 2))])
        case "stall":
            return (s.Event("stall", at, load, nth, hold_ms=300),)
        case "freeze":
            return (s.Event("freeze", at, hold_ms=300),)
        case "kill and stop":
            return s.Event("kill", at, load, nth), s.Event("stop", later)
        case _:
            return ()


# -- hazards: each changes a load

Hazard = Callable[[Draw, s.Load], s.Load]


def _special(draw: Draw, load: s.Load, *steps: s.Step) -> s.Load:
    at, times = draw(st.sampled_from([1, 0, 3])), draw(st.sampled_from([1, 2]))
    program = draw(
        st.sampled_from([steps, (s.Sleep(5), *steps), (s.Group("a", steps),), (s.Group("b", (s.Group("a", steps),)),)])
    )
    return replace(load, specials=(*load.specials, s.Special(at, program, times)))


def hang(draw: Draw, load: s.Load) -> s.Load:
    """A call that its deadline ends."""
    return replace(_special(draw, load, s.Hang()), call_timeout_ms=draw(st.sampled_from([250, 400])))


def linger(draw: Draw, load: s.Load) -> s.Load:
    """A call that the end of graceful_stop ends."""
    cleanup_ms = draw(st.sampled_from([0, 100])) if load.is_async else 0
    return replace(
        _special(draw, load, s.Hang()), graceful_ms=draw(st.sampled_from([300, 0, 600])), cleanup_ms=cleanup_ms
    )


def swallow(draw: Draw, load: s.Load) -> s.Load:
    """A call that swallows its cancellation."""
    return replace(
        _special(draw, load, s.Swallow()), call_timeout_ms=250, graceful_ms=draw(st.sampled_from([3000, 300]))
    )


def block(draw: Draw, load: s.Load) -> s.Load:
    """A call that blocks its loop."""
    return replace(_special(draw, load, s.Block()), call_timeout_ms=250, graceful_ms=draw(st.sampled_from([3000, 300])))


def die(draw: Draw, load: s.Load) -> s.Load:
    """A process that ends in a call."""
    return _special(draw, load, s.Die(draw(st.sampled_from(["sigkill", "exit"]))))


def stop(draw: Draw, load: s.Load) -> s.Load:
    """context.stop()."""
    return _special(draw, load, s.StopGenerator())


def fail(draw: Draw, load: s.Load) -> s.Load:
    """fail_on_error, and a call that fails."""
    step = draw(st.sampled_from([s.Raise(), s.Record("a", fails=True), s.Return("failed")]))
    calls = ((s.Sleep(5),),)
    return replace(_special(draw, replace(load, calls=calls), step), fail_on_error=True)


def feed(draw: Draw, load: s.Load) -> s.Load:
    """Rows that are used up, or last."""
    calls = tuple((s.Feed(), *program) for program in load.calls)
    return replace(load, calls=calls, rows=draw(st.sampled_from([5, 1, 20, 1000])))


def leave(draw: Draw, load: s.Load) -> s.Load:
    """StopUser in a call."""
    return _special(draw, load, s.Leave())


def restart(draw: Draw, load: s.Load) -> s.Load:
    """RestartUser in a call."""
    return _special(draw, load, s.Restart())


def setup(draw: Draw, load: s.Load) -> s.Load:
    """A setup that is slow or goes wrong."""
    steps: list[s.Step] = [s.Sleep(300), s.Raise(), s.Hang(), s.Die()]
    steps += [] if load.is_rate else [s.Leave(), s.Restart()]
    step = draw(st.sampled_from(steps))
    bad = s.Special(draw(st.integers(0, 4)), (s.Sleep(20), step), draw(st.sampled_from([1, 2])))
    return replace(load, bad_setup=bad, setup_timeout_ms=400 if isinstance(step, s.Hang) else 10_000)


def flood(draw: Draw, load: s.Load) -> s.Load:
    """More records than a small ring holds."""
    return _special(draw, load, s.Flood("f", draw(st.sampled_from([100, 300]))))


def overflow(draw: Draw, load: s.Load) -> s.Load:
    """Rings that overflow while the aggregator stands still."""
    return replace(load, calls=((s.Sleep(1),), *load.calls), ring_wait_ms=20)


def threads(draw: Draw, load: s.Load) -> s.Load:
    """Threads of the user's own that record."""
    return _special(draw, load, s.Threads("t", 3, draw(st.sampled_from([5, 500]))))


def fork(draw: Draw, load: s.Load) -> s.Load:
    """A forked child."""
    return _special(draw, load, s.Fork(draw(st.sampled_from(["quiet", "group", "exit", "return"]))))


def few_calls(draw: Draw, load: s.Load) -> s.Load:
    """max_calls."""
    return replace(load, max_calls=draw(st.sampled_from([10, 1, 3])))


def paces(draw: Draw, load: s.Load) -> s.Load:
    """Pacing or think time."""
    if draw(st.booleans()):
        return replace(load, think_ms=20)
    return replace(load, pacing_ms=draw(st.sampled_from([50, 15])), drops=draw(st.booleans()))


def slots(draw: Draw, load: s.Load) -> s.Load:
    """Few slots, late ticks fired or dropped."""
    few = draw(st.sampled_from([1, 2]))
    calls = (*load.calls, (s.Sleep(draw(st.sampled_from([60, 200]))),))
    named = {"max_in_flight": few} if load.is_async else {"max_workers": few}
    return replace(load, calls=calls, drops=draw(st.booleans()), **named)


HAZARDS: list[Hazard] = [
    hang, linger, swallow, block, die, stop, fail, feed, leave, restart, setup, flood, overflow, threads, fork, few_calls, paces,
    slots,
]  # fmt: skip


def _fits(hazard: Hazard, load: s.Load, runtime: s.Runtime) -> bool:
    if hazard in (swallow, block):
        return load.is_async
    if hazard in (threads, fork):
        return not load.is_async and (hazard is threads or runtime == "process")
    if hazard in (die, overflow):
        return runtime == "process"
    if hazard in (paces, restart):
        return not load.is_rate
    return hazard is not slots or load.is_rate
