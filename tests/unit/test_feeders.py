"""Rows: read once, whose they are, in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasp_ray.errors import BadInput
from wasp_ray.load.feeders import RowOrder, RowTable, csv, jsonl, load_rows, pack_rows, rows


@given(st.integers(0, 60), st.integers(1, 7))
def test_each_row_is_drawn_once_over_all_nodes(count: int, nodes: int) -> None:
    """The shares partition the rows exactly."""
    drawn = []
    for node in range(nodes):
        order, draw = RowOrder("once", count, 1, node, nodes), 0
        while (index := order.index(draw)) is not None:
            drawn.append(index)
            draw += 1
    assert sorted(drawn) == list(range(count))


@given(st.integers(1, 20), st.integers(1, 30), st.sampled_from(["cycle", "random"]))
def test_cyclic_and_random_rows_never_end(count: int, nodes: int, order: str) -> None:
    """Not even on a node without rows of its own; equal seeds draw equal rows."""
    for node in range(nodes):
        first = [RowOrder(order, count, 5, node, nodes).index(draw) for draw in range(25)]
        assert all(index is not None and 0 <= index < count for index in first)
        assert first == [RowOrder(order, count, 5, node, nodes).index(draw) for draw in range(25)]


@pytest.mark.parametrize(
    ("node", "nodes", "expected"),
    [(0, 1, [0, 1, 2, 3, 4, 0, 1, 2]), (0, 2, [0, 2, 4, 0, 2, 4, 0, 2]), (1, 2, [1, 3, 1, 3, 1, 3, 1, 3])],
)
def test_cyclic_rows_come_in_order_and_begin_anew(node: int, nodes: int, expected: list[int]) -> None:
    """Each node has every so many of them."""
    order = RowOrder("cycle", 5, 1, node, nodes)
    assert [order.index(draw) for draw in range(8)] == expected


def test_nodes_draw_their_random_rows_independently() -> None:
    """With equal draws on all nodes their rows would be neighbours: r, r + 1 and r + 2."""
    nodes = [[RowOrder("random", 3000, 5, node, 3).index(draw) for draw in range(50)] for node in range(3)]
    assert len({tuple(index // 3 for index in drawn if index is not None) for drawn in nodes}) == 3


def test_files_are_read_from_the_load_files_folder(tmp_path: Path) -> None:
    """CSV with a header and a byte order mark, JSON lines with empty ones between."""
    (tmp_path / "people.csv").write_text("\ufeffname,age\nada,36\ngrace,85\n", encoding="utf-8")
    (tmp_path / "people.jsonl").write_text('{"name": "ada"}\n\n{"name": "grace"}\n')
    assert list(load_rows(csv("people.csv"), str(tmp_path), "p")) == [
        {"name": "ada", "age": "36"},
        {"name": "grace", "age": "85"},
    ]
    table = RowTable(memoryview(b"".join(pack_rows(load_rows(jsonl("people.jsonl"), str(tmp_path), "p"), "p"))))
    assert len(table) == 2 and table.row(1) == {"name": "grace"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "name\na,b\n", "has 2 values, the header has 1"),
        ("a.jsonl", "[1]\n", "expected an object"),
        ("a.jsonl", "{\n", "not a valid jsonl file"),
        ("a.csv", "name\n", "has no rows"),
    ],
)
def test_files_that_are_no_good_are_told(tmp_path: Path, name: str, text: str, told: str) -> None:
    """With the feeder's name."""
    (tmp_path / name).write_text(text)
    feeder = csv(name) if name.endswith("csv") else jsonl(name)
    with pytest.raises(BadInput, match=told):
        pack_rows(load_rows(feeder, str(tmp_path), "p"), "p")
    with pytest.raises(BadInput, match="cannot be read"):
        list(load_rows(csv("none.csv"), str(tmp_path), "p"))


def test_an_iterator_is_read_once_and_kept() -> None:
    """A generator could not travel to another process."""
    feeder = rows({"n": i} for i in range(3))
    assert [row["n"] for row in load_rows(feeder, "", "p")] == [0, 1, 2] == [row["n"] for row in feeder.source]
