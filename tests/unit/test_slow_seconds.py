"""The rule behind `invalid`: which seconds count as slow, when a row of them ends a run's validity, and what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histograms import histogram_of

from wasp_ray.aggregator import slow_seconds
from wasp_ray.aggregator.slow_seconds import SlowSeconds
from wasp_ray.node.conclude import SLOW_SECONDS, lateness
from wasp_ray.node.machine import MachineWatch, throttled_ns
from wasp_ray.wire.record import START_LATE_NS

SECOND, MS = 10**9, 10**6
START = 5 * SECOND + 123
Call = tuple[float, float]
"""Due s of the load, start delay ms."""


def counted(*calls: Call) -> SlowSeconds:
    """The seconds of a load with these calls."""
    seconds = SlowSeconds()
    seconds.begin(START)
    due = np.array([START + round(at_s * SECOND) for at_s, _ in calls], np.int64)
    seconds.add(due, np.array([round(delay_ms * MS) for _, delay_ms in calls], np.int64))
    return seconds


def each(seconds: range, delay_ms: float, calls: int = 1) -> list[Call]:
    """So many calls due in each of these seconds."""
    return [(second + part / calls, delay_ms) for second in seconds for part in range(calls)]


@pytest.mark.parametrize(
    ("calls", "row"),
    [
        pytest.param([], (0, 0), id="a load without calls has no slow second"),
        pytest.param(each(range(9), 50), (0, 0), id="a delay of exactly 50 ms is in time"),
        pytest.param(each(range(9), 51), (0, 9), id="a later one makes each of its seconds slow"),
        pytest.param(each(range(3, 8), 60), (3, 5), id="five of them in a row begin with the first"),
        pytest.param([(0.9, 60), (1.0, 0), (1.999, 60)], (0, 2), id="a second begins with its whole second"),
        pytest.param([*each(range(1), 0, 99), (0.5, 60)], (0, 0), id="one late call of 100 is below the p99"),
        pytest.param([*each(range(1), 0, 98), (0.5, 60)], (0, 1), id="one of 99 is not"),
        pytest.param([*each(range(1), 0, 98), *each(range(1), 60, 2)], (0, 1), id="two of 100 are not"),
        pytest.param(each(range(5), 60) + each(range(5, 7), 0) + each(range(7, 10), 60), (0, 5), id="the longest row"),
        pytest.param(
            each(range(3), 60) + each(range(3, 4), 0, 9) + each(range(4, 7), 60),
            (0, 3),
            id="a second in time ends a row",
        ),
        pytest.param(
            each(range(0, 50, 10), 60), (0, 5), id="seconds without calls due, as in a pause, do not end a row"
        ),
        pytest.param(
            each(range(7), 0, 5) + each(range(7), 9000, 5), (0, 7), id="half of the calls, as of one of two workers"
        ),
        pytest.param([(-0.5, 60)], (0, 1), id="a call due before t = 0 counts in its first second"),
    ],
)
def test_a_row_of_slow_seconds_is_found_by_when_calls_were_due(calls: list[Call], row: tuple[int, int]) -> None:
    """First second and length of the longest row."""
    assert counted(*calls).longest_row() == row


def test_batches_add_up_in_any_order() -> None:
    """A call of 60 s is counted where it was due, a minute after the calls around it."""
    seconds = counted(*each(range(100), 0, 50))
    late = [START + second * SECOND for second in range(10, 15)]
    for due in reversed(late):
        seconds.add(np.array([due], np.int64), np.array([7 * SECOND], np.int64))
    assert seconds.longest_row() == (10, 5)


@given(st.lists(st.integers(0, 100 * MS), min_size=1, max_size=300))
def test_a_second_is_slow_when_its_p99_is_over_the_limit(delays: list[int]) -> None:
    """By nearest rank, exactly."""
    rank = -(-99 * len(delays) // 100)
    seconds = SlowSeconds()
    seconds.add(np.zeros(len(delays), np.int64), np.array(delays, np.int64))
    assert (seconds.longest_row()[1] == 1) == (sorted(delays)[rank - 1] > START_LATE_NS)


def test_the_rule_agrees_with_the_histograms_p99() -> None:
    """One definition of a percentile in the whole program."""
    for calls in (1, 50, 99, 100, 101, 199, 200, 201, 1000):
        for late in range(0, 15):
            delays = np.array([0] * max(0, calls - late) + [2 * START_LATE_NS] * min(late, calls), np.int64)
            histogram, seconds = histogram_of(delays), SlowSeconds()
            seconds.add(np.zeros(calls, np.int64), delays)
            assert ((histogram.percentile(99) or 0) > START_LATE_NS) == (seconds.longest_row()[1] == 1), (calls, late)


def test_ticks_that_nobody_took_are_late() -> None:
    """Beside calls in time they count by their number."""
    seconds = counted(*each(range(6), 0, 10))
    for second in range(6):
        seconds.add_missed(second, 10)
    assert seconds.longest_row() == (0, 6)


def test_a_load_of_any_length_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due after the last second that is kept shares it."""
    monkeypatch.setattr(slow_seconds, "MAX_SECONDS", 100)
    seconds = counted((99.5, 0), (150, 60), (10**6, 60))
    seconds.add_missed(10**9, 1)
    assert seconds.longest_row() == (99, 1)


