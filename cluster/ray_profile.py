"""A run on a Ray cluster, from its configuration to its verdict: what Python and `wasp run --on ray` use."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wasp_ray.cluster.backend import Backend
from wasp_ray.cluster.execution import ClusterExecution, node_orders
from wasp_ray.cluster.ray_actor import boot_id
from wasp_ray.cluster.ray_config import LEFT_OUT, RayConfig
from wasp_ray.cluster.ray_process import RayProcess
from wasp_ray.errors import BadInput, LoadFileError
from wasp_ray.execution import Listener, Outputs, Settings
from wasp_ray.load.locate import split_spec
from wasp_ray.profile import RunResult

PASSED_ON = ("GRAFANA_", "LOKI_", "OTEL_EXPORTER_", "WASP_LOG_")
"""Variables of this process that nodes have too: where sinks send to and as whom."""


class RayProfile:
    """One run of a load file on `config.nodes` hosts of a Ray cluster. `run` once."""

    def __init__(self, config: RayConfig) -> None:
        self.config = config

    def run(self) -> RunResult:
        """Places, waits, follows, judges and removes. Prints nothing; writes a bundle only with `out`.

        Raises BadInput for what cannot be asked for; a cluster that is not there is a run whose verdict is "error".
        """
        return RunResult.of(self.execution(Listener()).run())

    def execution(self, view: Listener) -> ClusterExecution:
        """The run, ready to go. Raises BadInput."""
        config = self.config
        settings = Settings(
            source={"file": config.test, "params": dict(config.params)}, seed=config.seed, nodes=config.nodes,
            thresholds=list(config.thresholds), only=config.only, load=config.load, env=dict(config.env),
            out=_path(config.out),
            outputs=Outputs(*map(_path, (config.json_path, config.junit_path, config.markdown_path))),
        )  # fmt: skip
        return _execution(settings, view, config)


def ray_execution(settings: Settings, view: Listener) -> ClusterExecution:
    """The place `ray` of `wasp run`."""
    if "file" not in settings.source:
        raise BadInput("--on ray: expected a load file, which travels to the nodes; from Python use RayProfile")
    config = RayConfig(
        test=settings.source["file"], nodes=settings.nodes, load=settings.load, address=settings.address or ""
    )
    return _execution(settings, view, config)


def _execution(settings: Settings, view: Listener, config: RayConfig) -> ClusterExecution:
    """Raises BadInput."""
    if find_spec("ray") is None:
        raise BadInput(
            "a run on Ray needs ray, which is not installed: pip install 'wasp-ray[ray]', in the version of the cluster"
        )
    file, runtime_env = travelling(config)
    env = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)} | dict(settings.env)

    def nodes(settings: Settings, reporter: Any) -> Backend:
        source = {**settings.source, "file": file}
        orders = [
            {**order, "source": source, "env": env, "uid": secrets.token_hex(6)}
            for order in node_orders(settings, None)
        ]
        told = asdict(
            replace(config, out=None, json_path=None, junit_path=None, markdown_path=None, runtime_env={}, env={})
        )
        order = {"config": told, "orders": orders, "runtime_env": runtime_env, "kernel": boot_id()}
        return RayProcess(config.where(), order)

    return ClusterExecution(settings, view, nodes, config.terms())


def _path(text: str | Path | None) -> Path | None:
    return Path(text) if text is not None else None


def travelling(config: RayConfig) -> tuple[str, Mapping[str, Any]]:
    """The load file as nodes find it, and what Ray brings there. Raises BadInput."""
    path, name = split_spec(config.test)
    if not path.is_file():
        raise LoadFileError(f"{path}: no such file; `wasp init` writes a first one")
    given = dict(config.runtime_env)
    excludes = [*given.pop("excludes", ()), *LEFT_OUT]
    root = given.setdefault("working_dir", str(path.resolve().parent))
    try:
        json.dumps(given)
    except (TypeError, ValueError) as exc:
        raise BadInput(f"runtime_env is not JSON data: {exc}") from None
    if "://" in root:
        return config.test, given
    try:
        inside = path.resolve().relative_to(Path(root).resolve())
    except ValueError:
        raise LoadFileError(f"{path} is not within working_dir, {root}: expected a folder that holds it") from None
    return f"{inside}:{name}", {**given, "excludes": excludes}
