"""One controller at a time: a lease that is kept, lost, taken over when it lapses."""

from __future__ import annotations

from typing import Any

import pytest

from wasp_ray.cluster.kube import KubeError
from wasp_ray.cluster.lease import DURATION_S, LeaseLost, RunLease

SECOND = 1_000_000_000


class OneObject:
    """An API server that holds one Lease, with versions and conflicts."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """A copy, as from a network."""
        return None if self.lease is None else {**self.lease, "spec": dict(self.lease["spec"])}

    def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        """What is there already stays."""
        if self.lease is None:
            self.version += 1
            self.lease = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        found = self.get("Lease", "")
        assert found is not None
        return found

    def patch(self, kind: str, name: str, change: dict[str, Any]) -> dict[str, Any]:
        """Only of the version that was seen."""
        if self.lease is None:
            raise KubeError("gone", 404)
        if change["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise KubeError("conflict", 409)
        self.version += 1
        meta = {**self.lease["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**self.lease, "metadata": meta, "spec": {**self.lease["spec"], **change["spec"]}}
        found = self.get(kind, name)
        assert found is not None
        return found


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns

    def pass_s(self, seconds: float) -> None:
        """Later."""
        self.ns += int(seconds * SECOND)


def two() -> tuple[RunLease, RunLease, Clock, OneObject]:
    """Two controllers of the same run."""
    server, clock = OneObject(), Clock()
    return RunLease(server, "x", now=clock), RunLease(server, "x", now=clock), clock, server  # type: ignore[arg-type]


def test_the_second_waits_until_the_first_is_silent() -> None:
    """A holder that renews is left alone; one that does not lapses."""
    first, second, clock, _ = two()
    assert first.acquire() and not second.acquire()
    for _ in range(10):
        clock.pass_s(6)
        first.keep()
        assert not second.acquire()
    clock.pass_s(DURATION_S + 1)
    assert second.acquire()


@pytest.mark.parametrize(
    ("silent_s", "taken"), [(0.0, False), (1.0, False), (14.0, False), (14.9, False), (15.0, True), (60.0, True)]
)
@pytest.mark.parametrize("looks", [1, 5])
def test_a_holder_that_is_silent_for_less_than_15_s_keeps_it(silent_s: float, taken: bool, looks: int) -> None:
    """However often the other one looks: it counts from when it first saw the last renewal."""
    first, second, clock, _ = two()
    assert first.acquire()
    clock.pass_s(100)  # nobody looked, so nobody knows when that was
    assert not second.acquire()
    for _ in range(looks - 1):
        clock.pass_s(silent_s / looks)
        second.acquire()
    clock.pass_s(silent_s - silent_s / looks * (looks - 1))
    assert second.acquire() == taken
    if not taken:
        first.keep()
        assert first.held and not second.held


def test_a_renewal_begins_the_15_s_anew() -> None:
    """A holder that comes back after 14 s has all of them again."""
    first, second, clock, _ = two()
    assert first.acquire() and not second.acquire()
    for _ in range(3):
        clock.pass_s(14)
        first.keep()
        assert first.held and not second.acquire()


def test_who_lost_the_lease_is_told_and_stays_without_it() -> None:
    """It must not act any more."""
    first, second, clock, _ = two()
    assert first.acquire() and not second.acquire()
    clock.pass_s(DURATION_S + 1)
    assert second.acquire()
    with pytest.raises(LeaseLost):
        first.keep()
    first.keep()
    assert not first.held and second.held


def test_a_released_lease_is_free_at_once() -> None:
    """No wait after a clean end."""
    first, second, _, _ = two()
    assert first.acquire()
    first.release()
    assert second.acquire()


def test_a_conflict_that_is_none_of_another_holder_is_no_loss() -> None:
    """Somebody labelled the object: the version moved, the holder did not."""
    first, _, clock, server = two()
    assert first.acquire() and server.lease is not None
    server.lease["metadata"]["resourceVersion"] = "99"
    clock.pass_s(6)
    first.keep()
    clock.pass_s(6)
    first.keep()
    assert first.held


def test_keeping_asks_the_server_no_more_than_needed() -> None:
    """Once in five seconds."""
    first, _, clock, server = two()
    assert first.acquire()
    before = server.version
    for _ in range(100):
        clock.pass_s(0.1)
        first.keep()
    assert server.version - before == 2
