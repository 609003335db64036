"""A summary as JUnit XML, which CI systems show as test cases. Pure.

One test suite: a case for each threshold and alert check, and the case `run` for everything else. It is valid by the schemas of
JUnit reports that Jenkins and Maven Surefire publish.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from wasp_ray.report.checks import Check, checks_of
from wasp_ray.report.redaction import Redactor
from wasp_ray.report.table import final_table

_TAGS = {"failed": "failure", "error": "error", "unjudged": "skipped"}
_UNWANTED = re.compile(r"[^\t\n\x20-\x7e\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 forbids (control characters, lone surrogates), other controls, and marks that reorder text."""


def junit_xml(
    summary: Mapping[str, Any], *, path: str | None = None, exit_code: int | None = None, secrets: Iterable[str] = ()
) -> str:
    """Return the XML text of a run with its summary. `path`: where the bundle is, `secrets`: values to mask besides those
    that look like secrets.
    """
    redactor = Redactor(secrets)
    shown = redactor.tree(summary)
    checks = [check.masked(redactor) for check in checks_of(summary)]
    states = Counter(check.state for check in checks)
    suite = ElementTree.Element(
        "testsuite", name=_text(shown["profile"]), tests=str(len(checks)), failures=str(states["failed"]),
        errors=str(states["error"]), skipped=str(states["unjudged"]), time=_time(shown),
    )  # fmt: skip
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(shown, None if path is None else redactor.text(path)).items():
        ElementTree.SubElement(properties, "property", name=_text(name), value=_text(value))
    names: Counter[tuple[str, str]] = Counter()
    for check in checks:
        names[check.kind, check.name] += 1
        case = _case(check, names[check.kind, check.name], shown)
        suite.append(case)
    table = redactor.text(final_table(shown, exit_code=exit_code, path=path))
    ElementTree.SubElement(case, "system-out").text = _text(table) + "\n"
    ElementTree.indent(suite)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suite, encoding="unicode")}\n'


def _properties(summary: Mapping[str, Any], path: str | None) -> dict[str, str]:
    found = {
        "run_id": summary["run_id"], "verdict": summary["verdict"], "started_at": summary["started_at"], "bundle": path,
        "seed": summary["seed"], "wasp_ray": summary["versions"]["wasp_ray"],
        **{f"label.{name}": value for name, value in summary["labels"].items()},
    }  # fmt: skip
    return {name: str(value) for name, value in found.items() if value is not None}


def _case(check: Check, number: int, summary: Mapping[str, Any]) -> ElementTree.Element:
    """`number`: of the checks with this name, so that each case has a name of its own."""
    case = ElementTree.Element(
        "testcase", classname=_text(f"{summary['profile']}.{check.kind}" if check.kind != "run" else summary["profile"]),
        name=_text(check.name) + (f" ({number})" if number > 1 else ""), time=_time(summary) if check.kind == "run" else "0.000",
    )  # fmt: skip
    if check.state != "passed":
        first = check.reasons[0] if check.reasons else f"the run is {summary['verdict']}"
        outcome = ElementTree.SubElement(case, _TAGS[check.state], message=_text(" ".join(first.split())))
        if check.state != "unjudged":  # Surefire's schema knows no type of a skipped case
            outcome.set("type", str(summary["verdict"]))
        outcome.text = _text("\n".join(check.reasons))
    return case


def _time(summary: Mapping[str, Any]) -> str:
    return f"{summary['duration_s']:.3f}"


def _text(value: object) -> str:
    """Return the text with what a document must not or should not hold written as `\\x1b`; quotes and markup are the writer's."""
    return _UNWANTED.sub(lambda found: _escaped(ord(found[0])), str(value))


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
