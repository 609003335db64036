"""LogQL over the lines of the Loki sink. Pure.

Figures of seconds come from kind="stats", where a node writes one line a second and Generator. Counters in it only rise, and
each line has what they were before it: so the largest of an interval less the smallest before is what happened in it, and a
line that was delivered twice changes nothing. Before anything is summed over nodes or runs, each has one number, in the range
aggregation itself: of what is grouped again Loki allows 500 series only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

NS = "1e9"
EACH = "profile, run, node, generator"


def streams(kind: str, patterns: Mapping[str, str] = {}, **labels: str) -> str:
    """A stream selector: labels with exactly these values, others that match a pattern."""
    matchers = ['service_name="wasp_ray"', f'kind="{kind}"']
    matchers += [f"{name}={quoted(value)}" for name, value in labels.items()]
    matchers += [f'{name}=~"{pattern}"' for name, pattern in patterns.items()]
    return "{" + ", ".join(matchers) + "}"


def quoted(text: str) -> str:
    """As a string of LogQL, which has Go's escapes."""
    return json.dumps(text, ensure_ascii=False)


def largest(chosen: str, field: str, window: str, by: str, *, of: str = "") -> str:
    """A sum over nodes and runs of the largest value of a field of the stats. `of`: "rate" or "users" Generators only."""
    return f"sum by ({by}) ({_each('max', chosen, field, window, EACH, of)})"


def increase(chosen: str, counter: str, window: str, by: str) -> str:
    """By how much a counter of the stats rose within a window, over nodes and runs."""
    before = _each("min", chosen, f"before.{counter}", window, EACH)
    return f"({largest(chosen, counter, window, by)} - sum by ({by}) ({before}))"


def worst(chosen: str, field: str, window: str, by: str) -> str:
    """The largest value of a field of the stats, of all nodes and runs."""
    return _each("max", chosen, field, window, by)


def _each(what: str, chosen: str, field: str, window: str, by: str, of: str = "") -> str:
    """The node is read from the line: beyond 50 of them it is no label."""
    kind = f', actor="generator_kind" | actor="{of}"' if of else ""
    parsed = f'json value="{field}", node="node"{kind} | value!="" | unwrap value'
    return f"{what}_over_time({chosen} | {parsed} [{window}]) by ({by})"


def quantile(chosen: str, q: float, field: str, window: str, by: str, *, group: str | None = None) -> str:
    """In seconds, of the sampled successes: at a ratio, since failures are all there, they would count for more than they are."""
    wanted = f" | group={quoted(group)}" if group is not None else ""
    parsed = f'json group="group", failed="failed", value="{field}" | failed="false"{wanted}'
    return f"quantile_over_time({q:g}, {chosen} | {parsed} | unwrap value [{window}]) by ({by}) / {NS}"


def failures_by_group(chosen: str, window: str, by: str) -> str:
    """Failed requests and calls; a failure is always among the responses."""
    return f'sum by ({by}) (count_over_time({chosen} | json group="group", failed="failed" | failed="true" [{window}]))'


def events(chosen: str) -> str:
    """Errors of all nodes, start and end once: of the first."""
    told = 'json event="event", text="text", at="node" | event="error" or at="1"'
    return f'{chosen} | {told} | line_format "{{{{.event}}}}: {{{{.text}}}}"'
