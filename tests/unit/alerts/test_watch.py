"""An alert check as a state machine: tables of what is seen when, and a simulated server with outages at any time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasp_ray.alerts.check import AlertCheck, check_name
from wasp_ray.alerts.episodes import MAX_EPISODES
from wasp_ray.alerts.rules import Alert, Rule, State
from wasp_ray.alerts.telling import told
from wasp_ray.alerts.watch import LONGEST_WAIT_S, NO_RULE, PATIENCE_S, AlertWatch

START, END = 100.0, 160.0
QUIET = Rule(("folder", "nfr", "Latency", (), 0), "Latency", "inactive", "", "", 10.0, 20.0)


def seen(state: State, at_s: float, since_s: float | None = None, **more: Any) -> Rule:
    """The rule as of an evaluation at this instant. Firing, it has one alert."""
    firing = (Alert((("alertname", "Latency"), ("job", "shop")), since_s),) if state == "firing" else ()
    return replace(QUIET, state=state, evaluated=f"at {at_s // 10}", firing=firing, **more)


def watched(*steps: tuple[float, str]) -> AlertWatch:
    """A poll every 5 s from 90 on, with the state of the last step at or before it; "down", "gone", "sick", "stuck" too."""
    watch, at_s = AlertWatch(), 90.0
    since_s: float | None = None
    last_s = max(steps[-1][0], 220.0)
    while at_s <= last_s:
        word = [word for from_s, word in steps if from_s <= at_s][-1]
        since_s = (at_s if since_s is None else since_s) if word == "firing" else None
        match word:
            case "down":
                watch.failed(at_s, "503")
            case "gone":
                watch.polled(at_s, at_s + 0.1, [])
            case "sick":
                watch.polled(at_s, at_s + 0.1, [seen("inactive", at_s, problem="its health is 'err'")])
            case "stuck":
                watch.polled(at_s, at_s + 0.1, [seen("inactive", 0.0)])
            case "inactive" | "pending" | "firing" as state:
                watch.polled(at_s, at_s + 0.1, [seen(state, at_s, since_s)])
        at_s += 5.0
    return watch


@pytest.mark.parametrize(
    ("steps", "state", "why"),
    [
        ([(90, "inactive")], "ok", ""),
        ([(90, "inactive"), (120, "pending"), (130, "inactive")], "ok", ""),
        ([(90, "inactive"), (120, "firing"), (130, "inactive")], "fired", ""),
        ([(90, "inactive"), (120, "firing")], "fired", ""),
        ([(90, "inactive"), (150, "pending"), (175, "firing")], "fired", ""),
        ([(90, "inactive"), (200, "pending")], "unknown", "Latency: it was still pending at the end"),
        ([(90, "firing")], "unknown", 'Latency{job="shop"} fired before the load began and until it ended'),
        ([(90, "firing"), (165, "inactive")], "unknown", 'Latency{job="shop"} fired before the load began'),
        ([(90, "firing"), (120, "inactive")], "ok", ""),
        ([(90, "firing"), (95, "inactive")], "ok", ""),
        ([(90, "firing"), (120, "inactive"), (140, "firing")], "fired", ""),
        ([(90, "down")], "unknown", "503"),
        ([(90, "inactive"), (200, "down")], "unknown", "503, from 100.0 s on"),
        ([(90, "inactive"), (120, "down"), (140, "inactive")], "ok", ""),
        (
            [(90, "inactive"), (95, "down"), (165, "inactive")],
            "unknown",
            "nothing was known of it for 60.0 s of a load of 60.0 s",
        ),
        (
            [(90, "inactive"), (120, "down"), (155, "inactive")],
            "unknown",
            "nothing was known of it for 35.1 s of a load",
        ),
        ([(90, "down"), (120, "firing"), (130, "down")], "fired", ""),
        ([(90, "gone")], "unknown", NO_RULE),
        ([(90, "gone"), (120, "inactive")], "ok", ""),
        ([(90, "inactive"), (200, "gone")], "unknown", "Latency: the rule is gone"),
        ([(90, "inactive"), (200, "sick")], "unknown", "Latency: its health is 'err'"),
        ([(90, "inactive"), (120, "sick"), (140, "inactive")], "ok", ""),
        ([(90, "inactive"), (155, "stuck")], "unknown", "Latency: it was not evaluated after the load"),
    ],
)
def test_what_is_seen_decides(steps: Sequence[tuple[float, str]], state: str, why: str) -> None:
    """Load from 100 to 160; what is not known is never ok, and what fired stays so whatever comes after."""
    result = watched(*steps).result(START, END)
    assert result["state"] == state, result
    assert why in " ".join(result["unknown"]) and bool(why) == bool(result["unknown"] and state == "unknown")


def test_times_of_what_fired_count_from_the_start() -> None:
    """As the server tells them, where it does."""
    result = watched((90, "inactive"), (120, "firing"), (130, "inactive")).result(START, END)
    labels = {"alertname": "Latency", "job": "shop"}
    assert result["fired"] == [{"rule": "Latency", "labels": labels, "at_s": 20.0, "ended_s": pytest.approx(30.1)}]


def test_an_outage_is_told_with_its_length() -> None:
    """As far as it is of the load, and long enough for an alert to come and go in it."""
    result = watched((90, "inactive"), (120, "down"), (140, "inactive")).result(START, END)
    (span,) = result["blind"]
    assert span == {"from_s": 20.0, "to_s": pytest.approx(40.1), "why": "503"}
    assert watched((90, "inactive"), (120, "down"), (125, "inactive")).result(START, END)["blind"] == []
    late = AlertWatch()
    late.polled(130.0, 130.1, [seen("inactive", 130.0)])
    assert late.result(START, END)["blind"] == [{"from_s": 0.0, "to_s": 30.0, "why": "it was not asked yet"}]


def test_polling_ends_an_interval_and_for_after_the_load() -> None:
    """10 s and 20 s, and time to see it; with nothing to wait for at once, for a silent server after some patience."""
    watch = watched((90, "inactive"))
    assert watch.deadline_s(END) == END + 10 + 20 + 2 * 5 + 1 and watch.period_s == 5.0
    assert not watch.over(START, END, END + 40.9) and watch.over(START, END, END + 41)
    assert watched((90, "gone")).over(START, END, END)
    silent = watched((90, "down"))
    assert not silent.over(START, END, END + PATIENCE_S - 0.1) and silent.over(START, END, END + PATIENCE_S)
    assert watched((90, "inactive"), (120, "firing")).over(START, END, END)
    stuck = watched((90, "stuck"))
    assert not stuck.over(START, END, END + 41) and stuck.over(START, END, END + 41 + PATIENCE_S)
    endless = AlertWatch()
    endless.polled(START, START, [replace(QUIET, for_s=1e6)])
    assert endless.deadline_s(END) == END + LONGEST_WAIT_S


def test_a_wait_that_was_cut_short_is_not_ok() -> None:
    """Quiet so far, evaluated after the load, and what is pending might still have fired."""
    watch = AlertWatch()
    for at_s in (95.0, 105.0, 155.0, 161.0, 175.0):
        watch.polled(at_s, at_s + 0.1, [seen("inactive", at_s)])
    assert watch.result(START, END)["unknown"] == ["its last evaluations after the load were not waited for"]


def test_for_is_counted_in_whole_intervals() -> None:
    """A server looks at it once an interval: with 10 s and `for` 11 s an alert fires 20 s after it became pending."""
    watch = AlertWatch()
    watch.polled(START, START, [replace(QUIET, for_s=11.0)])
    assert watch.deadline_s(END) == END + 10 + 20 + 11


@pytest.mark.parametrize(
    ("ahead_s", "since_s", "state"), [(0, 95, "unknown"), (0, 99.5, "fired"), (50, 160, "fired"), (50, 140, "unknown")]
)
def test_the_server_tells_since_when_an_alert_fires(ahead_s: float, since_s: float, state: str) -> None:
    """Seen in the load for the first time, it may be of before; in doubt, and by a clock that is off, it counts."""
    watch = AlertWatch()
    for at_s in (105.0, 115.0, 165.0, 175.0):
        watch.polled(at_s, at_s + 0.1, [seen("firing", at_s, since_s)], ahead_s)
    assert watch.result(START, END)["state"] == state


def test_an_alert_that_came_again_between_two_polls_counts() -> None:
    """It fired before the load, and anew in it: its start says so."""
    watch = AlertWatch()
    for at_s, since_s in ((95.0, 90.0), (105.0, 90.0), (125.0, 118.0), (165.0, 118.0), (175.0, 118.0)):
        watch.polled(at_s, at_s + 0.1, [seen("firing", at_s, since_s)])
    result = watch.result(START, END)
    assert (result["state"], [found["at_s"] for found in result["fired"]]) == ("fired", [18.0])
    assert result["fired_before"][0]["ended_s"] == 18.0


def test_what_only_fires_can_be_known_is_never_ok() -> None:
    """An Alertmanager knows no quiet rules."""
    watch = AlertWatch()
    for at_s in (95.0, 105.0, 165.0):
        watch.only_firing(at_s, at_s, [], 0.0, "404")
    assert watch.result(START, END)["unknown"] == ["404"]
    watch.only_firing(170.0, 170.0, [Alert((("alertname", "Latency"),), 150.0)], 0.0, "404")
    assert watch.result(START, END)["state"] == "fired"


def test_memory_is_bounded() -> None:
    """A flood of alerts and outages is counted, not kept."""
    watch = AlertWatch()
    for at_s in range(1000):
        firing = tuple(Alert((("n", f"{at_s}-{n}"),), None) for n in range(3))
        watch.polled(START + at_s, START + at_s, [replace(QUIET, state="firing", firing=firing)])
        watch.failed(START + at_s + 0.5, "503")
    result = watch.result(START, START + 1000)
    assert len(result["fired"]) + len(result["fired_before"]) == MAX_EPISODES and result["left_out"] == 2500
    assert len(result["blind"]) <= 201


def test_alerts_that_cannot_be_followed_are_not_ok() -> None:
    """More fire since before the load than are kept: whether others joined them is not known; each is counted once."""
    watch = AlertWatch()
    firing = tuple(Alert((("n", str(n)),), 10.0) for n in range(MAX_EPISODES + 7))
    for at_s in (95.0, 105.0, 115.0):
        watch.polled(at_s, at_s, [replace(seen("firing", at_s), firing=firing)])
    for at_s in range(120, 230, 5):
        watch.polled(at_s, at_s, [seen("inactive", at_s)])
    assert watch.result(START, END)["unknown"] == ["7 more alerts fired than can be followed"]


def test_what_fired_is_failed_whatever_else_is_unknown() -> None:
    """Else the server's end would hide it: invalid outranks failed."""
    watch = watched((90, "inactive"), (120, "firing"), (130, "inactive"), (200, "down"))
    found = told([{"name": "c", **watch.result(START, END)}])
    assert len(found.failed) == 1 and not found.unknown and found.warnings[0].startswith("c: 503")


