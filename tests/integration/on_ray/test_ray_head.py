"""The head of a Ray cluster lost in the middle of a run: an end within a bounded time, with what nodes told and a reason."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.ray_cluster import RayCluster, processes
from support.ray_runs import summary_of, wait_for_load, wasp

pytestmark = [pytest.mark.waits, pytest.mark.xdist_group("own ray")]


@pytest.fixture
def doomed() -> Iterator[RayCluster]:
    """Three hosts of one test's own."""
    with RayCluster() as started:
        yield started


def gcs(cluster: RayCluster) -> None:
    """The service behind the head's port."""
    (pid,) = processes("gcs_server")
    os.kill(pid, signal.SIGKILL)


def head(cluster: RayCluster) -> None:
    """The whole host, on which the driver is as well."""
    cluster.cluster.remove_node(cluster.cluster.head_node, allow_graceful=False)


@pytest.mark.parametrize(
    ("lose", "told"),
    [(gcs, "the head of the Ray cluster"), (head, "")],
)
def test_the_head_is_lost(doomed: RayCluster, folder: Path, lose: Callable[[RayCluster], None], told: str) -> None:
    """The run ends within a bounded time, with what nodes told and a reason."""
    process = wasp(doomed.address, folder, "-p", "seconds=100")
    wait_for_load(process, folder)
    lose(doomed)
    out, _ = process.communicate(timeout=120)
    assert process.returncode in (3, 4), out
    summary = summary_of(folder)
    assert summary["ledger"]["ok"] > 0
    assert told in str(summary["reasons"]), summary["reasons"]
