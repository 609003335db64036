"""Recipes for HTTP run as they are printed, against real servers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.books import check_books
from support.web import counted, web_server
from support.web2 import http2_server

from wasp_ray import Generator, Profile, RunResult, plain

pytestmark = pytest.mark.waits

RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"


def run(title: str, actor: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunResult:
    """The recipe under this heading, its actor as two users with 5 calls each at most."""
    section = RECIPES.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    (folder / "recipe_of_docs.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(__import__("sys").modules, "recipe_of_docs", raising=False)
    user = getattr(__import__("recipe_of_docs"), actor)
    generator = Generator("u", user=user, schedule=plain(2, "20s"), params={"url": url}, max_calls=10)
    result = Profile(generator).run()
    check_books(result)
    assert (result.verdict, result.ledger.ok) == ("passed", 10), result.reasons
    return result


def groups(result: RunResult) -> dict[str, Any]:
    """Counts, without the setup's."""
    found: dict[str, Any] = result.summary["generators"]["u"]["groups"]
    return {name: group["count"] for name, group in found.items() if name != "setup"}


def test_a_form_with_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes it apart; its bytes are counted."""
    with web_server() as base:
        result = run("A file sent as a form", "Sender", base, tmp_path, monkeypatch)
        assert counted(base)["/upload"] == 10
    assert groups(result) == {"POST /upload": 10}
    assert result.summary["generators"]["u"]["groups"]["POST /upload"]["bytes_out"] > 10 * 10_000


def test_http2_at_a_high_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported before the fork, used after it; the server refuses any other protocol."""
    with http2_server() as base:
        result = run("HTTP/2 at a high rate", "Reader", base, tmp_path, monkeypatch)
    assert groups(result) == {"GET /items/{}": 10}
