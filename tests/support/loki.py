"""A real Loki: one binary, one tenant a test, each with limits and rules of its own.

`with Loki(folder) as loki:` starts it; `loki.tenant(max_line_size=100)` is a client of a new tenant. Lines of different
tests never meet, so one server serves a whole session.
"""

from __future__ import annotations

import itertools
import secrets
from pathlib import Path
from typing import Any

import yaml
from e2e.harness.processes import free_port

from support.daemon import Daemon
from support.loki_client import LokiClient
from support.programs import LOKI, program
from support.query_answers import ask

RELOAD = "200ms"


class Loki(Daemon):
    """Keeps all in `folder`. `limits`: those of tenants that have none of their own."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        port, self._grpc_port = free_port(), free_port()
        self._folder = folder
        self._limits = limits
        self._own_limits: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        folder.mkdir(parents=True, exist_ok=True)
        self._rules.mkdir(exist_ok=True)
        config = folder / "loki.yaml"
        super().__init__("loki", [str(program(LOKI)), f"-config.file={config}"], port, "/ready", folder)
        self._overrides.write_text(yaml.safe_dump({"overrides": {}}))
        config.write_text(yaml.safe_dump(self._config()))

    @property
    def _rules(self) -> Path:
        return self._folder / "rules"

    @property
    def _overrides(self) -> Path:
        return self._folder / "overrides.yaml"

    def tenant(self, **limits: Any) -> LokiClient:
        """A client of a new tenant; its limits are in force on return. Names as in Loki's `limits_config`."""
        name = f"tenant-{next(self._numbers)}-{secrets.token_hex(3)}"
        if limits:
            before = self._limits_in_force()
            self._own_limits[name] = limits
            unfinished = self._overrides.with_suffix(".new")
            unfinished.write_text(yaml.safe_dump({"overrides": self._own_limits}))
            unfinished.replace(self._overrides)
            self.wait_until(lambda: self._limits_in_force() != before, f"aware of the limits of {name}")
        return LokiClient(self.url, name, self._rules / name)

    def _limits_in_force(self) -> list[str]:
        metrics = ask("GET", f"{self.url}/metrics")
        return [line for line in metrics.splitlines() if "runtime_config_hash{" in line]

    def flush(self) -> None:
        """Writes what the ingester holds to chunks: from then on, lines that come again are not seen as the same."""
        ask("POST", f"{self.url}/flush")

    def _config(self) -> dict[str, Any]:
        folder, lifecycler = str(self._folder), {"min_ready_duration": "0s", "final_sleep": "0s"}
        ring = {"kvstore": {"store": "inmemory"}, "instance_addr": "127.0.0.1"}
        return {
            "auth_enabled": True,
            "analytics": {"reporting_enabled": False},
            "server": {
                "http_listen_address": "127.0.0.1", "http_listen_port": self.port, "log_level": "warn",
                "grpc_listen_address": "127.0.0.1", "grpc_listen_port": self._grpc_port,
                "grpc_server_max_recv_msg_size": 2**26, "grpc_server_max_send_msg_size": 2**26,
            },
            "common": {
                "instance_addr": "127.0.0.1", "replication_factor": 1, "path_prefix": f"{folder}/data", "ring": ring,
                "storage": {"filesystem": {"chunks_directory": f"{folder}/data/chunks", "rules_directory": str(self._rules)}},
            },
            "schema_config": {"configs": [{
                "from": "2024-01-01", "store": "tsdb", "object_store": "filesystem", "schema": "v13",
                "index": {"prefix": "index_", "period": "24h"},
            }]},
            "ingester": {"lifecycler": lifecycler},
            # Told where the frontend is, the querier need not look for it in a ring, which it does every 10 s only.
            "frontend_worker": {"frontend_address": f"127.0.0.1:{self._grpc_port}"},
            "ruler": {
                "storage": {"type": "local", "local": {"directory": str(self._rules)}}, "rule_path": f"{folder}/data/rules",
                "evaluation_interval": "1s", "poll_interval": "1s",
            },
            "runtime_config": {"file": str(self._overrides), "period": RELOAD},
            "limits_config": {"ingestion_rate_strategy": "local", **self._limits},
        }  # fmt: skip
