"""Drivers: one for each kind of load."""

from __future__ import annotations

from wasp_ray.node.drivers.base import LATE_START_NS, Crew, Driver
from wasp_ray.node.drivers.stride import StrideDriver
from wasp_ray.node.drivers.tick_pipe import TickPipeDriver
from wasp_ray.node.drivers.users import UserDriver


def make_driver(crew: Crew) -> Driver:
    """Return the driver of a Generator's kind."""
    if crew.plan.kind == "users":
        return UserDriver(crew)
    return StrideDriver(crew) if crew.plan.is_async else TickPipeDriver(crew)


__all__ = ["LATE_START_NS", "Crew", "Driver", "StrideDriver", "TickPipeDriver", "UserDriver", "make_driver"]
