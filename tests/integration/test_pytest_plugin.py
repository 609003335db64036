"""The pytest plugin as its users have it: sessions of their own in processes of their own, with and without xdist."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.books import wait_until

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.waits

LOADS = """
import asyncio, time
import pytest
from wasp_ray import Generator, Gun, Profile, plain

class Quick(Gun):
    async def call(self):
        await asyncio.sleep(0.001)

class Blocking(Gun):
    async def call(self):
        time.sleep(0.2)

class Timed(Gun):
    def setup(self):
        self.file = open(self.context.params["file"], "a")
    async def call(self):
        self.file.write(f"{time.monotonic()}\\n")
        self.file.flush()

def down():
    raise OSError("no database")

def quick(**options):
    return Generator("quick", gun=Quick, schedule=plain(20, "500ms"), **options)
"""
LOAD = "@pytest.mark.load\ndef test_load(wasp):\n    "
ONE = "-p", "no:cacheprovider", "-p", "no:randomly"


def session(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    """Run a file of tests in a session of its own."""
    pytester.makepyfile(test_shop=LOADS + tests)
    return pytester.runpytest_subprocess(*ONE, *options)


def bundles(pytester: pytest.Pytester) -> list[Path]:
    """Return the folders of runs."""
    return sorted(path for path in (pytester.path / "wasp-runs").glob("2*"))


def test_a_load_that_passes_passes(pytester: pytest.Pytester) -> None:
    """The result can be looked at; the bundle is in wasp-runs under the name of the test, and summary and JUnit XML name it."""
    done = session(
        pytester,
        LOAD + "result = wasp(quick(), thresholds=['failed == 0'], labels={'team': 'shop'}, seed=7)\n"
        "    assert result.generators['quick'].ledger.ok == 10 and result.summary['seed'] == 7\n",
        "--load", "--junitxml=report.xml",
    )  # fmt: skip
    done.assert_outcomes(passed=1)
    (bundle,) = bundles(pytester)
    summary = json.loads((bundle / "summary.json").read_text())
    assert summary["profile"] == "test_load" and summary["labels"] == {"team": "shop"}
    assert bundle.name.endswith("-test_load") and (bundle.parent / "latest").resolve() == bundle
    done.stdout.fnmatch_lines(["*= load tests =*", f"passed *test_shop.py::test_load *wasp-runs/{bundle.name}"])
    assert f'<property name="wasp_bundle" value="{bundle}"' in (pytester.path / "report.xml").read_text()


def test_a_load_that_fails_fails_the_test(pytester: pytest.Pytester) -> None:
    """With the reasons and no traceback; nothing behind the run is executed, though the test catches exceptions."""
    done = session(
        pytester,
        LOAD
        + "try:\n        wasp(quick(), thresholds=['p99 < 1us'])\n    except Exception:\n        pass\n    print('went' + 'on')\n",
        "--load",
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["the load test failed; its results are in *wasp-runs/*", "*p99 < 1us: found *"])
    done.stdout.fnmatch_lines(["failed *test_shop.py::test_load *wasp-runs/*"])
    done.stdout.no_fnmatch_line("*wenton*")
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")


BLOCKED = "Generator('slow', gun=Blocking, schedule=plain(10, '1s'))"
NOT_JUDGED = [
    ("", BLOCKED, "invalid", "*blocked*", ()),
    ("", "quick(), setup=down", "error", "*no database*", ("-n", "1")),
    ("@pytest.mark.xfail\n", "quick(), setup=down", "error", "*no database*", ()),
]


@pytest.mark.parametrize(
    ("mark", "load", "verdict", "reason", "options"), NOT_JUDGED, ids=["invalid", "error on xdist", "error of an xfail"]
)
def test_a_load_without_a_verdict_is_an_error(
    pytester: pytest.Pytester, mark: str, load: str, verdict: str, reason: str, options: tuple[str, ...]
) -> None:
    """And no failure: pytest counts one error and nothing else, also where a failure is expected."""
    done = session(pytester, f"{mark}{LOAD}wasp({load})\n", "--load", "--junitxml=report.xml", *options)
    done.assert_outcomes(errors=1)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(
        [f"*the load test is {verdict}; its results are in *", reason, f"{verdict} *::test_load*"]
    )
    report = (pytester.path / "report.xml").read_text()
    assert 'errors="1" failures="0"' in report and report.count("<testcase ") == 1


def test_a_load_without_a_verdict_cannot_be_caught(pytester: pytest.Pytester) -> None:
    """A test that swallows everything still has its error."""
    done = session(
        pytester, LOAD + "try:\n        wasp(quick(), setup=down)\n    except BaseException:\n        pass\n", "--load"
    )
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*ERROR at teardown of test_load*", "*no database*"])


def test_bad_input_fails_with_every_problem(pytester: pytest.Pytester) -> None:
    """Nothing was started, so no bundle stays."""
    done = session(
        pytester, LOAD + "wasp(Generator('g', gun=Quick, schedule=plain(-1, '1s')), thresholds=['soon'])\n", "--load"
    )
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*BadInput*"])
    assert not bundles(pytester)


def test_a_profile_is_run_as_it_is(pytester: pytest.Pytester) -> None:
    """Inline too; options belong to the Profile itself then."""
    done = session(
        pytester,
        LOAD + "assert wasp(Profile(quick(), name='mine'), runtime='inline', out='out').summary['profile'] == 'mine'\n"
        "    with pytest.raises(TypeError, match='give these to the Profile itself'):\n"
        "        wasp(Profile(quick()), thresholds=['failed == 0'])\n",
        "--load",
    )
    done.assert_outcomes(passed=1)
    assert (pytester.path / "out" / "summary.json").exists() and not bundles(pytester)


FED = """
from wasp_ray import csv

