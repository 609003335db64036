"""`python -m mutants`, with tests/ in PYTHONPATH: breaks the engine in one place at a time and looks whether a test notices.

A seeded sample of the mutants of six packages, each in a copy of the checkout, which runs the tests near the mutated module until
one fails: unit tests that import it, directly or by one module in between, then runs of every kind of load. That test is run again
without the mutant, so that no busy machine kills one: where it fails again the mutant is unclear. Prints score and survivors.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import os
import queue
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from support.processes import processes_with

from mutants.equivalent import EQUIVALENT
from mutants.mutate import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schedule", "wire", "aggregator", "worker", "stats", "node")
RUNS = ("tests/contract/test_user_life.py", "tests/contract/test_runtimes.py", "tests/integration/test_sinks.py")
RUNS_OF = {
    "worker": [f"tests/contract/test_{name}.py" for name in ("forks", "threads", "unawaited", "exit_handlers")],
    "node": ["tests/contract/test_processes.py"],
}
"""Those of one package alone."""
SIDE_BY_SIDE, MUTANT_S = 2, 400
TIMEOUT = ("--timeout=60", "--timeout-method=thread")
"""Of a test: it ends the process, where an exception would have Hypothesis try again."""
MEMORY = 4 << 30
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".*cache", ".hypothesis", "__pycache__", "dist", "wasp-runs", "*-results"
)


class Checkout:
    """A copy of the checkout at one moment, with what imports what."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._imported: dict[Path, frozenset[Path]] = {}

    def mutants(self) -> Iterator[Mutant]:
        """Those of the six packages, in order."""
        for package in PACKAGES:
            for file in sorted((self.root / "wasp_ray" / package).rglob("*.py")):
                yield from mutants_of(str(file.relative_to(self.root)), file.read_text())

    def tests_near(self, path: str) -> list[str]:
        """Return the test files to run for a module, the nearest first."""
        module = self.root / path
        unit = sorted((self._distance(test, module), test) for test in self.root.glob("tests/unit/test_*.py"))
        own = sorted(
            test
            for test in self.root.glob("tests/contract/test_*.py")
            if self._distance(test, module) == 1 or module.stem in test.stem
        )
        found = [str(test.relative_to(self.root)) for test in (*(test for far, test in unit if far < 3), *own)]
        return list(dict.fromkeys([*found, *RUNS, *RUNS_OF.get(path.split("/")[1], ())]))

    def _distance(self, test: Path, module: Path) -> int:
        """Return how many imports lead from a test to a module: 1 or 2, else 3."""
        near = self._imported_by(test)
        if module in near:
            return 1
        return 2 if any(module in self._imported_by(other) for other in near) else 3

    def _imported_by(self, file: Path) -> frozenset[Path]:
        """Return what a file imports; of packages and of helpers of tests also what they import."""
        if file not in self._imported:
            found: set[Path] = set()
            new = self._named_in(file)
            while new:
                found |= new
                passed = [module for module in new if module.name == "__init__.py" or module.parent.name == "support"]
                new = {module for passing in passed for module in self._named_in(passing)} - found
            self._imported[file] = frozenset(found)
        return self._imported[file]

    def _named_in(self, file: Path) -> set[Path]:
        """Return the modules and packages of the project that a file names in its imports."""
        names: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        folder = {name: self.root / "tests" if name.startswith("support.") else self.root for name in names}
        bases = [folder[name] / name.replace(".", "/") for name in names if "." in name]
        return {file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()}


class Hung(Exception):
    """The tests took too long, or their process ended without a report, as at the timeout of a test or in a crash."""


@dataclass(slots=True)
class Tested:
    """What became of a mutant."""

    mutant: Mutant
    outcome: str  # "killed", "hung", "survived", "unclear"
    by: str = ""


