"""Faults of the API and of nodes against real runs: each ends right, in time, with closed books, and leaves nothing behind.

The cases are those of fault_cases.py; they are played several at a time, each in a namespace of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from e2e.fault_cases import API, NODES, whole
from e2e.faulty import Case, Seen, played
from e2e.harness.cluster import Kubernetes
from e2e.team import Team

AT_A_TIME = 4


class Playing:
    """The cases of a session, several at a time; one at a time where pytest-xdist has several workers already."""

    def __init__(self, kubernetes: Kubernetes, folders: pytest.TempPathFactory, pool: ThreadPoolExecutor) -> None:
        self._kubernetes, self._folders, self._pool = kubernetes, folders, pool
        self._begun: dict[str, Future[Seen]] = {}

    def begin(self, case: Case) -> Future[Seen]:
        """Once for each case."""
        if case.name not in self._begun:
            folder = self._folders.mktemp("fault")
            self._begun[case.name] = self._pool.submit(played, self._kubernetes, case, folder)
        return self._begun[case.name]

    def verify(self, case: Case) -> None:
        """When it has been played."""
        self.begin(case).result().verify(case)


@pytest.fixture(scope="module")
def playing(
    request: pytest.FixtureRequest, kubernetes: Kubernetes, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Playing]:
    """All chosen cases, on their way."""
    if not kubernetes.is_own:
        pytest.skip("the proxy's certificate is signed by our own cluster's authority")
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        playing = Playing(kubernetes, tmp_path_factory, pool)
        for item in request.session.items if "PYTEST_XDIST_WORKER" not in os.environ else []:
            chosen = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]
            if isinstance(chosen, Case):
                playing.begin(chosen)
        yield playing
        pool.shutdown(cancel_futures=True)


def test_a_kubelet_that_is_restarted_costs_nothing(team: Team) -> None:
    """Containers go on, logs are followed anew."""
    process = team.start(
        "run", "load.py:light", "--run-id", "kubelet", "--jobs", "2", "--out", "out", "-p", "seconds=10", "-p", "rate=8"
    )
    team.wait_for_phase("kubelet", "running", process)
    time.sleep(6)
    restarting = threading.Thread(target=team.kubernetes.restart_kubelet)
    restarting.start()
    said = process.communicate(timeout=90)[0]
    restarting.join()
    assert process.returncode == 0, said
    whole(team.summary())
    assert team.left_behind() == []


@pytest.mark.parametrize("case", API, ids=lambda case: case.name.replace(" ", "-"))
def test_faults_of_the_api(case: Case, playing: Playing) -> None:
    """What passes costs a run nothing; what does not is named with its cure."""
    playing.verify(case)


@pytest.mark.parametrize("case", NODES, ids=lambda case: case.name.replace(" ", "-"))
def test_faults_of_nodes(case: Case, playing: Playing) -> None:
    """A run that is not what was asked for says so, and whose fault it was."""
    playing.verify(case)
