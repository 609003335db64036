"""Real servers that take results, one each a module; a failed test shows the end of their logs."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from e2e.harness.progress import tail
from support.daemon import Daemon
from support.loki import Loki
from support.prometheus import Prometheus


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