def test_sentences_name_what_fired() -> None:
    """The check, the rule, its labels and when; no more than five of them."""
    check = AlertCheck(labels={"requirement_name": "baseline"}, dashboard_uid="wasp").to_plan()
    watch = AlertWatch()
    alerts = tuple(Alert((("alertname", "Latency"), ("job", f"shop-{n}")), 110.0) for n in range(7))
    watch.polled(95.0, 95.0, [seen("inactive", 95.0)])
    watch.polled(115.0, 115.0, [replace(seen("firing", 115.0), firing=alerts)])
    found = told([{"name": check_name(check), **watch.result(START, END)}])
    assert (
        found.failed[0]
        == 'alerts of grafana (requirement_name=baseline, dashboard wasp): Latency{job="shop-0"} fired at 10.0 s'
    )
    assert len(found.failed) == 6 and found.failed[-1].endswith("2 more fired")


# -- a simulated server


@dataclass(frozen=True)
class World:
    """A rule whose condition holds from `from_s` to `to_s`, evaluated every `interval_s`; outages of the API."""

    interval_s: float
    for_s: float
    from_s: float
    to_s: float
    outages: tuple[tuple[float, float], ...]

    def rule(self, at_s: float) -> Rule:
        """As the last evaluation left it."""
        newest = math.floor(at_s / self.interval_s)
        active_s: float | None = None
        firing = False
        for number in range(newest + 1):
            now_s = number * self.interval_s
            if not self.from_s <= now_s < self.to_s:
                active_s, firing = None, False
                continue
            active_s = now_s if active_s is None else active_s
            firing = now_s - active_s >= self.for_s
        alerts = (Alert((), None if active_s is None else active_s + self.for_s),) if firing else ()
        state: Any = "firing" if firing else "pending" if active_s is not None else "inactive"
        return replace(
            QUIET, state=state, evaluated=str(newest), interval_s=self.interval_s, for_s=self.for_s, firing=alerts
        )

    def fires_in(self, start_s: float, end_s: float) -> bool:
        """Whether an evaluation between the two finds it firing that did not before."""
        numbers = range(math.ceil(start_s / self.interval_s), math.floor(end_s / self.interval_s) + 1)
        return any(self.rule(n * self.interval_s).firing for n in numbers)

    def is_up(self, at_s: float) -> bool:
        """Whether it answers."""
        return not any(a <= at_s < b for a, b in self.outages)


