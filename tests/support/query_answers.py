"""Asking Prometheus, and what it answers to queries and about rules; Loki answers in the same shape."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import requests

ANSWER_S = 30.0
RuleState = Literal["inactive", "pending", "firing"]


@dataclass(frozen=True)
class Sample:
    """One series of an instant query."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Rule:
    """An alerting rule and how it stands; `active`: labels of its pending and firing alerts."""

    group: str
    name: str
    state: RuleState
    query: str
    labels: dict[str, str] = field(default_factory=dict)
    active: list[dict[str, str]] = field(default_factory=list)
    problem: str = ""


class Refused(Exception):
    """The server did not do what it was asked."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text[:2000]}")
        self.status = status
        self.text = text


def ask(method: str, url: str, **options: Any) -> str:
    """The text of a good answer, options as requests has them. Raises Refused.

    Nothing of the connection outlives this, whatever keeps an exception.
    """
    answer = requests.request(method, url, timeout=ANSWER_S, **options)
    status, text, good = answer.status_code, answer.text, answer.ok
    del answer  # its connection is open for as long as something refers to it
    if not good:
        raise Refused(status, text)
    return text


def ask_for_data(url: str, **options: Any) -> Any:
    """What stands under "data" in the answer. Raises Refused."""
    return json.loads(ask("GET", url, **options))["data"]


def samples_of(data: dict[str, Any]) -> list[Sample]:
    """The series of a vector, or the one number of a scalar."""
    if data["resultType"] == "scalar":
        return [Sample({}, float(data["result"][1]))]
    assert data["resultType"] == "vector", f"expected a vector or a scalar, found a {data['resultType']}"
    return [Sample(series["metric"], float(series["value"][1])) for series in data["result"]]


def rules_of(data: dict[str, Any]) -> list[Rule]:
    """The alerting rules of all groups."""
    return [
        Rule(
            group["name"],
            rule["name"],
            rule["state"],
            rule["query"],
            rule.get("labels", {}),
            [alert["labels"] for alert in rule.get("alerts") or ()],
            rule.get("lastError", ""),
        )
        for group in data["groups"]
        for rule in group["rules"]
        if rule["type"] == "alerting"
    ]
