"""The checker has to notice: invented runs that add up, each spoilt in one place; and the second counting of schedules."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import counting, strategy
from model import scenario as s
from model.check import CHECKS, compare
from model.counting import MS, SECOND
from model.counts import feasible
from model.drive import Evidence
from model.scenario import KINDS, Event, Load, Piece, Scenario, parse
from model.truth import COLUMNS
from model.witness import Line, Note
from wasp_ray.schedule import RateCurve, Schedule, UserCurve, pause, ramp
from wasp_ray.stats.outcomes import OUTCOMES

T0 = 1_000 * SECOND


class Story:
    """An invented run: lines of actors, notes of the driver and the summary, all at instants in ms after t = 0."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.evidence = Evidence()
        self.note(-500, "start", 0)
        self._numbers: Counter[str] = Counter()
        self._draws = itertools.count()

    def note(self, ms: float, what: str, *detail: Any) -> None:
        """Add a line of the driver's log."""
        self.evidence.notes.append(Note(T0 + int(ms * MS), what, detail))
        self.evidence.notes.sort()

    def line(self, ms: float, life: str, what: str, call: int, *detail: Any) -> None:
        """Add a line of an actor; a life is "LOAD/USER/PID"."""
        load, user, pid = (int(part) for part in life.split("/"))
        at = T0 + int(ms * MS)
        self.evidence.lines.append(Line(at, what, load, 1, user, pid, f"{pid}.{user}", call, detail))
        self.evidence.lines.sort(key=lambda line: line.ns)

    def setup(self, ms: float, life: str) -> None:
        """Add a setup of 5 ms."""
        self.line(ms, life, "setup", -1, 0.1 + next(self._draws), 0.2 + next(self._draws))
        self.line(ms + 5, life, "ready", -1)

    def begin(self, ms: float, life: str) -> int:
        """Add the begin of a call; return its number."""
        number = self._numbers[life]
        self._numbers[life] += 1
        self.line(ms, life, "begin", number)
        return number

    def call(self, ms: float, life: str, how: str = "none", lasts_ms: float = 10) -> int:
        """Add a whole call."""
        number = self.begin(ms, life)
        self.line(ms + lasts_ms, life, "end", number, how, "")
        return number

    def teardown(self, ms: float, life: str) -> None:
        """Add a teardown of 1 ms."""
        self.line(ms, life, "teardown", -1)
        self.line(ms + 1, life, "gone", -1)

    def death(self, pid: int, alive_ms: float, dead_ms: float) -> None:
        """Add what the driver saw of a process' end."""
        self.note(dead_ms, "dead", pid, T0 + int(alive_ms * MS))

    def over(self, ms: float, *generators: dict[str, Any], duration_s: float) -> Evidence:
        """End the run with the summary that these Generators make."""
        self.note(ms, "over")
        ledgers = [generator["ledger"] for generator in generators]
        total = {column: sum(ledger[column] for ledger in ledgers) for column in ledgers[0]}
        self.evidence.summary = {
            "verdict": "passed", "reasons": [], "duration_s": duration_s, "ledger": total,
            "started_at": "1970-01-01T00:16:40.000Z",
            "generators": {s.name_of(index): data for index, data in enumerate(generators)},
            "nodes": [{"node": 1, "ledger": dict(total)}],
        }  # fmt: skip
        self.evidence.written = copy.deepcopy(self.evidence.summary)
        self.evidence.series = {
            s.name_of(index): Counter({column: ledger[column] for column in COLUMNS[:-1]})
            for index, ledger in enumerate(ledgers)
        }
        self.evidence.windows = {
            s.name_of(index): {
                None: dict(data["ledger"]),
                **{group: {name: counts[name] for name in OUTCOMES} for group, counts in data["groups"].items()},
            }
            for index, data in enumerate(generators)
        }
        return self.evidence


def generator(
    groups: dict[str, dict[str, int]], *, dropped: Any = None, longest_s: float = 0.011,
    setup_failed: int = 0, users: int = 0, **columns: int,
) -> dict[str, Any]:  # fmt: skip
    """Return a Generator's part of a summary whose ledger closes."""
    ends = {column: columns.get(column, 0) for column in COLUMNS}
    started, lost = sum(ends.values()), sum((dropped or {}).values())
    five = ("ok", "failed", "timeout", "killed", "interrupted")
    return {
        "ledger": {"scheduled": started + lost, "dropped": lost, "started": started, **ends},
        "dropped_by": dropped or {}, "call": {"service_s": {"max": longest_s}},
        "users": {"planned_max": users, "active_max": users, "setup_failed": setup_failed, "delivered": 1.0},
        "groups": {
            name: {"count": sum(counts.values()), **{column: counts.get(column, 0) for column in five}}
            for name, counts in groups.items()
        },
    }  # fmt: skip


