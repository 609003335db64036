"""Nodes whose hosts' clocks are off: the fault cannot be had on one machine, so Ray's side is played."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from wasp_ray._version import __version__
from wasp_ray.clock import wall_s
from wasp_ray.cluster import ray_nodes
from wasp_ray.cluster.backend import Line, Note
from wasp_ray.cluster.ray_config import RayConfig
from wasp_ray.plan import Plan

HERE = "this boot"


class Hosts:
    """A cluster whose host of node N has the boot id and the clock (ahead, in seconds) given for it."""

    hosts: list[tuple[str, float]]

    def __init__(self, address: str, runtime_env: Any) -> None:
        self._calls: list[tuple[int, str, Any]] = []
        self.sent: dict[int, dict[str, Any]] = {}
        self.waits_for_place, self.group = False, None

    def place_anywhere(self) -> None:
        """For the plan."""

    def place(self, places: Any, each: Any, strategy: str) -> None:
        """There is always a place."""

    def call(self, index: int, method: str, group: str, *arguments: Any) -> Any:
        """The reference is the call's number."""
        if method == "send":
            self.sent[index] = arguments[0]
        self._calls.append((index, method, arguments))
        return len(self._calls) - 1

    def ready(self, refs: Iterable[Any], timeout_s: float) -> list[Any]:
        """All answer at once."""
        return list(refs)

    def answer(self, ref: Any) -> Any:
        """As a NodeActor does; each tells a line of its node when it is asked first."""
        index, method, arguments = self._calls[ref]
        kernel, ahead_s = self.hosts[index]
        if method == "plan":
            return {"version": __version__, "host": "host-1", "plan": Plan.unknown().to_data()}
        if method == "start":
            return {"version": __version__, "host": f"host-{index + 1}", "kernel": kernel}
        told = [Line(index + 1, f"uid{index + 1}", "a line")] if arguments[0] == 1 else []
        return told, wall_s() + ahead_s


@pytest.mark.parametrize(
    ("kernel", "ahead_s", "shifted"),
    [
        (HERE, 0.3, False),  # the same clock: what seems a difference is the way
        ("another boot", 0.0, False),
        ("another boot", 0.3, True),
        ("another boot", -0.3, True),
    ],
)
def test_a_node_is_told_the_start_by_its_own_clock(
    monkeypatch: pytest.MonkeyPatch, kernel: str, ahead_s: float, shifted: bool
) -> None:
    """Where it is another one and off; the run says so. Its lines carry when they came, for the books of clocks."""
    monkeypatch.setattr(Hosts, "hosts", [(HERE, 0.0), (kernel, ahead_s)], raising=False)
    monkeypatch.setattr(ray_nodes, "RayCluster", Hosts)
    nodes = ray_nodes.RayNodes(RayConfig(test="load.py", nodes=2), [{"uid": "uid1"}, {"uid": "uid2"}], {}, HERE)
    nodes.deploy()
    cluster: Any = nodes._cluster
    monkeypatch.setattr(ray_nodes, "ready", cluster.ready)
    monkeypatch.setattr(ray_nodes, "answer", cluster.answer)
    heard = [happening for _ in range(4) for happening in nodes.events(0)]
    start_s = nodes.release()
    assert cluster.sent[0]["at"] == start_s
    assert cluster.sent[1]["at"] - start_s == pytest.approx(ahead_s if shifted else 0.0, abs=0.05)
    notes = [happening.text for happening in nodes.events(0) if isinstance(happening, Note)]
    assert [("node 2" in text and "host-2" in text and f"{ahead_s:+.2f} s off" in text) for text in notes] == [
        True
    ] * shifted
    lines = {line.node: line.arrived_s for line in heard if isinstance(line, Line)}
    assert lines[1] == 0 and (lines[2] > 0) == (kernel != HERE)
