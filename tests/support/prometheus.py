"""A real Prometheus 3 with everything on that takes metrics: scrapes, OTLP (delta too) and remote write.

`with Prometheus(folder) as prometheus:` starts it; targets and rules may come and go while it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from e2e.harness.processes import free_port

from support.daemon import Daemon
from support.programs import PROMETHEUS, program
from support.query_answers import Rule, Sample, ask, ask_for_data, rules_of, samples_of

INTERVAL = "200ms"
SCRAPE_INTERVAL = "500ms"
"""A page that takes longer to be read is not read at all."""


class Prometheus(Daemon):
    """Keeps all in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rules = folder / "rules"
        self._targets = folder / "targets"
        for made in (self._rules, self._targets):
            made.mkdir(parents=True, exist_ok=True)
        config, port = folder / "prometheus.yaml", free_port()
        config.write_text(yaml.safe_dump(self._config()))
        command = [
            str(program(PROMETHEUS)), f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle", "--web.enable-otlp-receiver",
            "--web.enable-remote-write-receiver", "--enable-feature=otlp-deltatocumulative",
            f"--scrape.discovery-reload-interval={INTERVAL}",  # else 5 s
        ]  # fmt: skip
        super().__init__("prometheus", command, port, "/-/ready", folder)

    def _config(self) -> dict[str, Any]:
        files = {"files": [f"{self._targets}/*.json"], "refresh_interval": "1s"}
        return {
            "global": {
                "scrape_interval": SCRAPE_INTERVAL,
                "scrape_timeout": SCRAPE_INTERVAL,
                "evaluation_interval": INTERVAL,
            },
            "scrape_configs": [{"job_name": "targets", "file_sd_configs": [files]}],
            "rule_files": [f"{self._rules}/*.yaml"],
            "storage": {"tsdb": {"out_of_order_time_window": "10m"}},  # what its documentation advises for OTLP
        }

    def scrape(self, name: str, port: int, **labels: str) -> None:
        """From now on `/metrics` at a loopback port is scraped, twice a second."""
        unfinished = self._targets / f"{name}.new"
        unfinished.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}"], "labels": {"name": name, **labels}}]))
        unfinished.replace(self._targets / f"{name}.json")

    def stop_scraping(self, name: str) -> None:
        """Its series end."""
        (self._targets / f"{name}.json").unlink()

    def write_rules(self, group: str, rules: Sequence[Mapping[str, Any]]) -> None:
        """A group of rules, in force on return."""
        content = {"groups": [{"name": group, "rules": [dict(rule) for rule in rules]}]}
        (self._rules / f"{group}.yaml").write_text(yaml.safe_dump(content))
        ask("POST", f"{self.url}/-/reload")

    def query(self, query: str) -> list[Sample]:
        """The series of a query now."""
        return samples_of(self._get("/api/v1/query", query=query))

    def rules(self) -> list[Rule]:
        """All alerting rules as they stand."""
        return rules_of(self._get("/api/v1/rules"))

    def _get(self, path: str, **params: str) -> Any:
        return ask_for_data(self.url + path, params=params)