def test_five_slow_seconds_in_a_row_are_a_reason_and_four_are_none() -> None:
    """Named are the Generator, the number, where it began, and what to do."""
    assert SLOW_SECONDS == 5
    (reason,) = lateness({"slow_seconds": {"fine": [0, 4], "search": [12, 5]}, "max_gap_s": 1.0})
    assert "'search': calls started more than 50 ms late (p99) in 5 seconds in a row, from second 12 on" in reason
    assert "use a lower rate, more CPU or more nodes" in reason and "quota" not in reason


def test_a_throttling_quota_is_named() -> None:
    """It is the most likely cause."""
    (reason,) = lateness({"slow_seconds": {"search": [0, 9]}}, throttled_ns=3_210_000_000)
    assert "its CPU quota throttled it for 3.2 s" in reason


def test_an_aggregator_that_did_not_run_for_over_a_second_is_a_reason() -> None:
    """Found with any process of the node stopped as well, and in a frozen container."""
    (reason,) = lateness({"max_gap_s": 1.01})
    assert "the aggregator did not run for 1.0 s" in reason


@pytest.mark.parametrize(
    ("asleep_s", "reasons"),
    [
        pytest.param((0.0, 0.0), 0, id="a system without the clock says nothing"),
        pytest.param((3600.0, 3601.0), 0, id="a second is allowed, and what was before the load does not count"),
        pytest.param((0.0, 1.5), 1, id="more than that is a reason"),
    ],
)
def test_a_suspended_machine_is_a_reason(asleep_s: tuple[float, float], reasons: int) -> None:
    """By the difference of the two clocks at t = 0 and at the end."""
    clock = iter(round(seconds * SECOND) for seconds in asleep_s)
    watch = MachineWatch(suspended=lambda: next(clock), throttled=lambda: 0)
    watch.begin()
    watch.end()
    assert len(watch.reasons()) == reasons
    assert all("this machine was suspended for 1.5 s" in reason for reason in watch.reasons())


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, 0, id="no cgroup"),
        pytest.param({"sys/fs/cgroup/cpu.stat": "usage_usec 5\n"}, 0, id="a root group without a quota"),
        pytest.param({"sys/fs/cgroup/cpu.stat": "nr_throttled 2\nthrottled_usec 7\n"}, 7000, id="version 2 in a container"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.stat": "throttled_usec 9\n",
                "sys/fs/cgroup/cpu.stat": "throttled_usec 7\n",
            },
            9000, id="version 2 with a group of its own",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:memory:/m\n4:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 7\n",
            },
            7, id="version 1",
        ),
    ],
)  # fmt: skip
def test_throttled_time_is_read_where_the_system_tells_it(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    """In ns, of cgroup version 1 and 2."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert throttled_ns(f"{tmp_path}/") == expected


def test_late_starts_behind_a_blocked_loop_have_its_cure() -> None:
    """Of the Generator whose loop was blocked: for it, this machine was not too busy."""
    report = {"slow_seconds": {"search": [0, 9], "pay": [0, 9]}}
    first, second = lateness(
        report, blocks={"search": "call() of Search blocked its event loop for up to 104 ms: use `def call`"}
    )
    assert first.endswith(
        "although slots were free: call() of Search blocked its event loop for up to 104 ms: use `def call`"
    )
    assert "too busy" not in first and "too busy" in second
