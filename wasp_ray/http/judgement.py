"""What every client of HTTP does with an answer: judges it by `expect`, and records its phases. Pure but for the recorder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wasp_ray.http.options import Expect
from wasp_ray.http.recorder import Recorder

MAX_TOLD = 120


def judged(expect: Expect, status: int, answer: Any) -> str:
    """Why an answer is a failure, empty when it is none; a predicate is asked about `answer`."""
    if expect is None:
        return f"HTTP {status}" if status >= 400 else ""
    if not callable(expect):
        return "" if (status == expect if isinstance(expect, int) else status in expect) else f"HTTP {status}"
    try:
        said = expect(answer)
    except Exception as exc:
        return f"expect: {type(exc).__name__}"
    if said is None or said is True:
        return ""
    return str(said)[:MAX_TOLD] if isinstance(said, str) and said else "not as expected"


def record_phases(recorder: Recorder, phases: Mapping[str, int], end: int, group: str, route: str) -> None:
    """An entry for each, in ns, that ended with its request: they belong to no call."""
    for phase, ns in phases.items():
        recorder.phase(end - ns, end, f"{group}/{phase}", route)
