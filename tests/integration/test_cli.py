"""The command line as a user types it: exit codes, messages, files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support.books import closed_books, wait_until
from support.processes import is_alive

from wasp_ray import open_bundle
from wasp_ray._version import __version__

pytestmark = pytest.mark.waits

ROOT = Path(__file__).parents[2]
WASP = [sys.executable, "-P", "-m", "wasp_ray"]

LOAD = """
import asyncio, time
from wasp_ray import *

class Quick(Gun):
    async def call(self):
        await asyncio.sleep(0.001)

class Looper(VirtualUser):
    def call(self):
        time.sleep(0.01)

profile = Profile(
    Generator("quick", gun=Quick, schedule=plain(100, "SECONDS")),
    Generator("looper", user=Looper, schedule=plain(2, "SECONDS")),
)
"""


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def wasp(
    *arguments: str, cwd: Path, timeout_s: float = 60, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [*WASP, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **(env or {})},
    )


def write(folder: Path, text: str, name: str = "load.py") -> Path:
    """A load file."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def summary_of(path: Path) -> dict[str, Any]:
    """A summary whose books close."""
    return closed_books(json.loads(path.read_text()))


def wait_for_a_second_of_load(folder: Path) -> None:
    """The first line of the series is that of a whole second."""
    series = folder / "out" / "series.jsonl"
    wait_until(lambda: series.exists() and series.stat().st_size > 0)


