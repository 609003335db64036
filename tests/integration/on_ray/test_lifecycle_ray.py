"""The contract of the life cycle with nodes in actors of a real Ray of three raylets."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.lifecycle_cases import Contract
from support.lifecycle_place import LOAD, Going
from support.processes import ancestors
from support.ray_cluster import RayCluster, actor_processes, node_processes

pytestmark = [pytest.mark.waits, pytest.mark.xdist_group("ray")]


class OnRay:
    """See Place."""

    death = "its process was killed or crashed"

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self._address = folder, address
        shutil.copy(LOAD, folder)

    def order(self) -> Mapping[str, Any]:
        """Where the cluster is."""
        return {"place": "ray", "address": self._address}

    def environment(self) -> Mapping[str, str]:
        """Nothing more."""
        return {}

    def kill(self, run: Going, node: int) -> None:
        """The actor, with which its node must end."""
        user = next(step for step in run.gate.asked("setup") if step.node == node)
        (pid,) = ancestors(user.pid) & set(actor_processes())
        os.kill(pid, signal.SIGKILL)

    def left(self) -> list[str]:
        """Nodes and actors; groups and what they booked are looked at when all is over."""
        return [f"process {pid}" for pid in (*node_processes(), *actor_processes())]


@pytest.fixture
def place(cluster: RayCluster, tmp_path: Path) -> OnRay:
    """A folder with the load file."""
    return OnRay(tmp_path, cluster.address)


class TestRay(Contract):
    """Nodes in actors."""
