"""What charts/wasp has in files is what the code makes: schema, defaults, rights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from wasp_ray.cluster.config import Values, chart_schema, chart_schema_text
from wasp_ray.cluster.manifests import setup_objects, to_yaml
from wasp_ray.cluster.wording import paths

CHART = Path(__file__).parents[3] / "charts" / "wasp"


def leaves(tree: Any, path: str = "") -> set[str]:
    """Dotted paths of a tree, as far as values.yaml has mappings that are no value themselves."""
    if not isinstance(tree, dict) or not tree:
        return {path}
    return set().union(*(leaves(value, f"{path}.{key}" if path else key) for key, value in tree.items()))


def test_the_schema_is_the_generated_one() -> None:
    """Otherwise: python -c "from wasp_ray.cluster.config import *; print(chart_schema_text(), end='')" > the file."""
    assert (CHART / "values.schema.json").read_text() == chart_schema_text()


def test_setup_yaml_is_the_generated_one() -> None:
    """Otherwise: python -c "from wasp_ray.cluster.manifests import *; print(to_yaml(setup_objects()), end='')" > the file."""
    assert (CHART / "setup.yaml").read_text() == to_yaml(setup_objects(()))


def test_the_charts_defaults_are_those_of_the_values() -> None:
    """Each value stands in values.yaml, and nothing else."""
    written = yaml.safe_load((CHART / "values.yaml").read_text())
    assert Values.of(written) == Values()
    assert leaves(written) == {path for path, _ in paths(Values)}


def test_the_schema_refuses_what_the_values_refuse() -> None:
    """Unknown keys on every level."""
    schema = chart_schema()
    parts = [schema, *schema["$defs"].values()]
    assert all(part["additionalProperties"] is False for part in parts)


def test_the_templates_are_pure() -> None:
    """The same values give the same objects, with or without a cluster."""
    impure = (
        "lookup",
        "rand",
        "now ",
        "now)",
        "uuidv4",
        "genPrivateKey",
        "genCA",
        "getHostByName",
        "htpasswd",
        ".Files",
    )
    for file in (CHART / "templates").iterdir():
        text = file.read_text()
        assert not [
            word for word in impure if any(f"{before}{word}" in text for before in ("{{ ", "{{- ", "(", "| "))
        ], file


@pytest.mark.parametrize("name", ["Chart.yaml", "values.yaml", "setup.yaml"])
def test_the_charts_files_are_yaml(name: str) -> None:
    """Of one or more documents."""
    assert all(yaml.safe_load_all((CHART / name).read_text()))


def test_the_schema_is_json_without_titles() -> None:
    """People read it in error messages."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["title"] == "Values of charts/wasp" and all(
        "title" not in part for part in schema["properties"].values()
    )
