"""docs/compose: its files are what the commands print, a real Loki takes its configuration and its rules, its load runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.books import wait_until
from support.loki import Loki
from support.programs import LOKI, program

pytestmark = pytest.mark.waits

COMPOSE = Path(__file__).parents[2] / "docs" / "compose"
SERVICES: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
WASP = (sys.executable, "-m", "wasp_ray")


@pytest.mark.parametrize(
    ("file", "options"),
    [("dashboards/shop.json", []), ("rules/fake/load.yaml", ["--rules"])],
    ids=["dashboard", "rules"],
)
def test_files_are_what_the_commands_print(file: str, options: list[str]) -> None:
    """To the letter: run the command again after a change."""
    done = subprocess.run(
        [*WASP, "dashboard", "load.py", *options], cwd=COMPOSE, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (COMPOSE / file).read_text() == done.stdout


def test_what_is_mounted_is_there() -> None:
    """Only on this machine's own address, under the version that is tested."""
    for service in SERVICES.values():
        for mounted in service["volumes"]:
            source = mounted.split(":")[0]
            assert not source.startswith(".") or (COMPOSE / source).exists(), mounted
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert SERVICES["loki"]["image"].endswith(":" + LOKI.version.removeprefix("v"))
    for file in COMPOSE.rglob("*.yaml"):
        assert yaml.safe_load(file.read_text()), file


def test_grafana_is_given_the_loki_beside_it_and_the_folder_of_dashboards() -> None:
    """Names and paths of the one file are those of the others."""
    (source,) = yaml.safe_load((COMPOSE / "provisioning/datasources/loki.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("loki", "http://loki:3100") and "loki" in SERVICES
    (provider,) = yaml.safe_load((COMPOSE / "provisioning/dashboards/wasp_ray.yaml").read_text())["providers"]
    assert f"./dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
    assert all("uid" in json.loads(file.read_text()) for file in (COMPOSE / "dashboards").iterdir())


def test_loki_takes_the_configuration() -> None:
    """Every key is one of this version's, and the values go together."""
    done = subprocess.run(
        [str(program(LOKI)), "-verify-config", f"-config.file={COMPOSE / 'loki.yaml'}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    directory = yaml.safe_load((COMPOSE / "loki.yaml").read_text())["ruler"]["storage"]["local"]["directory"]
    assert f"./rules:{directory}:ro" in SERVICES["loki"]["volumes"]


def test_the_load_runs_and_its_rules_are_taken(loki: Loki) -> None:
    """As the page says, into a real Loki; what its ruler has loaded has no fault."""
    tenant = loki.tenant()
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOKI_")}
    env |= {"LOKI_URL": tenant.url, "LOKI_TENANT_ID": tenant.tenant}
    command = [*WASP, "run", str(COMPOSE / "load.py"), "-p", "seconds=1", "-p", "commit=abc", "--quiet", "--out", "out"]
    done = subprocess.run(command, cwd=loki.log.parent, env=env, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    (series,) = tenant.series('{profile="shop", kind="stats", generator="search"}')
    assert (series["branch"], series["commit"]) == ("main", "abc")
    tenant.rules_folder.mkdir(parents=True, exist_ok=True)
    text = (COMPOSE / "rules/fake/load.yaml").read_text()
    (tenant.rules_folder / "load.yaml").write_text(re.sub(r'"interval": "\d+s"', '"interval": "1s"', text))
    wait_until(lambda: len(tenant.rules()) == 3, 60)
    assert [rule.problem for rule in tenant.rules()] == [""] * 3
