"""One run of the contract suite in a process of its own: `python -P lifecycle_run.py ORDER.json`; exits as the command does.

Each place is driven by what users of Python have there. Writes to the order's `told`, a line each time it changes, in which
phase the run is and which nodes are missing.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from wasp_ray import BadInput, RunResult
from wasp_ray.cluster.execution import ClusterExecution, node_orders
from wasp_ray.cluster.lifecycle import Lifecycle, Terms
from wasp_ray.cluster.local import LocalNodes
from wasp_ray.execution import Listener, Settings
from wasp_ray.schedule import parse_duration

LOOK_S = 0.02


def on_local(order: dict[str, Any]) -> ClusterExecution:
    """Nodes as processes of this machine."""
    source = {"file": order["test"], "params": order["params"]}
    settings = Settings(source=source, nodes=order["nodes"], out=Path(order["out"]), user_dir=str(Path.cwd()))
    given = {name: parse_duration(order[name]) / 1e9 for name in ("timeout", "deploy_timeout", "drain")}
    terms = Terms(order["nodes"], given["deploy_timeout"], given["timeout"], given["drain"], order["on_lost_node"])
    return ClusterExecution(settings, Listener(), lambda settings, _: LocalNodes(node_orders(settings, None)), terms)


def on_ray(order: dict[str, Any]) -> ClusterExecution:
    """Nodes in actors of the cluster at the order's `address`."""
    from wasp_ray.cluster import RayConfig, RayProfile

    return RayProfile(RayConfig(**order)).execution(Listener())


def on_kube(order: dict[str, Any]) -> ClusterExecution:
    """Nodes as pods of the cluster that the environment names."""
    from wasp_ray.cluster import ClusterConfig
    from wasp_ray.cluster.profile import Deployment

    return Deployment(ClusterConfig(jobs=order.pop("nodes"), **order)).execution(Listener(), print, wants_bundle=True)


def watch(state: Lifecycle, file: Path) -> None:
    """Until this process ends."""
    last = ""
    with file.open("w", buffering=1) as out:
        while True:
            now = json.dumps({"phase": state.phase.value, "missing": state.barrier.missing()})
            if now != last:
                out.write(now + "\n")
                last = now
            time.sleep(LOOK_S)


def main() -> int:
    """The exit code."""
    order = json.loads(Path(sys.argv[1]).read_text())
    make = {"local": on_local, "ray": on_ray, "kube": on_kube}[order.pop("place")]
    told = Path(order.pop("told"))
    try:
        execution = make(order)
        threading.Thread(target=watch, args=(execution.controller.state, told), daemon=True).start()
        result = RunResult.of(execution.run())
    except BadInput as exc:
        print("\n".join(exc.problems), file=sys.stderr)
        return 2
    print(result.verdict, *result.reasons, sep="\n")
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
