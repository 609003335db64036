"""The plan of a run: what a validated Profile compiles to, as frozen values. Types only."""

from __future__ import annotations

from wasp_ray.plan.data import DataError
from wasp_ray.plan.generator import GeneratorPlan, Kind, SegmentPlan
from wasp_ray.plan.run import AlertPlan, Load, Plan, SinkPlan

__all__ = ["AlertPlan", "DataError", "GeneratorPlan", "Kind", "Load", "Plan", "SegmentPlan", "SinkPlan"]
