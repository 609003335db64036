"""Whether a new side is worse than a base, from the histograms of their seconds. Pure; no I/O, no clock, numpy only."""

from wasp_ray.stats.compare.comparison import WITHIN, compare
from wasp_ray.stats.compare.resampling import Resampler
from wasp_ray.stats.compare.result import Answer, Comparison, Line, Margin, StratumValues
from wasp_ray.stats.compare.series import Errors, Quantile, RunSeconds, Stratum, Subject

__all__ = [
    "WITHIN", "Answer", "Comparison", "Errors", "Line", "Margin", "Quantile", "Resampler", "RunSeconds", "Stratum", "StratumValues",
    "Subject", "compare",
]  # fmt: skip
