"""Windows of one second of one Generator. A call belongs to the window of its end; one that comes too late, to the next
open one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wasp_ray.stats.bank import HistogramBank
from wasp_ray.stats.histogram import bucket_of
from wasp_ray.stats.outcomes import OUTCOMES

WINDOW_NS = 1_000_000_000
OPEN = 16
"""Windows that can be open at once."""
SETTLE_NS = 2_000_000_000
"""A window closes so long after its end."""


class Windows:
    """Open windows as rows of small banks; `close` hands them out in order. They judge nothing: see SlowSeconds."""

    def __init__(self) -> None:
        self._start_ns = 0
        self._next = 0  # the first window not closed
        self._outcomes = np.zeros((OPEN, len(OUTCOMES)), np.int64)
        self._service, self._response, self._free_delay = HistogramBank(OPEN), HistogramBank(OPEN), HistogramBank(OPEN)
        self._closed: list[dict[str, Any]] = []

    def begin(self, start_ns: int) -> None:
        """t = 0, monotonic."""
        self._start_ns = start_ns

    def add(
        self, rows: NDArray[np.void], ends: NDArray[np.bool_], counted: NDArray[np.bool_],
        service: NDArray[np.int64], response: NDArray[np.int64],
        service_at: NDArray[np.intp], response_at: NDArray[np.intp], delay: NDArray[np.int64], free: NDArray[np.intp],
    ) -> None:  # fmt: skip
        """Counts the calls (records with `ends`) of a batch; `free` are the indices of rate calls that had a free slot."""
        window = np.maximum((rows["end"] - self._start_ns) // WINDOW_NS, self._next)
        while int(window.max()) >= self._next + OPEN:
            self._close_one()
        window = np.maximum(window, self._next)
        slot = (window % OPEN).astype(np.intp)
        np.add.at(self._outcomes, (slot[ends], rows["outcome"][ends]), 1)
        pick = np.flatnonzero(ends & counted)
        self._service.add(slot[pick], service_at[pick], service[pick])
        self._response.add(slot[pick], response_at[pick], response[pick])
        if len(free):
            self._free_delay.add(slot[free], bucket_of(delay[free]), delay[free])

    def add_unfinished(self, column: int, number: int) -> None:
        """Calls that a death ended: in the first open window."""
        self._outcomes[self._next % OPEN, column] += number

    def close(self, now_ns: int | None) -> list[dict[str, Any]]:
        """The windows that have settled by now (None: all that hold anything), oldest first."""
        if now_ns is None:
            last = max(
                (at for at in range(self._next, self._next + OPEN) if self._outcomes[at % OPEN].any()),
                default=self._next - 1,
            )
            while self._next <= last:
                self._close_one()
        else:
            while self._start_ns + (self._next + 1) * WINDOW_NS + SETTLE_NS <= now_ns:
                self._close_one()
        closed, self._closed = self._closed, []
        return closed

    def _close_one(self) -> None:
        slot = self._next % OPEN
        outcomes = self._outcomes[slot].tolist()
        delay = self._free_delay.histogram(slot).percentile(99)
        self._closed.append({
            "at_s": self._next, "calls": sum(outcomes), **dict(zip(OUTCOMES, outcomes, strict=True)),
            "service_s": _short(self._service, slot), "response_s": _short(self._response, slot),
            "start_delay_p99_s": None if delay is None else delay / 1e9,
        })  # fmt: skip
        self._outcomes[slot] = 0
        for bank in (self._service, self._response, self._free_delay):
            bank.clear(slot)
        self._next += 1


def _short(bank: HistogramBank, row: int) -> dict[str, float | None]:
    """The figures a chart needs, in seconds."""
    whole = bank.histogram(row).summary_s()
    return {name: whole[name] for name in ("mean", "p50", "p95", "p99", "max")}
