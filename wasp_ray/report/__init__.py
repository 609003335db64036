"""What a person or a later program reads of a run: live view, final table, bundle. It must not judge or measure.

Names are imported on demand, so that processes that only need a Snapshot or a Bundle do not load rich.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasp_ray.report.bundle import Bundle, UserLog
    from wasp_ray.report.live import LiveView
    from wasp_ray.report.snapshot import GeneratorView, Snapshot
    from wasp_ray.report.table import final_table, print_table

__all__ = ["Bundle", "GeneratorView", "LiveView", "Snapshot", "UserLog", "final_table", "print_table"]

_HOME = {
    "Bundle": "bundle",
    "GeneratorView": "snapshot",
    "LiveView": "live",
    "Snapshot": "snapshot",
    "UserLog": "bundle",
    "final_table": "table",
    "print_table": "table",
}


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{home}"), name)
