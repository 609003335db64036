"""What rules APIs answer, as one shape: Prometheus, Loki's ruler and Grafana, and Grafana's Alertmanager. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from wasp_ray.alerts.check import DASHBOARD

State = Literal["inactive", "pending", "firing"]
Labels = tuple[tuple[str, str], ...]
FIRING = ("firing", "alerting", "recovering")
"""Rules fire, Grafana's alerts are alerting; one that recovers (Grafana 12) has fired and is kept firing for a while."""
QUIET = ("inactive", "normal", "nodata", "error")
"""The last two are alerts of Grafana that stand for a rule's health, which is told beside them."""
NEVER = "0001-01-01T00:00:00"
DEFAULT_INTERVAL_S = 60.0
LEAST_INTERVAL_S, LONGEST_S = 0.001, 1e9
STAND_INS = ("DatasourceNoData", "DatasourceError")
"""What Grafana tells its Alertmanager of a rule that it cannot evaluate: no alert of that rule."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One that fires. `since_s`: since 1970, by the server's clock; None: it does not say."""

    labels: Labels
    since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """An alerting rule as it stands. `problem`: why its state says nothing; "" when it does."""

    key: tuple[str, str, str, Labels, int]
    """Folder or file, group, name, labels, and which of those that are the same in all this."""
    name: str
    state: State
    problem: str
    evaluated: str
    """When it was last evaluated, as the server says it."""
    interval_s: float
    for_s: float
    firing: tuple[Alert, ...] = ()
    pending: tuple[Alert, ...] = ()


OF_A_RUN = ("profile", "run", "generator")
"""The labels by which results in Loki, and alerts on them, belong to a run."""


def is_of(alert: Alert, run_id: str) -> bool:
    """Whether it may be of this run: any is, but what tells that it is of another run of wasp_ray."""
    labels = dict(alert.labels)
    return labels.get("run") == run_id or not all(name in labels for name in OF_A_RUN)


def of_run(rule: Rule, run_id: str) -> Rule:
    """The rule without alerts of other runs, which may go on beside this one or have just ended."""
    firing = tuple(alert for alert in rule.firing if is_of(alert, run_id))
    pending = tuple(alert for alert in rule.pending if is_of(alert, run_id))
    if (firing, pending) == (rule.firing, rule.pending):
        return rule
    return replace(
        rule, state="firing" if firing else "pending" if pending else "inactive", firing=firing, pending=pending
    )


def rules_of(answer: object, labels: Mapping[str, str], dashboard_uid: str) -> list[Rule]:
    """The alerting rules that have these labels and this dashboard. Raises ValueError when it is no answer of a rules API."""
    if not isinstance(answer, Mapping) or answer.get("status") != "success":
        told = answer.get("error") if isinstance(answer, Mapping) else None
        raise ValueError(f"it answered with an error: {told}" if told else "its answer is not that of a rules API")
    try:
        return _rules(answer["data"]["groups"] or (), labels, dashboard_uid)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"its answer is not that of a rules API ({type(exc).__name__}: {exc})") from exc


def _rules(groups: Iterable[Mapping[str, Any]], labels: Mapping[str, str], dashboard_uid: str) -> list[Rule]:
    out: list[Rule] = []
    same: Counter[object] = Counter()
    for group in groups:
        for data in group["rules"] or ():
            if data["type"] == "alerting" and _matches(data, labels, dashboard_uid):
                names = (str(group.get("file", "")), str(group["name"]), str(data["name"]), _labels(data))
                out.append(_rule(data, (*names, same[names]), _interval_s(group)))
                same[names] += 1
    return out


def _matches(data: Mapping[str, Any], labels: Mapping[str, str], dashboard_uid: str) -> bool:
    has = {"alertname": data.get("name"), **(data.get("labels") or {})}
    linked = (data.get("annotations") or {}).get(DASHBOARD)
    return all(has.get(name) == value for name, value in labels.items()) and dashboard_uid in ("", linked)


def _rule(data: Mapping[str, Any], key: tuple[str, str, str, Labels, int], interval_s: float) -> Rule:
    for_s = _bounded(data.get("duration") or 0, 0.0)
    state, problem = _state(data["state"])
    firing, pending = [], []
    for alert in data.get("alerts") or ():
        alert_state, unknown = _state(alert["state"])
        problem = problem or unknown
        if alert_state == "firing":
            firing.append(Alert(_labels(alert), _since(alert, for_s)))
        elif alert_state == "pending":
            pending.append(Alert(_labels(alert)))
    state = "pending" if pending and state == "inactive" else state
    if state == "firing" and not firing:
        firing = [Alert(_labels(data))]
    evaluated = str(data.get("lastEvaluation") or NEVER)
    return Rule(
        key, str(data["name"]), "firing" if firing else state, problem or _health(data, evaluated), evaluated, interval_s, for_s,
        tuple(firing), tuple(pending),
    )  # fmt: skip


def _state(told: str) -> tuple[State, str]:
    """Grafana puts a reason behind the state of an alert: `Alerting (NoData)`."""
    word = told.lower().partition(" ")[0]
    if word in FIRING:
        return "firing", ""
    if word == "pending":
        return "pending", ""
    return "inactive", "" if word in QUIET else f"its state is {told!r}, which is not known here"


def _interval_s(group: Mapping[str, Any]) -> float:
    return _bounded(group.get("interval") or DEFAULT_INTERVAL_S, LEAST_INTERVAL_S)


def _bounded(told: Any, least: float) -> float:
    """Seconds that can be reckoned with. Raises ValueError, TypeError."""
    found = float(told)
    if not least <= found <= LONGEST_S:
        raise ValueError(f"expected {least:g} to {LONGEST_S:g} seconds, found {told!r}")
    return found


def _since(alert: Mapping[str, Any], for_s: float) -> float | None:
    """Since when it fires: Prometheus and Loki tell since when it is pending, Grafana since when it is in its state."""
    at_s = seconds(alert.get("activeAt"))
    return None if at_s is None else at_s + (for_s if alert["state"] == "firing" else 0.0)


def _health(data: Mapping[str, Any], evaluated: str) -> str:
    """Grafana calls a rule that was never evaluated healthy."""
    health, error = str(data.get("health", "unknown")), str(data.get("lastError") or "")
    if data.get("isPaused"):
        return "it is paused"
    if evaluated.startswith(NEVER):
        return "it was not evaluated yet"
    return "" if health == "ok" else f"its health is {health!r}{f': {error[:200]}' if error else ''}"


def alerts_of(answer: object, labels: Mapping[str, str], dashboard_uid: str) -> list[Alert]:
    """What fires by an Alertmanager's list, which knows no rules and none that is quiet. Raises ValueError."""
    try:
        if not isinstance(answer, Sequence):
            raise TypeError("expected a list")
        return [
            Alert(_labels(alert), seconds(alert.get("startsAt")))
            for alert in answer
            if _matches({**alert, "name": alert["labels"].get("alertname")}, labels, dashboard_uid)
            and alert["labels"].get("alertname") not in STAND_INS
        ]
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError(f"its answer is not that of an Alertmanager ({type(exc).__name__}: {exc})") from exc


def _labels(data: Mapping[str, Any]) -> Labels:
    return tuple(sorted((str(name), str(value)) for name, value in (data.get("labels") or {}).items()))


def seconds(told: object) -> float | None:
    """Since 1970; None for what is no time, and for the year 1, which Go has for no time."""
    try:
        at = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return None if at.year <= 1 or at.tzinfo is None else at.timestamp()
