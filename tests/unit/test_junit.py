"""The JUnit XML of a run: valid by the published schema, one case for each requirement, and nothing that must not travel."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema
from support.summaries import HOSTILE, alert_entry, error_entry, summary_of

from wasp_ray.execution import Findings
from wasp_ray.report.junit import junit_xml

SCHEMA = xmlschema.XMLSchema(Path(__file__).parents[1] / "data" / "junit-10.xsd")
ALERT = "alerts of grafana (team=shop)"
BROKEN = "p99 of search < 10ms"


def suite_of(summary: dict[str, Any], **more: Any) -> ElementTree.Element:
    """Return the document's root, checked against the schema and against its own totals."""
    text = junit_xml(summary, **more)
    SCHEMA.validate(text)
    suite = ElementTree.fromstring(text)
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == len(cases)
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[attribute]) == len(suite.findall(f"testcase/{tag}"))
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)
    return suite


def outcomes(suite: ElementTree.Element) -> dict[str, str]:
    """Return the outcome of each case by its name: passed, failure, error or skipped."""
    return {
        str(case.get("name")): next((tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None), "passed")
        for case in suite.findall("testcase")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"run": "passed"}),
        ({"thresholds": ["failed < 1%", BROKEN]}, {"failed < 1%": "passed", BROKEN: "failure", "run": "passed"}),
        ({"failed": 100}, {"run": "failure"}),
        ({"failed": 100, "thresholds": ["failed < 1%"]}, {"failed < 1%": "failure", "run": "failure"}),
        ({"thresholds": [BROKEN], "found": Findings(invalid=["rings were full"])}, {BROKEN: "failure", "run": "error"}),
        ({"found": Findings(errors=["node 2 was lost"])}, {"run": "error"}),
        ({"found": Findings(interrupted="SIGINT")}, {"run": "passed"}),
        ({"thresholds": [BROKEN], "found": Findings(interrupted="SIGINT")}, {BROKEN: "failure", "run": "passed"}),
        ({"thresholds": ["failed == 0", "failed == 0"]}, {"failed == 0": "passed", "failed == 0 (2)": "passed", "run": "passed"}),
    ],
    ids=["passed", "a threshold is broken", "no call succeeded", "both", "invalid", "error", "interrupted",
         "interrupted, with a broken threshold", "one threshold twice"],
)  # fmt: skip
def test_every_requirement_is_a_case(options: dict[str, Any], expected: dict[str, str]) -> None:
    """And `run` stands for the reasons that belong to no other case."""
    assert outcomes(suite_of(summary_of(**options))) == expected


@pytest.mark.parametrize(
    ("state", "found", "alert", "run"),
    [
        ("ok", Findings(), "passed", "passed"),
        ("fired", Findings(failed=[f"{ALERT}: slow fired at 3.0 s"]), "failure", "passed"),
        ("unknown", Findings(invalid=[f"{ALERT}: no answer"]), "error", "error"),
        ("unknown", Findings(interrupted="SIGINT"), "skipped", "passed"),
        ("ok", Findings(failed=[f"{ALERT}: slow fired at 3.0 s"]), "passed", "failure"),
    ],
    ids=["none fired", "one fired", "unknown", "not waited for", "it fired before this controller took over"],
)
def test_an_alert_check_is_a_case(state: str, found: Findings, alert: str, run: str) -> None:
    """Whatever its outcome, with the reasons that the verdict gives for it."""
    summary = summary_of(found=found) | {"alerts": [alert_entry(ALERT, state, ["no answer"])]}
    suite = suite_of(summary)
    assert outcomes(suite) == {ALERT: alert, "run": run}
    if alert == "failure":
        (failure,) = suite.findall("testcase/failure")
        assert "slow fired at 3.0 s" in str(failure.attrib["message"])


def test_a_threshold_without_a_call_of_an_interrupted_run_is_not_judged() -> None:
    """A signal before any call had ended is no failure of the target."""
    summary = summary_of(found=Findings(interrupted="SIGINT"))
    summary["thresholds"] = [{"expression": BROKEN, "value": None, "limit": 0.01, "passed": False}]
    assert outcomes(suite_of(summary)) == {BROKEN: "skipped", "run": "passed"}


def test_texts_of_others_survive_as_text() -> None:
    """Markup, quotes and emoji are kept; what XML forbids and what would steer a terminal is shown as an escape."""
    summary = summary_of(
        HOSTILE, profile=HOSTILE, labels={"why": HOSTILE}, found=Findings(errors=[HOSTILE, "\ud800\ufffe\u202e"])
    )
    summary["generators"][HOSTILE]["errors"] = [error_entry(HOSTILE)]
    suite = suite_of(summary)
    assert "<script>alert('x')</script>" in suite.attrib["name"] and "🐝" in suite.attrib["name"]
    (error,) = suite.findall("testcase/error")
    body = error.text or ""
    assert "\\x1b[2J\\x00 é 🐝\nnext" in body and body.endswith("\\ud800\\ufffe\\u202e")


def test_the_bundle_and_the_table_are_in_it() -> None:
    """For those who see the report alone."""
    suite = suite_of(summary_of(thresholds=[BROKEN]), path="results/7", exit_code=1)
    properties = {each.get("name"): each.get("value") for each in suite.findall("properties/property")}
    assert properties["bundle"] == "results/7" and properties["verdict"] == "failed"
    table = suite.findtext("testcase/system-out") or ""
    assert "LEDGER  scheduled 100" in table and table.rstrip().endswith("exit 1 · results/7")


def test_secrets_do_not_travel() -> None:
    """Neither known ones nor what looks like one, wherever it stands."""
    summary = summary_of(
        "by hunter22", labels={"api_key": "k-11", "team": "shop"}, thresholds=["failed of by hunter22 == 1"]
    )
    summary["generators"]["by hunter22"]["errors"] = [error_entry("GET http://me:pw99@shop.example?token=t0k: 500")]
    text = junit_xml(summary, path="runs/hunter22", secrets=["hunter22"])
    SCHEMA.validate(text)
    assert not [secret for secret in ("hunter22", "k-11", "pw99", "t0k") if secret in text]
    assert 'value="shop"' in text and "shop.example" in text
