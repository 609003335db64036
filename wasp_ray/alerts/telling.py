"""What the results of alert checks mean for a run, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wasp_ray.alerts.watch import labels_text

MOST = 5


class Told(NamedTuple):
    """Sentences by what they do: fail the run, leave a requirement undecided, or only warn."""

    failed: list[str]
    unknown: list[str]
    warnings: list[str]


def told(results: Sequence[Mapping[str, Any]]) -> Told:
    """Of results as summary.json has them."""
    out = Told([], [], [])
    for result in results:
        name = result["name"]
        out.failed.extend(f"{name}: {text}" for text in _fired(result))
        undecided = (
            out.unknown if result["state"] == "unknown" else out.warnings
        )  # what fired is failed, whatever else is
        undecided.extend(f"{name}: {text}" for text in result["unknown"])
        out.warnings.extend(f"{name}: {text}" for text in _warnings(result))
    return out


def _fired(result: Mapping[str, Any]) -> list[str]:
    texts = [f"{_alert(entry)} fired at {entry['at_s']:.1f} s" for entry in result["fired"]]
    more = len(texts) - MOST + result["left_out"]
    return [*texts[:MOST], f"{more:,} more fired"] if more > 0 else texts


def _warnings(result: Mapping[str, Any]) -> list[str]:
    out = [
        f"{_alert(entry)} fired before the load began, until {entry['ended_s']:.1f} s: it does not count"
        for entry in result["fired_before"]
        if entry["ended_s"] is not None
    ]
    blind_s = sum(span["to_s"] - span["from_s"] for span in result["blind"])
    if blind_s:
        out.append(f"nothing was known of it for {blind_s:.1f} s of the load ({result['blind'][0]['why']})")
    return out[:MOST]


def _alert(entry: Mapping[str, Any]) -> str:
    return f"{entry['rule']}{labels_text(entry['labels'])}"
