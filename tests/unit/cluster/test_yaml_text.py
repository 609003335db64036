"""YAML as it is written for others and read from them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasp_ray.cluster.manifests import to_yaml
from wasp_ray.cluster.yaml_text import from_yaml

TOKEN = "glc_very-secret"
LEAVES = st.text() | st.integers() | st.booleans() | st.none()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_yaml_is_read_back_as_it_was(tree: Any) -> None:
    """Any texts, also as keys."""
    assert from_yaml(to_yaml([{"tree": tree}])) == [{"tree": tree}]


LOOK_ALIKES = [
    "1e3", "1_000", "0x1f", "017", "2024-01-01", "1:30", "yes", "n", "null", "~", "=", "<<", ".inf", "- a", "a: b", "#", "",
]  # fmt: skip


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_texts_that_look_like_something_else_are_quoted(text: str) -> None:
    """For readers of YAML 1.1 and 1.2 alike."""
    assert to_yaml([{"a": text}]) == f'---\na: "{text}"\n'


PLAIN = [
    ("a: 2024-01-01", "2024-01-01"), ("a: 1:30", "1:30"), ("a: =", "="), ("a: 1_000", "1_000"), ("a: 12", 12), ("a: 1.5", 1.5),
    ("a: 1e3", 1000.0), ("a: 0644", 420), ("a: true", True), ("a: ~", None), ("a: v1.29", "v1.29"), ("a: -3", -3),
]  # fmt: skip


@pytest.mark.parametrize(("text", "found"), PLAIN)
def test_plain_scalars_are_read_as_kubernetes_reads_them(text: str, found: object) -> None:
    """Templates of others write them."""
    assert from_yaml(text) == [{"a": found}]


def test_what_is_no_yaml_is_told_without_quoting_it() -> None:
    """It may hold a secret."""
    with pytest.raises(ValueError, match="line") as caught:
        from_yaml(f"a: b: {TOKEN}")
    assert TOKEN not in str(caught.value)
