"""The faults that the mutation check puts into a source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutants.equivalent import EQUIVALENT
from mutants.mutate import mutants_of

import wasp_ray


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ("return a < 1", {"return (a <= 1)", "return a < 2", "return None"}),
        ("return a is not b", {"return (a is b)", "return None"}),
        ("x = a + b", {"x = (a - b)"}),
        ("x = a and b", {"x = (a or b)"}),
        ("x = not a", {"x = (a)"}),
        ("x = -a", {"x = (a)"}),
        ("x = True", {"x = False"}),
        ("x = min(a, b)", {"x = max(a, b)"}),
        ("if a: b()", {"if (not (a)): b()", "if a: pass"}),
        ("if not a: b()", {"if (a): b()", "if not a: pass"}),
        ("while a: break", {"while (not (a)): break", "while a: pass"}),
        ("x = a if b else c", {"x = a if (not (b)) else c"}),
        ("x += a", {"x -= a", "pass"}),
        ("x.y = a", {"pass"}),
        ("raise a", {"pass"}),
        ("await a()", {"pass"}),
        ("x: int = 1", {"x: int = 2"}),
        ("x = 'a' + b", set()),  # texts
        ("x = f'{a + 1}'", set()),
        ("assert a < 1", set()),  # states a type
        ("return None", set()),
        ("x = 'é', a + b", {"x = 'é', (a - b)"}),  # positions are those of bytes
    ],
)
def test_each_expression_and_statement_has_its_faults(body: str, faults: set[str]) -> None:
    """One at a time, in place, the rest as it was."""
    source = f"async def f(a, b, c):\n    {body}\n"
    found = {mutant.apply(source).split("\n    ", 1)[1].removesuffix("\n") for mutant in mutants_of("m.py", source)}
    assert found == faults


def test_what_stands_outside_of_functions_and_what_only_declares_is_left_alone() -> None:
    """Defaults of arguments and of fields are not."""
    source = "A = 1\n\n@deco(2)\nclass C:\n    x: Kind[3] = 4\n\n    @deco(5)\n    def f(self, a: Kind[6] = 7) -> Kind[8]: ...\n"
    assert [(m.before, m.after, m.scope, m.line) for m in mutants_of("m.py", source)] == [
        ("4", "5", "C", 5),
        ("7", "8", "C.f", 8),
    ]


@pytest.mark.parametrize("name", ["aggregator/drain.py", "stats/tallies.py", "worker/user_life.py"])
def test_every_mutant_of_a_module_is_python_and_another_program(name: str) -> None:
    """A mutant that does not compile, or changes only the text, would be killed, or survive, for nothing."""
    source = (Path(wasp_ray.__file__).parent / name).read_text()
    before = ast.dump(ast.parse(source))
    found = mutants_of(name, source)
    assert len({mutant.apply(source) for mutant in found}) > 50
    for mutant in found:
        assert ast.dump(ast.parse(mutant.apply(source))) != before, mutant


def test_every_mutant_that_is_known_to_change_nothing_still_exists() -> None:
    """A line that was rewritten must be looked at again."""
    root = Path(wasp_ray.__file__).parent.parent
    paths = {key.partition(":")[0] for key in EQUIVALENT}
    keys = {mutant.key for path in paths for mutant in mutants_of(path, (root / path).read_text())}
    assert EQUIVALENT.keys() <= keys
