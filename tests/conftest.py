"""Skips count as failures in CI; every test must leave no process and no descriptor behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support.processes import descendants

from wasp_ray.runtime import fleet

with contextlib.suppress(ImportError):
    import uvloop

    uvloop.new_event_loop().close()  # its first loop opens a pipe that stays for the life of the process

# Hypothesis gives an example 200 ms and its generation a second, by the clock: a busy machine needs more. CI's own profile stays.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

for _number, _handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if (
        signal.getsignal(_number) == signal.SIG_IGN
    ):  # as nohup and background jobs leave it: commands that tests start would ignore it too
        signal.signal(_number, _handler)

REQUIRE_ALL = os.environ.get("WASP_REQUIRE_ALL") == "1"
LEAK_WAIT_S = 20.0
RUNTIMES = ("process", "inline", "placed")
SERVERS = ("LOKI_", "GRAFANA_", "PROMETHEUS_", "OTEL_EXPORTER_OTLP_", "GITHUB_STEP_SUMMARY")
"""Beginnings of variables that say where results go to, and with which credentials."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out cases of other runtimes than WASP_TEST_RUNTIME, where it is set."""
    wanted = os.environ.get("WASP_TEST_RUNTIME")
    if not wanted:
        return
    assert wanted in RUNTIMES, f"WASP_TEST_RUNTIME={wanted}: expected one of {', '.join(RUNTIMES)}"
    others = {name for name in RUNTIMES if name != wanted}
    left_out = [item for item in items if isinstance(item, pytest.Function) and others & _texts_of(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _texts_of(item: pytest.Function) -> set[str]:
    """Return the parameters of a case that are strings, and the strings of those that are tuples."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return {
        text for value in values for text in (value if isinstance(value, tuple) else (value,)) if isinstance(text, str)
    }


@pytest.fixture(scope="session", autouse=True)
def _no_servers_of_this_machine() -> Iterator[None]:
    """What a developer's shell knows of them is not the tests'."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(SERVERS):
                patch.delenv(name)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the skips that CI does not allow."""
    if REQUIRE_ALL and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("WASP_REQUIRE_ALL=1: a skip is a failure", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A skip in CI fails the session."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if REQUIRE_ALL and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = 1


def descriptors() -> set[str]:
    """Open descriptors of this process that are pipes, sockets or anonymous files."""
    out = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith(("pipe:", "socket:", "/memfd:", "anon_inode:")):
            out.add(f"{fd}:{target}")
    return out


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Processes end with their run; so do pipes, sockets and shared memory (but for threads the inline runtime gave up)."""
    if "integration" not in str(request.path) and "contract" not in str(request.path):
        yield
        return
    children, before = descendants(), descriptors()
    yield
    give_up = time.monotonic() + LEAK_WAIT_S
    while descendants() - children and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not descendants() - children, "the test left processes behind"
    given_up = "inline" in request.node.name and any(w in request.node.name for w in ("hang", "interrupted"))
    if not given_up:  # such threads keep their pipe as long as they live
        while descriptors() - before and time.monotonic() < give_up:  # others need a moment to end
            time.sleep(0.02)
        assert not descriptors() - before, "the test left descriptors open"


@pytest.fixture
def short_setup_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries a failed setup as often as ever, with 10 ms before each retry instead of 1, 2 and 4 s.

    The node's own process decides, which is the test's; a run of several nodes has processes for them and keeps the seconds.
    """
    monkeypatch.setattr(fleet, "SETUP_BACKOFF_NS", (10_000_000,) * len(fleet.SETUP_BACKOFF_NS))
