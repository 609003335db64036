"""The contract of the life cycle with nodes that are pods of a real Kubernetes."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from e2e.faulty import orphans
from e2e.team import Team, run_id
from support.lifecycle_cases import Contract
from support.lifecycle_place import Going
from support.processes import processes_with


class Kube:
    """See Place."""

    death = "SIGKILL|exit code 137"

    def __init__(self, team: Team) -> None:
        self.folder, self._team, self._run = team.folder, team, run_id()

    def order(self) -> Mapping[str, Any]:
        """The run's name; the rest is in the environment."""
        return {"place": "kube", "run_id": self._run}

    def environment(self) -> Mapping[str, str]:
        """The team's way into the cluster, image and namespace."""
        return self._team.environment()

    def kill(self, run: Going, node: int) -> None:
        """All processes of the node's container."""
        named = f"wasp-{self._run}-{node - 1}-"
        (pod,) = [o["metadata"]["name"] for o in self._team.objects("pods") if o["metadata"]["name"].startswith(named)]
        pids = processes_with(f"WASP_POD_NAME={pod}")
        assert pids, f"no process of {pod}"
        for pid in pids:
            with suppress(ProcessLookupError):  # the first one's end may have been that of the others
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[str]:
        """Objects of the namespace, and processes of its pods."""
        return self._team.left_behind() + [f"process {pid}" for pid in orphans(self._team, 0)]


@pytest.fixture
def place(team: Team) -> Kube:
    """A namespace with a team."""
    if not team.kubernetes.is_own:
        pytest.skip("users ask a gate on the loopback interface of the cluster's host")
    return Kube(team)


class TestKube(Contract):
    """Nodes as pods."""
