"""What the clients need of the worker that they run in: a contract, so that they know no ring and no call."""

from __future__ import annotations

from typing import Protocol


class Recorder(Protocol):
    """Called from the thread or event loop of the client, twice a request; MUST NOT block for long, MUST NOT raise."""

    def request_begins(self, start: int) -> tuple[object, int]:
        """The running call (None outside of one) and the instant in ns at which the request was due."""

    def request_ended(
        self, call: object, due: int, start: int, end: int, group: str, route: str, status: int, error: str, bytes_in: int,
        bytes_out: int,
    ) -> None:  # fmt: skip
        """Books it; times in ns of the monotonic clock. `status` 0: none came. Not booked when the call is over already."""

    def count(self, name: str, number: int) -> None:
        """Adds to a counter."""


class NoRecorder:
    """Records nothing: for a client outside a run."""

    def request_begins(self, start: int) -> tuple[object, int]:
        """No call."""
        return None, start

    def request_ended(
        self, call: object, due: int, start: int, end: int, group: str, route: str, status: int, error: str, bytes_in: int,
        bytes_out: int,
    ) -> None:  # fmt: skip
        """Nothing."""

    def count(self, name: str, number: int) -> None:
        """Nothing."""
