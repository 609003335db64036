"""What tests ask of Loki, as one tenant: push, read back every line, queries, series, rules."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.query_answers import Rule, Sample, ask, ask_for_data, rules_of, samples_of

PAGE = 5000  # the most that Loki gives at once by default
DAY_NS = 86_400_000_000_000
AHEAD_NS = 600_000_000_000  # the most that a line may be ahead of time by default


@dataclass(frozen=True)
class Line:
    """A stored line: `labels` are those of its stream."""

    at_ns: int
    text: str
    labels: dict[str, str]
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """One series of a range query: values by second."""

    labels: dict[str, str]
    values: dict[int, float]


@dataclass(frozen=True)
class LokiClient:
    """One tenant of the Loki at `url`. `rules_folder`: where that Loki looks for the tenant's rules."""

    url: str
    tenant: str
    rules_folder: Path

    def _get(self, path: str, **params: Any) -> Any:
        # With the flag, structured metadata is told beside each line instead of splitting streams.
        headers = {"X-Scope-OrgID": self.tenant, "X-Loki-Response-Encoding-Flags": "categorize-labels"}
        return ask_for_data(self.url + path, params=params, headers=headers)

    def push(self, lines: Sequence[Line]) -> None:
        """Stores lines. Raises Refused with the status and text of the answer."""
        streams: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
        for line in lines:
            stream = streams.setdefault(tuple(sorted(line.labels.items())), [])
            stream.append([str(line.at_ns), line.text, line.metadata])
        body = {"streams": [{"stream": dict(labels), "values": values} for labels, values in streams.items()]}
        ask("POST", f"{self.url}/loki/api/v1/push", json=body, headers={"X-Scope-OrgID": self.tenant})

    def lines(self, query: str, start_ns: int | None = None, end_ns: int | None = None) -> list[Line]:
        """All lines that match, oldest first, however many; by default of the last day and whatever is ahead of time."""
        start = time.time_ns() - DAY_NS if start_ns is None else start_ns
        end = time.time_ns() + AHEAD_NS if end_ns is None else end_ns
        found: list[Line] = []
        while True:
            page = self._page(query, start, end, PAGE)
            if len(page) < PAGE:
                return found + page
            # Lines of the page's last instant may go on beyond it: that instant is asked for again.
            last = page[-1].at_ns
            assert last > start, f"more than {PAGE} lines at {last}: they cannot be read page by page"
            found += [line for line in page if line.at_ns < last]
            start = last

    def _page(self, query: str, start: int, end: int, limit: int) -> list[Line]:
        params = {"query": query, "start": start, "end": end, "limit": limit, "direction": "forward"}
        data = self._get("/loki/api/v1/query_range", **params)
        assert data["resultType"] == "streams", f"expected a query of lines, found {query!r}"
        lines = [
            Line(int(at), text, stream["stream"], (more[0] if more else {}).get("structuredMetadata", {}))
            for stream in data["result"]
            for at, text, *more in stream["values"]
        ]
        return sorted(lines, key=lambda line: line.at_ns)

    def query(self, query: str, at_ns: int | None = None) -> list[Sample]:
        """The series of a metric query at an instant, by default now."""
        return samples_of(self._get("/loki/api/v1/query", query=query, time=at_ns or time.time_ns()))

    def query_range(self, query: str, start_ns: int, end_ns: int, step_s: int) -> list[Series]:
        """The series of a metric query at each step."""
        params = {"query": query, "start": start_ns, "end": end_ns, "step": f"{step_s}s"}
        data = self._get("/loki/api/v1/query_range", **params)
        assert data["resultType"] == "matrix", f"expected a metric query, found {query!r}"
        return [
            Series(series["metric"], {int(at): float(value) for at, value in series["values"]})
            for series in data["result"]
        ]

    def label_values(self, label: str, match: str) -> list[str]:
        """What a label is in the streams that match, as Grafana's variables ask for it."""
        now = time.time_ns()
        params: dict[str, Any] = {"query": match, "start": now - DAY_NS, "end": now + AHEAD_NS}
        text = ask(
            "GET", f"{self.url}/loki/api/v1/label/{label}/values", params=params, headers={"X-Scope-OrgID": self.tenant}
        )
        found: list[str] = json.loads(text).get("data", [])  # no value, no data
        return found

    def series(self, match: str) -> list[dict[str, str]]:
        """The labels of each stream of the last day."""
        now = time.time_ns()
        found: list[dict[str, str]] = self._get(
            "/loki/api/v1/series", **{"match[]": match, "start": now - DAY_NS, "end": now + AHEAD_NS}
        )
        return found

    def write_rules(self, group: str, rules: Sequence[Mapping[str, Any]]) -> None:
        """Gives the tenant a group of rules, evaluated each second; Loki takes notice within a second or two."""
        self.rules_folder.mkdir(parents=True, exist_ok=True)
        content = {"groups": [{"name": group, "interval": "1s", "rules": [dict(rule) for rule in rules]}]}
        (self.rules_folder / f"{group}.yaml").write_text(yaml.safe_dump(content))

    def rules(self) -> list[Rule]:
        """The tenant's alerting rules as they stand."""
        return rules_of(self._get("/prometheus/api/v1/rules"))
