"""What the documentation promises: links lead somewhere, code is Python, the first load file of the README runs elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    """Relative ones."""
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_compiles(page: Path) -> None:
    """Blocks marked as Python, but for the page of signatures, which is a list."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        if page.name != "signatures.md":
            compile(block, str(page), "exec")


def test_every_option_of_a_generator_is_on_the_page_of_signatures() -> None:
    """With its default."""
    import inspect

    from wasp_ray import Generator

    text = (ROOT / "docs" / "signatures.md").read_text()
    for name, parameter in inspect.signature(Generator.__init__).parameters.items():
        if name in ("self", "name", "schedule"):
            continue
        default = repr(parameter.default).replace("'", '"')
        assert f"{name}={default}" in text, f"{name}={default}"