GUN = Load("async gun", (Piece(10, 10, 400),), max_in_flight=2, max_calls=20, rows=5)
USER = Load("sync user", (Piece(1, 1, 400),), fail_on_error=False)
BOTH = Scenario((GUN, USER))


def agreeing() -> tuple[Scenario, Evidence]:
    """Return a run that adds up: four ticks of a gun, two of which in flight at once, and a user with three calls."""
    story = Story(BOTH)
    for life in ("0/0/100", "1/0/200"):
        story.setup(-100, life)
    for at, how, lasts in ((1, "none", 110), (101, "raised", 10), (201, "none", 10)):
        story.call(at, "0/0/100", how, lasts)
    number = story.begin(301, "0/0/100")
    story.line(302, "0/0/100", "row", number, 3)
    story.line(302, "0/0/100", "opening", number, "x", "a")
    story.line(303, "0/0/100", "open", number, "x")
    story.line(305, "0/0/100", "close", number, "x", "ok")
    story.line(306, "0/0/100", "end", number, "ok", "own")
    for at in (1, 101, 201):
        story.call(at, "1/0/200", "none", 10)
    for life in ("0/0/100", "1/0/200"):
        story.teardown(405, life)
        story.death(int(life.split("/")[2]), 410, 420)
    gun = generator(
        {"setup": {"ok": 1}, "g0": {"ok": 2, "failed": 1}, "a": {"ok": 1}, "own": {"ok": 1}},
        ok=3,
        failed=1,
        longest_s=0.111,
    )
    user = generator({"setup": {"ok": 1}, "g1": {"ok": 3}}, ok=3, users=1)
    return BOTH, story.over(500, gun, user, duration_s=0.4)


def checks(scenario: Scenario, evidence: Evidence) -> set[str]:
    """Return the checks that find something."""
    return {each.check for each in compare(scenario, evidence)}


def test_a_run_that_adds_up_has_no_divergence() -> None:
    """Otherwise the mutations below would prove nothing."""
    assert compare(*agreeing()) == []


# -- one change each

Change = Callable[[Evidence], None]


def ledger(column: str, by: int, *, closes: bool = True, name: str = "g0") -> Change:
    """Change a column of a Generator, of its node and of the run; `closes`: take it from ok, so that the ledger closes."""

    def change(evidence: Evidence) -> None:
        assert evidence.summary is not None
        summary = evidence.summary
        for found in (summary["ledger"], summary["generators"][name]["ledger"], summary["nodes"][0]["ledger"]):
            found[column] += by
            if closes:
                found["ok"] -= by
        if column in COLUMNS[:-1]:
            evidence.series[name][column] += by
            evidence.series[name]["ok"] -= by if closes else 0
        evidence.windows[name][None] = dict(summary["generators"][name]["ledger"])
        evidence.written = copy.deepcopy(summary)

    return change


def started(by: int) -> Change:
    """Change started, scheduled and ok alike: the ledger still closes."""

    def change(evidence: Evidence) -> None:
        for column in ("started", "scheduled", "ok"):
            ledger(column, by, closes=False)(evidence)

    return change


def summary(*path: str | int, to: Any, name: str = "g0") -> Change:
    """Set a value of a Generator's part of the summary."""

    def change(evidence: Evidence) -> None:
        assert evidence.summary is not None
        found = evidence.summary["generators"][name]
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = to
        evidence.written = copy.deepcopy(evidence.summary)

    return change


def whole(key: str, to: Any) -> Change:
    """Set a value of the summary itself."""

    def change(evidence: Evidence) -> None:
        assert evidence.summary is not None
        evidence.summary[key] = to
        evidence.written = copy.deepcopy(evidence.summary)

    return change


def without(what: str, which: int = 0, load: int = 0) -> Change:
    """Drop a line of the witness."""

    def change(evidence: Evidence) -> None:
        lines = [line for line in evidence.lines if line.what == what and line.load == load]
        evidence.lines.remove(lines[which])

    return change


