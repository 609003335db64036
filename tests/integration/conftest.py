"""Real servers that take results, one each a module; a failed test shows the end of their logs."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from e2e.harness.progress import tail
from support.cluster_commands import Commands
from support.daemon import Daemon
from support.kube_server import KubeServer, kube_server
from support.loki import Loki
from support.prometheus import Prometheus

HERE = Path(__file__).parent
COSTLY = {"cluster", "loki", "prometheus"}
"""Fixtures that start a server for a module."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With --dist loadgroup one worker runs what shares a server; all other tests go to whoever is free."""
    for item in items:
        is_costly = isinstance(item, pytest.Function) and COSTLY & set(item.fixturenames)
        if HERE in item.path.parents and is_costly and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuses a runner that takes no notice of groups: workers would start the same servers side by side."""
    if not getattr(session.config.option, "loadgroup", False):
        return
    for item in session.items:
        if item.get_closest_marker("xdist_group") is not None and "@" not in item.nodeid:
            raise pytest.UsageError(
                f"{item.nodeid} has a group that pytest-xdist ignores: use the versions of requirements/"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the logs of the servers that a failed test was given."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for given in item.funcargs.values():
            if isinstance(given, Daemon):
                report.sections.append((str(given.log), tail(given.log)))
    return report


@pytest.fixture(scope="module")
def loki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    """A Loki for all tests of a module: each takes a tenant of its own."""
    with Loki(tmp_path_factory.mktemp("loki")) as started:
        yield started


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus for all tests of a module: each takes names of its own."""
    with Prometheus(tmp_path_factory.mktemp("prometheus")) as started:
        yield started


@pytest.fixture
def kube() -> Iterator[KubeServer]:
    """The API of a Kubernetes without kubelets: an empty namespace."""
    with kube_server() as server:
        yield server


@pytest.fixture
def commands(kube: KubeServer, tmp_path: Path) -> Iterator[Commands]:
    """`wasp cluster ...` there, in an empty folder."""
    made = Commands(kube, tmp_path)
    yield made
    made.end()
