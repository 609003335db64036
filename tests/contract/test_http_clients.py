"""Answers that are wrong, or right but rare: each ends in a short name, and the next request gets its own answer."""

from __future__ import annotations

import pytest
from support.http_answers import BODIES, BODYLESS, ENDS, HEADS, PROVISIONAL
from support.http_cases import Case, check
from support.http_drivers import Driver
from support.wrong_server import WrongServer


@pytest.mark.parametrize("case", HEADS + PROVISIONAL + BODIES + BODYLESS + ENDS, ids=str)
def test_a_server_that(case: Case, driver: Driver, server: WrongServer) -> None:
    """Does what the case says: the request has that result, and the two after it get their own answers."""
    check(case, driver, server)