class Fed(Gun):
    async def call(self):
        assert self.context.feed("names")["name"] == "one"

@pytest.mark.load
def test_fed(wasp):
    fed = Generator("fed", gun=Fed, schedule=plain(10, "500ms"), feeders={"names": csv("names.csv", order="cycle")})
    assert wasp(fed).ledger.ok == 5
"""


@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_classes_and_files_of_a_package_reach_the_load(pytester: pytest.Pytester, mode: str) -> None:
    """Also if no other process can import the test's module, as from a folder whose name is no package's. Files are found beside
    the test.
    """
    folder = pytester.mkpydir("shop") if mode == "prepend" else pytester.mkdir("shop.load")
    (folder / "names.csv").write_text("name\none\n")
    (folder / "test_here.py").write_text(LOADS + FED)
    pytester.runpytest_subprocess(*ONE, "--load", f"--import-mode={mode}").assert_outcomes(passed=1)


OTHERS = """
import pytest

@pytest.mark.load
def test_marked():
    pass

@pytest.fixture
def theirs():
    return 1

@pytest.mark.load
def test_fixture(theirs):
    pass
"""
THEIR_WASP = """
import pytest

@pytest.fixture
def wasp():
    return "an insect"

@pytest.mark.load
def test_theirs(wasp):
    assert wasp == "an insect"
"""
WRAPPED_WASP = """
import pytest

@pytest.fixture
def wasp(wasp):
    return wasp

@pytest.mark.load
def test_ours(wasp):
    raise AssertionError
"""


def test_load_tests_are_left_out_unless_asked_for(pytester: pytest.Pytester) -> None:
    """Those with the fixture and the marker; one with the fixture alone always runs."""
    tests = LOAD + "wasp(quick())\n\ndef test_small(wasp):\n    wasp(quick(), runtime='inline')\n"
    done = session(pytester, tests)
    done.assert_outcomes(passed=1, deselected=1)
    done.stdout.fnmatch_lines(["1 deselected (add --load to run load tests)"])
    session(pytester, tests, "--load").assert_outcomes(passed=2)


def test_tests_of_others_are_not_touched(pytester: pytest.Pytester) -> None:
    """Neither those that are marked `load`, nor those with a fixture of this name, nor their exit code and output."""
    pytester.makepyfile(test_others=OTHERS, test_insects=THEIR_WASP)
    done = pytester.runpytest_subprocess(*ONE, "--strict-markers")
    done.assert_outcomes(passed=3)
    done.stdout.no_fnmatch_line("*load tests*")


def test_a_fixture_that_overrides_ours_with_ours_is_ours(pytester: pytest.Pytester) -> None:
    """As a project does to give all its loads the same options."""
    pytester.makepyfile(WRAPPED_WASP)
    pytester.runpytest_subprocess(*ONE).assert_outcomes(deselected=1)


def test_an_interrupt_ends_the_session(pytester: pytest.Pytester) -> None:
    """Ctrl-C during a load stops it with its results kept, and then pytest, as in any other test; also if the load has failed."""
    load = "wasp(Generator('g', gun=Quick, schedule=plain(20, '60s')), thresholds=['p99 < 1us'])\n\n"
    pytester.makepyfile(test_shop=LOADS + LOAD + load + "def test_next():\n    print('went' + 'on')\n")
    process = pytester.popen(
        [sys.executable, "-m", "pytest", *ONE, "--load", "-s"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_until(lambda: any((path / "series.jsonl").exists() for path in bundles(pytester)), 60)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    assert b"wenton" not in out
    (bundle,) = bundles(pytester)
    assert json.loads((bundle / "summary.json").read_text())["reasons"][-1] == "interrupted by SIGINT"


def test_the_example_of_the_guide(pytester: pytest.Pytester) -> None:
    """As it is printed there: one load test, and one test that always runs."""
    page = (Path(__file__).parents[2] / "docs" / "pytest.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    pytester.makepyfile(test_shop=block)
    pytester.runpytest_subprocess(*ONE).assert_outcomes(passed=1, deselected=1)
    pytester.runpytest_subprocess(*ONE, "--load").assert_outcomes(passed=2)


def test_a_session_without_loads_imports_nothing(pytester: pytest.Pytester) -> None:
    """Of wasp_ray only the plugin itself, however many tests there are."""
    pytester.makepyfile("""
        import sys
        def test_modules():
            found = sorted(name for name in sys.modules if name.partition(".")[0] in ("wasp_ray", "numpy", "click", "rich"))
            assert found == ["wasp_ray", "wasp_ray.pytest_plugin"]
    """)
    pytester.runpytest_subprocess(*ONE).assert_outcomes(passed=1)


def test_loads_of_two_workers_take_turns(pytester: pytest.Pytester) -> None:
    """Their calls never overlap, each has a bundle of its own, and the controller lists both."""
    tests = "".join(
        f"@pytest.mark.load\ndef test_{name}(wasp):\n"
        f"    wasp(Generator('g', gun=Timed, params={{'file': {str(pytester.path / name)!r}}}, schedule=plain(50, '1s')))\n"
        for name in ("one", "two")
    )
    done = session(pytester, tests, "--load", "-n", "2", "--dist", "load")
    done.assert_outcomes(passed=2)
    spans = []
    for name in ("one", "two"):
        times = [float(line) for line in (pytester.path / name).read_text().split()]
        assert len(times) == 50
        spans.append((min(times), max(times)))
    spans.sort()
    assert spans[0][1] < spans[1][0], spans
    listed = re.findall(r"^passed .*::test_(one|two)  wasp-runs/(\S+)$", done.stdout.str(), re.MULTILINE)
    assert sorted(name for name, _ in listed) == ["one", "two"]
    assert {bundle for _, bundle in listed} == {path.name for path in bundles(pytester)}
