"""One alert check as a state machine: answers and failures with their times go in, what is known of the run comes out. Pure.

A rules API shows the present only, so what fired is what was seen to fire. Whatever is not known is never taken for quiet.
All times are seconds of one clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wasp_ray.alerts.episodes import Episode, Episodes
from wasp_ray.alerts.rules import DEFAULT_INTERVAL_S, Alert, Rule, is_of, of_run

Verdict = Literal["ok", "fired", "unknown"]
LONGEST_PERIOD_S, SHORTEST_PERIOD_S = 5.0, 0.25
LONGEST_WAIT_S = 1800.0
"""After the load, whatever the rules' `for`."""
PATIENCE_S, PATIENCE_INTERVALS = 30.0, 3
"""Beyond that, for a server that does not answer at the very end; for rules that are not settled as many evaluations."""
MOST_BLIND = 0.5
"""Of the load: a requirement of which less was seen was not checked."""
MAX_SPANS = 200
NO_RULE = "no alerting rule has these labels and this dashboard, or the token may not see it"


@dataclass(slots=True)
class _Known:
    """A rule as it was last seen; its newest evaluation came after `evaluated_after_s`."""

    rule: Rule
    seen_s: float
    evaluated_after_s: float = -math.inf


@dataclass(slots=True)
class _Span:
    """A time in which nothing was known; `to_s` None: it goes on."""

    from_s: float
    why: str
    to_s: float | None = None


