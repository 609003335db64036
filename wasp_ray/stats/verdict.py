"""The verdict on a run: pure rules from totals, plan and what was noticed at run time. It must not import numpy.

Order when several apply: error, invalid, failed, interrupted, passed; the reasons of all of them are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from wasp_ray.stats.limits import OTHER
from wasp_ray.stats.loop_blocks import MAX_SHARE
from wasp_ray.stats.thresholds import parse
from wasp_ray.wire.record import SETUP_GROUP

if TYPE_CHECKING:
    from wasp_ray.plan import GeneratorPlan, Plan
    from wasp_ray.stats.tallies import Ledger
    from wasp_ray.stats.totals import GeneratorTotals, NodeTotals

PASSED, FAILED, INVALID, ERROR, INTERRUPTED = "passed", "failed", "invalid", "error", "interrupted"
EXIT_CODES: Mapping[str, int] = {PASSED: 0, FAILED: 1, INVALID: 3, ERROR: 4}
SIGNAL_EXIT_CODES: Mapping[str, int] = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}
"""A closed terminal (SIGHUP) ends a run as SIGTERM does."""

TARGET_CAUSES = ("in_flight_limit", "worker_limit", "user_busy")
"""Every slot, or the user, waited for the target."""
MIN_CALLS, MIN_USER_S = 10, 10.0
"""min_delivered says nothing about fewer scheduled calls or user-seconds."""
CPU_WAIT_SHARE = 0.1
"""Above this share of the call time a warning says that calls waited for a core."""
LEAST_CPU_WAIT_S = 0.5
"""A shorter wait in all calls together is no warning."""
HTTP_RETRIES = "http retries"
"""The counter in which wasp_ray.http counts requests that it sent twice."""


@dataclass(frozen=True, slots=True)
class JudgeInput:
    """What a run is judged by. `errors`, `invalid`, `failed` and `warnings` are sentences found at run time."""

    totals: NodeTotals
    """the sum of all nodes"""
    plan: Plan
    thresholds: Sequence[Mapping[str, Any]] = ()
    """results of thresholds.evaluate"""
    interrupted: str | None = None
    """SIGINT, SIGTERM or SIGHUP"""
    stopped: bool = False
    """the whole run was ended before its schedules by a stop"""
    stopped_generators: frozenset[str] = field(default_factory=frozenset)
    """those that ended themselves: context.stop(), rows used up, max_calls"""
    errors: Sequence[str] = ()
    invalid: Sequence[str] = ()
    failed: Sequence[str] = ()
    warnings: Sequence[str] = ()
    cut_by: str | None = None
    """SIGINT, SIGTERM or SIGHUP after the whole load, while alerts were waited for"""


class Judgement(NamedTuple):
    """The verdict, every reason for it and for those it outranks, warnings, and the exit code of the program."""

    verdict: str
    reasons: list[str]
    warnings: list[str]
    exit_code: int


def judge(found: JudgeInput) -> Judgement:
    """Applies every rule; an exit code 2 or 5 is not for a run to have and never returned."""
    invalid, failed = list(found.invalid), list(found.failed)
    for name, planned, item in _generators(found):
        invalid += _ledger_reasons(name, item.ledger if item else None)
        if not _succeeded(name, planned, item, found):
            failed.append(f"{name}: no call succeeded")
        if planned is not None and item is not None and (reason := _blocked(planned, item)):
            invalid.append(reason)
        elif planned is not None and item is not None and not _ended_early(name, found):
            blame, reasons = (_missing_users if item.kind == "users" else _shortfall)(planned, item)
            (failed if blame == FAILED else invalid).extend(reasons)
    failed += [_threshold_reason(result) for result in found.thresholds if _broken(result, found)]
    signal = found.interrupted or found.cut_by
    interrupted = [f"interrupted by {signal}"] if signal else []
    ranked = [(ERROR, list(found.errors)), (INVALID, invalid), (FAILED, failed), (INTERRUPTED, interrupted)]
    verdict = next((name for name, reasons in ranked if reasons), PASSED)
    reasons = list(dict.fromkeys(reason for _, group in ranked for reason in group))
    warnings = list(dict.fromkeys([*found.warnings, *_warnings(found)]))
    return Judgement(verdict, reasons, warnings, exit_code(verdict, signal))


def exit_code(verdict: str, interrupted: str | None = None) -> int:
    """The program's exit code for a verdict; `interrupted` names the signal."""
    if verdict == INTERRUPTED:
        return SIGNAL_EXIT_CODES.get(interrupted or "SIGINT", 130)
    return EXIT_CODES[verdict]


def _generators(found: JudgeInput) -> Iterator[tuple[str, GeneratorPlan | None, GeneratorTotals | None]]:
    """Those of the plan, with or without totals, and any that only the totals know."""
    planned, totals = found.plan.by_name, found.totals.generators
    for name in dict.fromkeys([*planned, *totals]):
        yield name, planned.get(name), totals.get(name)


