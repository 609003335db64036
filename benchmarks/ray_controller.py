"""One run of simulated nodes on Ray, as `wasp run` has it: `python -m benchmarks.ray_controller ORDER.json`.

Writes when the load began and how the run ended into the order's `answer`.
"""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wasp_ray.cluster import RayConfig
from wasp_ray.cluster.execution import ClusterExecution, node_orders
from wasp_ray.cluster.ray_actor import boot_id
from wasp_ray.cluster.ray_process import RayProcess
from wasp_ray.execution import Settings
from wasp_ray.report.terminal import TerminalView


class SimulatedProcess(RayProcess):
    """Its actors are simulated nodes."""

    module = "benchmarks.ray_simulated"


def drive(settings: Settings, address: str, recorded: str) -> dict[str, Any]:
    """To the run's end."""
    config = RayConfig(test="load.py", nodes=settings.nodes, address=address, strategy="SPREAD", cpus=0.01)
    orders = [{**order, "uid": secrets.token_hex(6), "recorded": recorded} for order in node_orders(settings, None)]
    order = {"config": asdict(config), "orders": orders, "runtime_env": {}, "kernel": boot_id()}
    backend = SimulatedProcess(config.where(), order)
    execution = ClusterExecution(settings, TerminalView(False, False), lambda *_: backend, config.terms())
    outcome = execution.run()
    return {
        "start_s": execution.controller.start_wall_s, "verdict": outcome.judged.verdict,
        "reasons": outcome.summary["reasons"], "nodes": len(outcome.summary["nodes"]),
    }  # fmt: skip


def main() -> None:
    """With the order's file as argument."""
    order = json.loads(Path(sys.argv[1]).read_text())
    settings = Settings(
        source={"file": order["load"]}, nodes=order["nodes"], out=Path(order["out"]), wants_bundle=True, seed=1
    )
    Path(order["answer"]).write_text(json.dumps(drive(settings, order["address"], order["recorded"])))


if __name__ == "__main__":
    main()
