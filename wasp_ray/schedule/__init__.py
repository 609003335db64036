"""Load over time: segments, due times, exact shares. Pure; a clock is always given, never read."""

from __future__ import annotations

from wasp_ray.schedule.duration import SECOND_NS, format_duration, parse_duration
from wasp_ray.schedule.pacing import RateCurve, UserCurve, share_count, share_id
from wasp_ray.schedule.poisson import PoissonCurve, make_curve
from wasp_ray.schedule.segments import Schedule, Segment, combine, combine_and_repeat, pause, plain, ramp, steps

__all__ = [
    "SECOND_NS",
    "PoissonCurve",
    "RateCurve",
    "Schedule",
    "Segment",
    "UserCurve",
    "combine",
    "combine_and_repeat",
    "format_duration",
    "make_curve",
    "parse_duration",
    "pause",
    "plain",
    "ramp",
    "share_count",
    "share_id",
    "steps",
]
