"""Exit handlers, temporary files and child processes of user code: its own are ended with the user, shared ones with the run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support import exit_loads
from support.processes import is_alive

from wasp_ray import Generator, Profile, plain

LOAD = """
import multiprocessing, tempfile, time
from pathlib import Path
from wasp_ray import *

shared = tempfile.TemporaryDirectory()
helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
helper.start()

class Reader(VirtualUser):
    def call(self):
        assert Path(shared.name).is_dir() and Path(f"/proc/{helper.pid}").exists()

profile = Profile(
    Generator("u", user=Reader, schedule=plain(3, "300ms") + plain(1, "700ms"), think_time=0.01), thresholds=["failed == 0"]
)
Path("shared").write_text(f"{shared.name} {helper.pid}")
"""


@pytest.mark.filterwarnings("ignore")
def test_exit_handlers_of_users_run_and_their_processes_end(tmp_path: Path) -> None:
    """Handlers, finalizers and temporary directories of each user; children of multiprocessing and of sessions of their own."""
    params = {"folder": str(tmp_path)}
    result = Profile(Generator("u", user=exit_loads.Leaver, schedule=plain(2, "300ms"), params=params)).run()
    assert result.verdict == "passed", result.reasons
    made = [path.read_text().split() for path in tmp_path.glob("*.made")]
    assert len(made) == len(list(tmp_path.glob("*.atexit"))) == len(list(tmp_path.glob("*.finalized"))) == 2
    for temporary, *pids in made:
        assert not Path(temporary).exists()
        assert not [pid for pid in pids if is_alive(int(pid))]


def test_an_exit_handler_that_hangs_is_ended_after_teardown_timeout() -> None:
    """The run would wait for it until graceful_stop is over."""
    hanging = Generator(
        "u", user=exit_loads.Hanger, schedule=plain(1, "200ms"), teardown_timeout="300ms", graceful_stop="600s"
    )
    began = time.monotonic()
    result = Profile(hanging).run()
    assert result.verdict == "passed", result.reasons
    assert time.monotonic() - began < 300


def test_what_the_import_opened_lasts_as_long_as_the_run(tmp_path: Path) -> None:
    """The first user that leaves ends neither the temporary directory of all nor the process; the end of the run does."""
    (tmp_path / "load.py").write_text(LOAD)
    command = [sys.executable, "-c", "from wasp_ray.cli import main; main()", "run", "load.py", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shared, helper = (tmp_path / "shared").read_text().split()
    assert not Path(shared).exists() and not is_alive(int(helper))


def test_handlers_of_the_import_run_once_in_each_process_that_imports() -> None:
    """In the script itself and in the process that forks, whose forks drop them."""
    code = (
        "import atexit, os\nfrom wasp_ray import *\natexit.register(print, 'kept')\n"
        "class U(VirtualUser):\n    def call(self): pass\n"
        "if __name__ == '__main__':\n    Profile(Generator('u', user=U, schedule=plain(5, '100ms'))).run()\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(code)
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=300, env=os.environ, check=False
        )
    assert done.stdout.splitlines() == ["kept", "kept"], done.stdout + done.stderr
