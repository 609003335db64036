"""A container's PID 1 takes leave of strangers and leaves its own children to those who wait for them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from wasp_ray.cluster import reaper


def until(what: Callable[[], bool]) -> bool:
    """Whether it comes true within 30 s."""
    give_up = time.monotonic() + 30
    while not what() and time.monotonic() < give_up:
        time.sleep(0.01)
    return what()


def test_strangers_are_reaped_and_own_children_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are zombies of this process; one is waited for elsewhere."""
    processes = [
        subprocess.Popen([sys.executable, "-c", ""]) for _ in range(2)
    ]  # kept: the next Popen reaps those that nobody has
    stranger, own = (process.pid for process in processes)
    assert until(lambda: {stranger, own} <= reaper.zombies())
    over = threading.Event()
    monkeypatch.setattr(reaper, "EVERY_S", 0.01)
    thread = threading.Thread(target=reaper._live, args=(lambda: reaper.zombies() - {stranger}, over))
    thread.start()
    assert until(lambda: stranger not in reaper.zombies())
    over.set()
    thread.join()
    assert own in reaper.zombies()
    os.waitpid(own, 0)


def test_who_is_not_the_first_process_reaps_nothing() -> None:
    """On a laptop other code waits for its children."""
    before = threading.active_count()
    reaper.reap_as_init(set, threading.Event())
    assert threading.active_count() == before
