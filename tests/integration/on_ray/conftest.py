"""Real Rays, folders with a load file, and what must be gone after each test there."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from support.books import wait_until
from support.ray_cluster import RayCluster, actor_processes, node_processes, processes
from support.ray_runs import make_folder


class Shared:
    """The cluster of files that leave it as they found it: three hosts, the last with two GPUs and something fast."""

    started: RayCluster | None = None

    def get(self) -> RayCluster:
        """Start it for the first of them."""
        if self.started is None:
            self.started = RayCluster(num_gpus=2, resources={"fast": 4}).__enter__()
        return self.started

    def end(self) -> None:
        """Stop it; nothing of a run may be on it."""
        started, self.started = self.started, None
        if started is not None:
            try:
                started.check_empty()
            finally:
                started.__exit__()


SHARED = Shared()
RAY = pytest.mark.xdist_group("ray")
"""Marks the files that share it, so that one worker runs them."""


@pytest.fixture
def cluster() -> RayCluster:
    """The shared one; a file that stops or changes parts of its cluster has a fixture of this name of its own."""
    return SHARED.get()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Ends the shared cluster before a test that does not use it: others look for processes of theirs and must find no more."""
    yield
    if nextitem is None or nextitem.get_closest_marker("xdist_group") != RAY.mark:
        SHARED.end()


def pytest_sessionfinish() -> None:
    """Ends it as well when the session stops at a failure."""
    SHARED.end()


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Instead of the check of all processes: Ray keeps workers of its own for the next job. Nothing of a run is left."""
    yield
    wait_until(
        lambda: not any((node_processes(), actor_processes(), actor_processes("UserActor"), processes("ray_driver")))
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A load file and its neighbour."""
    return make_folder(tmp_path)
