"""The Markdown of a run: what it holds, that no text of others is anything but text in it, and that it fits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from markdown_it import MarkdownIt
from support.summaries import HOSTILE, alert_entry, error_entry, group_entry, summary_of

from wasp_ray.execution import Findings
from wasp_ray.report.markdown import MOST_ERRORS, MOST_ROWS, escaped, markdown

RENDERER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
BROKEN = "p99 of search < 10ms"


def text_of(summary: dict[str, Any], **more: Any) -> str:
    """Return the Markdown of a summary."""
    return markdown(summary, **{"most_bytes": 1 << 20, **more})


def cells(html: str) -> list[list[str]]:
    """Return the texts of all cells, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def test_what_it_holds() -> None:
    """The verdict with its reasons, then thresholds, ledger, Generators, groups, errors, warnings, and where the bundle is."""
    summary = summary_of(thresholds=["failed < 5%", BROKEN], failed=2, labels={"branch": "main"})
    search = summary["generators"]["search"]
    search["groups"], search["errors"] = {"search": group_entry(100, 2)}, [error_entry("HTTP 500", "search", 2)]
    summary["warnings"] = ["the clock is off"]
    text = text_of(summary, path="wasp-runs/latest", exit_code=1)
    assert text.startswith("## ❌ FAILED: shop\n\n- p99 of search &lt; 10ms: found 98.8 ms\n")
    assert "10s · exit 1 · run " in text and "branch: main · results in wasp-runs/latest" in text
    assert re.findall(r"^### (.*)$", text, re.MULTILINE) == [
        "Thresholds", "Ledger", "Generators", "Groups", "Errors", "Warnings",
    ]  # fmt: skip
    rows = cells(RENDERER.render(text))
    assert ["✅ passed", "failed &lt; 5%", "2.00%", "&lt; 5.00%"] in rows
    assert ["❌ failed", "p99 of search &lt; 10ms", "99 ms", "&lt; 10 ms"] in rows
    assert ["100", "0", "100", "98", "2", "0", "0", "0", "0"] in rows
    assert ["search", "rate", "10/s", "10/s", "100", "2 (2.00%)", "50 ms", "95 ms", "99 ms", "198 ms"] in rows
    assert ["search", "100", "2.00%", "-", "-", "-", "-", "-"] in rows
    assert ["2", "search", "HTTP 500", "00:01"] in rows and "- the clock is off" in text


def test_users_are_planned_and_delivered_as_users() -> None:
    """Not as a rate."""
    summary = summary_of()
    summary["generators"]["search"] |= {"kind": "users", "users": {"planned_max": 50, "active_max": 49}}
    assert ["search", "users", "50 users", "49 users"] in [row[:4] for row in cells(RENDERER.render(text_of(summary)))]


def test_alerts_have_a_table() -> None:
    """With what was found."""
    found = Findings(failed=["alerts of grafana (a=b): slow fired at 3.0 s"])
    summary = summary_of(found=found) | {"alerts": [alert_entry("alerts of grafana (a=b)", "fired")]}
    assert ["❌ failed", "alerts of grafana (a=b)", "alerts of grafana (a=b): slow fired at 3.0 s"] in cells(
        RENDERER.render(text_of(summary))
    )


@pytest.mark.parametrize(
    ("verdict", "found"),
    [
        ("✅ PASSED", Findings()),
        ("⚠️ INVALID", Findings(invalid=["rings were full"])),
        ("❌ ERROR", Findings(errors=["node 2 was lost"])),
        ("⏹️ INTERRUPTED", Findings(interrupted="SIGTERM")),
    ],
)
def test_every_verdict_has_its_title(verdict: str, found: Findings) -> None:
    """The first line says how the run ended."""
    assert text_of(summary_of(found=found)).startswith(f"## {verdict}: shop\n")


def test_texts_of_others_are_only_text() -> None:
    """In no place do they break a table, become HTML, a link or emphasis, mention a team, or refer to an issue."""
    summary = summary_of(
        HOSTILE, profile=HOSTILE, labels={HOSTILE: HOSTILE}, thresholds=[BROKEN], found=Findings(errors=[HOSTILE])
    )
    summary["thresholds"][0]["expression"] = HOSTILE
    search = summary["generators"][HOSTILE]
    search["groups"], search["errors"] = {HOSTILE: group_entry(3)}, [error_entry(HOSTILE, HOSTILE)]
    summary["alerts"], summary["warnings"] = [alert_entry(HOSTILE, "fired")], [HOSTILE]
    text = text_of(summary, path=HOSTILE)
    html = RENDERER.render(text)
    tags = set(re.findall(r"<(\w+)", html))
    assert tags <= {"h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "br"}, tags
    assert not re.search(r"@\w|#\d|://", text.replace("&#8203;", "-")) and "\x1b" not in text and "\x00" not in text
    for row in cells(html):
        assert len(row) in (3, 4, 8, 9, 10), row
    shown = "a|b `c` &lt;script&gt;alert('x')&lt;/script&gt; &amp; &quot;q&quot; *bold* _i_ [l](http://evil.example) @\u200bteam"
    assert html.count(f"{shown} #\u200b12 ~~s~~ \\x1b[2J\\x00 é 🐝 next") >= 10


@pytest.mark.parametrize(
    "text", ["- a", "+ a", "1. a", "12) a", "# a", "> a", "=== a", "    a", "```a", "www.a.example", "~~~"]
)
def test_a_text_begins_no_block_and_no_link(text: str) -> None:
    """At the start of an item either."""
    html = RENDERER.render(f"- {escaped(text)}")
    assert re.fullmatch(r"<ul>\n<li>[^<]*</li>\n</ul>\n", html), html


def test_secrets_do_not_travel() -> None:
    """Neither known ones nor what looks like one."""
    summary = summary_of(
        "by hunter22", labels={"api_key": "k-11"}, thresholds=["failed of by hunter22 == 1"],
        found=Findings(errors=["cannot reach http://me:pw99@shop.example"]),
    )  # fmt: skip
    summary["generators"]["by hunter22"]["errors"] = [error_entry("hunter22 was refused")]
    text = text_of(summary, path="runs/hunter22", secrets=["hunter22"])
    assert not [secret for secret in ("hunter22", "k-11", "pw99") if secret in text]
    assert "was refused" in text and "shop.example" in text


def test_long_lists_are_cut() -> None:
    """The number of what was left out is there."""
    summary = summary_of()
    search = summary["generators"]["search"]
    search["groups"] = {f"g{number}": group_entry(1) for number in range(MOST_ROWS + 7)}
    search["errors"] = [error_entry(f"e{number}") for number in range(MOST_ERRORS + 5)]
    summary["warnings"] = ["w" * 5000] * (MOST_ROWS + 2)
    text = text_of(summary)
    assert "… and 7 more groups" in text and "… and 5 more errors" in text and "… and 2 more entries" in text
    assert len(text) < 100_000


def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    """The verdict stays as long as there is room for anything."""
    whole = text_of(summary_of(thresholds=[BROKEN]))
    cut = text_of(summary_of(thresholds=[BROKEN]), most_bytes=len(whole.encode()) - 1)
    assert cut.startswith("## ❌ FAILED: shop") and "### Generators" not in cut
    assert cut.endswith("_The rest does not fit here; see summary.json._\n")
    for most in range(0, len(whole.encode()), 50):
        assert len(text_of(summary_of(thresholds=[BROKEN]), most_bytes=most).encode()) <= most
