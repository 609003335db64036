"""Requests that are open when their call is cut: each client's group has what the server saw, and thresholds see the hangs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import cut_loads as loads
from support.books import check_books
from support.web import counted, web_server

from wasp_ray import Generator, Profile, VirtualUser, plain, rows

pytestmark = pytest.mark.waits

GOOD, HUNG = "/items/1", "/slow"
CLIENTS = [loads.SyncHttp, loads.AsyncHttp, loads.Aiohttp, loads.Requests, loads.SyncGroup, loads.AsyncGroup]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """Of a web server that answers GOOD at once and HUNG never."""
    with web_server() as made:
        yield made


@pytest.mark.parametrize("user", CLIENTS)
def test_a_hung_request_is_in_its_group_and_breaks_its_thresholds(user: type[VirtualUser], base: str) -> None:
    """A server that hangs in every third request must not pass, whatever it is asked with; `failed` alone warns."""
    asked = [GOOD, GOOD, HUNG] * 2 + [GOOD]
    before = counted(base)
    generator = Generator(
        "u", user=user, schedule=plain(1, "2m"), call_timeout="2s", params={"base": base},
        feeders={"paths": rows([{"path": path} for path in asked])},
    )  # fmt: skip
    thresholds = ["errors of u/pay == 0", "failed of u/pay == 0", "max of u/pay < 1999ms", "count(missed) of u == 0"]
    result = Profile(generator, thresholds=thresholds).run()
    check_books(result)
    seen = {path: counted(base).get(path, 0) - before.get(path, 0) for path in (GOOD, HUNG)}
    assert seen == {GOOD: 5, HUNG: 2}
    pay = result.generators["u"].groups["pay"]
    assert pay.outcomes() == {"ok": 5, "failed": 0, "timeout": 2, "killed": 0, "interrupted": 0}
    assert pay.service.max == pytest.approx(2.0, abs=0.5) and pay.service.max <= 2.0
    assert [each["passed"] for each in result.summary["thresholds"]] == [False, True, False, True], result.reasons
    assert result.verdict == "failed"
    assert any("`failed` does not count 2 timed-out requests" in text for text in result.summary["warnings"])
    assert result.generators["u"].groups["u"].outcomes()["interrupted"] == 1  # the call that found no row


@pytest.mark.parametrize("user", CLIENTS)
def test_a_request_that_graceful_stop_cut_is_interrupted(user: type[VirtualUser], base: str) -> None:
    """It counts, and has no time."""
    generator = Generator(
        "u", user=user, schedule=plain(1, "1s"), call_timeout=None, graceful_stop="200ms", params={"base": base},
        feeders={"paths": rows([{"path": GOOD}, {"path": HUNG}])},
    )  # fmt: skip
    result = Profile(generator).run()
    check_books(result)
    pay = result.generators["u"].groups["pay"]
    assert (pay.outcomes()["ok"], pay.outcomes()["interrupted"], pay.count) == (1, 1, 2)
    assert pay.service.max is not None and pay.service.max < 1.0
