"""Schedules: exact counts and due times against a brute-force oracle, exact shares, users."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wasp_ray.schedule import (
    RateCurve,
    Schedule,
    UserCurve,
    combine,
    combine_and_repeat,
    format_duration,
    parse_duration,
    pause,
    plain,
    ramp,
    share_count,
    share_id,
    steps,
)

SECOND = 10**9
values = st.one_of(st.integers(0, 50), st.sampled_from([0.5, 0.1, 2.25, Fraction(1, 3)]))
durations = st.sampled_from(["100ms", "1s", "1.5s", "333ms", "7us"])
schedules = st.lists(
    st.one_of(
        st.builds(plain, values, durations), st.builds(ramp, values, values, durations), st.builds(pause, durations)
    ),
    min_size=1,
    max_size=4,
).map(lambda parts: combine(*parts))


def integral(schedule: Schedule, t: int) -> Fraction:
    """N(t) of a rate per second, by the trapezoid of each segment."""
    total = Fraction(0)
    for from_ns, to_ns, segment in schedule.bounds():
        inside = min(t, to_ns) - from_ns
        if inside > 0:
            a, b = Fraction(str(segment.start)), Fraction(str(segment.end))
            at_t = a + (b - a) * Fraction(inside, to_ns - from_ns)
            total += (a + at_t) / 2 * inside / SECOND
    return total


@settings(max_examples=200, deadline=None)
@given(schedules)
def test_call_i_is_due_at_the_first_ns_at_which_the_integral_reaches_it(schedule: Schedule) -> None:
    """And there are ceil(N(T)) of them, in order, none inside a pause."""
    curve = RateCurve(schedule, SECOND)
    assert curve.count == math.ceil(integral(schedule, schedule.duration_ns))
    dues = list(curve.dues(0, 1))
    assert dues == sorted(dues) and len(dues) == curve.count
    for i, due in enumerate(dues[:40]):
        assert due == curve.due_ns(i)
        assert integral(schedule, due) >= i
        assert due == 0 or integral(schedule, due - 1) <= i
        # it begins to exceed i right there
        assert integral(schedule, due + 1) > i
        assert curve.count_until(due) >= i + 1
        assert curve.count_until(due - 1) <= i


@settings(max_examples=100, deadline=None)
@given(schedules, st.integers(1, 7), st.integers(0, 3 * SECOND))
def test_the_parts_of_a_split_are_the_whole_tick_by_tick(schedule: Schedule, parts: int, t: int) -> None:
    """Each call belongs to exactly one part, at the same due time; counts sum at any instant."""
    curve = RateCurve(schedule, SECOND)
    whole = list(curve.dues(0, 1))
    found: dict[int, int] = {}
    for part in range(parts):
        for local, due in enumerate(curve.dues(part, parts)):
            found[share_id(local, part, parts)] = due
    assert found == dict(enumerate(whole))
    until = curve.count_until(t)
    assert until == sum(1 for due in whole if due <= t)
    assert sum(share_count(until, part, parts) for part in range(parts)) == until


def test_the_counts_that_the_documentation_names() -> None:
    """plain(200, "5s") has 1,000, the first at 0; ramp(0, 100, "2s") has 100."""
    curve = RateCurve(plain(200, "5s"), SECOND)
    assert (curve.count, curve.due_ns(0), curve.due_ns(1)) == (1000, 0, 5_000_000)
    assert RateCurve(ramp(0, 100, "2s"), SECOND).count == 100
    assert RateCurve(plain(30, "2m"), parse_duration("1m")).count == 60
    assert RateCurve(plain(1, "1s") + pause("5s") + plain(1, "1s"), SECOND).due_ns(1) == 6 * SECOND


@settings(max_examples=100, deadline=None)
@given(schedules)
def test_the_number_of_users_changes_where_it_is_said_to(schedule: Schedule) -> None:
    """Right before a change the old number holds, from it on the new one; the peak is the largest."""
    curve = UserCurve(schedule)
    changes = list(curve.changes())
    assert changes[0][0] == 0
    for (at, users), (_, before) in zip(changes[1:], changes, strict=False):
        assert curve.users_at(at) == users != before
        assert curve.users_at(at - 1) == before
    assert all(users <= curve.peak for _, users in changes)


@settings(max_examples=100, deadline=None)
@given(schedules, st.data())
def test_the_most_users_of_an_interval_include_short_peaks(schedule: Schedule, data: st.DataObject) -> None:
    """As many as the largest of all changes inside it, however short the peak."""
    curve, end = UserCurve(schedule), schedule.duration_ns - 1
    from_ns = data.draw(st.integers(0, end))
    to_ns = data.draw(st.integers(from_ns, end))
    inside = [users for at, users in curve.changes() if from_ns < at <= to_ns]
    assert curve.most_between(from_ns, to_ns) == max([curve.users_at(from_ns), *inside])
    curve = UserCurve(ramp(0, 4, "1s") + plain(1, "1s"))
    assert curve.most_between(SECOND // 2, 3 * SECOND // 2) == 4  # the last nanosecond of the ramp


@pytest.mark.parametrize(
    ("schedule", "at", "peak"),
    [
        (plain(4, "1s"), {-1: 0, 0: 4, 999: 4, 1000: 0}, 4),
        (plain(2.5, "1s"), {0: 3}, 3),  # rounded half up
        (plain(2.4, "1s"), {0: 2}, 2),
        (ramp(0, 4, "4s"), {0: 0, 499: 0, 500: 1, 1499: 1, 1500: 2, 3499: 3, 3500: 4, 3999: 4, 4000: 0}, 4),
        (ramp(4, 0, "4s"), {0: 4, 500: 4, 501: 3, 3500: 1, 3501: 0, 3999: 0}, 4),
        (plain(4, "1s") + pause("1s") + plain(2, "1s"), {999: 4, 1000: 4, 1999: 4, 2000: 2, 2999: 2, 3000: 0}, 4),
        (ramp(0, 4, "1s") + pause("1s") + pause("1s"), {0: 0, 1000: 4, 2999: 4, 3000: 0}, 4),  # the value it ended with
        (pause("1s") + plain(2, "1s"), {0: 0, 999: 0, 1000: 2}, 2),
        (ramp(1, 9, "1s") + ramp(8, 2, "1s"), {1000: 8}, 9),  # the end of a ramp is reached, if only as a limit
    ],
)
def test_users_at_an_instant(schedule: Schedule, at: dict[int, int], peak: int) -> None:
    """By millisecond; as many as before in a pause, none before the first segment that has any."""
    curve = UserCurve(schedule)
    assert {ms: curve.users_at(ms * SECOND // 1000) for ms in at} == at
    assert curve.peak == peak


@pytest.mark.parametrize(
    ("schedule", "changes"),
    [
        (ramp(0, 2, "2s"), [(0, 0), (500, 1), (1500, 2)]),
        (ramp(2, 0, "2s"), [(0, 2), (500, 1), (1500, 0)]),
        (plain(3, "1s") + plain(3, "1s") + plain(1, "1s"), [(0, 3), (2000, 1)]),
        (plain(3, "1s") + pause("1s") + plain(1, "1s"), [(0, 3), (2000, 1)]),
        (plain(1, "1s") + ramp(1, 3, "2s"), [(0, 1), (1500, 2), (2500, 3)]),
    ],
)
def test_instants_at_which_the_number_of_users_changes(schedule: Schedule, changes: list[tuple[int, int]]) -> None:
    """A user that leaves does so a nanosecond after the instant at which half of it is left."""
    found = list(UserCurve(schedule).changes())
    assert [(ns // (SECOND // 1000), users) for ns, users in found] == changes


def test_pauses_are_their_segments_without_the_end() -> None:
    """One in the middle, and one at the end of the schedule, behind which there is none."""
    curve = UserCurve(plain(4, "1s") + pause("1s") + plain(2, "1s") + pause("2s"))
    assert curve.pauses() == [(SECOND, 2 * SECOND), (3 * SECOND, 5 * SECOND)]
    is_paused = {-1: False, 0: False, SECOND - 1: False, SECOND: True, 2 * SECOND - 1: True, 2 * SECOND: False}
    is_paused |= {3 * SECOND: True, 5 * SECOND - 1: True, 5 * SECOND: False}
    assert {t: curve.paused_at(t) for t in is_paused} == is_paused


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (plain(60, "1s"), {-1: 0, 0: 60, 999: 60, 1000: 0}),
        (ramp(0, 100, "2s"), {0: 0, 500: 25, 1000: 50, 1500: 75, 2000: 0}),
        (plain(10, "1s") + pause("1s") + ramp(20, 10, "1s"), {500: 10, 1000: 0, 1999: 0, 2000: 20, 2500: 15}),
    ],
)
@pytest.mark.parametrize("unit", [SECOND, 60 * SECOND])
def test_rates_at_an_instant(schedule: Schedule, rates: dict[int, float], unit: int) -> None:
    """Per second, whatever the unit of the schedule."""
    curve = RateCurve(schedule, unit)
    expected = {ms: rate * SECOND / unit for ms, rate in rates.items()}
    assert {ms: curve.rate_at(ms * SECOND // 1000) for ms in rates} == pytest.approx(expected)


def test_steps_take_the_whole_or_each_and_sum_to_it_exactly() -> None:
    """Three steps of 10 s are 10 s to the ns."""
    whole = steps(1, 2, 3, duration="10s")
    assert [s.start for s in whole.segments] == [1, 3, 5] and whole.duration_ns == 10 * SECOND
    assert steps(1, 1, 4, each="2s").duration_ns == 8 * SECOND
    assert "both" in steps(1, 1, 2, each="1s", duration="2s").problems()[0]
    assert "neither" in steps(1, 1, 2).problems()[0]


def test_combining_and_repeating() -> None:
    """Operators and functions agree; schedules survive the way through JSON."""
    a, b = plain(1, "1s", name="a"), ramp(1, 2, "2s", warmup=True)
    assert a + b == combine(a, b) and (a + b) * 3 == combine_and_repeat(3, a, b) == 3 * (a + b)
    again = Schedule.from_data((a + b).to_data())
    assert list(RateCurve(again, SECOND).dues(0, 1)) == list(RateCurve(a + b, SECOND).dues(0, 1))
    assert [s.name for s in again.segments] == ["a", ""] and again.segments[1].warmup


BAD = [
    (plain(-1, "1s"), "-1 is negative"),
    (plain(float("nan"), "1s"), "nan is not finite"),
    (plain("many", "1s"), "'many' is not a number"),
    (plain(True, "1s"), "True is not a number"),
    (plain(1, "soon"), "'soon' is not a duration"),
    (plain(1, 0), "duration 0 must be > 0"),
    (plain(1, -5), "-5 is negative"),
    (plain(0, "1s"), "0 all the time"),
    (Schedule([]), "empty"),
    (combine(plain(1, "1s"), 5), "5 is not a schedule"),
    (combine_and_repeat(0, plain(1, "1s")), "times=0"),
    (plain(1, "1s") + "x", "'x' is not a schedule"),
    (steps(1, 1, 0, each="1s"), "steps=0"),
]


@pytest.mark.parametrize(("schedule", "told"), BAD)
def test_bad_values_never_raise_and_are_told(schedule: Schedule, told: str) -> None:
    """One sentence with what was found."""
    (problem,) = schedule.problems()
    assert told in problem


@given(st.integers(0, 10**15))
def test_durations_survive_being_written(ns: int) -> None:
    """The text parses back to the same."""
    assert parse_duration(format_duration(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1h30m", 5400 * SECOND),
        ("250ms", 250_000_000),
        (2, 2 * SECOND),
        (0.1, 100_000_000),
        ("1.5s", 1_500_000_000),
        ("10us", 10_000),
    ],
)
def test_durations_as_users_write_them(text: object, ns: int) -> None:
    """Texts, numbers of seconds."""
    assert parse_duration(text) == ns


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), True, None, "", "5 minutes", "s", b"1s"])
def test_what_is_no_duration_is_told_with_the_cure(value: object) -> None:
    """And the value that was found."""
    with pytest.raises(ValueError, match='is not a duration: write "250ms"') as raised:
        parse_duration(value)
    assert str(raised.value).startswith(repr(value))


def test_calls_between_two_instants_are_those_due_from_the_first_on_and_before_the_second() -> None:
    """Neighbouring spans share none and leave none out."""
    curve = RateCurve(plain(10, "1s") + pause("1s") + ramp(0, 20, "1s"), SECOND)
    edges = [0, 1, 100_000_000, SECOND, 2 * SECOND, 5 * SECOND // 2, 3 * SECOND]
    found = [curve.calls_between(start, end) for start, end in pairwise(edges)]
    assert found == [1, 0, 9, 0, 3, 7] and sum(found) == curve.count
