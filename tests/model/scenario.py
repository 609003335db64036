"""A scenario as a value: the loads of one run, and the events that hit it while it runs.

A scenario is a Python literal (`repr` and `parse` are inverse), so a failing example is one line to copy. Actors, driver
and truth read the same value. This module starts nothing and imports no test library: worker processes import it.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Literal

Kind = Literal["sync gun", "async gun", "sync user", "async user", "packed"]
KINDS: tuple[Kind, ...] = ("sync gun", "async gun", "sync user", "async user", "packed")
Runtime = Literal["process", "inline"]


class Value:
    """A dataclass whose repr leaves out the fields at their defaults."""

    def __repr__(self) -> str:
        """Return the constructor call."""
        shown = []
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


# -- the schedule


@dataclass(frozen=True, repr=False)
class Piece(Value):
    """Calls per second, or users, from `start` to `end` over `ms`."""

    start: int
    end: int
    ms: int


@dataclass(frozen=True, repr=False)
class Idle(Value):
    """A pause segment."""

    ms: int


Part = Piece | Idle

# -- what a call, a setup or a teardown does


@dataclass(frozen=True, repr=False)
class Sleep(Value):
    """Waits, blocking or async as the actor is."""

    ms: int


@dataclass(frozen=True, repr=False)
class Busy(Value):
    """Blocks its thread, and so the loop of an async actor."""

    ms: int


@dataclass(frozen=True, repr=False)
class Group(Value):
    """`with self.group(name)` around `steps`; `fails` calls fail() at its end, `catches` swallows an exception behind it."""

    name: str
    steps: Program = ()
    fails: bool = False
    catches: bool = False


@dataclass(frozen=True, repr=False)
class Record(Value):
    """One `self.record()`."""

    name: str
    fails: bool = False


@dataclass(frozen=True, repr=False)
class Flood(Value):
    """`number` calls of `self.record()` in a row: more than a small ring holds."""

    name: str
    number: int


@dataclass(frozen=True, repr=False)
class Threads(Value):
    """`threads` threads of the user's own that call `self.record()` `each` times."""

    name: str
    threads: int
    each: int


@dataclass(frozen=True, repr=False)
class Raise(Value):
    """Raises an ordinary exception."""


@dataclass(frozen=True, repr=False)
class Return(Value):
    """Returns: "ok", "failed", "error" and "timeout" are Responses built by hand, "wrong" is no Response."""

    how: Literal["ok", "failed", "error", "timeout", "wrong"]
    group: str = ""


@dataclass(frozen=True, repr=False)
class Leave(Value):
    """Raises StopUser."""


@dataclass(frozen=True, repr=False)
class Restart(Value):
    """Raises RestartUser."""


@dataclass(frozen=True, repr=False)
class StopGenerator(Value):
    """context.stop()."""


@dataclass(frozen=True, repr=False)
class Feed(Value):
    """Takes a row of the feeder."""


@dataclass(frozen=True, repr=False)
class Hang(Value):
    """Waits until the run is over; an async call can be cancelled."""


@dataclass(frozen=True, repr=False)
class Swallow(Value):
    """Async: waits until the run is over and swallows its cancellation."""


@dataclass(frozen=True, repr=False)
class Block(Value):
    """Async: blocks the event loop until the run is over."""


@dataclass(frozen=True, repr=False)
class Die(Value):
    """Ends its own process."""

    how: Literal["sigkill", "exit"] = "sigkill"


@dataclass(frozen=True, repr=False)
class Fork(Value):
    """Forks and waits for the child, which ends at once, records a group first, raises SystemExit, or returns."""

    how: Literal["quiet", "group", "exit", "return"]


Step = (
    Sleep | Busy | Group | Record | Flood | Threads | Raise | Return | Leave | Restart | StopGenerator | Feed | Hang
    | Swallow | Block | Die | Fork
)  # fmt: skip
Program = tuple[Step, ...]


@dataclass(frozen=True, repr=False)
class Special(Value):
    """Instead of its ordinary program the first `times` calls that are number `at` of their actor, or later, run `steps`."""

    at: int
    steps: Program
    times: int = 1


# -- loads and events


@dataclass(frozen=True, repr=False)
class Load(Value):
    """One Generator. Call `n` of user `u` runs `calls[(n + u) % len(calls)]`; rates are per second, times in ms.

    The setups number `bad_setup.at` and following of the load, `bad_setup.times` of them, run its steps after `setup`.
    `rows` is the length of the feeder, `cleanup_ms` what an async call waits after its cancellation, `ring_wait_ms` how
    long a worker waits for room in a full ring (None: as released).
    """

    kind: Kind
    schedule: tuple[Part, ...]
    calls: tuple[Program, ...] = ((),)
    specials: tuple[Special, ...] = ()
    setup: Program = ()
    bad_setup: Special | None = None
    teardown: Program = ()
    call_timeout_ms: int | None = None
    graceful_ms: int = 400
    setup_timeout_ms: int = 10_000
    fail_on_error: bool = False
    max_calls: int | None = None
    drops: bool = False
    max_in_flight: int | None = None
    max_workers: int | None = None
    pack: int = 2
    pacing_ms: int | None = None
    think_ms: int = 0
    rows: int | None = None
    cleanup_ms: int = 0
    ring_wait_ms: int | None = None

    @property
    def is_rate(self) -> bool:
        """Whether it is a gun."""
        return self.kind.endswith("gun")

    @property
    def is_async(self) -> bool:
        """Whether its calls are coroutines."""
        return not self.kind.startswith("sync")

    @property
    def duration_ms(self) -> int:
        """Length of the schedule."""
        return sum(part.ms for part in self.schedule)


