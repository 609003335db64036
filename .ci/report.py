"""Prints what a run of CI took: its steps, its calls of pytest, and its slowest tests. `report.py FOLDER SECONDS`."""

import sys
from pathlib import Path
from xml.etree import ElementTree

SLOWEST = 10


def main(folder: Path, all_s: str) -> None:
    """The folder has steps.tsv (name, seconds) and reports as JUnit XML."""
    steps = [line.split("\t") for line in (folder / "steps.tsv").read_text().splitlines()]
    calls, tests = [], []
    for path in sorted(folder.rglob("*.xml")):
        name = str(path.relative_to(folder).with_suffix(""))
        suite = next(ElementTree.parse(path).iter("testsuite"))  # noqa: S314  # written by pytest itself
        wrong = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        calls.append((name, suite.get("tests", "0"), wrong, float(suite.get("time", 0))))
        for case in suite.iter("testcase"):
            file = case.get("classname", "").rpartition(".")[2]
            tests.append((float(case.get("time", 0)), f"{name}: {file}::{case.get('name')}"))
    print(f"\nReports: {folder.resolve()}\n\n{'step':<48}{'seconds':>8}")
    for name, seconds in [*steps, ["all", all_s]]:
        print(f"{name:<48}{seconds:>8}")
    print(f"\n{'pytest':<32}{'tests':>8}{'wrong':>8}{'seconds':>8}")
    for name, number, wrong, seconds in calls:
        print(f"{name:<32}{number:>8}{wrong:>8}{seconds:>8.0f}")
    print("\nslowest tests")
    for seconds, name in sorted(tests, reverse=True)[:SLOWEST]:
        print(f"{seconds:>8.1f} s  {name[:120]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