def without_call(number: int) -> Change:
    """Drop every line of a call of the gun; those after it move up."""

    def change(evidence: Evidence) -> None:
        kept = [line for line in evidence.lines if (line.load, line.call) != (0, number)]
        evidence.lines = [
            line._replace(call=line.call - 1) if line.load == 0 and line.call > number else line for line in kept
        ]

    return change


def edited(what: str, which: int, load: int = 0, **fields: Any) -> Change:
    """Change fields of a line; `ms` moves it."""

    def change(evidence: Evidence) -> None:
        lines = [line for line in evidence.lines if line.what == what and line.load == load]
        changes = dict(fields)
        if (ms := changes.pop("ms", None)) is not None:
            changes["ns"] = T0 + int(ms * MS)
        at = evidence.lines.index(lines[which])
        evidence.lines[at] = lines[which]._replace(**changes)
        evidence.lines.sort(key=lambda line: line.ns)

    return change


def more(ms: float, what: str, *detail: Any, load: int = 0, call: int = -1, pid: int | None = None) -> Change:
    """Add a line; `pid`: of a forked copy."""

    def change(evidence: Evidence) -> None:
        life = "100.0" if load == 0 else "200.0"
        line = Line(T0 + int(ms * MS), what, load, 1, 0, pid or int(life[:3]), life, call, detail)
        evidence.lines.append(line)
        evidence.lines.sort(key=lambda each: each.ns)

    return change


def noted(ms: float, what: str, *detail: Any) -> Change:
    """Add a note of the driver."""

    def change(evidence: Evidence) -> None:
        evidence.notes.append(Note(T0 + int(ms * MS), what, detail))
        evidence.notes.sort()

    return change


def both(*changes: Change) -> Change:
    """Make several changes."""

    def change(evidence: Evidence) -> None:
        for each in changes:
            each(evidence)

    return change


