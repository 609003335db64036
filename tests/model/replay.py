"""`python -m tests.model.replay 'Scenario(...)'`: runs one scenario and prints what the witness and the summary say.

Run it from the root of a checkout. `--keep DIR` puts the witness there. Exit code 1: there are divergences that known.py
does not explain.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/, as pytest has it

from model import known, scenario
from model.check import compare
from model.drive import drive
from model.examples import EXAMPLES


def main() -> int:
    """Run the scenario of the command line, a literal or the name of a pinned example."""
    parser = argparse.ArgumentParser(prog="python -m tests.model.replay", description=__doc__)
    parser.add_argument("scenario", help="a Scenario(...) literal, or the beginning of a pinned example's name")
    parser.add_argument("--keep", type=Path, help="folder for the witness, which must not exist")
    parser.add_argument("--times", type=int, default=1, help="how often to run it")
    options = parser.parse_args()
    named = [each for name, each in EXAMPLES.items() if name.startswith(options.scenario)]
    try:
        chosen = named[0] if named else scenario.parse(options.scenario)
    except ValueError as exc:
        parser.error(str(exc))
    for problem in scenario.problems(chosen):
        parser.error(problem)
    bad = 0
    for _ in range(options.times):
        bad += _run(chosen, options.keep)
    return 1 if bad else 0


def _run(chosen: scenario.Scenario, keep: Path | None) -> int:
    """Run it once; return how many divergences known.py does not explain."""
    folder = Path(tempfile.mkdtemp()) if keep is None else keep
    folder.mkdir(exist_ok=keep is None)
    evidence = drive(chosen, folder)
    found, quiet = compare(chosen, evidence), known.silenced(chosen)
    print(f"{chosen!r}\nwitness: {folder}")
    if evidence.summary is not None:
        print(f"verdict: {evidence.summary['verdict']}  {'; '.join(evidence.summary['reasons'])}")
        print(f"ledger:  { {name: number for name, number in evidence.summary['ledger'].items() if number} }")
    for each in found:
        print(f"{'known  ' if each.check in quiet else 'DIVERGES'} {each.check}: {each.text}")
    for name in known.avoided(chosen):
        print(f"the random search avoids this scenario: {name}")
    if not found:
        print("the summary is what the calls wrote down")
    return sum(each.check not in quiet for each in found)


if __name__ == "__main__":
    sys.exit(main())
