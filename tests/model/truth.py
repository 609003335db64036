"""What the witness says a run's counts have to be: every call with the outcomes it may have, every request likewise.

Pure: lines in, facts out. The rules are those of docs/meaning.md; nothing here looks at the engine or at its summary.

What is uncertain, and nothing else:
- Of a killed process the single step after its last line. A line comes before the engine learns of a fact (`begin`: after
  it has begun the call), so the engine may or may not have taken that fact: the end of a call or request, a record, a
  setup; or it had begun one call more whose `begin` was not written. That is at most one call a killed process. A process
  that was killed before its first line, by a stop, a signal or the end of graceful_stop, had begun a setup that nobody saw.
- Of a call that was cut, its outcome, where the instants fit more than one cause (deadline and end of graceful_stop close
  to each other, a death that the driver saw too late).
- Threads cannot be killed: of a call in the inline runtime that ends after the instant at which its thread may have been
  given up, both readings are possible, and of a request that ends after it, whether it counts.
- Records of threads and floods that were cut in the middle, and all records of a load whose rings were made to overflow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from model import scenario as s
from model.counting import MS, peak_users
from model.times import NEVER, SLACK_NS, Times
from model.witness import Call, Life, Line, Record, Request

Outcomes = frozenset[str]
OK, FAILED, TIMEOUT = frozenset({"ok"}), frozenset({"failed"}), frozenset({"timeout"})
KILLED, INTERRUPTED, LOST = "killed", "interrupted", "lost"
MOST_LOOPS, MOST_GUN_WORKERS = 64, 200
"""Event loops and blocking workers of a gun on a node, at the most."""
COLUMNS = ("ok", "failed", "timeout", KILLED, INTERRUPTED, LOST)


@dataclass(frozen=True)
class Fact:
    """Calls and requests that began, each with the outcomes it may have; requests as (group, outcomes, how many)."""

    calls: tuple[Outcomes, ...] = ()
    requests: tuple[tuple[str, Outcomes, int], ...] = ()

    def __add__(self, other: Fact) -> Fact:
        """Return both."""
        return Fact(self.calls + other.calls, self.requests + other.requests)


@dataclass
class Truth:
    """Facts of one load on one node: certain ones, and for each uncertain step the facts of which one holds.

    `done` and `maybe` are bounds for the number of requests of each group: those that ended by themselves in time, and
    all that an engine could count beside them because their call was cut.
    """

    index: int
    node: int
    calls: Counter[Outcomes] = field(default_factory=Counter)
    requests: Counter[tuple[str, Outcomes]] = field(default_factory=Counter)
    steps: list[tuple[Fact, ...]] = field(default_factory=list)
    slack: Counter[str] = field(default_factory=Counter)
    """group -> records of cut floods and threads that may have come, requests of threads that may have been given up; of `setup`,
    setups that were killed unseen
    """
    done: Counter[str] = field(default_factory=Counter)
    maybe: Counter[str] = field(default_factory=Counter)

    def add(self, fact: Fact) -> None:
        """Add a certain fact."""
        self.calls.update(fact.calls)
        for name, outcomes, number in fact.requests:
            self.requests[name, outcomes] += number


def truths(times: Times) -> list[Truth]:
    """Return the truth of every load and node."""
    nodes = range(1, times.scenario.nodes + 1)
    return [_Reader(times, index, node).read() for index in range(len(times.scenario.loads)) for node in nodes]


def settled(call: Call) -> str:
    """Return the outcome of a call that ended by itself."""
    failed = any(_request_outcome(r) == FAILED for r in call.requests) or any(r.fails for r in call.records)
    match call.how:
        case "none" | "ok" | "left":
            return "failed" if failed else "ok"
        case "timeout":
            return "timeout"
        case "dry":
            return INTERRUPTED
        case _:
            return "failed"


class _Reader:
    """Reads the lives of one load on one node."""

    def __init__(self, times: Times, index: int, node: int) -> None:
        self.times, self.load, self.index = times, times.scenario.loads[index], index
        self.group = s.name_of(index)
        self.lives = times.of(index, node)
        self.truth = Truth(index, node)
        self.inline = times.scenario.runtime == "inline"
        self.overflows = self.load.ring_wait_ms is not None
        self.timeout_ns = NEVER if self.load.call_timeout_ms is None else self.load.call_timeout_ms * MS
        self.uncertain: dict[int, tuple[Fact, ...]] = {}

    def read(self) -> Truth:
        """Return the truth."""
        last = self._last_lines()
        for life in self.lives:
            line = last.get(life.pid)
            mine = line if line is not None and line.life == life.id else None
            self._setup(life, mine)
            for call in life.calls:
                self._call(life, call, mine if mine is not None and mine.call == call.number else None)
            self._outside(life, mine)
        for pid, line in last.items():
            first, *others = self.uncertain.get(pid, (Fact(),))
            phantoms = [first + phantom for phantom in self._phantoms(line)]
            if others or phantoms:
                self.truth.steps.append((first, *phantoms, *others))
                self.truth.maybe[self.group] += 1
                for name in {name for fact in self.truth.steps[-1] for name, _, _ in fact.requests}:
                    self.truth.maybe[name] += max(_number(fact, name) for fact in self.truth.steps[-1])
        self.truth.slack["setup"] += self._unseen_setups()
        return self.truth

    def _unseen_setups(self) -> int:
        """Setups of processes that may have been killed before they wrote a line: at most those of all workers."""
        events = self.times.scenario.events
        stops = [event for event in events if event.do == "stop"]
        is_cut = len(stops) > 1 or any(event.do == "kill" for event in events) or any(e.after_ms < 0 for e in stops)
        is_cut = is_cut or self.times.over_ns >= self.times.grace_lo(self.index)
        return _most_workers(self.load) if is_cut else 0

    def _last_lines(self) -> dict[int, Line]:
        """The last line of each process that was killed: it left no line of its end."""
        if self.inline:
            return {}
        out: dict[int, Line] = {}
        for pid in {life.pid for life in self.lives}:
            lives = [life for life in self.lives if life.pid == pid]
            if any(not self._is_ended(life) for life in lives):
                out[pid] = max((life.lines[-1] for life in lives), key=lambda line: line.ns)
        return out

    def _is_ended(self, life: Life) -> bool:
        """Whether it left by itself. A refused setup is recorded after its line, unless all is being cut at that time."""
        last = life.lines[-1]
        return last.what == "gone" or (last.what == "unready" and last.ns < self.times.setups_count_until)

    # -- one life

    def _setup(self, life: Life, last: Line | None) -> None:
        ready, unready = life.at("ready"), life.at("unready")
        unheard = Fact(requests=(("setup", frozenset({"timeout", "failed", KILLED, INTERRUPTED}), 1),))
        if self.inline and (ready or unready or NEVER) >= self.times.given_up_lo(life):
            self.truth.slack["setup"] += 1
            return
        if ready is None and unready is None:
            self.truth.add(unheard)
            self.truth.maybe["setup"] += 1
            return
        outcome = OK if ready is not None else FAILED
        if life.detail("unready") == ("StopUser",):  # the user ends, nothing failed; the page leaves it open
            outcome = OK | FAILED
        fact = Fact(requests=(("setup", outcome, 1),))
        if last is not None and last.what in ("ready", "unready"):
            self.uncertain[life.pid] = (fact, unheard)
        elif self.load.is_async and life.lines[-1].what in ("ready", "unready") and not self._is_ended(life):
            self.truth.steps.append((fact, unheard))  # its loop may have run a mate that died
            self.truth.maybe["setup"] += 1
        else:
            self._certain(fact)

    def _outside(self, life: Life, last: Line | None) -> None:
        """Requests of setup and teardown."""
        self._slack(life.outside)
        if self.inline:
            self._given_up_requests(life, life.outside)
            return
        facts = [self._outside_fact(life.outside)]
        if last is not None and last.call < 0 and last.what in ("close", "record", "opening"):
            facts.append(self._outside_fact(_without_last(life.outside, last.what)))
            self.uncertain[life.pid] = tuple(facts)
            return
        self.truth.add(facts[0])
        for name, outcomes, number in facts[0].requests:
            (self.truth.maybe if KILLED in outcomes else self.truth.done)[name] += number

    def _outside_fact(self, outside: Call) -> Fact:
        cut_ns = self._cut_ns(outside)
        still = [r for r in outside.requests if r.opening_ns < cut_ns and not _is_ended(r, cut_ns)]
        unheard = frozenset({"timeout", "failed", KILLED, INTERRUPTED})
        return Fact(requests=(*self._ended_requests(outside, cut_ns), *((r.name, unheard, 1) for r in still[-1:])))

    def _call(self, life: Life, call: Call, last: Line | None) -> None:
        outcome = self._outcome(life, call)
        self._slack(call)
        if self.overflows:  # any record may be lost, that of the end as well; groups are not compared
            self.truth.add(Fact((outcome | {LOST},)))
        elif last is not None and last.what in ("end", "close", "record", "opening"):
            self.uncertain[life.pid] = tuple(self._alternatives(life, call, last))
        elif call.how == "dry":  # cut short by itself
            self.truth.add(Fact((outcome,), (*self._ended_requests(call, NEVER), *self._own(call))))
            self.truth.done.update({name: n for name, _, n in self._ended_requests(call, NEVER)})
            self.truth.maybe[self.group] += 1
        elif self.inline and not call.cancelled_ns and (call.end_ns or NEVER) >= self.times.given_up_lo(life):
            self.truth.add(Fact((outcome,)))
            self._given_up_requests(life, call)
            self.truth.slack.update(self._own_if_given_up(life, call))
        elif _is_settled(call, outcome):
            self._certain(Fact((outcome,), (*self._ended_requests(call, NEVER), *self._own(call))))
        else:
            may_be_given_up = self.inline and call.cancelled_ns and call.cancelled_ns[0] >= self.times.given_up_lo(life)
            self._cut(call, outcome, may_be_given_up=bool(may_be_given_up))

    def _alternatives(self, life: Life, call: Call, last: Line) -> Iterator[Fact]:
        """The facts of a call whose last line is the last of its killed process: taken by the engine, then not taken."""
        cut = self._cut_by_death(life, call.begin_ns)
        if last.what == "end":
            own = frozenset({settled(call)})
            yield Fact((own,), (*self._ended_requests(call, NEVER), *self._own(call)))
            yield self._cut_fact(call, cut)
            return
        yield self._cut_fact(call, cut)
        yield self._cut_fact(_without_last(call, last.what), cut)

    def _phantoms(self, last: Line) -> Iterator[Fact]:
        """A killed process may have begun a call whose line was not written."""
        idle = ("ready", "end", "cleaned", "cancelled") if self.load.is_async else ("ready", "end")
        if last.what not in idle and not (self.load.is_async and last.call >= 0):
            return
        cut = {KILLED}
        if self.times.deaths[last.pid].dead_ns >= self.times.grace_lo(self.index):
            cut.add(INTERRUPTED)
        if self.overflows:
            cut.add(LOST)
        yield Fact((frozenset(cut),), ((self.group, frozenset(cut), 1),))

    def _certain(self, fact: Fact) -> None:
        self.truth.add(fact)
        for name, _, number in fact.requests:
            self.truth.done[name] += number

    def _cut(self, call: Call, outcome: Outcomes, *, may_be_given_up: bool = False) -> None:
        """`may_be_given_up`: by its thread, before the call was cancelled: of its open requests the last is known then."""
        fact = self._cut_fact(call, outcome)
        if may_be_given_up:
            unsure = self._open_requests(call)[:-1]
            self.truth.slack.update(request.name for request in unsure)
            kept = self._cut_fact(replace(call, requests=[r for r in call.requests if r not in unsure]), outcome)
            fact = Fact(fact.calls, kept.requests)
        self.truth.add(fact)
        for name, _, number in self._ended_requests(call, self._cut_ns(call)):
            self.truth.done[name] += number
        for name in {
            self.group,
            call.group or self.group,
            *(r.name for r in call.requests),
            *(r.name for r in call.records),
        }:
            self.truth.maybe[name] += 1 + sum(r.name == name for r in call.requests)
            self.truth.maybe[name] += sum(
                r.number for r in call.records if r.name == name and r.ns > self._cut_ns(call)
            )

    def _given_up_requests(self, life: Life, call: Call) -> None:
        """Requests and records of a thread: those that ended before it may have been given up count, the others may."""
        given_up_ns = self.times.given_up_lo(life)
        ended = [request for request in call.requests if _is_ended(request, given_up_ns)]
        done = [record for record in call.records if record.done_ns is not None and record.done_ns < given_up_ns]
        self._certain(Fact(requests=tuple(self._made(ended, done))))
        self.truth.slack.update(request.name for request in call.requests if request not in ended)
        for record in call.records:
            if record not in done and record.done_ns is not None:
                self.truth.slack[record.name] += record.number

    def _own_if_given_up(self, life: Life, call: Call) -> set[str]:
        """Groups that may have the call itself: as it ended, or that of its Generator if it was given up before any request."""
        given_up_ns = self.times.given_up_lo(life)
        begun = [request.opening_ns for request in call.requests] + [record.ns for record in call.records]
        names = {name for name, _, _ in self._own(call)}
        return names if names and min(begun, default=NEVER) < given_up_ns else names | {self.group}

    def _slack(self, call: Call) -> None:
        for record in call.records:
            if record.done_ns is None:
                self.truth.slack[record.name] += record.number

    # -- outcomes

    def _outcome(self, life: Life, call: Call) -> Outcomes:
        if call.cancelled_ns:
            return self._cancelled(life, call)
        if call.end_ns is None or (self.inline and call.end_ns > self.times.over_ns):
            return self._given_up(life, call) if self.inline else self._cut_by_death(life, call.begin_ns)
        own = frozenset({settled(call)})
        return own | self._maybe_given_up(life, call) if self.inline else own

    def _cancelled(self, life: Life, call: Call) -> Outcomes:
        """Cut by the loop of its worker, which was alive: at its deadline, or by the end of graceful_stop."""
        at = call.cancelled_ns[0]
        lasted, out = at - call.begin_ns, set()
        if lasted >= self.timeout_ns - SLACK_NS:
            out.add("timeout")
        if at >= self.times.grace_lo(self.index, life.user) and lasted < self.timeout_ns + SLACK_NS:
            out.add(INTERRUPTED)
        return frozenset(out or {INTERRUPTED})

    def _cut_by_death(self, life: Life, begin_ns: int) -> Outcomes:
        death = self.times.deaths[life.pid]
        dead_ns = min(death.dead_ns, self.times.over_ns)
        if death.alive_ns - begin_ns > self.timeout_ns:
            return TIMEOUT
        out = set()
        if dead_ns - begin_ns >= self.timeout_ns - SLACK_NS:
            out.add("timeout")
        if dead_ns >= self.times.grace_lo(self.index, life.user):
            out.add(INTERRUPTED)
        if self.times.is_killed_by_other(life, begin_ns, self.timeout_ns) or not out:
            out.add(KILLED)
        return frozenset(out)

    def _given_up(self, life: Life, call: Call) -> Outcomes:
        """Inline: the thread still runs it, the engine has booked it."""
        out = set()
        if self.times.over_ns - call.begin_ns >= self.timeout_ns - SLACK_NS:
            out.add("timeout")
        grace = self.times.grace_lo(self.index, life.user)
        if self.times.over_ns >= grace and call.begin_ns + self.timeout_ns + SLACK_NS >= grace:
            out.add(INTERRUPTED)
        if self._has_hung_mate(life, call) or not out:
            out.add(KILLED)
        return frozenset(out)

    def _maybe_given_up(self, life: Life, call: Call) -> Outcomes:
        """Inline: it ended by itself, but maybe after the engine had given its thread up."""
        assert call.end_ns is not None
        out = set()
        if not self.load.is_async and call.end_ns - call.begin_ns >= self.timeout_ns - SLACK_NS:
            out.add("timeout")
        if call.end_ns >= (self.times.hurry_ns if self.load.is_async else self.times.grace_lo(self.index, life.user)):
            out.add(INTERRUPTED)
        if self._has_hung_mate(life, call):
            out |= {KILLED, "timeout"}
        return frozenset(out)

    def _has_hung_mate(self, life: Life, call: Call) -> bool:
        """Whether another call of the same loop hung long enough for the thread to be given up while this one ran."""
        until = call.end_ns if call.end_ns is not None else self.times.over_ns
        return self.load.is_async and until >= self.times.hung_lo(life, but=call)

    # -- requests

    def _cut_ns(self, call: Call) -> int:
        """The instant from which on nothing of a cut call counts; inline it goes on after the run when it is released."""
        return min([*call.cancelled_ns[:1], self.times.over_ns if self.inline else NEVER])

    def _cut_fact(self, call: Call, outcome: Outcomes) -> Fact:
        """A call that the engine ended: its open requests take its outcome, all of them or the most recently opened."""
        cut_ns, still = self._cut_ns(call), self._open_requests(call)
        out = [*self._ended_requests(call, cut_ns)]
        out += [(r.name, outcome, 1) for r in (still if call.cancelled_ns else still[-1:])]
        if not out and not any(record.ns < cut_ns for record in call.records):
            out.append((self.group, outcome, 1))
        return Fact((outcome,), tuple(out))

    def _open_requests(self, call: Call) -> list[Request]:
        """Requests that were open when their call was cut, in order of their begin."""
        cut_ns = self._cut_ns(call)
        return [r for r in call.requests if r.opening_ns < cut_ns and not _is_ended(r, cut_ns)]

    def _ended_requests(self, call: Call, cut_ns: int) -> list[tuple[str, Outcomes, int]]:
        """Requests that ended by themselves before their call was cut."""
        made = [r for r in call.records if r.done_ns is not None and r.ns < cut_ns]
        return self._made([r for r in call.requests if _is_ended(r, cut_ns)], made)

    def _made(self, requests: Sequence[Request], records: Sequence[Record]) -> list[tuple[str, Outcomes, int]]:
        out = [(r.name, _request_outcome(r), 1) for r in requests]
        return out + [(r.name, FAILED if r.fails else OK, r.number) for r in records]

    def _own(self, call: Call) -> list[tuple[str, Outcomes, int]]:
        """A Response built by hand, or the call itself when it made no request."""
        by_hand = {"ok": OK, "failed": FAILED, "error": FAILED, "timeout": TIMEOUT}.get(call.how)
        if by_hand is not None:
            return [(call.group or self.group, by_hand, 1)]
        if call.requests or call.records:
            return []
        return [(self.group, frozenset({settled(call)}), 1)]


def _is_settled(call: Call, outcome: Outcomes) -> bool:
    return call.how != "" and not call.cancelled_ns and outcome == frozenset({settled(call)})


def _is_ended(request: Request, cut_ns: int) -> bool:
    return request.close_ns is not None and request.how != "cut" and request.close_ns < cut_ns


def _request_outcome(request: Request) -> Outcomes:
    return OK if request.how in ("ok", "left", "dry") else FAILED


def _without_last(call: Call, what: str) -> Call:
    """The call as it is if the engine never learned of its last line."""
    match what:
        case "close":
            at = max(range(len(call.requests)), key=lambda n: call.requests[n].close_ns or 0)
            reopened = replace(call.requests[at], close_ns=None, how="")
            return replace(call, requests=[*call.requests[:at], *call.requests[at + 1 :], reopened])
        case "opening":
            return replace(call, requests=call.requests[:-1])
        case _:
            return replace(call, records=call.records[:-1])


def _most_workers(load: s.Load) -> int:
    if load.kind == "async gun":
        return MOST_LOOPS
    return peak_users(load.schedule) if not load.is_rate else load.max_workers or MOST_GUN_WORKERS


def _number(fact: Fact, group: str) -> int:
    return sum(number for name, _, number in fact.requests if name == group)