class AlertWatch:
    """See the module. `sent_s` is when a request began, `got_s` when its answer was there. `run_id`: see rules.of_run."""

    def __init__(self, run_id: str = "") -> None:
        self.polls = 0
        self._run_id = run_id
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._unanswered = "it was not asked"
        self._rules: dict[object, _Known] = {}
        self._blind: list[_Span] = []
        self._episodes = Episodes()

    # -- what comes in

    def polled(self, sent_s: float, got_s: float, rules: Sequence[Rule], ahead_s: float = 0.0) -> None:
        """An answer. `ahead_s`: the server's clock minus ours."""
        self._attempted(sent_s)
        rules = [of_run(rule, self._run_id) for rule in rules]
        for rule in rules:
            known = self._rules.get(rule.key)
            if known is None:
                self._rules[rule.key] = _Known(rule, sent_s)
                continue
            if rule.evaluated != known.rule.evaluated:
                known.evaluated_after_s = known.seen_s
            known.rule, known.seen_s = rule, sent_s
        firing = [(rule.key, rule.name, alert) for rule in rules for alert in rule.firing]
        self._episodes.seen(firing, got_s, ahead_s)
        self._last_s, self._unanswered = sent_s, ""
        unclear = next((f"{rule.name}: {rule.problem}" for rule in rules if rule.problem), "" if rules else NO_RULE)
        if unclear:
            self._saw_nothing(sent_s, unclear)
        elif self._blind and self._blind[-1].to_s is None:
            self._blind[-1].to_s = got_s

    def failed(self, sent_s: float, why: str) -> None:
        """No answer, or none that says anything."""
        self._attempted(sent_s)
        self._unanswered = why
        self._saw_nothing(sent_s, why)

    def only_firing(self, sent_s: float, got_s: float, alerts: Sequence[Alert], ahead_s: float, why: str) -> None:
        """An answer that tells what fires, and of nothing else whether it is quiet."""
        mine = [alert for alert in alerts if is_of(alert, self._run_id)]
        firing = [("", dict(alert.labels).get("alertname", ""), alert) for alert in mine]
        self._episodes.seen(firing, got_s, ahead_s)
        self.failed(sent_s, why)

    def _attempted(self, sent_s: float) -> None:
        self.polls += 1
        self._first_s = sent_s if self._first_s is None else self._first_s

    def _saw_nothing(self, at_s: float, why: str) -> None:
        if self._blind and self._blind[-1].to_s is None:
            self._blind[-1].why = why
        elif len(self._blind) < MAX_SPANS:
            self._blind.append(_Span(at_s, why))
        else:
            self._blind[-1].to_s = None

    def news(self) -> list[str]:
        """What a person should hear while the load goes on: what fires right now, and why nothing is known."""
        firing = [f"{episode.rule}{_told(episode)} fires" for episode in self._episodes if episode.ended_s is None]
        return firing + ([self._blind[-1].why] if self._blind and self._blind[-1].to_s is None else [])

    # -- how long to go on

    @property
    def period_s(self) -> float:
        """From one request to the next: an alert fires for an evaluation interval at least."""
        return min(LONGEST_PERIOD_S, max(SHORTEST_PERIOD_S, self._interval_s / 2))

    @property
    def _interval_s(self) -> float:
        return min((known.rule.interval_s for known in self._rules.values()), default=DEFAULT_INTERVAL_S)

    def deadline_s(self, end_s: float) -> float:
        """One evaluation interval and `for` after the load: `for` in whole intervals, since it is looked at once an interval."""
        waits = [
            known.rule.interval_s * (1 + math.ceil(known.rule.for_s / known.rule.interval_s))
            for known in self._rules.values()
        ]
        slack_s = 2 * self.period_s + 1.0 if waits else 0.0  # to see it
        return end_s + min(LONGEST_WAIT_S, max(waits, default=0.0) + slack_s)

    def over(self, start_s: float, end_s: float, now_s: float) -> bool:
        """Whether nothing more is to be learnt, or has to be given up, after a request at `now_s`."""
        fired = {episode.rule for episode in self._fired(start_s)}
        if fired and fired >= {known.rule.name for known in self._rules.values()}:
            return True
        late_s = now_s - self.deadline_s(end_s)
        return late_s >= 0 and (bool(fired) or late_s >= self.patience_s(end_s))

    def patience_s(self, end_s: float) -> float:
        """What is waited beyond the deadline; 0 when all is known."""
        if self._unanswered:
            return PATIENCE_S
        unsettled = any(self._problem(known, end_s) for known in self._rules.values())
        return min(PATIENCE_S, PATIENCE_INTERVALS * self._interval_s) if unsettled else 0.0

    # -- what is known

    def result(self, start_s: float, end_s: float) -> dict[str, Any]:
        """`state` ("ok", "fired" or "unknown") with all that speaks for it; seconds from t = 0. JSON-able."""
        fired, before = self._fired(start_s), self._before(start_s)
        unknown = self._unknown(start_s, end_s, before)
        if not fired and not unknown and (self._last_s is None or self._last_s < self.deadline_s(end_s)):
            unknown = ["its last evaluations after the load were not waited for"]
        blind = self._blind_spans(start_s, end_s)
        state: Verdict = "fired" if fired else "unknown" if unknown else "ok"
        return {
            "state": state,
            "rules": [_rule_data(known.rule) for known in self._rules.values()],
            "fired": [_episode_data(episode, start_s) for episode in fired],
            "fired_before": [_episode_data(episode, start_s) for episode in before],
            "left_out": self._episodes.left_out,
            "unknown": unknown,
            "blind": [{"from_s": a - start_s, "to_s": b - start_s, "why": why} for a, b, why in blind],
            "polls": self.polls,
        }

    def _fired(self, start_s: float) -> list[Episode]:
        return [episode for episode in self._episodes if not episode.before(start_s)]

    def _before(self, start_s: float) -> list[Episode]:
        return [e for e in self._episodes if e.before(start_s) and (e.ended_s is None or e.ended_s > start_s)]

    def _unknown(self, start_s: float, end_s: float, before: Sequence[Episode]) -> list[str]:
        out = []
        if self._unanswered:
            since = f", from {self._blind[-1].from_s - start_s:.1f} s on" if self._last_s is not None else ""
            out.append(f"{self._unanswered}{since}")
        elif not self._rules:
            out.append(NO_RULE)
        out += [f"{known.rule.name}: {why}" for known in self._rules.values() if (why := self._problem(known, end_s))]
        if self._episodes.left_out:
            out.append(f"{self._episodes.left_out:,} more alerts fired than can be followed")
        blind_s, load_s = sum(b - a for a, b, _ in self._blind_spans(start_s, end_s)), end_s - start_s
        if not out and blind_s > load_s * MOST_BLIND:
            out.append(f"nothing was known of it for {blind_s:.1f} s of a load of {load_s:.1f} s")
        out += [
            f"{episode.rule}{_told(episode)} fired before the load began and until it ended: that says nothing about this load"
            for episode in before
            if episode.ended_s is None or episode.ended_s > end_s
        ]
        return out

    def _problem(self, known: _Known, end_s: float) -> str:
        rule = known.rule
        if self._last_s is not None and known.seen_s < self._last_s:
            return "the rule is gone"
        if rule.problem or rule.state == "firing":
            return rule.problem
        if known.evaluated_after_s < end_s:
            return f"it was not evaluated after the load; its last evaluation is of {rule.evaluated}"
        return "it was still pending at the end" if rule.state == "pending" else ""

    def _blind_spans(self, start_s: float, end_s: float) -> list[tuple[float, float, str]]:
        """Within the load, as far as an alert may have come and gone in them."""
        first_s = end_s if self._first_s is None else self._first_s
        spans = [(start_s, first_s, "it was not asked yet")]
        spans += [(span.from_s, math.inf if span.to_s is None else span.to_s, span.why) for span in self._blind]
        cut = [(max(a, start_s), min(b, end_s), why) for a, b, why in spans]
        return [(a, b, why) for a, b, why in cut if b - a >= self._interval_s]


def _rule_data(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name, "group": rule.key[1], "state": rule.state, "problem": rule.problem,
        "evaluated_at": rule.evaluated, "interval_s": rule.interval_s, "for_s": rule.for_s,
    }  # fmt: skip


def _episode_data(episode: Episode, start_s: float) -> dict[str, Any]:
    ended_s = None if episode.ended_s is None else episode.ended_s - start_s
    return {
        "rule": episode.rule,
        "labels": dict(episode.labels),
        "at_s": episode.at_s - start_s,
        "ended_s": ended_s,
    }


def _told(episode: Episode) -> str:
    return labels_text(dict(episode.labels))


def labels_text(labels: Mapping[str, str]) -> str:
    """`{job="shop"}` without the rule's name; "" without labels."""
    parts = [f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "alertname"]
    return f"{{{', '.join(parts)}}}" if parts else ""
