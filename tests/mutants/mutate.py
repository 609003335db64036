"""Small faults in a Python source: each replaces one expression or statement. Pure.

It leaves alone what cannot change a figure or a verdict, or is a matter of tuning: texts, annotations, decorators, `assert` (which
states types here) and strict= of zip(), and whatever stands outside of functions and classes.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: `after` in place of the bytes from `start` to `end` of the source."""

    path: str
    line: int
    text: str
    """The line, as it is read."""
    scope: str
    before: str
    after: str
    start: int
    end: int

    @property
    def key(self) -> str:
        """What names it, also when lines move."""
        return f"{self.path}: {self.text} | {self.before} -> {self.after}"

    def apply(self, source: str) -> str:
        """Return the source with the fault."""
        raw = source.encode()
        return (raw[: self.start] + self.after.encode() + raw[self.end :]).decode()


def mutants_of(path: str, source: str) -> list[Mutant]:
    """Return all mutants of a source, in order."""
    lines, starts = source.splitlines(), [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def at(line: int | None, column: int | None) -> int:
        assert line is not None and column is not None
        return starts[line - 1] + column

    return [
        Mutant(
            path, old.lineno, lines[old.lineno - 1].strip(), scope, ast.unparse(old), new,
            at(old.lineno, old.col_offset), at(old.end_lineno, old.end_col_offset),
        )
        for node, scope in _walk(ast.parse(source), "")
        for old, new in _faults_of(node)
    ]  # fmt: skip


def _walk(node: ast.AST, scope: str) -> Iterator[tuple[ast.AST, str]]:
    """Nodes inside of functions and classes, each with the name of what it is in."""
    for child in ast.iter_child_nodes(node):
        inner, parts = scope, child
        match child:
            case ast.Assert() | ast.JoinedStr() | ast.arg() | ast.keyword(arg="strict"):
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef():  # defaults and body, no annotations and decorators
                inner = f"{scope}.{child.name}".lstrip(".")
                defaults = [
                    default for default in (*child.args.defaults, *child.args.kw_defaults) if default is not None
                ]
                parts = ast.Module([*map(ast.Expr, defaults), *child.body], [])
            case ast.ClassDef():
                inner, parts = f"{scope}.{child.name}".lstrip("."), ast.Module(child.body, [])
            case ast.AnnAssign():
                parts = ast.Module([] if child.value is None else [ast.Expr(child.value)], [])
        if scope and hasattr(child, "lineno"):
            yield child, scope
        yield from _walk(parts, inner)


def _faults_of(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """What to replace, and by what."""
    match node:
        case ast.Compare():
            for at, op in enumerate(node.ops):
                yield node, _changed(node, "ops", [*node.ops[:at], _SWAPS[type(op)](), *node.ops[at + 1 :]])
        case ast.BinOp() | ast.BoolOp() if type(node.op) in _SWAPS and not _is_text(node):
            yield node, _changed(node, "op", _SWAPS[type(node.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node, f"({ast.unparse(node.operand)})"
        case ast.Constant(value=bool()):
            yield node, str(not node.value)
        case ast.Constant(value=int() | float() as value):
            yield node, repr(value + 1 if abs(value) < 100 else value * 2)
        case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
            yield node.func, _NAMES[name]
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.UnaryOp):
            yield node.test, f"(not ({ast.unparse(node.test)}))"
        case ast.AugAssign():
            if type(node.op) in _SWAPS:
                yield node, _changed(node, "op", _SWAPS[type(node.op)]())[1:-1]
            yield node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, "pass"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
            yield node, "pass"
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield node, "return None"


def _changed(node: ast.AST, field: str, value: object) -> str:
    """The text of a node with another value in a field."""
    changed = copy.copy(node)
    setattr(changed, field, value)
    return f"({ast.unparse(changed)})"


def _is_text(node: ast.BinOp | ast.BoolOp) -> bool:
    """Whether it joins or formats texts."""
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else ()
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, (str, bytes)))
        for side in sides
    )
