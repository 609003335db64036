"""Users that leave something behind for the end of their process."""

from __future__ import annotations

import atexit
import multiprocessing
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path

from wasp_ray import VirtualUser

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


class Leaver(VirtualUser):
    """Leaves things behind that the interpreter cleans up at its exit, or nobody does."""

    def setup(self) -> None:
        """Open them, and note their names."""
        folder = Path(self.context.params["folder"])
        me = folder / str(self.context.user_id)
        self.temporary = tempfile.TemporaryDirectory(dir=folder)
        atexit.register(lambda: (me.with_suffix(".atexit")).touch())
        weakref.finalize(self, lambda: (me.with_suffix(".finalized")).touch())
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
        worker.start()
        session = subprocess.Popen(SLEEPER, start_new_session=True)
        me.with_suffix(".made").write_text(f"{self.temporary.name} {worker.pid} {session.pid}")

    def call(self) -> None:
        """Nothing."""
        time.sleep(0.01)


class Hanger(VirtualUser):
    """Registers an exit handler that never ends."""

    def setup(self) -> None:
        """Register it."""
        atexit.register(time.sleep, 600)

    def call(self) -> None:
        """Nothing."""
        time.sleep(0.01)
