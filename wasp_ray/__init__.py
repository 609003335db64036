"""Load testing from Python code: one real process per virtual user, one trustworthy verdict.

Names are imported on demand.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasp_ray._version import __version__
    from wasp_ray.alerts.check import AlertCheck
    from wasp_ray.errors import (
        BadInput,
        CallFailed,
        LoadFileError,
        NodeFailed,
        RestartUser,
        SetupFailed,
        StopUser,
        WaspError,
    )
    from wasp_ray.grafana.alerts import Alert
    from wasp_ray.grafana.dashboard import Dashboard
    from wasp_ray.grafana.sink import Grafana
    from wasp_ray.load.actors import Gun, Response, VirtualUser, task
    from wasp_ray.load.feeders import csv, jsonl, rows
    from wasp_ray.load.generator import AUTO, Generator
    from wasp_ray.load.placement import Placement
    from wasp_ray.load.waits import between, exponential
    from wasp_ray.profile import Profile, Run, RunFailed, RunResult
    from wasp_ray.report.bundle import open_bundle
    from wasp_ray.schedule import combine, combine_and_repeat, pause, plain, ramp, steps
    from wasp_ray.sinks.loki import Loki
    from wasp_ray.sinks.otlp import Otlp
    from wasp_ray.sinks.prometheus import Prometheus
    from wasp_ray.sinks.samples import RawSamples
    from wasp_ray.stats.thresholds import Threshold

_HOME = {
    "__version__": "_version",
    "AlertCheck": "alerts.check",
    **dict.fromkeys(
        (
            "BadInput",
            "CallFailed",
            "LoadFileError",
            "NodeFailed",
            "RestartUser",
            "SetupFailed",
            "StopUser",
            "WaspError",
        ),
        "errors",
    ),
    **dict.fromkeys(("Gun", "Response", "VirtualUser", "task"), "load.actors"),
    **dict.fromkeys(("csv", "jsonl", "rows"), "load.feeders"),
    **dict.fromkeys(("AUTO", "Generator"), "load.generator"),
    "Placement": "load.placement",
    **dict.fromkeys(("between", "exponential"), "load.waits"),
    **dict.fromkeys(("Profile", "Run", "RunFailed", "RunResult"), "profile"),
    **dict.fromkeys(("combine", "combine_and_repeat", "pause", "plain", "ramp", "steps"), "schedule"),
    "open_bundle": "report.bundle",
    "Alert": "grafana.alerts",
    "Dashboard": "grafana.dashboard",
    "Grafana": "grafana.sink",
    "Loki": "sinks.loki",
    "Otlp": "sinks.otlp",
    "Prometheus": "sinks.prometheus",
    "RawSamples": "sinks.samples",
    "Threshold": "stats.thresholds",
}

__all__ = [
    "AUTO",
    "Alert",
    "AlertCheck",
    "BadInput",
    "CallFailed",
    "Dashboard",
    "Generator",
    "Grafana",
    "Gun",
    "LoadFileError",
    "Loki",
    "NodeFailed",
    "Otlp",
    "Placement",
    "Profile",
    "Prometheus",
    "RawSamples",
    "Response",
    "RestartUser",
    "Run",
    "RunFailed",
    "RunResult",
    "SetupFailed",
    "StopUser",
    "Threshold",
    "VirtualUser",
    "WaspError",
    "__version__",
    "between",
    "combine",
    "combine_and_repeat",
    "csv",
    "exponential",
    "jsonl",
    "open_bundle",
    "pause",
    "plain",
    "ramp",
    "rows",
    "steps",
    "task",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'wasp_ray' has no attribute {name!r}; see wasp_ray.__all__")
    value = getattr(import_module(f"wasp_ray.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