MUTATIONS: dict[str, tuple[str, Change]] = {
    "a call is missing in the witness": ("started", without_call(2)),
    "an end is missing in the witness": ("outcomes", without("end", 1)),
    "a start too many": ("started", started(1)),
    "a start too few": ("started", started(-1)),
    "a failed call is counted as ok": ("outcomes", ledger("failed", -1)),
    "an ok call is counted as failed": ("outcomes", ledger("failed", 1)),
    "an ok call is counted as timeout": ("outcomes", ledger("timeout", 1)),
    "an ok call is counted as killed": ("outcomes", ledger("killed", 1)),
    "an ok call is counted as interrupted": ("outcomes", ledger("interrupted", 1)),
    "an ok call is counted as lost": ("outcomes", ledger("lost", 1)),
    "an end is counted nowhere": ("closes", ledger("ok", -1, closes=False)),
    "a tick is due and nowhere": ("closes", ledger("scheduled", 1, closes=False)),
    "a node's ledger lacks what its Generators have": (
        "closes",
        whole("nodes", [{"node": 1, "ledger": dict.fromkeys(("scheduled", "dropped", "started", *COLUMNS), 0)}]),
    ),
    "scheduled and dropped are one too many": (
        "scheduled",
        both(
            ledger("scheduled", 1, closes=False),
            ledger("dropped", 1, closes=False),
            summary("dropped_by", to={"generator": 1}),
        ),
    ),
    "dropped without a cause": ("closes", ledger("dropped", 1, closes=False)),
    "dropped as stopped, and nothing stopped": ("dropped", summary("dropped_by", to={"stopped": 1})),
    "dropped as worker_lost, and nobody died": ("dropped", summary("dropped_by", to={"worker_lost": 1})),
    "dropped as generator, right at the end": ("dropped", summary("dropped_by", to={"generator": 1})),
    "a group has a request too many": ("groups", summary("groups", "a", "count", to=2)),
    "a group has a request too few": ("requests", summary("groups", "g0", "count", to=2)),
    "a group that nobody made": ("requests", summary("groups", "ghost", to={"count": 1, "failed": 0})),
    "a group is missing": ("groups", summary("groups", to={})),
    "a failed request is counted as ok": ("groups", summary("groups", "g0", "failed", to=0)),
    "an ok request is counted as killed": (
        "group outcomes",
        both(summary("groups", "a", "ok", to=0), summary("groups", "a", "killed", to=1)),
    ),
    "a group does not say its outcomes": ("group outcomes", summary("groups", "a", to={"count": 1, "failed": 0})),
    "a failed setup that nobody made": ("setups", summary("users", "setup_failed", to=1)),
    "planned_max is one too many": ("users", summary("users", "planned_max", to=2, name="g1")),
    "active_max is one too many": ("users", summary("users", "active_max", to=2, name="g1")),
    "active_max is one too few": ("users", summary("users", "active_max", to=0, name="g1")),
    "delivered is a half": ("delivered", summary("users", "delivered", to=0.5, name="g1")),
    "delivered is missing": (
        "delivered",
        summary("users", to={"planned_max": 1, "active_max": 1, "setup_failed": 0}, name="g1"),
    ),
    "a call begins before setup has ended": ("order", edited("ready", 0, load=1, ms=5)),
    "a call begins after teardown": ("order", edited("teardown", 0, load=1, ms=150)),
    "two calls of a user at once": ("order", edited("end", 0, load=1, ms=150)),
    "teardown runs twice": ("order", both(more(407, "teardown", load=1), more(408, "gone", load=1))),
    "a process ends without teardown and without a cause": (
        "order",
        both(without("teardown", load=1), without("gone", load=1)),
    ),
    "a call is cancelled without a cause": ("order", both(without("end", 0), more(100, "cancelled", call=0))),
    "a user leaves early": ("order", edited("teardown", 0, load=1, ms=250)),
    "the load begins before its first user is ready": ("order", edited("ready", 0, load=1, ms=3)),
    "the second tick begins before it is due": ("early", edited("begin", 1, ms=3)),
    "a user calls in a pause": (
        "early",
        both(
            noted(-200, "pause"),
            noted(-199, "pause done"),
            noted(1900, "resume"),
            noted(1901, "resume done"),
            edited("begin", 2, load=1, ms=1500),
            edited("end", 2, load=1, ms=1510),
        ),
    ),
    "more calls at once than slots": ("limits", both(edited("end", 1, ms=206), edited("end", 0, ms=207))),
    "a row is used twice": ("limits", more(302, "row", 3, call=3)),
    "a call outlives its deadline by seconds": (
        "grace",
        both(
            edited("end", 2, load=1, ms=4_000),
            edited("teardown", 0, load=1, ms=4_001),
            edited("gone", 0, load=1, ms=4_002),
        ),
    ),
    "an async call ends seconds late": ("lag", edited("end", 0, ms=3_000)),
    "two actors draw the same number": ("streams", edited("setup", 0, load=1, detail=(0.1, 5.5))),
    "a forked child goes on as a user": ("forks", more(50, "ghost", load=1, pid=999)),
    "a forked child does not end": ("forks", more(50, "survivor", load=1)),
    "a call is reported longer than the run": ("times", summary("call", "service_s", "max", to=60.0)),
    "the longest call is reported too short": ("times", summary("call", "service_s", "max", to=0.05)),
    "the run is reported longer than it was": ("times", whole("duration_s", 61.0)),
    "t = 0 is reported after the first call": ("times", whole("started_at", "1970-01-01T00:16:40.100Z")),
    "t = 0 is reported before its users were ready": ("times", whole("started_at", "1970-01-01T00:16:39.100Z")),
    "a reason that nothing explains": ("reasons", whole("reasons", ["g0: the ledger does not close"])),
    "a fault of the engine as a reason": (
        "reasons",
        whole("reasons", ["the aggregator process died: the load was ended"]),
    ),
    "the series lacks a call": ("series", lambda evidence: evidence.series["g0"].update({"ok": -1})),
    "windows.bin lacks a call": ("windows", lambda evidence: evidence.windows["g0"][None].update({"ok": 0})),
    "windows.bin has a group too many": ("windows", lambda evidence: evidence.windows["g0"].update({"x": {"ok": 1}})),
    "summary.json differs": (
        "bundle",
        lambda evidence: evidence.written.update({"verdict": "failed"}) if evidence.written else None,
    ),
    "a Generator is missing": ("bundle", whole("generators", {})),
    "the run raised": ("ends", lambda evidence: setattr(evidence, "raised", "ValueError: no")),
    "the run did not end": ("ends", noted(400, "overtime")),
    "a process is left behind": ("leaks", noted(600, "left behind", 77)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_one_change_is_noticed_by_its_check(name: str) -> None:
    """A witness or summary that is wrong in one place."""
    check, change = MUTATIONS[name]
    scenario, evidence = agreeing()
    if name == "a call outlives its deadline by seconds":
        scenario = replace(scenario, loads=(GUN, replace(USER, call_timeout_ms=500)))
    change(evidence)
    assert check in checks(scenario, evidence)


def test_every_check_is_able_to_notice_something() -> None:
    """A check without a mutation above might never fail."""
    assert {check for check, _ in MUTATIONS.values()} == set(CHECKS)


# -- the one uncertain call of a killed process


def killed(last: str, *, begins_ms: float = 101, timeout_ms: int | None = None) -> tuple[Scenario, Story]:
    """Return a run whose user is killed at 200 ms: its last line is `last`, of its second call."""
    load = replace(USER, call_timeout_ms=timeout_ms)
    story = Story(Scenario((load,), events=(Event("kill", 200),)))
    story.setup(-100, "0/0/100")
    story.call(1, "0/0/100")
    if last == "begin":
        story.begin(begins_ms, "0/0/100")
    else:
        story.call(begins_ms, "0/0/100")
    story.note(200, "kill", 100)
    story.death(100, 199, 201)
    return story.scenario, story


DEATHS = {
    "an end that the engine took": ("end", {"ok": 2}, True),
    "an end that it did not take": ("end", {"ok": 1, "killed": 1}, True),
    "a call more that it had begun": ("end", {"ok": 2, "killed": 1}, True),
    "an end not taken, and one more begun": ("end", {"ok": 1, "killed": 2}, False),
    "two calls more": ("end", {"ok": 2, "killed": 2}, False),
    "an end taken as failed": ("end", {"ok": 1, "failed": 1}, False),
    "a call more that went well": ("end", {"ok": 3}, False),
    "a call in flight": ("begin", {"ok": 1, "killed": 1}, True),
    "a call in flight that is forgotten": ("begin", {"ok": 1}, False),
    "a call in flight, and one more": ("begin", {"ok": 1, "killed": 2}, False),
    "a call in flight as ok": ("begin", {"ok": 2}, False),
    "a call in flight as timeout": ("begin", {"ok": 1, "timeout": 1}, False),
    "a call in flight as interrupted": ("begin", {"ok": 1, "interrupted": 1}, False),
}


@pytest.mark.parametrize("name", DEATHS)
def test_of_a_killed_process_one_step_is_uncertain_and_no_more(name: str) -> None:
    """The step after its last line."""
    last, columns, is_possible = DEATHS[name]
    scenario, story = killed(last)
    evidence = story.over(500, generator({}, users=1, **columns), duration_s=0.4)
    assert ({"started", "outcomes"} & checks(scenario, evidence) == set()) == is_possible


@pytest.mark.parametrize(("begins_ms", "columns", "is_possible"), [
    (11, {"ok": 1, "timeout": 1}, True),  # 50 ms was over long before the kill
    (11, {"ok": 1, "killed": 1}, False),
    (199, {"ok": 1, "killed": 1}, True),
])  # fmt: skip
def test_a_call_that_was_past_its_deadline_is_a_timeout(
    begins_ms: float, columns: dict[str, int], is_possible: bool
) -> None:
    """Whatever killed its process."""
    scenario, story = killed("begin", begins_ms=begins_ms, timeout_ms=50)
    evidence = story.over(500, generator({}, users=1, **columns), duration_s=0.4)
    assert ({"started", "outcomes"} & checks(scenario, evidence) == set()) == is_possible


@pytest.mark.parametrize(
    ("column", "is_possible"), [("timeout", True), ("killed", False), ("failed", False), ("ok", False)]
)
def test_a_call_cancelled_at_its_deadline_is_a_timeout(column: str, is_possible: bool) -> None:
    """Also when it goes on to swallow that and returns."""
    load = Load("async user", (Piece(1, 1, 400),), calls=((s.Swallow(),),), call_timeout_ms=100)
    story = Story(Scenario((load,)))
    story.setup(-100, "0/0/100")
    number = story.begin(1, "0/0/100")
    story.line(103, "0/0/100", "cancelled", number)
    story.line(350, "0/0/100", "end", number, "none", "")
    story.teardown(405, "0/0/100")
    evidence = story.over(500, generator({}, users=1, **{column: 1}), duration_s=0.4)
    assert ("outcomes" not in checks(story.scenario, evidence)) == is_possible


GROUPS_AT_A_CUT = {
    "both open requests take the outcome of a call that its loop cuts": (True, {"outer": 1, "inner": 1}, True),
    "the outer one alone does not": (True, {"outer": 1}, False),
    "of a dead process the most recently opened one does": (False, {"inner": 1}, True),
    "not both": (False, {"outer": 1, "inner": 1}, False),
    "not the call itself": (False, {"inner": 1, "g0": 1}, False),
}


@pytest.mark.parametrize("name", GROUPS_AT_A_CUT)
def test_requests_that_were_open_when_their_call_was_cut(name: str) -> None:
    """They count in their groups."""
    is_alive, timeouts, is_possible = GROUPS_AT_A_CUT[name]
    load = Load("async user", (Piece(1, 1, 400),), call_timeout_ms=100)
    story = Story(Scenario((load,)))
    story.setup(-100, "0/0/100")
    number = story.begin(1, "0/0/100")
    for at, group in ((2, "outer"), (3, "inner")):
        story.line(at, "0/0/100", "opening", number, group, group)
        story.line(at, "0/0/100", "open", number, group)
    if is_alive:
        story.line(101, "0/0/100", "close", number, "inner", "cut")
        story.line(101.1, "0/0/100", "close", number, "outer", "cut")
        story.line(101.2, "0/0/100", "cancelled", number)
        story.teardown(405, "0/0/100")
    else:
        story.death(100, 390, 395)
    groups = {"setup": {"ok": 1}, **{group: {"timeout": count} for group, count in timeouts.items()}}
    evidence = story.over(500, generator(groups, users=1, timeout=1), duration_s=0.4)
    assert ("groups" not in checks(story.scenario, evidence)) == is_possible


# -- the parts


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sets(st.sampled_from("abc"), min_size=1).map(frozenset), st.integers(0, 3)), st.data())
def test_feasible_is_what_trying_every_assignment_finds(wanted: dict[frozenset[str], int], data: st.DataObject) -> None:
    """Hall's condition against brute force."""
    items = [outcomes for outcomes, number in wanted.items() for _ in range(number)][:6]
    counts = {name: data.draw(st.integers(0, 3)) for name in "abc"}
    found = any(Counter(choice) == +Counter(counts) for choice in itertools.product(*items))
    assert feasible(Counter(items), counts) == found


