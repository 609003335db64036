"""Reads what actors and driver wrote down into lives, calls and requests. It judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One line of an actor; `detail` depends on `what`."""

    ns: int
    what: str
    load: int
    node: int
    user: int
    pid: int
    life: str
    call: int
    detail: tuple[Any, ...]


class Note(NamedTuple):
    """One line of the driver's own log."""

    ns: int
    what: str
    detail: tuple[Any, ...]


@dataclass
class Request:
    """A `with self.group()` block. `how`: "" while it is open."""

    name: str
    opening_ns: int
    open_ns: int | None = None
    close_ns: int | None = None
    how: str = ""


@dataclass
class Record:
    """One `self.record()`, or `number` of them in a row. `done_ns`: None while they are being made."""

    name: str
    fails: bool
    number: int
    ns: int
    done_ns: int | None = None


@dataclass
class Call:
    """One call of one actor. `how` is "" unless it ended by itself."""

    number: int
    begin_ns: int
    end_ns: int | None = None
    how: str = ""
    group: str = ""
    cancelled_ns: list[int] = field(default_factory=list)
    cleaned_ns: int | None = None
    requests: list[Request] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


@dataclass
class Life:
    """One actor object, from its setup to its end. `lines` are its own process'; `strays` those of forked copies."""

    id: str
    load: int
    node: int
    user: int
    pid: int
    lines: list[Line] = field(default_factory=list)
    strays: list[Line] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outside: Call = field(default_factory=lambda: Call(-1, 0))
    """requests made in setup and teardown"""

    def at(self, what: str) -> int | None:
        """Return the instant of the first such line."""
        return next((line.ns for line in self.lines if line.what == what), None)

    def detail(self, what: str) -> tuple[Any, ...]:
        """Return the detail of the first such line."""
        return next((line.detail for line in self.lines if line.what == what), ())

    @property
    def began_ns(self) -> int:
        """When its setup began."""
        return self.lines[0].ns


def parse(lines: Iterable[Line]) -> list[Life]:
    """Return the lives in the order of their setups."""
    lives: dict[str, Life] = {}
    for line in lines:
        pid = int(line.life.split(".")[0])
        life = lives.setdefault(line.life, Life(line.life, line.load, line.node, line.user, pid))
        if line.pid != pid:
            life.strays.append(line)
            continue
        life.lines.append(line)
        _take(life, line)
    return [life for life in lives.values() if life.lines]


def _take(life: Life, line: Line) -> None:
    if line.what == "begin":
        life.calls.append(Call(line.call, line.ns))
        return
    call = life.outside if line.call < 0 else life.calls[line.call]
    match line.what, line.detail:
        case "end", (how, group):
            call.end_ns, call.how, call.group = line.ns, how, group
        case "cancelled", _:
            call.cancelled_ns.append(line.ns)
        case "cleaned", _:
            call.cleaned_ns = line.ns
        case "opening", (_, name):
            call.requests.append(Request(name, line.ns))
        case "open", _:
            call.requests[-1].open_ns = line.ns
        case "close", (_, how):
            request = next(r for r in reversed(call.requests) if r.close_ns is None)
            request.close_ns, request.how = line.ns, how
        case "record", (name, fails):
            call.records.append(Record(name, fails, 1, line.ns, line.ns))
        case "many", (name, number):
            call.records.append(Record(name, False, number, line.ns))
        case "done", _:
            call.records[-1].done_ns = line.ns
        case "row", (number,):
            call.rows.append(number)
        case _:
            pass


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a witness file; a file that is not there has none."""
    return [line_of(raw) for raw in path.read_bytes().splitlines()] if path.exists() else []


def line_of(raw: bytes) -> Line:
    """Parse one line."""
    ns, what, load, node, user, pid, life, call, *detail = json.loads(raw)
    return Line(ns, what, load, node, user, pid, life, call, tuple(detail))


def write_lines(path: Path, lines: Iterable[Line]) -> None:
    """Write lines as actors do: for tests of the checker and for kept failures."""
    path.write_bytes(b"".join(json.dumps([*line[:8], *line.detail]).encode() + b"\n" for line in lines))
