"""The outcome of each requirement of a run: thresholds, alert checks, the run itself. Pure, from its summary; it judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from wasp_ray.report.redaction import Redactor
from wasp_ray.stats.verdict import ERROR, FAILED, INVALID

State = Literal["passed", "failed", "error", "unjudged"]
NOT_JUDGED = "not judged: the run was interrupted before any call had ended"
_INTERRUPTED_BY = "interrupted by "


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement. `reasons` say why it has not passed; empty when it has."""

    kind: Literal["thresholds", "alerts", "run"]
    name: str
    state: State
    reasons: Sequence[str] = ()

    def masked(self, redactor: Redactor) -> Check:
        """Return the same check without secrets."""
        return replace(self, name=redactor.text(self.name), reasons=[redactor.text(reason) for reason in self.reasons])


def checks_of(summary: Mapping[str, Any]) -> list[Check]:
    """Return every threshold and alert check of a summary, and the check `run` with the reasons that belong to none of them."""
    checks = [_threshold(entry, summary) for entry in summary["thresholds"]]
    checks += [_alert(entry, summary) for entry in summary.get("alerts", [])]
    return [*checks, _run(summary, checks)]


def _reasons(name: str, summary: Mapping[str, Any]) -> list[str]:
    """Return the reasons of the verdict that a check of this name has caused."""
    return [reason for reason in summary["reasons"] if reason.startswith(f"{name}: ")]


def _threshold(entry: Mapping[str, Any], summary: Mapping[str, Any]) -> Check:
    name = str(entry["expression"])
    if entry["passed"]:
        return Check("thresholds", name, "passed")
    reasons = _reasons(name, summary)
    return (
        Check("thresholds", name, "failed", reasons) if reasons else Check("thresholds", name, "unjudged", [NOT_JUDGED])
    )


def _alert(entry: Mapping[str, Any], summary: Mapping[str, Any]) -> Check:
    """An alert check without a result is an error where it decides the verdict, and unjudged where a signal has."""
    name, reasons = str(entry["name"]), _reasons(str(entry["name"]), summary)
    if entry["state"] == "ok":
        return Check("alerts", name, "passed")
    if entry["state"] == "fired":
        return Check("alerts", name, "failed", reasons or ["an alert fired"])
    unknown = [f"{name}: {text}" for text in entry["unknown"]]
    return Check("alerts", name, "error" if reasons else "unjudged", reasons or unknown)


def _run(summary: Mapping[str, Any], checks: Sequence[Check]) -> Check:
    reported = {reason for check in checks if check.state == "failed" for reason in check.reasons}
    reasons = [reason for reason in summary["reasons"] if reason not in reported]
    if summary["verdict"] in (INVALID, ERROR):
        return Check("run", "run", "error", reasons)
    reasons = [reason for reason in reasons if not reason.startswith(_INTERRUPTED_BY)]
    if summary["verdict"] == FAILED and reasons:
        return Check("run", "run", "failed", reasons)
    return Check("run", "run", "passed")
