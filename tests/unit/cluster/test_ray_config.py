"""The options of a run on Ray, and what travels to its nodes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from wasp_ray import BadInput
from wasp_ray.cluster import RayConfig
from wasp_ray.cluster.ray_profile import travelling

SIGNATURES = Path(__file__).parents[3] / "docs/signatures.md"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"nodes": 0}, "nodes=0: expected a whole number from 1"),
        ({"nodes": True}, "nodes=True"),
        ({"test": ""}, "test='': expected FILE[:NAME]"),
        ({"load": "half"}, "expected 'total' or 'per-node'"),
        ({"strategy": "PACK"}, "expected 'STRICT_SPREAD' or 'SPREAD'"),
        ({"cpus": -1}, "cpus=-1"),
        ({"on_lost_node": "weep"}, "expected 'stop' or 'continue'"),
        ({"timeout": "soon"}, "timeout='soon'"),
    ],
)
def test_a_bad_option_is_named_with_what_was_expected(options: dict[str, Any], told: str) -> None:
    """Before anything is asked of a cluster."""
    with pytest.raises(BadInput, match=re.escape(told)):
        RayConfig(**{"test": "load.py", **options})


def test_all_problems_are_told_at_once() -> None:
    """A sentence each."""
    with pytest.raises(BadInput) as found:
        RayConfig(test="", nodes=0, drain="later")
    assert len(found.value.problems) == 3


def test_the_address_is_that_of_the_option_then_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whatever runs on this machine."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert RayConfig(test="load.py").where() == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert RayConfig(test="load.py").where() == "127.0.0.1:6379"
    assert RayConfig(test="load.py", address="127.0.0.2:6379").where() == "127.0.0.2:6379"


def test_the_folder_of_the_load_file_travels(tmp_path: Path) -> None:
    """Nodes find the file at its top; bundles and environments stay here; what is given beside is kept."""
    (tmp_path / "load.py").touch()
    config = RayConfig(test=f"{tmp_path}/load.py:nightly", runtime_env={"pip": ["boto3"], "excludes": ["big"]})
    file, runtime_env = travelling(config)
    assert file == "load.py:nightly"
    assert runtime_env["working_dir"] == str(tmp_path) and runtime_env["pip"] == ["boto3"]
    assert {"big", ".venv", "wasp-runs"} <= set(runtime_env["excludes"])


def test_a_folder_above_may_travel_instead(tmp_path: Path) -> None:
    """The file is then named from there; one outside is refused."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/load.py").touch()
    test = f"{tmp_path}/tests/load.py"
    assert travelling(RayConfig(test=test, runtime_env={"working_dir": str(tmp_path)}))[0] == "tests/load.py:profile"
    assert travelling(RayConfig(test=test, runtime_env={"working_dir": "s3://bucket/all.zip"}))[0] == test
    with pytest.raises(BadInput, match="is not within working_dir"):
        travelling(RayConfig(test=test, runtime_env={"working_dir": str(tmp_path / "other")}))


def test_a_missing_load_file_is_told_before_a_cluster_is_asked(tmp_path: Path) -> None:
    """As on one machine."""
    with pytest.raises(BadInput, match="no such file"):
        travelling(RayConfig(test=f"{tmp_path}/load.py"))


def test_the_page_of_signatures_has_every_option_with_its_default() -> None:
    """And nothing else says what there is."""
    section = SIGNATURES.read_text().partition("RayConfig(\n")[2].partition("RayProfile(config)")[0]
    for option in dataclasses.fields(RayConfig):
        if option.name == "test":
            continue
        default = option.default if option.default is not dataclasses.MISSING else {}
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        assert f"{option.name}={shown}" in section, option.name