def _ledger_reasons(name: str, ledger: Ledger | None) -> list[str]:
    if ledger is None:
        return []
    reasons = []
    if ledger.lost:
        reasons.append(f"{name}: {ledger.lost:,} call records were lost: their outcome is unknown")
    if not ledger.closes():
        reasons.append(
            f"{name}: the ledger does not close: scheduled {ledger.scheduled:,}, "
            f"started {ledger.started:,} + dropped {ledger.dropped:,}, accounted for {ledger.ended:,} of the started"
        )
    return reasons


def _ended_early(name: str, found: JudgeInput) -> bool:
    return found.stopped or found.interrupted is not None or name in found.stopped_generators


def _succeeded(name: str, planned: GeneratorPlan | None, item: GeneratorTotals | None, found: JudgeInput) -> bool:
    """Whether there was a successful call, or none was to be expected: nothing due, or cut off before any ended."""
    if item is not None and item.ledger.ok:
        return True
    due = 0 if item is None else item.ledger.scheduled
    if not due and planned is not None and not (planned.calls if planned.kind == "rate" else planned.peak):
        return True
    answered = 0 if item is None else item.ledger.answered
    if found.interrupted is not None and not answered:
        return True
    kind = planned.kind if planned is not None else item.kind if item is not None else ""
    return kind == "rate" and not due and _ended_early(name, found)


def _blocked(planned: GeneratorPlan, item: GeneratorTotals) -> str:
    """Return the reason if blocks of its event loops are too much of its call time, "" if not. Then nothing else of its times means
    anything: what it did not deliver is neither the target's fault nor the machine's.
    """
    blocks = item.loop_blocks
    if not blocks.are_too_many(item.call_time_s):
        return ""
    share = 100 * min(1.0, blocks.call_s / item.call_time_s) if item.call_time_s else 100.0
    return (
        f"{planned.name}: blocked event loops are {share:.3g} % of its call time, at most {100 * MAX_SHARE:g} % is allowed:"
        f" {blocks.sentence(planned.actor_name)}"
    )


def _shortfall(planned: GeneratorPlan, item: GeneratorTotals) -> tuple[str, list[str]]:
    """The min_delivered rule: whose fault, and the reason if too little was delivered.

    When both sides took part, the side that alone breaks the limit is to blame; both or neither: the larger one.
    """
    scheduled, least = item.ledger.scheduled, planned.min_delivered
    if scheduled < MIN_CALLS or item.delivered >= least * scheduled:
        return FAILED, []
    target = sum(item.dropped_by.get(cause, 0) for cause in TARGET_CAUSES)
    ours = scheduled - item.delivered - target - item.dropped_by.get("stopped", 0)
    head = (
        f"{item.delivered:,} of {scheduled:,} calls delivered "
        f"({100 * item.delivered / scheduled:.1f} %, min_delivered {100 * least:g} %)"
    )
    if target >= ours:
        return FAILED, [f"{planned.name}: {head}: {_littles_law(planned, item)}"]
    causes = ", ".join(f"{cause} {number:,}" for cause, number in sorted(item.dropped_by.items()) if number)
    dropped_by = f" (dropped by {causes})" if causes else ""
    if item.loop_blocks.count:
        why = f"{item.loop_blocks.sentence(planned.actor_name)}{dropped_by}"
    else:
        why = f"this machine did not keep up{dropped_by}; use a lower rate, more nodes or fewer processes per core"
    return INVALID, [f"{planned.name}: {head} while slots were free: {why}"]


def _missing_users(planned: GeneratorPlan, item: GeneratorTotals) -> tuple[str, list[str]]:
    """The min_delivered rule of users: whose fault, and the reason if they were there for too short a time.

    A user that is in setup() waits for the target; one that has no process yet, or waits for setup_concurrency or CPU, for us.
    """
    users, least = item.users, planned.min_delivered
    if users.scheduled_s < MIN_USER_S or users.delivered_s >= least * users.scheduled_s:
        return FAILED, []
    head = (
        f"{planned.name}: users were there for {users.delivered_s:,.0f} of {users.scheduled_s:,.0f} scheduled user-seconds"
        f" ({100 * users.delivered_s / users.scheduled_s:.1f} %, min_delivered {100 * least:g} %)"
    )
    if 2 * users.in_setup_s < users.scheduled_s - users.delivered_s:
        return INVALID, [
            f"{head}: they waited for a process, for setup_concurrency or for this machine's CPU; use fewer users a node"
        ]
    setup = item.groups.get(SETUP_GROUP)
    median_s = setup.service.summary_s()["p50"] if setup is not None else None
    each = "" if median_s is None else f" (p50 {median_s:,.3g} s)"
    return FAILED, [f"{head}: they were in setup(){each}; make it faster, or the ramp longer"]


