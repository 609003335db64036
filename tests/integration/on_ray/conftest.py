"""A real Ray for each module, folders with a load file, and what must be gone after each test there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.books import wait_until
from support.ray_cluster import RayCluster, actor_processes, node_processes, processes
from support.ray_runs import make_folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """Three hosts for all tests of a module; what runs leave on them is looked at after the last."""
    with RayCluster() as started:
        yield started
        started.check_empty()


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