TIMES = st.integers(0, 120).map(float)
WORLDS = st.builds(
    World,
    interval_s=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    for_s=st.sampled_from([0.0, 1.0, 5.0]),
    from_s=TIMES,
    to_s=TIMES,
    outages=st.lists(st.tuples(TIMES, TIMES), max_size=3).map(tuple),
)


def live(world: World, start_s: float, end_s: float) -> tuple[AlertWatch, list[float]]:
    """Polls as serve.py does; the watch, and when it had answers."""
    watch, at_s, answered = AlertWatch(), 0.0, []
    while True:
        if world.is_up(at_s):
            answered.append(at_s)
            watch.polled(at_s, at_s + 0.01, [world.rule(at_s)])
        else:
            watch.failed(at_s, "down")
        if at_s >= end_s and watch.over(start_s, end_s, at_s):
            return watch, answered
        left_s = watch.deadline_s(end_s) - at_s
        at_s += min(watch.period_s, left_s) if at_s >= end_s and left_s > 0 else watch.period_s


@given(world=WORLDS)
def test_ok_is_what_was_seen_to_be_quiet(world: World) -> None:
    """Load from 20 to 60, outages at any time: no answer told of an alert of it, most of it was seen, and so was its end."""
    watch, answered = live(world, 20.0, 60.0)
    if watch.result(20.0, 60.0)["state"] != "ok":
        return
    rules = [world.rule(at_s) for at_s in answered if at_s >= 20.0]
    assert not any((alert.since_s or 0.0) > 20.0 for rule in rules for alert in rule.firing)
    assert rules[-1].state == "inactive" and answered[-1] >= 60.0 + world.interval_s + world.for_s
    assert all(min(b, 60.0) - max(a, 20.0) <= 20.0 + 2 * watch.period_s for a, b in world.outages)


@given(world=WORLDS.map(lambda world: replace(world, outages=())))
def test_without_outages_all_is_known(world: World) -> None:
    """What fires in the load is found, and no condition is ok."""
    state = live(world, 20.0, 60.0)[0].result(20.0, 60.0)["state"]
    began_before = world.from_s + world.for_s <= 20.0 + 2 * world.interval_s
    if world.fires_in(20.0, 60.0) and not began_before:
        assert state == "fired"
    if world.to_s <= world.from_s:
        assert state == "ok"


@given(world=WORLDS)
def test_polling_ends(world: World) -> None:
    """Whatever the server does: within the wait, the patience and a period."""
    watch, _ = live(world, 20.0, 60.0)
    assert watch.polls < 5000
    assert watch.over(20.0, 60.0, watch.deadline_s(60.0) + PATIENCE_S)
