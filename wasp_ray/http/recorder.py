"""What the clients need of the worker that they run in: a contract, so that they know no ring and no call."""

from __future__ import annotations

from typing import Any, Protocol


class Recorder(Protocol):
    """Called from the thread or event loop of the client, twice a request; MUST NOT block for long, MUST NOT raise."""

    def request_begins(self, start: int, group: str, route: str, source: Any = None) -> Any:
        """Opens a request: what is returned ends it. `source` has status, error, bytes_in and bytes_out, as far as they are known,
        for a request whose call ends before it.
        """

    def request_ended(
        self, opened: Any, end: int, status: int, error: str, bytes_in: int, bytes_out: int
    ) -> None:  # fmt: skip
        """Records it; times in ns of the monotonic clock. `status` 0: none came. Ignored when its call has ended before it."""

    def request_dropped(self, opened: Any) -> None:
        """It was never sent, through a fault of user code: it is not counted."""

    def phase(self, start: int, end: int, group: str, route: str) -> None:
        """Records a phase of a request, which belongs to no call."""

    def count(self, name: str, number: int) -> None:
        """Adds to a counter."""


class NoRecorder:
    """Records nothing: for a client outside a run."""

    def request_begins(self, start: int, group: str, route: str, source: Any = None) -> Any:
        """Nothing."""

    def request_ended(
        self, opened: Any, end: int, status: int, error: str, bytes_in: int, bytes_out: int
    ) -> None:  # fmt: skip
        """Nothing."""

    def request_dropped(self, opened: Any) -> None:
        """Nothing."""

    def phase(self, start: int, end: int, group: str, route: str) -> None:
        """Nothing."""

    def count(self, name: str, number: int) -> None:
        """Nothing."""
