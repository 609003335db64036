"""Messages between the processes of a node: none is lost, whatever comes in one read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wasp_ray.wire.channel import Channel, channel_pair


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """Both ends."""
    mine, theirs = channel_pair()
    other = Channel(theirs)
    yield mine, other
    mine.close()
    other.close()


def test_what_comes_with_the_first_message_is_kept(ends: tuple[Channel, Channel]) -> None:
    """In order, and before what comes later; also when the other end is gone by then."""
    mine, other = ends
    for number in range(3):
        mine.send({"n": number})
    assert other.first() == {"n": 0}
    mine.send({"n": 3})
    mine.close()
    assert [message["n"] for message in other.receive()] == [1, 2, 3]
    assert other.receive() == [] and other.closed


def test_there_is_no_first_message_of_an_end_that_is_gone(ends: tuple[Channel, Channel]) -> None:
    """It does not wait for one."""
    mine, other = ends
    mine.close()
    assert other.first() is None and other.closed
