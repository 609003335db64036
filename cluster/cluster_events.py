"""What a cluster's Event objects say of a run, in words. Pure reading of what the API server writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MAX_CHARS = 500
Obj = Mapping[str, Any]


def event_line(event: Obj) -> str:
    """One event as a line of a log."""
    about = event["involvedObject"]
    times = f" (x{event['count']})" if (event.get("count") or 1) > 1 else ""
    what = f"{about.get('kind')} {about.get('name')} {event.get('reason')}: {event.get('message')}"
    return f"{_at(event)} {event.get('type', '')} {what}{times}"


def refusal(events: Iterable[Obj]) -> str | None:
    """Why a Job could not make a pod, as it was said last: quotas and admission tell it in events only."""
    failed = sorted((e for e in events if e.get("reason") == "FailedCreate"), key=_at)
    return str(failed[-1].get("message") or "FailedCreate")[:MAX_CHARS] if failed else None


def is_about(event: Obj, name: str) -> bool:
    """Whether it concerns the run's root, or what has its name in front: its pods and its other objects."""
    about = str(event["involvedObject"].get("name", ""))
    return about == name or about.startswith(f"{name}-")


def _at(event: Obj) -> str:
    """When it happened last; the ways to write that sort as they are."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
        or event["metadata"].get("creationTimestamp") or ""
    )  # fmt: skip
