"""The books of batches on their way, by a server that answers as it is told: each line has one end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from wasp_ray.sinks.base import SinkBooks
from wasp_ray.sinks.loki_batch import Part, pack
from wasp_ray.sinks.loki_courier import Courier
from wasp_ray.sinks.loki_server import LokiServer
from wasp_ray.sinks.loki_spool import Spool
from wasp_ray.sinks.posting import NO_ANSWER, NOT_SENT

WHOLE = Part(1, 1, 4)
BODY = pack({(("kind", "a"),): [(n, json.dumps({"n": n})) for n in range(1, 5)]})


class Told(LokiServer):
    """Statuses by turn, then 204. `there`: what it says of a batch whose answer was lost."""

    def __init__(self, statuses: list[int], there: int | None) -> None:
        self.statuses, self.there, self.asked = statuses, there, 0

    def open(self) -> None:
        """Nothing."""

    async def push(self, body: bytes) -> tuple[int, str]:
        """The next one."""
        return self.statuses.pop(0) if self.statuses else 204, "told so"

    async def count(self, part: Part, body: bytes) -> int | None:
        """Always the same."""
        self.asked += 1
        return self.there

    async def close(self) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts."""
    monkeypatch.setattr("wasp_ray.sinks.loki_courier.FIRST_PAUSE_S", 0.0)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Empty."""
    made = Spool(tmp_path / "spool", "{}")
    yield made
    made.close()


def deliver(spool: Spool, statuses: list[int], there: int | None = None) -> tuple[SinkBooks, Told]:
    """One batch of four lines."""
    books, server = SinkBooks(accepted=WHOLE.lines), Told(statuses, there)

    async def run() -> None:
        courier = Courier(server, spool, books, in_flight=1)
        courier.start()
        courier.take(WHOLE, BODY)
        await courier.finish(10)

    asyncio.run(run())
    return books, server


@pytest.mark.parametrize(
    ("statuses", "there", "delivered", "double"),
    [
        ([204], None, 4, 0),
        ([413, 204, 204], None, 4, 0),
        ([413, 413, 204, 400, 204], None, 3, 0),
        ([413, 413, 204, 404, 204, 204], None, 4, 0),
        ([302, 404, 405, 421, 204], None, 4, 0),
        ([408, 204], 0, 4, 0),
        ([408, 204], None, 4, 4),
        ([NO_ANSWER], 4, 4, 0),
        ([NO_ANSWER, 204], 0, 4, 0),
        ([NO_ANSWER, 204], 3, 4, 3),
        ([NO_ANSWER, 204], None, 4, 4),
        ([NO_ANSWER, NOT_SENT, 429, 204], None, 4, 4),
        ([NOT_SENT, 429, 503, 204], 0, 4, 0),
    ],
    ids=str,
)
def test_each_line_has_one_end(
    statuses: list[int], there: int | None, delivered: int, double: int, spool: Spool
) -> None:
    """Also the halves of halves; what may be there twice stays so until it was asked for."""
    books, _ = deliver(spool, statuses, there)
    assert (books.delivered, books.maybe_double, books.open) == (delivered, double, 0)
    assert len(spool) == 0


def test_only_batches_that_may_be_there_are_asked_for(spool: Spool) -> None:
    """A refused connection, a redirect and most of 4xx stored nothing; of a 408, which a proxy may have sent, that is not known."""
    assert deliver(spool, [NOT_SENT, 429, 302, 404, 405, 421, 204])[1].asked == 0
    assert deliver(spool, [500, 204], 0)[1].asked == 1
    assert deliver(spool, [408, 204], 0)[1].asked == 1


class Always(Told):
    """The first status of its list, for ever."""

    async def push(self, body: bytes) -> tuple[int, str]:
        """It."""
        return self.statuses[0], "told so"


KEPT = {
    "redirected": [300, 301, 302, 303, 307, 308],
    "unauthorized": [401, 403],
    "client_error": [402, 404, 405, 406, 407, 408, 409, 410, 411, 412, 415, 421, 422, 425, 426, 428, 431, 451, 499],
    "rate_limited": [429],
    "server_error": [500, 501, 502, 503, 504, 507, 520],
    "unreachable": [NO_ANSWER, NOT_SENT],
}


@pytest.mark.parametrize(("status", "reason"), [(each, reason) for reason in KEPT for each in KEPT[reason]])
def test_a_batch_is_kept_whatever_the_server_says_but_400_and_413(status: int, reason: str, spool: Spool) -> None:
    """At the deadline it is in the spool, counted by that reason; a later delivery brings it."""
    books, server = SinkBooks(accepted=WHOLE.lines), Always([status], 0)

    async def run(*, is_later: bool) -> None:
        courier = Courier(server, spool, books, in_flight=1)
        courier.start()
        if is_later:
            server.statuses = [204]
        else:
            courier.take(WHOLE, BODY)
            while not books.errors:
                await asyncio.sleep(0.001)
        await courier.finish(10 if is_later else 0.01)
        books.give_up(courier.reason)

    asyncio.run(run(is_later=False))
    assert len(spool) == 1 and books.errors > 0
    assert (books.delivered, books.open, dict(books.not_delivered)) == (0, 0, {reason: WHOLE.lines})
    books.not_delivered.clear()
    asyncio.run(run(is_later=True))
    assert (books.delivered, books.open, books.maybe_double, len(spool)) == (WHOLE.lines, 0, 0, 0)


def test_a_file_that_cannot_be_removed_is_booked_once(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays as one that was sent: a later push asks for it."""

    def fails(path: Path, missing_ok: bool = False) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(Path, "unlink", fails)
    books, _ = deliver(spool, [204])
    assert (books.delivered, books.open, dict(books.not_delivered)) == (4, 0, {})
    assert list(spool) == [WHOLE] and spool.is_sent(WHOLE)
