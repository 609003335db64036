"""What a controller keeps in the run's ConfigMap so that another one can finish the run with the same verdict. Pure.

Keys of the ConfigMap: `plan` and `version` (of the nodes) are there before the start, `causes` before the nodes are ordered to
stop, `verdict` when the run is over and its objects stay. Values are JSON, or "gz:" and base64 of gzipped JSON.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import NoneType
from typing import Any

from wasp_ray.cluster.snapshot import expanded
from wasp_ray.errors import BadInput
from wasp_ray.plan import Plan, SinkPlan
from wasp_ray.schedule import Schedule

PLAN, VERSION, CAUSES, VERDICT = "plan", "version", "causes", "verdict"
PLAIN_CHARS = 1_000
"""Longer JSON is compressed: every node receives the ConfigMap again at each change."""
MAX_PLAN_CHARS = 300_000
MAX_OTHER_CHARS = 100_000
"""Of `causes` and of `verdict`. With the order (512 KiB at most) all stay below a ConfigMap's 1 MiB."""
KEPT_TEXTS = 20
"""Of each kind, where `causes` or `verdict` would be larger."""
_PREFIX = "gz:"
_FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    CAUSES: {
        "problems": list,
        "errors": list,
        "invalid": list,
        "lost": dict,
        "stopped": bool,
        "interrupted": (str, NoneType),
    },
    VERDICT: {"verdict": str, "reasons": list},
}
"""The least that each must have; a plan checks itself."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A run that another controller began, as the ConfigMap describes it."""

    released: bool
    """The common start is fixed."""
    aborted: bool
    """Whether the nodes were ordered to stop."""
    plan: Plan = field(default_factory=Plan.unknown)
    version: str = ""
    """Of wasp_ray on the nodes."""
    causes: Mapping[str, Any] = field(default_factory=dict)
    """See Lifecycle.causes; empty when none was recorded."""
    verdict: Mapping[str, Any] = field(default_factory=dict)
    """`verdict` and `reasons` of a run that was judged already."""
    problems: tuple[str, ...] = ()
    """Why this controller cannot judge the run."""


def adopted(data: Mapping[str, str]) -> Adopted:
    """Read what `record` and `Blackboard` wrote; values that cannot be read are among `problems`."""
    found: dict[str, Any] = {}
    problems = []
    readers: Mapping[str, Callable[[dict[str, Any]], Any]] = {
        PLAN: Plan.from_data, **{name: partial(_checked, name) for name in _FIELDS},
    }  # fmt: skip
    for name, reader in readers.items():
        try:
            if data.get(name):
                found[name] = reader(unpacked(data[name]))
        except ValueError as exc:
            problems.append(f"the run's ConfigMap has a value of {name!r} that cannot be read: {exc}")
    return Adopted(
        bool(data.get("start_at")), bool(data.get("abort")), version=data.get(VERSION) or "", problems=tuple(problems),
        **found,
    )  # fmt: skip


def _checked(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The object itself. Raises ValueError when it lacks something."""
    for key, kind in _FIELDS[name].items():
        if not isinstance(found.get(key), kind):
            raise ValueError(f"its {key!r} is {type(found.get(key)).__name__}")
    return found


def texts_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The ConfigMap's data for a record by its keys. Raises BadInput for a plan that does not fit."""
    packers: Mapping[str, Callable[[Any], str]] = {
        PLAN: _packed_plan,
        VERSION: str,
        CAUSES: _bounded,
        VERDICT: _bounded,
    }
    return {name: packers[name](value) for name, value in record.items()}


def packed(data: Any) -> str:
    """JSON, compressed when it is long."""
    text = json.dumps(data, separators=(",", ":"), sort_keys=True)
    if len(text) <= PLAIN_CHARS:
        return text
    return _PREFIX + base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def unpacked(text: str) -> dict[str, Any]:
    """The reverse. Raises ValueError when it is no such text."""
    if text.startswith(_PREFIX):
        return expanded(text.removeprefix(_PREFIX))
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object, found {type(found).__name__}")
    return found


def _packed_plan(plan: Plan) -> str:
    """Raises BadInput."""
    text = ""
    for smaller in _smaller_plans(plan):
        text = packed(smaller.to_data())
        if len(text) <= MAX_PLAN_CHARS:
            return text
    raise BadInput(
        f"the plan of this load takes {len(text):,} bytes after compression: expected at most {MAX_PLAN_CHARS:,}, since the run's"
        " ConfigMap keeps it for a controller that takes over; use fewer Generators or fewer segments of their schedules"
    )


def _smaller_plans(plan: Plan) -> Iterator[Plan]:
    """The whole plan, then without what no verdict needs: schedules, then segments other than warm-ups. Never with the options of
    sinks, which nodes alone use: their headers may hold what not everybody should read.
    """
    plan = replace(plan, sinks=tuple(SinkPlan(kind=sink.kind, name=sink.name) for sink in plan.sinks))
    yield plan
    generators = [replace(generator, schedule=Schedule(())) for generator in plan.generators]
    yield replace(plan, generators=tuple(generators))
    warm = [replace(one, segments=tuple(s for s in one.segments if s.warmup)) for one in generators]
    yield replace(plan, generators=tuple(warm))


def _bounded(data: Mapping[str, Any]) -> str:
    """The first texts of each list and no reasons of single nodes, where all would be too much."""
    text = packed(data)
    if len(text) <= MAX_OTHER_CHARS:
        return text
    return packed({name: _cut(value) for name, value in data.items()})


def _cut(value: Any) -> Any:
    if isinstance(value, list):
        return [str(text)[:1000] for text in value[:KEPT_TEXTS]]
    if isinstance(value, dict):
        return dict.fromkeys(value, "")
    return value
