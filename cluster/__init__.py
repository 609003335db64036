"""Several nodes as one run: on this machine, in Kubernetes, on Ray. Imported as `wasp_ray.cluster`.

Names are imported on demand: a node in a pod needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasp_ray.cluster.config import ClusterConfig
    from wasp_ray.cluster.profile import ClusterProfile
    from wasp_ray.cluster.ray_config import RayConfig
    from wasp_ray.cluster.ray_profile import RayProfile

__all__ = ["ClusterConfig", "ClusterProfile", "RayConfig", "RayProfile"]

_HOME = {
    "ClusterConfig": "config", "ClusterProfile": "profile", "RayConfig": "ray_config", "RayProfile": "ray_profile",
}  # fmt: skip


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
