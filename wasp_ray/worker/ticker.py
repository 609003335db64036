"""Wakes an event loop at an absolute monotonic instant through a timerfd: 0.1 ms, where the loop's own timers round to 1
ms.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from wasp_ray.clock import now_ns

HAS_TIMERFD = sys.platform == "linux"

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class TimerFd:
    """A one-shot timer as a descriptor; Linux. os.timerfd_create is there from Python 3.13 on only."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)
        self.fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def arm(self, at_ns: int) -> None:
        """Readable from this instant on; an instant that is past means now."""
        self._spec.value_s, self._spec.value_ns = divmod(max(1, at_ns), 1_000_000_000)
        self._settime(self.fd, _ABSOLUTE, self._reference, None)

    def clear(self) -> None:
        """Takes the expiry, if there is one."""
        with suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.fd)


class Ticker:
    """Calls `fire` in the running loop at the armed instant; arming again replaces it."""

    def __init__(self, fire: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fire = fire
        self._handle: asyncio.TimerHandle | None = None
        self._armed_at = 0  # 0: it is not
        self._timer = TimerFd() if HAS_TIMERFD else None
        if self._timer is not None:
            self._loop.add_reader(self._timer.fd, self._ready)

    def _ready(self) -> None:
        self._armed_at = 0
        self._fire()
        if not self._armed_at and self._timer is not None:  # arming it anew takes the expiry as well
            self._timer.clear()

    def arm(self, at_ns: int) -> None:
        """Replaces the armed instant."""
        if at_ns == self._armed_at:
            return
        self._armed_at = at_ns
        if self._timer is not None:
            self._timer.arm(at_ns)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(0.0, (at_ns - now_ns()) / 1e9), self._ready)

    def close(self) -> None:
        """Fires no more."""
        if self._timer is not None:
            self._loop.remove_reader(self._timer.fd)
            self._timer.close()
        elif self._handle is not None:
            self._handle.cancel()
