"""The pytest plugin: the fixture `wasp`, the marker `load`, and the option --load. docs/pytest.md is its guide.

pytest imports it in every environment that has wasp_ray, so it imports nothing of wasp_ray before a test runs a load, and it
touches no test that does not use its own fixture.
"""

from __future__ import annotations

import os
from collections.abc import Generator as Iteration
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from wasp_ray import Generator, Profile, RunResult

__all__ = ["LoadRunner", "wasp"]

VERDICT, BUNDLE = "wasp_verdict", "wasp_bundle"
"""Properties of a test's reports: how each of its runs ended, and where its bundle is. They reach the controller of xdist."""
_NOT_JUDGED = pytest.StashKey[BaseException]()
"""Raised in a test for a run whose verdict is invalid or error, until a report shows it: nothing is known of the target then."""


class LoadRunner:
    """What the fixture `wasp` is: call it with Generators, or with a Profile."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._item, self._request = request.node, request

    def __call__(
        self, *generators: Generator | Profile, nodes: int = 1, load: Literal["total", "per-node"] = "total",
        out: str | Path | None = None, runtime: Literal["process", "inline"] = "process", seed: int | None = None,
        **options: Any,
    ) -> RunResult:  # fmt: skip
        """Run to the verdict and return the result if it is `passed`.

        `options` are those of Profile (`thresholds`, `labels`, `sinks`, `setup`, `teardown`, `name`); the name is the test's by
        default. The others are those of Profile.run; without `out` the bundle is in wasp-runs, as with `wasp run`. A verdict
        `failed` fails the test with the reasons; `invalid` and `error` are an error of the test. Raises BadInput when nothing
        was started.
        """
        from wasp_ray.profile import Profile, RunResult

        if len(generators) == 1 and isinstance(generators[0], Profile):
            profile = generators[0]
            if options:
                raise TypeError(f"wasp(profile, {', '.join(options)}=...): give these to the Profile itself")
        else:
            parts: tuple[Any, ...] = generators  # a Profile among several is bad input, as from anybody
            profile = Profile(*parts, **{"name": self._item.name, **options})
        with _importable(self._request), _turn():
            execution = profile._execution(
                nodes, load, out, runtime, seed, str(self._request.path.parent), wants_bundle=True
            )
            result = RunResult.of(execution.run())
        self._item.user_properties += [(VERDICT, result.verdict), (BUNDLE, str(result.path))]
        if any(reason.startswith("interrupted by ") for reason in result.reasons):  # whatever else the verdict is
            raise KeyboardInterrupt("; ".join(result.reasons))
        if result.verdict == "failed":
            pytest.fail(_message(result), pytrace=False)
        if result.verdict != "passed":
            problem = self._item.stash[_NOT_JUDGED] = pytest.fail.Exception(_message(result), pytrace=False)
            raise problem
        return result


@pytest.fixture
def wasp(request: pytest.FixtureRequest) -> Iterator[LoadRunner]:
    """Run a load test: `result = wasp(Generator(...), thresholds=[...])`. See docs/pytest.md."""
    yield LoadRunner(request)
    if (problem := request.node.stash.get(_NOT_JUDGED, None)) is not None:  # the test has caught it
        raise problem


def _message(result: RunResult) -> str:
    head = f"the load test is {result.verdict}" if result.verdict != "failed" else "the load test failed"
    return "\n".join([f"{head}; its results are in {result.path}", *(f"  {reason}" for reason in result.reasons)])


@contextmanager
def _importable(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the processes of the load have the classes of the test's module, which --import-mode=importlib imports under a name
    that means nothing to them: they get these by value.
    """
    module = getattr(request, "module", None)
    if module is None or request.config.getoption("importmode") != "importlib":
        yield
        return
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


@contextmanager
def _turn() -> Iterator[None]:
    """Wait until no other load test of this user runs on this machine: two loads at once would measure each other."""
    import fcntl
    import tempfile

    path = Path(tempfile.gettempdir()) / f"wasp-ray-load-test-{os.getuid()}.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)  # closing it is not enough: a process that the load forked may still hold it
        os.close(lock)


# -- hooks


class Results:
    """The runs of all tests, by their reports: in the controller of xdist those of all workers."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str, str]] = []
        self.left_out = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the properties of a finished test."""
        if report.when == "teardown":
            verdicts, bundles = ([v for key, v in report.user_properties if key == name] for name in (VERDICT, BUNDLE))
            self.runs += [(report.nodeid, str(v), str(b)) for v, b in zip(verdicts, bundles, strict=True)]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """List every run with its verdict and bundle."""
        if self.runs or self.left_out:
            terminalreporter.section("load tests")
        for nodeid, verdict, bundle in self.runs:
            where = os.path.relpath(bundle, config.invocation_params.dir)
            terminalreporter.line(
                f"{verdict:<12} {nodeid}  {where}", green=verdict == "passed", red=verdict != "passed"
            )
        if self.left_out:
            terminalreporter.line(f"{self.left_out} deselected (add --load to run load tests)")


_RESULTS = pytest.StashKey[Results]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --load."""
    parser.getgroup("wasp_ray").addoption(
        "--load",
        action="store_true",
        dest="wasp_load",
        help="run the load tests of wasp_ray too: those with the marker load",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker, and begin to collect results."""
    config.addinivalue_line(
        "markers", "load: with the fixture `wasp`, a load test that runs only with --load (wasp_ray)"
    )
    results = config.stash[_RESULTS] = Results()
    config.pluginmanager.register(results, "wasp_ray_results")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out load tests unless --load is given."""
    if config.getoption("wasp_load"):
        return
    left_out = [item for item in items if item.get_closest_marker("load") is not None and _has_our_fixture(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
        config.stash[_RESULTS].left_out += len(left_out)


def _has_our_fixture(item: pytest.Item) -> bool:
    """Whether it uses the fixture `wasp` of this module, itself or through one that overrides it, and not one that is only
    called so.
    """
    for found in reversed(getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).get("wasp", ())):
        if found.func.__module__ == __name__:
            return True
        if "wasp" not in found.argnames:
            break
    return False


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iteration[None, pytest.TestReport, pytest.TestReport]:
    """Report a run without a verdict as an error: pytest has errors for setup and teardown alone, so it is one of the setup.

    An xfail expects a failure of the target and does not excuse it.
    """
    report = yield
    problem = item.stash.get(_NOT_JUDGED, None)
    if call.when == "call" and problem is not None and call.excinfo is not None and call.excinfo.value is problem:
        del item.stash[_NOT_JUDGED]
        report.when, report.outcome = "setup", "failed"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    return report