def _littles_law(planned: GeneratorPlan, item: GeneratorTotals) -> str:
    """Why the slots did not suffice: a slot is taken for as long as a call lasts, so slots = rate x duration."""
    option, slots, rate = "max_workers", planned.max_workers, planned.peak
    if item.dropped_by.get("in_flight_limit", 0):
        option, slots = "max_in_flight", planned.max_in_flight
    mean_ns = item.call.service.mean_ns
    text = f"all {slots:,} slots ({option}) waited for the target at {rate:,.4g}/s"
    if mean_ns is None or not rate:
        return text
    needed = rate * mean_ns / 1e9
    return (
        f"{text}; by Little's law calls that last {mean_ns / 1e9:,.3g} s at this rate need {needed:,.0f} slots: "
        f"make the target faster, the rate lower or {option} larger"
    )


def _broken(result: Mapping[str, Any], found: JudgeInput) -> bool:
    """A signal that came before any call had ended leaves a threshold without a sample unjudged."""
    cut_off = found.interrupted is not None and not found.totals.ledger.answered
    return not result["passed"] and not (cut_off and result["value"] is None)


def _threshold_reason(result: Mapping[str, Any]) -> str:
    expression = str(result["expression"]).strip()
    if result["value"] is None:
        return f"{result['expression']}: no sample matches it, so it is broken"
    parsed = parse(expression).parse()
    if parsed.is_judged_by_second and result.get("broken_at_s") is not None:
        broken = f"broken at {result['broken_at_s']} s, for {result['broken_for_s']} s in all"
        found = "it never held" if parsed.action == "stop" else broken
        return f"{result['expression']}: {found}, worst {_value_text(expression, result['worst'])}"
    return f"{result['expression']}: found {_value_text(str(result['expression']).strip(), result['value'])}"


def _value_text(expression: str, value: float) -> str:
    match parse(expression).parse().unit:
        case "%":
            return f"{100 * value:.3g} %"
        case "s":
            return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
        case "/s":
            return f"{value:,.4g}/s"
        case _:
            return f"{value:,g}" if value < 1e6 else f"{value:,.0f}"


def _warnings(found: JudgeInput) -> list[str]:
    lines: list[str] = []
    for name, planned, item in _generators(found):
        if item is None:
            continue
        ledger = item.ledger
        if planned is not None and item.loop_blocks.count and not _blocked(planned, item):
            lines.append(f"{name}: {item.loop_blocks.sentence(planned.actor_name)}")
        if item.cpu_wait_s > max(CPU_WAIT_SHARE * item.call_time_s, LEAST_CPU_WAIT_S):
            each = f" ({1e3 * item.cpu_s / ledger.started:,.3g} ms CPU/call)" if ledger.started else ""
            share = 100 * min(1.0, item.cpu_wait_s / max(item.call_time_s, LEAST_CPU_WAIT_S))
            lines.append(
                f"{name}: load generator CPU saturated: calls spent {share:.0f} % of their time waiting for a core{each}; use"
                " more CPU, more nodes or less load"
            )
        if ledger.killed:
            lines.append(f"{name}: {ledger.killed:,} calls were killed with their process")
        if item.users.setup_failed:
            lines.append(f"{name}: {item.users.setup_failed:,} setups failed")
        if retries := item.counters.get(HTTP_RETRIES, 0):
            lines.append(
                f"{name}: {retries:,} HTTP requests were sent again on a new connection, since the server had closed the kept one;"
                " retries=0 lets them fail"
            )
        crowded = [what for what, names in _named(item) if OTHER in names]
        if crowded:
            lines.append(f"{name}: too many different {', '.join(crowded)}: the rest is counted as {OTHER}")
    return [*lines, *_overlooked(found)]


def _overlooked(found: JudgeInput) -> Iterator[str]:
    """Thresholds on `failed` where calls or requests ended badly in other ways."""
    for result in found.thresholds:
        threshold = parse(str(result["expression"]))
        parsed = threshold.parse()
        if parsed.metric != "failed":
            continue
        from wasp_ray.stats.measure import outcomes_in_scope

        counts = outcomes_in_scope(parsed, found.totals, found.plan)
        what = "calls" if parsed.group is None else "requests"
        others = [f"{n:,} {how} {what}" for n, how in ((counts.timeout, "timed-out"), (counts.killed, "killed")) if n]
        if others:
            yield f"threshold {threshold}: `failed` does not count {' and '.join(others)}; use `errors` to count them"


def _named(item: GeneratorTotals) -> Iterator[tuple[str, Sequence[str]]]:
    yield "groups", list(item.groups)
    yield "statuses", [status for group in item.groups.values() for status in group.status]
    yield "counters", list(item.counters)
    yield "errors", [error for error, _ in item.errors]
