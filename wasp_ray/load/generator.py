"""The Generator: one load shape. The constructor keeps what it is given and never raises; validate.py reports what is
wrong.
"""

from __future__ import annotations

import enum
import inspect
import random
from collections.abc import Mapping
from typing import Any

from wasp_ray.load.actors import tasks_of
from wasp_ray.load.waits import Drawn, as_wait
from wasp_ray.plan import GeneratorPlan, Kind, SegmentPlan
from wasp_ray.process import raise_descriptor_limit
from wasp_ray.schedule import PoissonCurve, RateCurve, Schedule, UserCurve, make_curve, parse_duration

LEAST_IN_FLIGHT = 1000


class Auto(enum.Enum):
    """A value that the engine chooses."""

    AUTO = "AUTO"

    def __repr__(self) -> str:
        return "AUTO"


AUTO = Auto.AUTO


class Generator:
    """A gun at a rate, or users in a number, over a schedule. Options and defaults: docs/signatures.md.

    Properties ending in _ns need valid values: they raise ValueError on bad durations.
    """

    def __init__(
        self, name: str, *, gun: Any = None, user: Any = None, schedule: Any, params: Mapping[str, Any] = {},
        labels: Mapping[str, str] = {}, feeders: Mapping[str, Any] = {}, shared_data: Any = None, seed: int | None = None,
        rate_unit: Any = "1s", arrivals: str = "constant", call_timeout: Any = "60s", setup_timeout: Any = "60s",
        teardown_timeout: Any = "10s", graceful_stop: Any = "30s", fail_on_error: bool = False, max_calls: int | None = None,
        sample: float = 1.0, on_late: str = "fire", max_in_flight: Any = AUTO, max_workers: int = 200,
        min_delivered: Any = AUTO, users_per_process: int = 1, think_time: Any = 0, pacing: Any = None,
        setup_concurrency: Any = AUTO, placement: Any = None,
    ) -> None:  # fmt: skip
        self.name, self.gun, self.user, self.schedule = name, gun, user, schedule
        self.params, self.labels, self.feeders, self.shared_data, self.seed = params, labels, feeders, shared_data, seed
        self.rate_unit, self.arrivals = rate_unit, arrivals
        self.call_timeout, self.setup_timeout, self.teardown_timeout = call_timeout, setup_timeout, teardown_timeout
        self.graceful_stop, self.fail_on_error, self.max_calls = graceful_stop, fail_on_error, max_calls
        self.sample, self.on_late, self.max_in_flight, self.max_workers = sample, on_late, max_in_flight, max_workers
        self.min_delivered, self.users_per_process = min_delivered, users_per_process
        self.think_time, self.pacing, self.setup_concurrency = think_time, pacing, setup_concurrency
        self.placement = placement

    def __repr__(self) -> str:
        return f"Generator({self.name!r})"

    @property
    def kind(self) -> Kind:
        """ "rate" or "users"."""
        return "rate" if self.gun is not None else "users"

    @property
    def actor(self) -> Any:
        """The Gun or VirtualUser class."""
        return self.gun if self.gun is not None else self.user

    @property
    def is_async(self) -> bool:
        """Whether its calls are coroutines."""
        return any(inspect.iscoroutinefunction(method) for method in self.call_methods())

    def call_methods(self) -> list[Any]:
        """`call`, or the @task methods of a user."""
        tasks = tasks_of(self.actor) if self.gun is None else []
        return [getattr(self.actor, name) for name, _ in tasks] or [self.actor.call]

    @property
    def rate_unit_ns(self) -> int:
        """What a rate of 1 means: one call in so many ns."""
        return parse_duration(self.rate_unit)

    @property
    def call_timeout_ns(self) -> int | None:
        """None: no limit."""
        return None if self.call_timeout is None else parse_duration(self.call_timeout)

    @property
    def setup_timeout_ns(self) -> int:
        """For one setup."""
        return parse_duration(self.setup_timeout)

    @property
    def teardown_timeout_ns(self) -> int:
        """For one teardown."""
        return parse_duration(self.teardown_timeout)

    @property
    def graceful_stop_ns(self) -> int:
        """What calls in flight have at an end."""
        return parse_duration(self.graceful_stop)

    @property
    def think(self) -> Drawn | None:
        """Think time after each call; None: none."""
        drawn = as_wait(self.think_time).resolved()
        return drawn if drawn.first_ns or drawn.second_ns else None

    @property
    def pace(self) -> Drawn | None:
        """Time from one due call to the next; None: no pacing."""
        return None if self.pacing is None else as_wait(self.pacing).resolved()

    def to_plan(self, run_seed: int) -> GeneratorPlan:
        """Return the plan of a Generator without problems. Without a seed of its own it gets one by `run_seed` and its name:
        with equal seeds, Generators would have calls due at the same instants.
        """
        schedule: Schedule = self.schedule.resolved()
        seed = self.seed if self.seed is not None else random.Random(f"{run_seed}/{self.name}").getrandbits(32)
        curve = make_curve(schedule, self.rate_unit_ns, self.arrivals, seed) if self.kind == "rate" else None
        peak = curve.peak_per_s if curve is not None else float(UserCurve(schedule).peak)
        calls = None if curve is None else curve.count
        if calls is not None and self.max_calls is not None:
            calls = min(calls, self.max_calls)
        return GeneratorPlan(
            name=self.name, kind=self.kind, actor_name=self.actor.__qualname__, is_async=self.is_async, schedule=schedule,
            rate_unit_ns=self.rate_unit_ns, arrivals=self.arrivals, labels=dict(self.labels), seed=seed,
            call_timeout_ns=self.call_timeout_ns, setup_timeout_ns=self.setup_timeout_ns,
            teardown_timeout_ns=self.teardown_timeout_ns, graceful_stop_ns=self.graceful_stop_ns,
            min_delivered=self._least_delivered, on_late=self.on_late, max_in_flight=self._in_flight_at(peak),
            max_workers=self.max_workers, users_per_process=self.users_per_process, max_calls=self.max_calls,
            setup_concurrency=None if self.setup_concurrency is AUTO else self.setup_concurrency,
            placement=None if self.placement is None else self.placement.to_data(), fail_on_error=self.fail_on_error,
            calls=calls, peak=peak, duration_ns=schedule.duration_ns, segments=_segments(schedule, curve),
        )  # fmt: skip

    @property
    def _least_delivered(self) -> float:
        """AUTO = 0.99 of the calls of a gun, 0.9 of the user-seconds of users."""
        if self.min_delivered is not AUTO:
            return float(self.min_delivered)
        return 0.99 if self.kind == "rate" else 0.9

    def _in_flight_at(self, peak_per_s: float) -> int:
        """AUTO = max(1000, 2 x peak rate), at most half of the descriptors a process may have."""
        if self.max_in_flight is not AUTO:
            return int(self.max_in_flight)
        wanted = max(LEAST_IN_FLIGHT, int(2 * peak_per_s))
        limit = raise_descriptor_limit()
        return wanted if limit is None else min(wanted, limit // 2)


def _segments(schedule: Schedule, curve: RateCurve | PoissonCurve | None) -> tuple[SegmentPlan, ...]:
    return tuple(
        SegmentPlan(
            index=index, name=segment.name, warmup=segment.warmup, from_ns=from_ns, to_ns=to_ns,
            planned_calls=None if curve is None else curve.calls_between(from_ns, to_ns),
            planned_peak=max(float(segment.start), float(segment.end)),
        )
        for index, (from_ns, to_ns, segment) in enumerate(schedule.bounds())
    )  # fmt: skip
