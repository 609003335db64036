"""Runs that a script of the user's starts: its own classes are __main__'s, which other processes must find."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.waits


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """The script to its end."""
    (folder / "script.py").write_text(textwrap.dedent(text))
    return subprocess.run([sys.executable, "-P", "script.py"], cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_script_without_a_main_guard_is_told_the_cure(tmp_path: Path) -> None:
    """Exit 2 worth of BadInput, and no storm of processes."""
    done = run(
        tmp_path,
        """
        from wasp_ray import *
        class U(VirtualUser):
            def call(self):
                pass
        Profile(Generator("u", user=U, schedule=plain(1, "1s"))).run()
        """,
    )
    assert done.returncode != 0
    assert "__main__" in done.stderr and "guard" not in done.stdout


def test_a_script_with_a_main_guard_runs_its_own_classes(tmp_path: Path) -> None:
    """Classes of __main__ travel as (file, name)."""
    done = run(
        tmp_path,
        """
        import time
        from wasp_ray import *
        class U(VirtualUser):
            def call(self):
                time.sleep(0.01)
        if __name__ == "__main__":
            result = Profile(Generator("u", user=U, schedule=plain(2, "300ms"))).run()
            print(result.verdict, result.ledger.ok > 10)
        """,
    )
    assert done.stdout.strip() == "passed True", done.stderr
