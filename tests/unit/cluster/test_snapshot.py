"""Protocol lines: whatever a log does to them, each message is said once or not at all."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasp_ray.cluster.snapshot import MARK, MAX_LINE_BYTES, Decoder, Encoder, Told

DATA = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=20), st.none()), max_size=4)


def big(size: int) -> dict[str, Any]:
    """Data that does not fit into a line."""
    return {"text": "".join(f"{number:x}," for number in range(size))}


def told(decoder: Decoder, lines: list[str]) -> list[tuple[int, str, dict[str, Any]]]:
    """(seq, kind, data) of the messages."""
    found = [decoder.read(line) for line in lines]
    return [(t.seq, t.kind, t.data) for t in found if isinstance(t, Told)]


@given(st.lists(DATA, min_size=1, max_size=8))
def test_messages_arrive_as_they_were_said(messages: list[dict[str, Any]]) -> None:
    """Any text, in order, none lost."""
    encoder = Encoder("r", 3, "u")
    lines = [line for data in messages for line in encoder.lines("state", data)]
    assert all("\n" not in line and len(line.encode()) <= MAX_LINE_BYTES for line in lines)
    assert told(Decoder("r"), lines) == [(at + 1, "state", data) for at, data in enumerate(messages)]


def test_a_large_message_goes_in_parts_that_may_be_mixed_with_output() -> None:
    """Lines of users between the parts are output, not protocol."""
    encoder, decoder = Encoder("r", 1, "u"), Decoder("r")
    data = big(30_000)
    lines = encoder.lines("result", data)
    assert len(lines) > 3 and max(len(line) for line in lines) <= MAX_LINE_BYTES
    seen: list[Any] = []
    for line in lines:
        seen += [decoder.read(line), decoder.read("user output")]
    messages = [item for item in seen if isinstance(item, Told)]
    assert [m.data for m in messages] == [data]
    assert seen.count("user output") == len(lines)
    assert decoder.torn == 0


@given(st.data())
def test_a_log_that_repeats_itself_doubles_nothing(data: st.DataObject) -> None:
    """Following a log again begins a little before the last line that was seen."""
    encoder, decoder = Encoder("r", 1, "u"), Decoder("r")
    lines = [
        line for number in range(6) for line in encoder.lines("state", {"n": number} if number != 3 else big(9000))
    ]
    heard: list[tuple[int, str, dict[str, Any]]] = []
    at = 0
    while at < len(lines):
        upto = data.draw(st.integers(at + 1, len(lines)))
        back = data.draw(st.integers(0, at))
        heard += told(decoder, lines[back:upto])
        at = upto
    assert [seq for seq, _, _ in heard] == [1, 2, 3, 4, 5, 6]
    assert heard[3][2] == big(9000)


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_line_that_was_cut_is_torn_and_a_gap_is_counted(start: int, stop: int) -> None:
    """Never a message with half its content."""
    encoder, decoder = Encoder("r", 1, "u"), Decoder("r")
    (first,), (second,), (third,) = (encoder.lines("state", {"n": n, "x": "y" * 60}) for n in range(3))
    cut = second[:start] + second[start + stop :]
    heard = told(decoder, [first, cut, third])
    if cut == second:
        assert len(heard) == 3
    else:
        assert [seq for seq, _, _ in heard] == [1, 3]
        assert decoder.gaps("u") == 1


def test_another_run_and_another_pod_are_kept_apart() -> None:
    """A successor pod numbers from one again; another run's lines are not ours."""
    decoder = Decoder("r")
    lines = Encoder("r", 1, "a").lines("state", {}) + Encoder("r", 1, "b").lines("state", {})
    assert len(told(decoder, lines)) == 2
    assert told(decoder, Encoder("other", 1, "c").lines("state", {})) == []


def _line(obj: Any) -> str:
    import zlib

    text = json.dumps(obj)
    return f"{MARK}{zlib.crc32(text.encode()):08x} {text}"


HEAD = {"run": "r", "node": 1, "uid": "u", "seq": 1, "kind": "k"}


@pytest.mark.parametrize(
    "line",
    [
        MARK, MARK + "zz", MARK + "00000000 {}", _line([]), _line({}), _line({**HEAD, "data": 3}),
        _line({**HEAD, "seq": "1", "data": {}}), _line({**HEAD, "part": 0, "parts": 10**9, "piece": "x"}),
        _line({**HEAD, "part": 0, "parts": 1, "piece": "no base64"}), _line({**HEAD, "part": 5, "parts": 1, "piece": ""}),
        _line({**HEAD, "part": 0, "parts": 1, "piece": base64.b64encode(gzip.compress(b"[1]", mtime=0)).decode()}),
        MARK + "00000000 \udc80",
    ],
)  # fmt: skip
def test_lines_that_only_look_like_ours_are_torn(line: str) -> None:
    """No exception, no message."""
    decoder = Decoder("r")
    assert decoder.read(line) is None
    assert decoder.torn == 1
