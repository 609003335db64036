"""A summary as GitHub-flavoured Markdown, for the step summary of a CI job or a comment. Pure.

Every text of users and targets is escaped: it can neither break a table, nor become HTML, a link, or a mention of somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wasp_ray.report import numbers
from wasp_ray.report.checks import Check, checks_of
from wasp_ray.report.redaction import Redactor
from wasp_ray.report.table import ended_with, error_name, threshold_limit, threshold_value
from wasp_ray.report.text import clean
from wasp_ray.stats.outcomes import OUTCOMES

Data = Mapping[str, Any]

MOST_ROWS = 40
"""Rows of a table and items of a list; the rest is in summary.json."""
MOST_ERRORS = 20
MOST_CHARS = 300
"""Of one text of users or targets."""

_MARKS = {"passed": "✅", "failed": "❌", "invalid": "⚠️", "error": "❌", "interrupted": "⏹️", "unjudged": "⏹️"}
_LEFT_OUT = "_The rest does not fit here; see summary.json._\n"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@&#8203;"}
"""A zero-width space behind the @ keeps it from being a mention: a backslash does not."""
_SPECIAL = re.compile(r"[\\`*_\[\]|~$!{}#&<>@]|(?<=:)/(?=/)|(?<=\bwww)\.|\A(?:[-+=]|\d+(?=[.)]))", re.IGNORECASE)


def markdown(
    summary: Data, *, path: str | None = None, exit_code: int | None = None, secrets: Iterable[str] = (),
    most_bytes: int,
) -> str:  # fmt: skip
    """Return the Markdown of a run with its summary, in at most `most_bytes` of UTF-8: the last sections give way.

    `path`: where the bundle is, `secrets`: values to mask besides those that look like secrets.
    """
    redactor = Redactor(secrets)
    shown = redactor.tree(summary)
    checks = [check.masked(redactor) for check in checks_of(summary)]
    sections = [
        _verdict(shown, exit_code, None if path is None else redactor.text(path)),
        _thresholds(
            summary, checks
        ),  # figures and operators alone are taken from it: an expression must be whole to be read
        _alerts(checks),
        _ledger(shown["ledger"]),
        _generators(shown["generators"]),
        _groups(shown["generators"]),
        _errors(shown["generators"]),
        _list("Warnings", shown["warnings"]),
    ]
    return _fitted([section for section in sections if section], most_bytes)


def escaped(text: object) -> str:
    """Return one line of inert Markdown that shows a text; a long one is cut."""
    return _SPECIAL.sub(_escape, clean(" ".join(str(text).split()), MOST_CHARS))


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char == "#" and found.string[found.end() : found.end() + 1].isdigit():
        return "#&#8203;"  # no reference to an issue
    if char.isdigit():
        return f"{char}\\"  # no numbered list: what follows is the dot
    return _ENTITIES.get(char, f"\\{char}")


def _fitted(sections: Sequence[str], most_bytes: int) -> str:
    text, room = "", most_bytes - len(_LEFT_OUT.encode())
    for section in sections:
        if len(text.encode()) + len(section.encode()) + 1 > room:
            return text + _LEFT_OUT if room >= 0 else ""
        text += section + "\n"
    return text


def _verdict(summary: Data, exit_code: int | None, path: str | None) -> str:
    verdict = str(summary["verdict"])
    about = [
        numbers.length(summary["duration_s"]),
        f"exit {ended_with(summary, exit_code)}",
        f"run {escaped(summary['run_id'])}",
    ]
    nodes = len(summary["nodes"])
    about += [f"{nodes:,} nodes"] if nodes > 1 else []
    about += [f"{escaped(name)}: {escaped(value)}" for name, value in list(summary["labels"].items())[:MOST_ROWS]]
    about += [f"results in {escaped(path)}"] if path is not None else []
    title = f"## {_MARKS.get(verdict, '')} {verdict.upper()}: {escaped(summary['profile'])}\n"
    return "\n".join([title, *_items(summary["reasons"]), *([""] if summary["reasons"] else []), " · ".join(about), ""])


def _thresholds(summary: Data, checks: Sequence[Check]) -> str:
    rows = [
        [_state(check), escaped(check.name), escaped(threshold_value(entry)), escaped(threshold_limit(entry))]
        for entry, check in zip(summary["thresholds"], checks, strict=False)  # checks of other kinds come behind them
    ]
    return _table("Thresholds", ("", "Threshold", "Value", "Limit"), rows, "thresholds")


def _alerts(checks: Sequence[Check]) -> str:
    rows = [
        [_state(check), escaped(check.name), " · ".join(map(escaped, check.reasons[:5]))]
        for check in checks
        if check.kind == "alerts"
    ]
    return _table("Alerts", ("", "Alert check", "Found"), rows, "alert checks")


def _state(check: Check) -> str:
    return f"{_MARKS[check.state]} {check.state}"


def _ledger(ledger: Data) -> str:
    names = ("scheduled", "dropped", "started", *OUTCOMES, "lost")
    return _table("Ledger", names, [[numbers.count(ledger[name]) for name in names]], "")


def _generators(generators: Mapping[str, Data]) -> str:
    head = ("Generator", "Kind", "Planned", "Delivered", "Calls", "Errors", "p50", "p95", "p99", "p99 from due")
    return _table("Generators", head, [_generator(name, data) for name, data in generators.items()], "generators")


def _generator(name: str, data: Data) -> list[str]:
    ledger, users = data["ledger"], data["users"]
    if data["kind"] == "rate":
        planned, delivered = numbers.rate(data["planned_rate"]), numbers.rate(data["delivered_rate"])
    else:
        planned, delivered = f"{users['planned_max']:,} users", f"{users['active_max']:,} users"
    wrong = ledger["started"] - ledger["ok"]
    errors = f"{wrong:,} ({numbers.share(wrong, ledger['started'])})" if wrong else "0"
    times = _times(data["call"]["service_s"], "p50", "p95", "p99") + _times(data["call"]["response_s"], "p99")
    return [escaped(name), data["kind"], planned, delivered, numbers.count(ledger["started"]), errors, *times]


def _groups(generators: Mapping[str, Data]) -> str:
    head = ("Group", "Requests", "Failed", "p50", "p95", "p99", "max", "p99 from due")
    rows = [
        [
            escaped(name if name == generator else f"{generator}/{name}"), numbers.count(group["count"]),
            numbers.share(group["count"] - group["ok"] - group["interrupted"], group["count"]),
            *_times(group["service_s"], "p50", "p95", "p99", "max"), *_times(group["response_s"], "p99"),
        ]
        for generator, data in generators.items()
        for name, group in data["groups"].items()
    ]  # fmt: skip
    return _table("Groups", head, rows, "groups")


def _times(data: Data | None, *names: str) -> list[str]:
    return [numbers.latency((data or {}).get(name)) for name in names]


def _errors(generators: Mapping[str, Data]) -> str:
    errors = [(name, entry) for name, data in generators.items() for entry in data["errors"]]
    errors.sort(key=lambda pair: -pair[1]["count"])
    rows = [
        [
            numbers.count(entry["count"]),
            escaped(generator if entry["group"] in ("", generator) else f"{generator}/{entry['group']}"),
            escaped(error_name(entry)), numbers.moment(entry["first_at_s"]),
        ]
        for generator, entry in errors
    ]  # fmt: skip
    return _table("Errors", ("Count", "Where", "Error", "First at"), rows, "errors", MOST_ERRORS)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], what: str, most: int = MOST_ROWS) -> str:
    """Return a section with a table, "" without rows."""
    if not rows:
        return ""
    lines = [f"### {title}", "", _row(head), _row(["---"] * len(head)), *map(_row, rows[:most])]
    return "\n".join([*lines, *_more(len(rows) - most, what), ""])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list(title: str, texts: Sequence[str]) -> str:
    return "\n".join([f"### {title}", "", *_items(texts), ""]) if texts else ""


def _items(texts: Sequence[str]) -> list[str]:
    return [f"- {escaped(text)}" for text in texts[:MOST_ROWS]] + _more(len(texts) - MOST_ROWS, "entries")


def _more(number: int, what: str) -> list[str]:
    return ["", f"… and {number:,} more {what}"] if number > 0 else []