def test_a_run_writes_its_bundle_and_ends_with_the_verdict(tmp_path: Path) -> None:
    """All files of the bundle, the link, the table with the verdict last, series that sum to the ledger."""
    write(tmp_path, LOAD.replace("SECONDS", "2s"))
    done = wasp("run", "load.py", "--json", "copy.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    bundle = tmp_path / "wasp-runs" / "latest"
    assert bundle.is_symlink() and (tmp_path / "wasp-runs" / ".gitignore").read_text().strip() == "*"
    assert {path.name for path in bundle.iterdir()} >= {"summary.json", "plan.json", "series.jsonl", "windows.bin"}
    summary = summary_of(bundle / "summary.json")
    whole = open_bundle(bundle).window(0, 10)
    assert whole.counts == summary["ledger"] and whole.service.count == summary["ledger"]["ok"]
    assert summary == json.loads((tmp_path / "copy.json").read_text())
    windows = [json.loads(line) for line in (bundle / "series.jsonl").read_text().splitlines()]
    assert sum(window["calls"] for window in windows) == summary["ledger"]["started"]
    assert max(window["at_s"] for window in windows) < 10
    assert done.stdout.strip().splitlines()[-1].strip().startswith("PASSED")
    table = [line for line in done.stdout.splitlines() if not re.match(r"\d\d:\d\d/", line)]  # not the progress
    assert max(map(len, table)) <= 120


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_ends_the_run_with_its_results_kept(tmp_path: Path, number: int, code: int) -> None:
    """Ctrl-C reaches the whole process group; the books close and the exit code names the signal."""
    write(tmp_path, LOAD.replace("SECONDS", "60s"))
    process = subprocess.Popen(
        [*WASP, "run", "load.py", "--out", "out"], cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True
    )
    wait_for_a_second_of_load(tmp_path)
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code, out.decode()
    summary = summary_of(tmp_path / "out" / "summary.json")
    assert summary["verdict"] == "interrupted"
    assert summary["ledger"]["ok"] > 50
    assert 0.5 < summary["duration_s"] < 40


def test_a_second_signal_ends_the_run_at_once(tmp_path: Path) -> None:
    """Calls in flight are interrupted, nothing is left behind."""
    write(tmp_path, LOAD.replace("SECONDS", "60s").replace("time.sleep(0.01)", "time.sleep(60)"))
    process = subprocess.Popen(
        [*WASP, "run", "load.py", "--out", "out", "--only", "looper"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    wait_for_a_second_of_load(tmp_path)
    process.send_signal(signal.SIGINT)
    next(line for line in process.stdout if "draining" in line)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=40)
    assert process.returncode == 130, out
    assert summary_of(tmp_path / "out" / "summary.json")["generators"]["looper"]["ledger"]["interrupted"] == 2


def test_a_killed_generator_process_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGKILL: zygote, aggregator and workers end by themselves."""
    write(tmp_path, LOAD.replace("SECONDS", "60s"))
    process = subprocess.Popen([*WASP, "run", "load.py", "--out", "out"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    wait_for_a_second_of_load(tmp_path)
    family = tree_of(process.pid)
    assert len(family) >= 5
    process.kill()
    process.wait()
    wait_until(lambda: not [pid for pid in family if is_alive(pid)], 20.0)


def tree_of(pid: int) -> list[int]:
    """A process and all below it."""
    found, new = [], [pid]
    while new:
        found += new
        children: list[int] = []
        for parent in new:
            try:
                children += [int(c) for c in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
            except OSError:
                continue
        new = children
    return found


ONE_GUN = """
from wasp_ray import *
class G(Gun):
    async def call(self): pass
g = Generator('g', gun=G, schedule=plain(1, '1s'))
"""
CONNECTED = """import socket
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
"""
BAD_FILES = [
    ("", "has no `profile`"),
    ("import nosuchmodule\n", "nosuchmodule"),
    ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError"),
    ("profile = 3\n", "is a int: expected a Profile"),
    ("def broken(:\n", "SyntaxError"),
    (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True, name='poller').start()\n"
        "from wasp_ray import *\nclass G(Gun):\n    async def call(self): pass\n"
        "profile = Profile(Generator('g', gun=G, schedule=plain(1, '1s')))\n",
        "'poller'",
    ),
    (
        "from wasp_ray import *\nclass G(Gun):\n    async def call(self): pass\n"
        "profile = Profile(Generator('g', gun=G, schedule=plain(-1, '1s')), Generator('g', schedule=plain(1, 'soon')))\n",
        "'soon'",
    ),
    (
        "from wasp_ray import *\nclass U(VirtualUser):\n    def call(self): pass\n"
        "profile = Profile(Generator('u', user=U, schedule=plain(900000, '1s')))\n",
        "processes",
    ),
    (f"{CONNECTED}{ONE_GUN}profile = Profile(g)\n", "import left a connection to 127.0.0.1:"),
    (f"{CONNECTED}{ONE_GUN}profile = Profile(g)\n", "import left a socket that listens on 127.0.0.1:"),
    (f"{ONE_GUN}profile = Profile(g, import_sockets=1)\n", "import_sockets=1: expected 'refuse' or 'warn'"),
    (f"{ONE_GUN}profile = Profile([g])\n", "argument 1 is a list: expected a Generator. Write Profile(*generators)"),
    (f"{ONE_GUN}profile = Profile(G)\n", "argument 1 is the class G: expected a Generator"),
    (f"{ONE_GUN}profile = Profile(g, thresholds=5)\n", "thresholds=5: expected a list"),
]


def test_connections_of_the_import_are_warned_of_where_the_profile_allows_them(tmp_path: Path) -> None:
    """And sockets without an address, which asyncio has for itself, are warned of alone."""
    pair = "left, right = socket.socketpair()\n"
    write(tmp_path, f"{CONNECTED}{pair}{ONE_GUN}profile = Profile(g, import_sockets='warn')\n")
    done = wasp("run", "load.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    warned = " ".join((done.stdout + done.stderr).split())
    assert "left a connection to 127.0.0.1:" in warned and "left 2 open sockets, which all users share" in warned


@pytest.mark.parametrize(("text", "told"), BAD_FILES)
def test_bad_input_is_exit_2_with_every_problem_and_no_bundle(tmp_path: Path, text: str, told: str) -> None:
    """A bullet each, nothing started, no internal frames."""
    write(tmp_path, text)
    done = wasp("run", "load.py", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert "nothing was started" in done.stderr
    assert "wasp_ray/" not in done.stderr
    assert not list(tmp_path.glob("wasp-runs/2*"))


@pytest.mark.parametrize(
    "command", [["run", "--only", "g"], ["run", "--once"], ["run", "--threshold", "failed == 0"], ["plan"]]
)
def test_a_tuple_in_place_of_a_generator_is_bad_input_to_every_command(tmp_path: Path, command: list[str]) -> None:
    """Options that are applied before validation do not trip over it; the comma behind a Generator is named as the cause."""
    write(tmp_path, f"{ONE_GUN}profile = Profile((g,), thresholds=None)\n")
    done = wasp(command[0], "load.py", *command[1:], cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "argument 1 is a tuple: expected a Generator" in done.stderr and "remove the comma" in done.stderr
    assert "thresholds=None" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("wasp-runs/2*"))


def test_bad_options_are_exit_2(tmp_path: Path) -> None:
    """A missing file, a bad threshold with a caret, an unknown Generator, a folder that is not empty."""
    write(tmp_path, LOAD.replace("SECONDS", "1s"))
    assert wasp("run", "none.py", cwd=tmp_path).returncode == 2
    bad = wasp("run", "load.py", "--threshold", "p99 off quick < 3ms", cwd=tmp_path)
    assert bad.returncode == 2 and "^" in bad.stderr
    unknown = wasp("run", "load.py", "--only", "nobody", cwd=tmp_path)
    assert unknown.returncode == 2 and "quick, looper" in unknown.stderr
    full = wasp("run", "load.py", "--out", ".", cwd=tmp_path)
    assert full.returncode == 2 and "--out" in full.stderr
    assert wasp("run", "load.py", "-e", "NO_SUCH_VARIABLE", cwd=tmp_path).returncode == 2
    assert wasp("run", "load.py", "--nonsense", cwd=tmp_path).returncode == 2


UNWRITABLE = [
    ("none/x.json", "none does not exist: create it first"),
    ("load.py/x.json", "load.py is not a folder"),
    ("/proc/x.json", "cannot be written"),
    ("folder", "folder"),
    ("out", "is the folder of --out"),
]


@pytest.mark.parametrize(("path", "told"), UNWRITABLE)
@pytest.mark.parametrize("option", ["--json", "--junit", "--markdown"])
@pytest.mark.parametrize(
    "command", [["run", "load.py"], ["cluster", "run", "load.py", "--image", "i:1", "--jobs", "1"]]
)
def test_an_output_that_cannot_be_written_is_bad_input(
    tmp_path: Path, command: list[str], option: str, path: str, told: str
) -> None:
    """Before anything starts, on this machine and in a cluster: the load file is never read, no API server is asked."""
    write(tmp_path, "raise SystemExit('the load file was read')")
    (tmp_path / "folder").mkdir()
    (tmp_path / "config").write_text(KUBECONFIG)
    where = ["--kubeconfig", "config"] if command[0] == "cluster" else []
    done = wasp(*command, *where, "--out", "out", option, path, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr and option in done.stderr and "the load file was read" not in done.stderr
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config", "folder", "load.py"]


def test_a_json_inside_of_the_bundle_is_written(tmp_path: Path) -> None:
    """Though its folder is made by the run."""
    write(tmp_path, LOAD.replace("SECONDS", "300ms"))
    done = wasp("run", "load.py", "--out", "out", "--json", "out/ci/result.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary_of(tmp_path / "out/ci/result.json") == summary_of(tmp_path / "out/summary.json")


REQUIREMENTS = ["--threshold", "p99 of quick < 1us", "--threshold", "rate of quick > 0"]


def cases_of(path: Path) -> dict[str, str]:
    """Return the outcome of each test case of a JUnit report by its name."""
    cases = ElementTree.parse(path).getroot().findall("testcase")
    tags = ("failure", "error", "skipped")
    return {str(c.get("name")): next((tag for tag in tags if c.find(tag) is not None), "passed") for c in cases}


def test_results_for_a_pipeline(tmp_path: Path) -> None:
    """JUnit XML and Markdown beside the bundle; the Markdown is on the page of the job too, unless it is not wanted there."""
    write(tmp_path, LOAD.replace("SECONDS", "300ms"))
    (tmp_path / "step").write_text("before\n")
    outputs = ["--junit", "load.xml", "--markdown", "out/load.md", "--out", "out"]
    env = {"GITHUB_STEP_SUMMARY": str(tmp_path / "step")}
    done = wasp("run", "load.py", *outputs, *REQUIREMENTS, cwd=tmp_path, env=env)
    assert done.returncode == 1, done.stdout + done.stderr
    assert cases_of(tmp_path / "load.xml") == {
        "p99 of quick < 1us": "failure", "rate of quick > 0": "passed", "run": "passed",
    }  # fmt: skip
    text = (tmp_path / "out/load.md").read_text()
    assert text.startswith("## ❌ FAILED: load") and "results in out" in text
    assert (tmp_path / "step").read_text() == f"before\n\n\n{text}"
    quiet = wasp("run", "load.py", "--once", "--no-step-summary", cwd=tmp_path, env=env)
    assert quiet.returncode == 0 and (tmp_path / "step").read_text().count("exit ") == 1


def test_a_step_summary_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """The run and its exit code are the same."""
    write(tmp_path, LOAD.replace("SECONDS", "300ms"))
    done = wasp("run", "load.py", cwd=tmp_path, env={"GITHUB_STEP_SUMMARY": str(tmp_path / "none" / "step")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "! GITHUB_STEP_SUMMARY" in done.stdout and "No such file" in done.stdout


def test_results_for_a_pipeline_are_written_for_early_ends_too(tmp_path: Path) -> None:
    """A run that could not be started is an error there; of one that is interrupted, the table in the report says so."""
    write(tmp_path, "from wasp_ray import *\ndef down():\n    raise OSError('no database')\n"
          "class G(Gun):\n    async def call(self): pass\n"
          "profile = Profile(Generator('g', gun=G, schedule=plain(1, '60s')), setup=down)\n")  # fmt: skip
    done = wasp("run", "load.py", "--junit", "load.xml", "--markdown", "load.md", cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert cases_of(tmp_path / "load.xml") == {"run": "error"} and "no database" in (tmp_path / "load.xml").read_text()
    assert (tmp_path / "load.md").read_text().startswith("## ❌ ERROR: load")
    write(tmp_path, LOAD.replace("SECONDS", "60s"))
    process = subprocess.Popen(
        [*WASP, "run", "load.py", "--out", "out", "--junit", "load.xml", "--quiet"], cwd=tmp_path
    )
    wait_for_a_second_of_load(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert (
        cases_of(tmp_path / "load.xml") == {"run": "passed"}
        and "interrupted by SIGTERM" in (tmp_path / "load.xml").read_text()
    )


def test_parameters_and_environment_reach_the_load(tmp_path: Path) -> None:
    """A function with typed arguments; a secret never appears in what is printed or written."""
    write(
        tmp_path,
        """
        import os
        from wasp_ray import *
        class U(VirtualUser):
            def call(self):
                import time; time.sleep(0.01)
                return Response(path="yes" if os.environ["TOKEN"] == "s3cr3t" else "no", failed=os.environ["TOKEN"] != "s3cr3t")
        def nightly(users: int, slow: bool = False) -> Profile:
            assert slow is True
            return Profile(Generator("u", user=U, schedule=plain(users, "300ms")))
        """,
    )
    done = wasp(
        "run",
        "load.py:nightly",
        "-p",
        "users=3",
        "-p",
        "slow=yes",
        "-e",
        "TOKEN=s3cr3t",
        "--out",
        "out",
        "--junit",
        "out/load.xml",
        "--markdown",
        "out/load.md",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary_of(tmp_path / "out" / "summary.json")["generators"]["u"]["users"]["active_max"] == 3
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes()
    assert "s3cr3t" not in done.stdout + done.stderr
    wrong = wasp("run", "load.py:nightly", "-p", "users=many", cwd=tmp_path)
    assert wrong.returncode == 2 and "expected int" in wrong.stderr


def test_once_makes_one_call_of_each_generator(tmp_path: Path) -> None:
    """In this process; no bundle."""
    write(tmp_path, LOAD.replace("SECONDS", "60s"))
    done = wasp("run", "load.py", "--once", "--json", "one.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = summary_of(tmp_path / "one.json")
    assert {name: g["ledger"]["ok"] for name, g in summary["generators"].items()} == {"quick": 1, "looper": 1}
    assert (
        "call quick ok" in done.stdout and "call looper ok" in done.stdout and "request looper/setup ok" in done.stdout
    )
    assert not (tmp_path / "wasp-runs").exists()


def test_plan_describes_and_starts_nothing(tmp_path: Path) -> None:
    """Calls, users, processes, memory."""
    write(tmp_path, LOAD.replace("SECONDS", "90s"))
    done = wasp("plan", "load.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "9,000 calls" in done.stdout and "processes" in done.stdout and "MiB" in done.stdout


def test_plan_shows_placements_where_they_can_be_had(tmp_path: Path) -> None:
    """On Ray, which need not be there for it; elsewhere they are bad input."""
    placed = 'schedule=plain(2, "9s"), placement=Placement(cpus=0.5, gpus=1)'
    write(tmp_path, LOAD.replace('schedule=plain(2, "SECONDS")', placed).replace("SECONDS", "9s"))
    done = wasp("plan", "load.py", "--on", "ray", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 users peak, 1 a process, each with CPU 0.5, GPU 1 on Ray" in done.stdout, done.stdout
    done = wasp("plan", "load.py", cwd=tmp_path)
    assert done.returncode == 2 and "use --on ray, or leave it out here" in done.stderr, done.stderr


def test_init_writes_a_file_that_runs(tmp_path: Path) -> None:
    """And never overwrites one."""
    assert wasp("init", cwd=tmp_path).returncode == 0
    assert wasp("init", cwd=tmp_path).returncode == 2
    done = wasp("run", "load.py", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_users_print_goes_to_the_log_with_its_author_and_is_capped(tmp_path: Path) -> None:
    """10 KB a call are cut to 4 KiB a line; the terminal sees at most 20 lines a second."""
    write(
        tmp_path,
        """
        import os, time
        from wasp_ray import *
        class U(VirtualUser):
            def call(self):
                time.sleep(0.01)
                print("y" * 10_000)
                os.write(1, b"raw line\\n")
        profile = Profile(Generator("u", user=U, schedule=plain(1, "1s")))
        """,
    )
    done = wasp("run", "load.py", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    log = (tmp_path / "out" / "logs" / "users.log").read_text()
    assert "u/0" in log and "raw line" in log
    assert max(len(line) for line in log.splitlines()) < 4300
    assert done.stdout.count("raw line") < 60


def test_a_full_disk_is_told_and_does_not_stop_the_run(tmp_path: Path) -> None:
    """The verdict comes all the same."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        write(tmp_path, LOAD.replace("SECONDS", "2s"))
        (disk / "filler").write_bytes(b"x" * 12_288)
        done = wasp("run", "load.py", "--out", "disk/out", "--json", "copy.json", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert summary_of(tmp_path / "copy.json")["verdict"] == "passed"
        assert "No space" in done.stdout
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_help_and_version_are_quick_and_complete(tmp_path: Path) -> None:
    """Every command has examples; heavy libraries are not imported for help."""
    done = subprocess.run([*WASP, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert all(name in done.stdout for name in ("run", "plan", "init", "version"))
    assert "Examples" in wasp("run", "--help", cwd=tmp_path).stdout
    code = "import sys; sys.argv=['wasp','--help']\nimport wasp_ray.cli\ntry: wasp_ray.cli.main()\nexcept SystemExit: pass\n"
    code += "print(sorted({'numpy','rich','asyncio','structlog'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert found.stdout.strip().splitlines()[-1] == "[]"
    assert f"wasp_ray {__version__}" in wasp("version", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("line", "found"), [("pass", set()), ("self.context.log.info('here')", {"asyncio", "structlog"})]
)
def test_a_users_process_has_what_its_load_names(line: str, found: set[str], tmp_path: Path) -> None:
    """Each of these makes every user heavier."""
    write(tmp_path, f"""
        import sys
        from wasp_ray import Generator, Profile, VirtualUser, plain

        class User(VirtualUser):
            def call(self):
                {line}
                print(*({{"asyncio", "structlog", "ssl", "httptools", "uvloop"}} & sys.modules.keys()), "end")

        profile = Profile(Generator("u", user=User, schedule=plain(1, "1s"), max_calls=1))
    """)  # fmt: skip
    assert wasp("run", "load.py", "--out", "out", cwd=tmp_path).returncode == 0
    told = (tmp_path / "out/logs/users.log").read_text().splitlines()
    modules = next(set(words[1:-1]) for words in map(str.split, told) if words[-1] == "end")
    assert modules - {"ssl"} == found  # structlog brings asyncio, which brings ssl


def test_the_installed_wheel_is_what_is_tested() -> None:
    """In CI the package comes from site-packages and not from the checkout."""
    import wasp_ray

    if os.environ.get("WASP_WHEEL") == "1":
        assert "site-packages" in str(wasp_ray.__file__)
    else:
        assert Path(str(wasp_ray.__file__)).is_relative_to(ROOT)
