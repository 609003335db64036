"""SIGINT, SIGTERM and SIGHUP while a run continues: in the main thread only, restored afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signals_to(stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop` with a signal's name instead of ending this process. Does nothing outside of the main thread.

    SIGHUP counts as the first request only, never as the second, which would end the run at once: of one closed terminal
    both the shell and the kernel send it. It stays ignored where it was, as under nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    was_asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal was_asked
        if number != signal.SIGHUP or not was_asked:
            was_asked = True
            stop(signal.Signals(number).name)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
