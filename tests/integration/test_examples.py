"""Every example runs as it is, and so do the README's first load file and the demo."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(p for p in (ROOT / "examples").glob("*.py") if p.name not in ("target.py", "demo.py", "run_demo.py"))


def run(command: list[str], folder: Path) -> dict[str, object]:
    """The summary of a run that must pass."""
    done = subprocess.run(
        [*command, "--quiet", "--json", "result.json"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, object] = json.loads((folder / "result.json").read_text())
    assert summary["verdict"] == "passed"
    return summary


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_and_passes(example: Path, tmp_path: Path) -> None:
    """From another folder."""
    run([sys.executable, "-P", "-m", "wasp_ray", "run", str(example)], tmp_path)


def test_the_first_load_file_of_the_readme_runs(tmp_path: Path) -> None:
    """As it is printed there."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "load.py").write_text(block)
    run([sys.executable, "-P", "-m", "wasp_ray", "run", "load.py"], tmp_path)


def test_the_demo_passes(tmp_path: Path) -> None:
    """A real server in its own process, a rate and CPU-heavy users."""
    summary = run([sys.executable, str(ROOT / "examples" / "run_demo.py")], tmp_path)
    generators = summary["generators"]
    assert isinstance(generators, dict)
    assert generators["search"]["groups"]["search"]["status"]["200"] > 1000
    assert generators["search"]["groups"]["search"]["failed"] > 0
    assert generators["checkout"]["users"]["active_max"] == 5
