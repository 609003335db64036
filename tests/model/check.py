"""Compares the truth of a run with its summary: a list of divergences, each under the name of its check.

Pure. `CHECKS` names every check and what it compares; marks and tests refer to these names.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from model import counting
from model import scenario as s
from model.counting import MS, SECOND
from model.counts import Divergence, choices, group_problems, ledger_problems
from model.drive import Evidence
from model.order import order_of
from model.times import CLAIM_NS, NEVER, PAUSE_SETTLES_NS, SLACK_NS, Times
from model.truth import COLUMNS, Outcomes, Truth, settled, truths
from model.witness import Call, Life, parse
from wasp_ray.stats.outcomes import OUTCOMES

CHECKS = {
    "ends": "the run ends, and raises nothing",
    "closes": "both equations of the ledger hold on each node and in all, columns of nodes and Generators add up",
    "started": "started is the number of calls that began",
    "outcomes": "ok, failed, timeout, killed, interrupted and lost are those of the calls",
    "scheduled": "scheduled is the number of calls due by the end or the stop; of users, the calls and skipped paces",
    "dropped": "calls are dropped for causes that were there",
    "requests": "each group has the requests that ended in time, and no more than its calls can explain",
    "groups": "each group counts exactly the requests that began",
    "group outcomes": "each group splits its count into five outcomes",
    "setups": "setup_failed is the number of failed setups",
    "users": "planned_max and active_max are those of the schedule and of the users' lives",
    "delivered": "users.delivered is the share of scheduled user-seconds",
    "order": "setup, calls and teardown of an actor follow each other as they must",
    "early": "no call begins before it is due, and none in a pause",
    "limits": "max_calls, max_in_flight, max_workers, and each row once",
    "grace": "no call outlives its deadline or the end of graceful_stop by more than GRACE_LATE_S",
    "lag": "no async call takes LAG_S longer than what it waits for",
    "streams": "no two actors draw the same random numbers",
    "forks": "a forked child neither survives nor goes on as a user",
    "times": "durations in the summary are not shorter than those of the calls, nor longer than the run",
    "bundle": "summary.json is what RunResult holds",
    "series": "the seconds of series.jsonl add up to the ledger",
    "windows": "windows.bin adds up to the ledger and the groups",
    "reasons": "the verdict has no reason that the witness contradicts",
    "leaks": "no process or thread of the run outlives it",
}
GRACE_LATE_S = LAG_S = 2.5
SAMPLE_NS, EDGE_NS = 250 * MS, 100 * MS
"""Users at work are counted 50 times a second, on a busy machine less often."""
BUSY = re.compile(
    "this machine (started calls over 50 ms late|was too busy)|did not keep up|records? (were )?torn"
    "|aggregator did not run|start came too late|slots? .*waited for the target"
)


def compare(scenario: s.Scenario, evidence: Evidence) -> list[Divergence]:
    """Return every divergence of a run."""
    return _Comparison(scenario, evidence).divergences()


class _Comparison:
    def __init__(self, scenario: s.Scenario, evidence: Evidence) -> None:
        self.scenario, self.evidence = scenario, evidence
        self.lives = parse(evidence.lines)
        self.summary: dict[str, Any] = evidence.summary or {}
        self.times = Times(scenario, self.lives, evidence.notes, self.summary.get("started_at"))
        self.out: list[Divergence] = []

    def say(self, check: str, text: str) -> None:
        """Add a divergence."""
        assert check in CHECKS, check
        self.out.append(Divergence(check, text))

    def divergences(self) -> list[Divergence]:
        """See `compare`."""
        self._ends()
        for problem in order_of(self.scenario, self.times):
            self.say("order", problem)
        self._forks()
        self._streams()
        for index in range(len(self.scenario.loads)):
            self._early(index)
            self._limits(index)
            self._grace(index)
            self._lag(index)
        if self.evidence.summary is None:
            return self.out
        self._closes()
        if not self._is_complete():
            return self.out
        found = truths(self.times)
        for index in range(len(self.scenario.loads)):
            mine = [truth for truth in found if truth.index == index]
            self._counts(index, mine)
            self._scheduled(index)
            self._dropped(index)
            self._setups(index)
            self._users(index)
            self._delivered(index)
            self._durations(index)
        for node in self.summary["nodes"]:
            self._node(node, [truth for truth in found if truth.node == node["node"]])
        self._reasons(found)
        self._bundle()
        return self.out

    def generator(self, index: int) -> dict[str, Any]:
        """Return a Generator's part of the summary."""
        found: dict[str, Any] = self.summary["generators"][s.name_of(index)]
        return found

    def _is_complete(self) -> bool:
        """Whether the summary has every Generator, as it must once a worker was started."""
        missing = [
            s.name_of(i) for i in range(len(self.scenario.loads)) if s.name_of(i) not in self.summary["generators"]
        ]
        if missing and self.lives:
            self.say("bundle", f"the summary lacks {', '.join(missing)}")
        return not missing

    # -- the run

    def _ends(self) -> None:
        if self.evidence.raised:
            self.say("ends", f"the run raised {self.evidence.raised}")
        for note in self.evidence.notes:
            if note.what == "overtime":
                self.say("ends", "the run did not end")
            elif note.what == "thread raised":
                self.say("ends", f"a thread of the run raised {note.detail[0]}")
            elif note.what in ("left behind", "thread left behind"):
                self.say("leaks", f"{note.what}: {note.detail[0]}")

    def _closes(self) -> None:
        generators = {name: data["ledger"] for name, data in self.summary["generators"].items()}
        nodes = {f"node {node['node']}": node["ledger"] for node in self.summary["nodes"]}
        for name, ledger in {"run": self.summary["ledger"], **generators, **nodes}.items():
            ends = sum(ledger[column] for column in COLUMNS)
            if ledger["scheduled"] != ledger["started"] + ledger["dropped"] or ledger["started"] != ends:
                self.say("closes", f"{name}: {ledger}")
            if min(ledger.values()) < 0:
                self.say("closes", f"{name}: a negative column: {ledger}")
        for what, parts in (("Generators", generators), ("nodes", nodes)):
            for column, number in self.summary["ledger"].items():
                if parts and number != sum(part[column] for part in parts.values()):
                    self.say("closes", f"{column} {number} is not the sum of its {what}: {parts}")
        for name, data in self.summary["generators"].items():
            if (
                sum(data["dropped_by"].values()) != data["ledger"]["dropped"]
                or min(data["dropped_by"].values(), default=1) < 1
            ):
                self.say("closes", f"{name}: dropped {data['ledger']['dropped']} by {data['dropped_by']}")

    def _forks(self) -> None:
        for life in self.lives:
            if any(line.what == "ghost" for line in life.strays):
                self.say("forks", f"user {life.user}: a forked child began a call")
            if life.at("survivor") is not None:
                self.say("forks", f"user {life.user}: a forked child did not end")

    def _streams(self) -> None:
        seen: dict[float, Life] = {}
        for life in self.lives:
            for draw in life.lines[0].detail:
                other = seen.setdefault(draw, life)
                if other is not life:
                    self.say("streams", f"{_who(other)} and {_who(life)} drew the same random number")

    # -- what must not happen too early, too late, too often

    def _early(self, index: int) -> None:
        load, times = self.scenario.loads[index], self.times
        begins = sorted(call.begin_ns for life in times.of(index) for call in life.calls)
        if load.is_rate:
            for number, begin in enumerate(begins):
                if begin - times.t0_lo - times.held_lo(begin) < counting.due_ns(load.schedule, number):
                    self.say(
                        "early", f"call {number + 1} began {_s(begin - times.t0_lo)} after t = 0, before it was due"
                    )
                    return
            return
        for life in times.of(index):
            spans = counting.wanted_spans(load.schedule, life.user)
            first = spans[0][0] if spans else NEVER
            for call in life.calls[:1]:
                if call.begin_ns - times.t0_lo - times.held_lo(call.begin_ns) < first - MS:
                    self.say("early", f"{_who(life)} began before the schedule wanted it")
            self._early_paces(load, life)
        for begin in begins:
            if self._in_pause(load, begin):
                self.say("early", f"a call began in a pause, {_s(begin - times.t0_lo)} after t = 0")
                return

    def _early_paces(self, load: s.Load, life: Life) -> None:
        """Due times of a paced user are a pace apart, the first one not before it is ready; a pause starts them anew."""
        if load.pacing_ms is None or self.times.paused() or any(isinstance(part, s.Idle) for part in load.schedule):
            return
        ready = max(life.at("ready") or 0, self.times.t0_lo)
        for number, call in enumerate(life.calls):
            if call.begin_ns < ready + number * load.pacing_ms * MS:
                self.say("early", f"call {number + 1} of {_who(life)} began before its pace")
                return

    def _in_pause(self, load: s.Load, begin: int) -> bool:
        times, at = self.times, 0
        if any(told + PAUSE_SETTLES_NS < begin < resume for _, told, resume, _ in times.paused()):
            return True
        if times.paused():
            return False
        for part in load.schedule:
            earliest, latest = times.t0_hi + at * MS + PAUSE_SETTLES_NS, times.t0_lo + (at + part.ms) * MS
            if isinstance(part, s.Idle) and earliest < begin < latest:
                return True
            at += part.ms
        return False

    def _limits(self, index: int) -> None:
        load, lives = self.scenario.loads[index], self.times.of(index)
        calls = [call for life in lives for call in life.calls]
        if load.max_calls is not None and len(calls) > load.max_calls:
            self.say("limits", f"{len(calls)} calls of at most {load.max_calls}")
        rows = Counter(row for call in calls for row in call.rows)
        if twice := [row for row, number in rows.items() if number > 1]:
            self.say("limits", f"rows {twice} were used more than once")
        self._slots(load, lives)

    def _slots(self, load: s.Load, lives: Sequence[Life]) -> None:
        limit = (
            load.max_in_flight if load.kind == "async gun" else load.max_workers if load.kind == "sync gun" else None
        )
        if limit is None:
            return
        spans = [(call.begin_ns, self._busy_until(life, call)) for life in lives for call in life.calls]
        if (most := _overlap(spans)) > limit:
            self.say("limits", f"{most} calls at once with {limit} slots")

    def _busy_until(self, life: Life, call: Call) -> int:
        """The earliest instant at which its slot can have been free again."""
        ended = [ns for ns in (call.end_ns, call.cleaned_ns) if ns is not None]
        if ended:
            return min(ended)
        if call.cancelled_ns:
            return call.cancelled_ns[0]
        death = self.times.deaths.get(life.pid)
        return death.alive_ns if death is not None else call.begin_ns

    def _grace(self, index: int) -> None:
        """Times are compared with seconds to spare: a call that nobody ends is meant, not a slow machine."""
        load, times = self.scenario.loads[index], self.times
        if times.scenario.runtime == "inline":  # a thread that was given up runs on
            return
        for life in times.of(index):
            for call in life.calls:
                last = call.cancelled_ns[0] if call.cancelled_ns else call.end_ns
                if last is None:
                    last = times.deaths[life.pid].alive_ns
                late_ns = int(GRACE_LATE_S * SECOND) + (SECOND if load.is_async else 0)
                if load.call_timeout_ms is not None and last > call.begin_ns + load.call_timeout_ms * MS + late_ns:
                    self.say("grace", f"call {call.number} of {_who(life)} ran for {_s(last - call.begin_ns)}")
                if last > self._must_end(index, life, call) + load.graceful_ms * MS + late_ns:
                    self.say("grace", f"call {call.number} of {_who(life)} outlived its user's graceful_stop")

    def _lag(self, index: int) -> None:
        """A loop that is dead for seconds; only its own actors may block it."""
        load = self.scenario.loads[index]
        if not load.is_async or s.has(load, s.Hang, s.Swallow, s.Block, s.Flood):
            return
        waits_ms = max(_sleeps(program) for program in (*load.calls, *(special.steps for special in load.specials)))
        stalled_ms = sum(event.hold_ms for event in self.scenario.events)
        for life in self.times.of(index):
            for call in life.calls:
                if call.end_ns is not None:
                    lag_s = (call.end_ns - call.begin_ns) / SECOND - (waits_ms + stalled_ms) / 1000
                    if lag_s > LAG_S:
                        self.say("lag", f"call {call.number} of {_who(life)} ended {lag_s:.1f} s late")
                        return

    def _must_end(self, index: int, life: Life, call: Call) -> int:
        """The latest instant at which nothing new was due any more for the user of a call in flight."""
        load, times = self.scenario.loads[index], self.times
        if times.paused():
            return NEVER
        stops = [note.ns for note in self.evidence.notes if note.what == "stop done"]
        ends = min([times.t0_hi + counting.duration_ns(load.schedule), *stops[:1]])
        if load.is_rate:
            return ends
        leaves = [times.t0_hi + until for _, until in counting.wanted_spans(load.schedule, life.user)]
        return min([ends, *(ns for ns in leaves if ns >= call.begin_ns)])

    # -- counts

    def _counts(self, index: int, found: Sequence[Truth]) -> None:
        """Calls and requests, for the choice of uncertain steps that explains the summary best."""
        data = self.generator(index)
        overflows = self.scenario.loads[index].ring_wait_ms is not None
        best: list[Divergence] | None = None
        for facts in choices(found):
            problems = [*ledger_problems(facts, data["ledger"])]
            if not overflows:
                problems += group_problems(facts, data["groups"], _slack(found))
            if best is None or len(problems) < len(best):
                best = problems
            if not best:
                break
        self.out += [Divergence(check, f"{s.name_of(index)}: {text}") for check, text in best or []]
        if not overflows:
            self._requests(index, found)

    def _requests(self, index: int, found: Sequence[Truth]) -> None:
        groups = self.generator(index)["groups"]
        done, maybe = Counter[str](), Counter[str]()
        for truth in found:
            done.update(truth.done)
            maybe.update(truth.maybe)
            maybe.update(truth.slack)
        for name in sorted({*groups, *done}):
            count = groups[name]["count"] if name in groups else 0
            if not done[name] <= count <= done[name] + maybe[name]:
                span = f"{done[name]}" if not maybe[name] else f"{done[name]} to {done[name] + maybe[name]}"
                self.say("requests", f"{s.name_of(index)}/{name}: {count} requests, expected {span}")

    def _node(self, node: Mapping[str, Any], found: Sequence[Truth]) -> None:
        best: list[Divergence] | None = None
        for facts in choices(found):
            problems = [*ledger_problems(facts, node["ledger"])]
            best = problems if best is None or len(problems) < len(best) else best
        self.out += [Divergence(check, f"node {node['node']}: {text}") for check, text in best or []]

    # -- the schedule

    def _scheduled(self, index: int) -> None:
        data, load = self.generator(index), self.scenario.loads[index]
        scheduled, started = data["ledger"]["scheduled"], data["ledger"]["started"]
        if not load.is_rate:
            if load.pacing_ms is None and scheduled != started:
                self.say(
                    "scheduled", f"{s.name_of(index)}: {scheduled} scheduled, {started} started, and there is no pacing"
                )
            elif load.pacing_ms is not None:
                self._scheduled_paces(index, scheduled)
            return
        low, high = self._due(index)
        if not low <= scheduled <= high:
            self.say(
                "scheduled",
                f"{s.name_of(index)}: {scheduled} scheduled, expected {low}{'' if low == high else f' to {high}'}",
            )

    def _due(self, index: int) -> tuple[int, int]:
        """Bounds for the ticks due by the end or the stop."""
        load, times, nodes = self.scenario.loads[index], self.times, self.scenario.nodes
        most = counting.total(load.schedule)
        most = most if load.max_calls is None else min(most, load.max_calls)
        stop = times.stop_lo(index)
        if stop == NEVER:
            return most, most
        if not times.lives or not any(life.calls for life in self.lives):
            return 0, most
        first = min([stop, *(asked for asked, *_ in times.paused())]) - times.t0_hi
        low = min(most, counting.due_by(load.schedule, first)) if first >= 0 else 0
        high = 0
        for node in range(nodes):
            last = min(_last_teardown(times.of(index, node + 1)), times.over_ns)
            due = counting.due_by(load.schedule, last - times.t0_lo - times.held_lo(last))
            high += counting.share(min(most, max(due, low)), node, nodes)
        return low, max(low, high)

    def _scheduled_paces(self, index: int, scheduled: int) -> None:
        """Every pace that fell due while its user was there counts, started or not; with max_calls those that were started do."""
        load, times = self.scenario.loads[index], self.times
        assert load.pacing_ms is not None
        pace_ns, low, high = load.pacing_ms * MS, 0, 0
        idle = [part.ms * MS for part in load.schedule if isinstance(part, s.Idle)]  # paces begin anew after each
        ends = NEVER if times.paused() else times.t0_hi + counting.duration_ns(load.schedule)
        for life in times.of(index):
            if not life.calls:
                continue
            number, first = len(life.calls), life.calls[0].begin_ns
            leaves = min(times.end_lo(index, life.user), self._surely_there_until(life))
            is_counted = not times.paused() and load.max_calls is None
            low += max(number, (leaves - first - sum(idle)) // pace_ns + 1 - len(idle) if is_counted else 0)
            ready = max(life.at("ready") or 0, times.t0_lo)
            death = times.deaths.get(life.pid)
            left = life.at("teardown") or (death.dead_ns if death is not None else times.over_ns)
            high += max(number, (min(left, times.over_ns, ends) - ready) // pace_ns + 2)
        if not low <= scheduled <= high:
            self.say("scheduled", f"{s.name_of(index)}: {scheduled} scheduled, expected {low} to {high} paces")

    def _surely_there_until(self, life: Life) -> int:
        """Until when paces of a user surely fell due: to the end of the call with which it left, or in which it was given up."""
        last, timeout_ms = life.calls[-1], self.scenario.loads[life.load].call_timeout_ms
        if last.how in ("left", "restarted", "dry") and last.end_ns is not None:
            return last.end_ns
        left, death = life.at("teardown"), self.times.deaths.get(life.pid)
        if death is not None and left is None and last.end_ns is not None:
            return last.end_ns  # nobody knows whether it still noticed that its next pace was due
        if death is not None:
            return left or death.alive_ns
        slow = [
            c.begin_ns + timeout_ms * MS for c in life.calls if timeout_ms is not None and not _ended_by(c, timeout_ms)
        ]
        return min([left or self.times.over_ns, *slow])

    def _dropped(self, index: int) -> None:
        data, load, times = self.generator(index), self.scenario.loads[index], self.times
        lives = times.of(index)
        by = data["dropped_by"]
        known = {"in_flight_limit", "worker_limit", "user_busy", "generator", "worker_lost", "node_lost", "stopped"}
        if odd := set(by) - known:
            self.say("dropped", f"{s.name_of(index)}: unknown causes {odd}")
        if by.get("stopped") and times.stop_lo(index) == NEVER:
            self.say("dropped", f"{s.name_of(index)}: {by['stopped']} dropped as stopped, and nothing stopped it")
        died = any(life.lines[-1].what != "gone" for life in lives) or times.scenario.runtime == "inline"
        if by.get("worker_lost") and not died:
            self.say(
                "dropped", f"{s.name_of(index)}: {by['worker_lost']} dropped as worker_lost, and no worker was lost"
            )
        if by.get("node_lost"):
            self.say("dropped", f"{s.name_of(index)}: {by['node_lost']} dropped as node_lost, and no node was lost")
        late = times.t0_lo + counting.duration_ns(load.schedule) + SECOND
        waited = max([ns for life in lives if (ns := life.at("teardown")) is not None], default=times.over_ns)
        if load.is_rate and not load.drops and by.get("generator") and waited < late and times.stop_lo(index) == NEVER:
            self.say(
                "dropped", f"{s.name_of(index)}: {by['generator']} dropped less than 1 s after the end of the schedule"
            )

    # -- users

    def _setups(self, index: int) -> None:
        lives, failed = self.times.of(index), self.generator(index)["users"]["setup_failed"]
        inline = self.scenario.runtime == "inline"

        def late(life: Life) -> int:  # setups that end later may have been given up
            return self.times.given_up_lo(life) if inline else NEVER

        refused = [
            ns for life in lives if (ns := life.at("unready")) is not None and life.detail("unready") != ("StopUser",)
        ]
        never = [life for life in lives if life.at("unready") is None and (life.at("ready") or NEVER) >= late(life)]
        low = sum(ns < self.times.setups_count_until for ns in refused)
        if not low <= failed <= len(refused) + len(never):
            self.say(
                "setups", f"{s.name_of(index)}: setup_failed {failed}, expected {low} to {len(refused) + len(never)}"
            )

    def _users(self, index: int) -> None:
        load, users = self.scenario.loads[index], self.generator(index)["users"]
        if load.is_rate:
            return
        planned = counting.peak_users(load.schedule)
        if users["planned_max"] != planned:
            self.say("users", f"{s.name_of(index)}: planned_max {users['planned_max']}, expected {planned}")
        sure = [(begins + SAMPLE_NS, ends) for _, begins, ends in self._stays(index, sure=True)]
        possible = [(begins, ends) for _, begins, ends in self._stays(index, sure=False)]
        low, high = _overlap(sure), _overlap(possible)
        if not low <= users["active_max"] <= high:
            self.say("users", f"{s.name_of(index)}: active_max {users['active_max']}, expected {low} to {high}")

    def _stays(self, index: int, *, sure: bool) -> list[tuple[Life, int, int]]:
        """Return each life from ready to leaving: what is sure of it, or what is possible."""
        times, out = self.times, []
        for life in times.of(index):
            ready, left, death = life.at("ready"), life.at("teardown"), times.deaths.get(life.pid)
            if ready is None:
                continue
            if self.scenario.runtime == "inline" and sure and life.calls and not _is_sure(times, life, life.calls[-1]):
                left = life.calls[-1].begin_ns  # given up at some instant after that
            if left is None:
                left = (
                    life.lines[-1].ns
                    if death is None
                    else death.alive_ns
                    if sure
                    else min(death.dead_ns, times.over_ns)
                )
            begins = max(ready, times.t0_hi if sure else times.t0_lo)
            if not sure:
                out.append((life, begins, left))
            elif life.calls:  # before its first one it may have had to wait for its turn
                out.append((life, max(begins, life.calls[0].begin_ns), left))
        return out

    def _delivered(self, index: int) -> None:
        load, users = self.scenario.loads[index], self.generator(index)["users"]
        if load.is_rate:
            return
        if "delivered" not in users:
            self.say("delivered", f"{s.name_of(index)}: there is no users.delivered")
            return
        wanted = sum(
            until - begins
            for user in range(counting.peak_users(load.schedule))
            for begins, until in counting.wanted_spans(load.schedule, user)
        )
        if self.times.stop_lo(index) != NEVER or self.times.paused() or not wanted or users["delivered"] is None:
            return
        low = sum(self._wanted_ns(*stay) for stay in self._stays(index, sure=True)) / wanted
        high = sum(max(0, until - begins) for _, begins, until in self._stays(index, sure=False)) / wanted
        lives = self.times.of(index)
        left = any(call.how in ("left", "dry") for life in lives for call in life.calls)
        if left or self.scenario.loads[index].max_calls is not None:  # it may have ended before its schedule
            return
        off = 0.05 + len(lives) * EDGE_NS / wanted
        high += 5 * SECOND * (len(lives) - len({(life.node, life.user) for life in lives})) / wanted  # being replaced
        if not min(low, 1.0) - off <= users["delivered"] <= high + off:
            self.say("delivered", f"{s.name_of(index)}: {users['delivered']:.3f}, expected {low:.3f} to {high:.3f}")

    def _wanted_ns(self, life: Life, begins: int, ends: int) -> int:
        """Return how long of a stay the schedule surely wanted the user."""
        spans = counting.wanted_spans(self.scenario.loads[life.load].schedule, life.user)
        shared = (min(ends, self.times.t0_lo + until) - max(begins, self.times.t0_hi + since) for since, until in spans)
        return sum(max(0, length) for length in shared)

    # -- times and reasons

    def _durations(self, index: int) -> None:
        times, data, load = self.times, self.generator(index), self.scenario.loads[index]
        if times.claimed_ns is not None and not times.t0_lo - CLAIM_NS <= times.claimed_ns <= times.t0_hi + CLAIM_NS:
            self.say("times", f"started_at is {_s(times.claimed_ns - times.t0_hi)} after the first call")
        longest = data["call"]["service_s"]["max"]
        lasted = (times.over_ns - times.t0_lo) / SECOND
        if longest is not None and longest > lasted:
            self.say("times", f"{s.name_of(index)}: a call of {longest:.3f} s in a run of {lasted:.3f} s")
        if self.summary["duration_s"] > lasted:
            self.say("times", f"duration_s {self.summary['duration_s']:.3f} in a run of {lasted:.3f} s")
        if load.ring_wait_ms is not None:
            return
        ended = [
            (call.end_ns - call.begin_ns) / SECOND
            for life in times.of(index)
            for call in life.calls
            if call.end_ns is not None and not call.cancelled_ns and call.how != "dry" and _is_sure(times, life, call)
        ]
        if ended and (longest is None or longest < max(ended) - 1e-6):
            self.say("times", f"{s.name_of(index)}: the longest call is {longest}, but one took {max(ended):.6f} s")

    def _reasons(self, found: Sequence[Truth]) -> None:
        reasons = self.summary["reasons"]
        for reason in reasons:
            if not self._explained(reason):
                self.say("reasons", f"{self.summary['verdict']}: {reason}")
        for index, load in enumerate(self.scenario.loads):
            calls = sum((truth.calls for truth in found if truth.index == index), Counter[Outcomes]())
            steps = [fact for truth in found if truth.index == index for choice in truth.steps for fact in choice]
            succeeded = any("ok" in outcomes for outcomes in calls) or any(
                "ok" in c for fact in steps for c in fact.calls
            )
            if calls and not succeeded and self.summary["verdict"] == "passed":
                self.say("reasons", f"passed, and no call of {s.name_of(index)} succeeded")
            if (
                load.fail_on_error
                and self._surely_failed(index)
                and self.summary["verdict"] in ("passed", "interrupted")
            ):
                self.say(
                    "reasons", f"{self.summary['verdict']}, and {s.name_of(index)} had a failed call with fail_on_error"
                )

    def _surely_failed(self, index: int) -> bool:
        """Whether a call failed whose end the engine surely learned of."""
        for life in self.times.of(index):
            for call in life.calls:
                if (
                    call.how
                    and not call.cancelled_ns
                    and settled(call) == "failed"
                    and _is_sure(self.times, life, call)
                ):
                    return True
        return False

    def _explained(self, reason: str) -> bool:
        """Whether the witness, or a busy machine, accounts for a reason of the verdict."""
        loads, times = self.scenario.loads, self.times
        if BUSY.search(reason) and "torn" not in reason:
            return True
        if "no call succeeded" in reason:
            return True  # contradicted by the ledger's check if it is wrong
        if "fail_on_error" in reason:
            return any(load.fail_on_error for load in loads)
        if "setup failed" in reason:
            return any(len([x for x in times.of(i) if x.at("ready") is None]) >= 4 for i in range(len(loads)))
        if "times in a row" in reason:
            return sum(life.lines[-1].what not in ("gone", "unready") for life in self.lives) >= 5
        if "lost" in reason or "found no room" in reason:
            return any(load.ring_wait_ms is not None for load in loads)
        if "fork" in reason:
            return any(s.has(load, s.Fork) for load in loads)
        if reason == "stopped before the load began":
            return times.stopped_early
        return "interrupted" in reason

    def _bundle(self) -> None:
        written = self.evidence.written
        if written is not None and written != json.loads(json.dumps(self.summary)):
            self.say("bundle", "summary.json differs from RunResult.summary")
        for name, data in self.summary["generators"].items():
            sums = self.evidence.series.get(name, Counter())
            for column in COLUMNS[:-1]:
                if sums[column] != data["ledger"][column]:
                    self.say(
                        "series",
                        f"{name}: {column} {sums[column]} in the series, {data['ledger'][column]} in the ledger",
                    )
            if self.evidence.series:
                self._windows(name, data)

    def _windows(self, name: str, data: Mapping[str, Any]) -> None:
        stored = self.evidence.windows.get(name, {})
        if stored.get(None) != data["ledger"]:
            self.say("windows", f"{name}: {stored.get(None)} in windows.bin, {data['ledger']} in the ledger")
        for group in {*data["groups"], *filter(None, stored)}:
            mine = {column: number for column, number in stored.get(group, {}).items() if number}
            theirs = {column: data["groups"].get(group, {}).get(column, 0) for column in OUTCOMES}
            if mine != {column: number for column, number in theirs.items() if number}:
                self.say("windows", f"{name}: group {group} has {mine} in windows.bin, {theirs} in the summary")


# -- pure parts


def _last_teardown(lives: Iterable[Life]) -> int:
    """When the last actor was torn down; NEVER when one was not. Who has no tick left goes before the others."""
    return max((ns if (ns := life.at("teardown")) is not None else NEVER for life in lives), default=NEVER)


def _sleeps(program: s.Program) -> int:
    return sum(step.ms for step in s.steps_in(program) if isinstance(step, (s.Sleep, s.Busy)))


def _slack(found: Sequence[Truth]) -> Counter[str]:
    return sum((truth.slack for truth in found), Counter[str]())


def _overlap(spans: Sequence[tuple[int, int]]) -> int:
    """The most spans at one instant; those that only touch do not overlap."""
    edges = sorted([(ends, -1) for begins, ends in spans if ends > begins] + [(b, 1) for b, e in spans if e > b])
    return max(itertools.accumulate(step for _, step in edges), default=0)


def _is_sure(times: Times, life: Life, call: Call) -> bool:
    """Whether the engine surely took the end of a call: its worker wrote another line after it, and still was alive. A thread
    is given up at the deadline of its call, whose end is not taken then.
    """
    if times.scenario.runtime == "inline":
        timeout_ms = times.scenario.loads[life.load].call_timeout_ms
        if timeout_ms is not None and not _ended_by(call, timeout_ms):
            return False
        return call.end_ns is not None and call.end_ns < min(times.grace_lo(life.load, life.user), times.over_ns)
    return life.lines[-1].ns > (call.end_ns or NEVER)


def _ended_by(call: Call, timeout_ms: int) -> bool:
    return (call.end_ns or NEVER) - call.begin_ns < timeout_ms * MS - SLACK_NS


def _who(life: Life) -> str:
    return f"{s.name_of(life.load)}/{life.user} on node {life.node} ({life.id})"


def _s(ns: int) -> str:
    return f"{ns / SECOND:.3f} s"
