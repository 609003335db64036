"""The contract of the life cycle with nodes that are processes of this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.lifecycle_cases import Contract
from support.lifecycle_place import LOAD, Going
from support.processes import ancestors, processes_with
from support.ray_cluster import node_processes

pytestmark = pytest.mark.waits
MARK = "WASP_TEST_OF"


class Local:
    """See Place."""

    death = "SIGKILL"

    def __init__(self, folder: Path) -> None:
        self.folder, self._mark = folder, secrets.token_hex(6)
        shutil.copy(LOAD, folder)

    def order(self) -> Mapping[str, Any]:
        """Nothing more."""
        return {"place": "local"}

    def environment(self) -> Mapping[str, str]:
        """By which all processes of its runs are known."""
        return {MARK: self._mark}

    def kill(self, run: Going, node: int) -> None:
        """The node's own process."""
        user = next(step for step in run.gate.asked("setup") if step.node == node)
        (pid,) = ancestors(user.pid) & set(node_processes())
        os.kill(pid, signal.SIGKILL)

    def left(self) -> list[str]:
        """Processes."""
        return [f"process {pid}" for pid in processes_with(f"{MARK}={self._mark}")]


@pytest.fixture
def place(tmp_path: Path) -> Local:
    """A folder with the load file."""
    return Local(tmp_path)


class TestLocal(Contract):
    """Nodes as processes."""
