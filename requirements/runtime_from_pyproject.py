"""Writes runtime.in from pyproject.toml, so that there is one list of what wasp_ray needs."""

from __future__ import annotations

import tomllib
from pathlib import Path

HERE = Path(__file__).parent
EXTRAS = ("http", "http2", "loki", "grafana", "otel", "prometheus", "cluster", "ray")


def main() -> None:
    """Dependencies and the extras that tests need, one a line."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    wanted = list(dict.fromkeys(wanted))  # two extras may need the same
    (HERE / "runtime.in").write_text("# Made from pyproject.toml by `make lock`.\n" + "\n".join(wanted) + "\n")


if __name__ == "__main__":
    main()
