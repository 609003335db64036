"""What is counted and what it means: histograms, totals, thresholds, verdict, summary. Pure; no I/O and no clock.

Names are imported on demand: thresholds and verdict are used where numpy must not be loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasp_ray.stats.histogram import Histogram
    from wasp_ray.stats.summary import summarise
    from wasp_ray.stats.thresholds import Threshold, ThresholdError
    from wasp_ray.stats.totals import GeneratorTotals, GroupTotals, Ledger, NodeTotals, SegmentTotals, merge_nodes
    from wasp_ray.stats.verdict import JudgeInput, Judgement, judge

__all__ = [
    "GeneratorTotals",
    "GroupTotals",
    "Histogram",
    "JudgeInput",
    "Judgement",
    "Ledger",
    "NodeTotals",
    "SegmentTotals",
    "Threshold",
    "ThresholdError",
    "judge",
    "merge_nodes",
    "summarise",
]

_HOME = {
    "GeneratorTotals": "totals",
    "GroupTotals": "totals",
    "Histogram": "histogram",
    "JudgeInput": "verdict",
    "Judgement": "verdict",
    "Ledger": "totals",
    "NodeTotals": "totals",
    "SegmentTotals": "totals",
    "Threshold": "thresholds",
    "ThresholdError": "thresholds",
    "judge": "verdict",
    "merge_nodes": "totals",
    "summarise": "summary",
}


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{home}"), name)