PARTS = st.lists(
    st.one_of(
        st.builds(s.Piece, st.integers(0, 40), st.integers(0, 40), st.sampled_from([100, 250, 400])),
        st.builds(s.Idle, st.sampled_from([50, 100])),
    ),
    min_size=1,
    max_size=4,
).map(tuple)


def _schedule(parts: tuple[s.Part, ...]) -> Schedule:
    made = [pause(f"{p.ms}ms") if isinstance(p, s.Idle) else ramp(p.start, p.end, f"{p.ms}ms") for p in parts]
    return sum(made[1:], made[0])


@settings(max_examples=150, deadline=None)
@given(PARTS, st.integers(-10, 1700))
def test_two_countings_of_a_schedule_agree(parts: tuple[s.Part, ...], ms: int) -> None:
    """The short one of the model and that of the engine share no code."""
    curve = RateCurve(_schedule(parts), SECOND)
    assert counting.total(parts) == curve.count
    t_ns = min(ms * MS, counting.duration_ns(parts))
    assert counting.due_by(parts, t_ns) == curve.count_until(t_ns)
    for number in range(0, curve.count, 7):
        assert counting.due_ns(parts, number) == curve.due_ns(number)


@settings(max_examples=150, deadline=None)
@given(PARTS, st.integers(0, 1700))
def test_two_countings_of_users_agree(parts: tuple[s.Part, ...], ms: int) -> None:
    """At any millisecond."""
    assert counting.users_at(parts, ms * MS) == UserCurve(_schedule(parts)).users_at(ms * MS)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS).flatmap(lambda kind: strategy.scenarios(kind, "process", 1)))
def test_a_scenario_is_a_literal(scenario: Scenario) -> None:
    """It survives being printed, which is how a failing example is repeated."""
    assert parse(repr(scenario)) == scenario
