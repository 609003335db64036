"""What an exception of user code is called in results."""

from __future__ import annotations

from enum import Enum

import pytest

from wasp_ray import RestartUser
from wasp_ray.worker.call_state import describe


class StatusCode(Enum):
    """As grpc has it."""

    DEADLINE_EXCEEDED = 4


class RpcError(Exception):
    """As grpc raises it: its text begins with a line that names a class."""

    def __init__(self, details: str = "") -> None:
        super().__init__("<_InactiveRpcError of RPC that terminated with:\n\tstatus = ...")
        self._details = details

    def code(self) -> StatusCode:
        return StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        return self._details


class Exits(Exception):
    """Its code is a number, and its text fails."""

    code = 3

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("exc", "text"),
    [
        (ValueError("no login"), "ValueError: no login"),
        (ValueError(), "ValueError"),
        (RestartUser("session expired"), "session expired"),
        (RpcError("Deadline Exceeded"), "DEADLINE_EXCEEDED: Deadline Exceeded"),
        (RpcError(), "DEADLINE_EXCEEDED"),
        (SystemExit(3), "SystemExit: 3"),
        (Exits(), "Exits: (its message cannot be printed)"),
    ],
)
def test_an_exception_is_named_by_what_says_most(exc: BaseException, text: str) -> None:
    """By its class and text; by its status code where it has one."""
    assert describe(exc) == text
