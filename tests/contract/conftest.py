"""The runtimes, the HTTP clients in their three settings, and a server that misbehaves on request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.http_drivers import DRIVERS, Driver, driving
from support.runtimes import Runtime
from support.wrong_server import WrongServer


@pytest.fixture(params=["process", "inline"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """Those that guns have."""
    with Runtime(request.param) as made:
        yield made


@pytest.fixture(params=["process", "inline", "placed"])
def home(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """Those that users have."""
    with Runtime(request.param) as made:
        yield made


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """The async client on asyncio and on uvloop, and the sync one; no loop may have had anything to complain of."""
    with driving(request.param) as made:
        yield made
    assert not made.complaints, made.complaints


@pytest.fixture
def server() -> Iterator[WrongServer]:
    """Ends after the clients: those must not need it to."""
    with WrongServer() as made:
        yield made
