"""Drivers: one for each kind of load."""

from __future__ import annotations

from wasp_ray.node.drivers.base import LATE_START_NS, Driver, WorkerSet
from wasp_ray.node.drivers.stride import StrideDriver
from wasp_ray.node.drivers.tick_pipe import TickPipeDriver
from wasp_ray.node.drivers.users import UserDriver


def make_driver(workers: WorkerSet) -> Driver:
    """Return the driver of a Generator's kind."""
    if workers.plan.kind == "users":
        return UserDriver(workers)
    return StrideDriver(workers) if workers.plan.is_async else TickPipeDriver(workers)


__all__ = ["LATE_START_NS", "Driver", "StrideDriver", "TickPipeDriver", "UserDriver", "WorkerSet", "make_driver"]
