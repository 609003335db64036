"""Writes the lock files: the requirements of wasp_ray come from pyproject.toml, the pins from uv.

dev.txt is resolved first; the others are resolved within its pins, so that all environments have the same versions.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
EXTRAS = {
    "core.in": (),
    "extras.in": ("http", "http2", "loki", "grafana", "otel", "prometheus", "cluster"),
    "ray.in": ("ray",),
}
"""Generated files -> the extras in them; core.in has what wasp_ray always needs."""
LOCKS = {"dev.txt": "dev.in", "test-fast.txt": "test-fast.in", "demo.txt": "demo.in"}
"""Lock files -> their input, the largest first."""
UV = (
    "uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url",
    "--no-emit-find-links", "--no-header", "--no-annotate", "--quiet",
)  # fmt: skip


def generated() -> dict[str, str]:
    """Return the text of each file that is made from pyproject.toml."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    texts = {}
    for name, extras in EXTRAS.items():
        wanted = [] if extras else list(project["dependencies"])
        wanted += [line for extra in extras for line in project["optional-dependencies"][extra]]
        lines = list(dict.fromkeys(wanted))  # two extras may need the same
        texts[name] = "\n".join(["# Made from pyproject.toml by `make lock`.", *lines, ""])
    return texts


def main(arguments: list[str]) -> None:
    """Write all files; `arguments` go to uv, for example --upgrade."""
    for name, text in generated().items():
        (HERE / name).write_text(text)
    for lock, source in LOCKS.items():
        within = () if lock == "dev.txt" else ("--constraint", str(HERE / "dev.txt"))
        upgrade = arguments if lock == "dev.txt" else ["--upgrade"]  # pins of their own would only stand in the way
        subprocess.run([*UV, *upgrade, *within, str(HERE / source), "-o", str(HERE / lock)], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
