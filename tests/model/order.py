"""What must hold in the order of an actor's own lines, whatever the summary says. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from model import counting
from model import scenario as s
from model.counting import MS
from model.times import NEVER, SLACK_NS, Times
from model.witness import Life

COMES_NS = 3000 * MS
BACKOFF_NS = 100 * MS
"""What RestartUser waits at least before the next setup."""


def order_of(scenario: s.Scenario, times: Times) -> Iterator[str]:
    """Yield what is out of order, one sentence each."""
    for life in times.lives:
        who = f"{s.name_of(life.load)}/{life.user} ({life.id})"
        for problem in _life(scenario, times, life):
            yield f"{who}: {problem}"
    for index, load in enumerate(scenario.loads):
        if not load.is_rate:
            yield from _users(load, index, times)
            yield from _missing(load, index, times)


def _life(scenario: s.Scenario, times: Times, life: Life) -> Iterator[str]:
    load = scenario.loads[life.load]
    whats = [line.what for line in life.lines]
    for what in ("setup", "ready", "unready", "teardown", "gone"):
        if whats.count(what) > 1:
            yield f"{what} {whats.count(what)} times"
    ready, teardown = life.at("ready"), life.at("teardown")
    if life.calls and (ready is None or life.calls[0].begin_ns < ready):
        yield "a call began before setup had ended"
    if teardown is not None:
        if any(call.begin_ns > teardown for call in life.calls):
            yield "a call began after teardown"
        open_then = [c for c in life.calls if not c.cancelled_ns and (c.end_ns is None or c.end_ns > teardown)]
        if open_then and scenario.runtime == "process":
            yield "teardown ran while a call was in flight"
    if load.kind != "async gun":
        for call, following in pairwise(life.calls):
            done = [ns for ns in (call.end_ns, *call.cancelled_ns[:1]) if ns is not None]
            if not done or min(done) > following.begin_ns:
                yield "two calls at once"
    for call in life.calls:
        if len(call.cancelled_ns) > 1 and not s.has(load, s.Swallow):
            yield f"call {call.number} was cancelled {len(call.cancelled_ns)} times"
        if call.cancelled_ns and not _has_cause(times, life, call.begin_ns, call.cancelled_ns[0]):
            yield f"call {call.number} was cancelled without a cause"
    if scenario.runtime == "process" and life.lines[-1].what not in ("gone", "unready"):
        yield from _unfinished(times, life)


def _has_cause(times: Times, life: Life, begin_ns: int, cancelled_ns: int) -> bool:
    timeout_ms = times.scenario.loads[life.load].call_timeout_ms
    if timeout_ms is not None and cancelled_ns - begin_ns >= timeout_ms * MS - SLACK_NS:
        return True
    return cancelled_ns >= times.grace_lo(life.load, life.user)


def _unfinished(times: Times, life: Life) -> Iterator[str]:
    """A process that left no line of its end must have been killed for a cause."""
    load = times.scenario.loads[life.load]
    dead_ns = min(times.deaths[life.pid].dead_ns, times.over_ns)
    if dead_ns >= times.hurry_ns or times.is_killed_by_other(life, -1, _ns(load.call_timeout_ms)):
        return
    if life.at("ready") is None and dead_ns - life.began_ns >= load.setup_timeout_ms * MS - SLACK_NS:
        return
    in_call = any(call.end_ns is None for call in life.calls)
    if dead_ns >= times.grace_lo(life.load, life.user) and (in_call or life.at("ready") is None):
        return
    yield f"its process ended without a cause after {life.lines[-1].what!r}"


def _users(load: s.Load, index: int, times: Times) -> Iterator[str]:
    peak, lives = counting.peak_users(load.schedule), times.of(index)
    for life in lives:
        if life.user >= peak:
            yield f"user {life.user} of {peak}"
    if any(life.calls for life in times.lives):
        for user in range(counting.users_at(load.schedule, 0)):
            mine = [life for life in lives if life.user == user]
            settled = [ns for life in mine for what in ("ready", "unready") if (ns := life.at(what)) is not None]
            if not settled or min(settled) > times.t0_hi:
                yield f"the load began before user {user} of the first instant was ready"
    for user in {life.user for life in lives}:
        yield from _one_user([life for life in lives if life.user == user], load, index, times)


def _one_user(lives: Sequence[Life], load: s.Load, index: int, times: Times) -> Iterator[str]:
    user = lives[0].user
    spans = counting.wanted_spans(load.schedule, user)
    for life, following in pairwise(lives):
        if len(spans) == 1 and _was_sent_home(life, load, times):
            yield f"user {user} was sent home and came back, though the schedule wants it without a break"
        left = life.calls[-1].how if life.calls else ""
        if left in ("left", "dry") or life.detail("unready") == ("StopUser",):
            yield f"user {user} came back after StopUser"
        gone = life.at("gone")
        was_killed = life.pid in times.killed_pids  # a user that is killed in its back-off is replaced at once
        if left == "restarted" and gone is not None and following.began_ns - gone < BACKOFF_NS and not was_killed:
            yield f"user {user} was set up again {(following.began_ns - gone) / 1e6:.0f} ms after RestartUser"
        ends = gone if gone is not None else life.at("unready")
        if times.scenario.runtime == "process":
            ends = ends if ends is not None else times.deaths[life.pid].alive_ns
            if following.began_ns < ends and life.pid != following.pid:
                yield f"user {user} was there twice"
    for life in lives:
        yield from _leaves_early(life, load, index, times)


def _missing(load: s.Load, index: int, times: Times) -> Iterator[str]:
    """A user that the schedule wants comes, and comes back when it died: within seconds, whatever the machine does."""
    slow = load.bad_setup is not None and times.scenario.nodes > 1  # retries wait 1, 2 and 4 s there
    if slow or load.max_calls is not None or times.paused() or times.scenario.runtime == "inline":
        return
    until_ns = min(times.stop_lo(index), times.over_ns)
    for user in range(counting.peak_users(load.schedule)):
        lives = [life for life in times.of(index) if life.user == user]
        for begins, ends in counting.wanted_spans(load.schedule, user):
            since, until = times.t0_hi + begins, min(times.t0_lo + ends, until_ns)
            for life in lives:
                if life.began_ns <= since + COMES_NS and life.began_ns < until:
                    since = max(since, _there_until(life, times))
            if until - since > COMES_NS:
                yield f"user {user} was missing for {(until - since) / 1e9:.1f} s"


def _there_until(life: Life, times: Times) -> int:
    """When a user was there last; NEVER when it left for good."""
    if life.detail("unready") == ("StopUser",) or any(call.how in ("left", "dry") for call in life.calls):
        return NEVER
    gone = life.at("gone") or life.at("unready")
    return gone if gone is not None else min(times.deaths[life.pid].dead_ns, times.over_ns)


def _was_sent_home(life: Life, load: s.Load, times: Times) -> bool:
    """Whether a user left, and not for a reason of its own or because its Generator was stopped."""
    if life.at("teardown") is None or load.max_calls is not None or times.scenario.runtime == "inline":
        return False
    own = life.calls and life.calls[-1].how in ("left", "restarted", "dry")
    return not own and (life.at("teardown") or 0) < times.stop_lo(life.load)


def _leaves_early(life: Life, load: s.Load, index: int, times: Times) -> Iterator[str]:
    """A user leaves for a reason of its own, or when the schedule wants fewer: the highest ids first."""
    teardown = life.at("teardown")
    if teardown is None or times.paused() or not _was_sent_home(life, load, times):
        return
    spans = counting.wanted_spans(load.schedule, life.user)
    earliest = min([times.t0_lo + until - MS for _, until in spans if until > 0] or [NEVER])
    if teardown < earliest:
        yield f"user {life.user} left {(earliest - teardown) / 1e6:.0f} ms before the schedule wanted fewer"


def _ns(ms: int | None) -> int:
    return NEVER if ms is None else ms * MS