@dataclass(frozen=True, repr=False)
class Event(Value):
    """What the driver does `after_ms` after the event before, the first one after the first call of the run began.

    `after_ms` -1 means at once, before anything was set up, -2 as soon as a first setup has begun. "kill" sends SIGKILL
    to a worker of load `load`, `nth` of those alive, and "stall" stops it for `hold_ms`; "freeze" stops the aggregator.
    """

    do: Literal["pause", "resume", "stop", "kill", "stall", "freeze"]
    after_ms: int = 0
    load: int = 0
    nth: int = 0
    hold_ms: int = 0


@dataclass(frozen=True, repr=False)
class Scenario(Value):
    """One run. `slots`: the size of the rings (None: as released)."""

    loads: tuple[Load, ...]
    runtime: Runtime = "process"
    nodes: int = 1
    events: tuple[Event, ...] = ()
    slots: int | None = None


_NAMES = {
    each.__name__: each
    for each in (
        Piece, Idle, Sleep, Busy, Group, Record, Flood, Threads, Raise, Return, Leave, Restart, StopGenerator, Feed, Hang, Swallow,
        Block, Die, Fork, Special, Load, Event, Scenario,
    )
}  # fmt: skip


def parse(text: str) -> Scenario:
    """Return the scenario of a literal; raises ValueError when it is none."""
    try:
        found = eval(text, {"__builtins__": {}}, dict(_NAMES))
    except Exception as exc:
        raise ValueError(f"not a scenario: {exc}") from exc
    if not isinstance(found, Scenario):
        raise ValueError(f"not a scenario: {type(found).__name__}, expected Scenario(...)")
    return found


def name_of(index: int) -> str:
    """Return the name of the Generator of load `index`."""
    return f"g{index}"


def steps_in(program: Program) -> list[Step]:
    """Return every step of a program, those inside groups too."""
    out: list[Step] = []
    for step in program:
        out.append(step)
        if isinstance(step, Group):
            out += steps_in(step.steps)
    return out


def call_steps(load: Load) -> list[Step]:
    """Return every step that a call of a load may run."""
    programs = [*load.calls, *(special.steps for special in load.specials)]
    return [step for program in programs for step in steps_in(program)]


def setup_steps(load: Load) -> list[Step]:
    """Return every step that a setup of a load may run."""
    return steps_in(load.setup) + (steps_in(load.bad_setup.steps) if load.bad_setup is not None else [])


def has(load: Load, *kinds: type[Step]) -> bool:
    """Return whether a call of the load may run one of these steps."""
    return any(isinstance(step, kinds) for step in call_steps(load))


def problems(scenario: Scenario) -> list[str]:
    """Return why a scenario cannot be run or cannot be judged, one sentence each."""
    out = []
    if not scenario.loads:
        out.append("a run needs a load")
    if scenario.runtime == "inline" and scenario.nodes > 1:
        out.append("several nodes are several processes")
    if scenario.slots is not None and scenario.nodes > 1:
        out.append("the size of the rings is set in the driver's process, where the node of one-node runs lives")
    if scenario.runtime == "inline" and any(event.do in ("kill", "stall", "freeze") for event in scenario.events):
        out.append("threads cannot be killed or stopped, and the aggregator is one of them")
    for load in scenario.loads:
        out += _load_problems(load, scenario)
    return out


def _load_problems(load: Load, scenario: Scenario) -> list[str]:
    out = []
    steps = call_steps(load)
    if not any(isinstance(part, Piece) and max(part.start, part.end) > 0 for part in load.schedule):
        out.append("a schedule needs a piece above 0")
    if scenario.runtime == "inline" and any(isinstance(step, (Die, Fork)) for step in [*steps, *setup_steps(load)]):
        out.append("the driver's own process must neither die nor fork")
    if not load.is_async and any(isinstance(step, (Swallow, Block)) for step in steps):
        out.append("only async calls have a cancellation and a loop")
    if load.is_async and any(isinstance(step, (Threads, Fork)) for step in steps):
        out.append("threads and forks are played by sync actors")
    if load.rows is None and any(isinstance(step, Feed) for step in steps):
        out.append("a row needs a feeder")
    if load.is_rate and (load.pacing_ms is not None or load.think_ms):
        out.append("pacing and think time are options of users")
    if not load.is_rate and (load.drops and load.pacing_ms is None):
        out.append("users drop paces only")
    if min(load.max_in_flight or scenario.nodes, load.max_workers or scenario.nodes) < scenario.nodes:
        out.append("each node needs a slot")
    if not load.is_rate and (load.max_in_flight is not None or load.max_workers is not None):
        out.append("slots are an option of guns")
    if load.is_rate and any(isinstance(step, (Leave, Restart)) for step in setup_steps(load)):
        out.append("StopUser and RestartUser in setup are for users")
    return out


__all__ = [name for name in globals() if not name.startswith("_") and name not in ("MISSING", "annotations")]