class Tester:
    """Tests one mutant at a time in a copy of its own."""

    def __init__(self, checkout: Checkout, folder: Path) -> None:
        self._checkout, self._root = checkout, folder
        shutil.copytree(checkout.root, folder, symlinks=True)
        self._mark = f"WASP_MUTANTS={folder}"

    def test(self, mutant: Mutant) -> Tested:
        """Run the tests near a mutant until one fails."""
        file = self._root / mutant.path
        source = file.read_text()
        file.write_text(mutant.apply(source))
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            compiled.unlink()
        try:
            failed = self._failed(self._checkout.tests_near(mutant.path))
        except Hung:
            return Tested(mutant, "hung")
        finally:
            file.write_text(source)
        if not failed:
            return Tested(mutant, "survived")
        with suppress(Hung):
            if not self._failed([failed]):
                return Tested(mutant, "killed", failed)
        return Tested(mutant, "unclear", failed)

    def _failed(self, tests: list[str]) -> str:
        """Return the first test that fails, "" for none. Raises Hung."""
        name, folder = self._mark.split("=")
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TIMEOUT, *tests],
            cwd=self._root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
            env={
                **os.environ, name: folder, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", "WASP_TEST_RUNTIME": "process"
            },
        )  # fmt: skip
        try:
            out, _ = process.communicate(timeout=MUTANT_S)
        except subprocess.TimeoutExpired as exc:
            raise Hung from exc
        finally:
            if process.poll() is None:
                process.kill()
            for pid in processes_with(self._mark):  # also engine processes that a mutant does not let end
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(self._root / ".hypothesis", ignore_errors=True)  # its examples would be another mutant's
        if process.returncode == 0:
            return ""
        if process.returncode > 2:  # neither passed nor failed: these tests cannot be run
            raise RuntimeError(out)
        found = re.search(
            r"^(?:FAILED|ERROR) ([^\s\[]+)", out, re.MULTILINE
        )  # with all its parameters: they may be any text
        if found is None:
            raise Hung
        return found[1]


def try_all(mutants: list[Mutant], checkout: Checkout, until: float) -> Iterator[Tested]:
    """Test as many as there is time for, some side by side; yield each as it ends."""
    waiting: queue.SimpleQueue[Mutant | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Tested | None] = queue.SimpleQueue()
    for mutant in [*mutants, *[None] * SIDE_BY_SIDE]:
        waiting.put(mutant)

    def work(folder: str) -> None:
        try:
            tester = Tester(checkout, Path(folder))
            while (mutant := waiting.get()) is not None and time.monotonic() < until:
                done.put(tester.test(mutant))
        finally:
            done.put(None)

    threads = [threading.Thread(target=work, args=(f"{checkout.root}-{n}",)) for n in range(SIDE_BY_SIDE)]
    for thread in threads:
        thread.start()
    for _ in threads:
        while (tested := done.get()) is not None:
            yield tested
    for thread in threads:
        thread.join()


def main() -> int:
    """0 when it came to a score."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--mutants", type=int, default=400, help="size of the sample")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--minutes", type=float, default=60, help="no mutant is begun after this time")
    parser.add_argument("--only", default="", help="mutants whose file's path begins with this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wasp-mutants-") as folder:
        shutil.copytree(ROOT, f"{folder}/checkout", symlinks=True, ignore=NOT_COPIED)  # that goes on to be edited
        compileall.compile_dir(f"{folder}/checkout", quiet=2, workers=1)
        return run(Checkout(Path(folder, "checkout")), options)


def run(checkout: Checkout, options: argparse.Namespace) -> int:
    """Draw the sample, test it, print what became of it."""
    found = [mutant for mutant in checkout.mutants() if mutant.path.startswith(options.only)]
    sample = random.Random(options.seed).sample(found, min(options.mutants, len(found)))
    chosen = [mutant for mutant in sample if mutant.key not in EQUIVALENT]
    print(
        f"{len(sample)} of {len(found)} mutants, {len(sample) - len(chosen)} of them known to change nothing",
        flush=True,
    )
    results: list[Tested] = []
    for tested in try_all(chosen, checkout, time.monotonic() + 60 * options.minutes):
        results.append(tested)
        by = f" by {tested.by}" if tested.by else ""
        print(
            f"{len(results)}/{len(chosen)} {tested.mutant.line} {tested.mutant.key}: {tested.outcome}{by}", flush=True
        )
    counts = Counter(tested.outcome for tested in results)
    for outcome in ("survived", "unclear"):
        if counts[outcome]:
            print(f"\n{outcome}:")
            for mutant in sorted((t.mutant for t in results if t.outcome == outcome), key=lambda m: (m.path, m.line)):
                print(f"  {mutant.path}:{mutant.line} {mutant.scope}: {mutant.before} -> {mutant.after}")
    dead, tried = counts["killed"] + counts["hung"], len(results) - counts["unclear"]
    print(
        f"\n{dead} of {tried} mutants killed ({100 * dead / max(1, tried):.1f} %), {counts['hung']} of them hung or crashed;"
        f" {counts['unclear']} unclear, {len(chosen) - len(results)} not tried in {options.minutes:g} minutes"
    )
    return 0 if results else 1


if __name__ == "__main__":
    sys.exit(main())
