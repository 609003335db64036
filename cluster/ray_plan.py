"""Reads a run's plan where its load file can be read: in an actor of the cluster, before any place is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from wasp_ray.cluster.agent import options_from
from wasp_ray.errors import BadInput, NodeFailed
from wasp_ray.node.node import Node
from wasp_ray.report.listener import Listener


def read_plan(order: Mapping[str, Any]) -> dict[str, Any]:
    """`plan`, or `problems` with the load file, or an `error` of another kind. In a process that is for this alone."""
    order = {name: value for name, value in order.items() if name != "uid"}
    os.environ.update(order.pop("env", {}))
    node = Node(options_from({**order, "places": True, "bundle_dir": None}), Listener())
    try:
        return {"plan": node.describe().to_data()}
    except BadInput as exc:
        return {"problems": exc.problems}
    except NodeFailed as exc:
        return {"error": str(exc)}
