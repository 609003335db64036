"""The inline runtime reports each worker's end once, whoever comes first."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from wasp_ray.runtime.inline import ThreadBackend


@pytest.mark.parametrize("kills", [0, 1, 2])
def test_a_worker_that_ended_by_itself_and_is_killed_ends_once(monkeypatch: pytest.MonkeyPatch, kills: int) -> None:
    """As at a stop in the moment when its setup fails."""
    monkeypatch.setattr("wasp_ray.runtime.inline.run_worker", lambda host: None)
    host: Any = SimpleNamespace(part=SimpleNamespace(index=0, name="u"), worker=0)
    backend = ThreadBackend()
    backend.launch([host])
    for thread in threading.enumerate():
        if thread.name == "wasp-u-0":
            thread.join(10)
    for _ in range(kills):
        backend.kill((0, 0))
    assert [exit_.key for exit_ in backend.reap()] == [(0, 0)]
    backend.end_all()
