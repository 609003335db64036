"""What fired and when, from one look at the present after another. Pure; its memory is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wasp_ray.alerts.rules import Alert, Labels

MAX_EPISODES = 500
CLOCK_ERROR_S = 1.0
"""How well the server's clock is known from the Date of its answers, which is cut to the second."""


@dataclass(slots=True)
class Episode:
    """An alert that was seen to fire. `seen_s`, `ended_s`: when it first was, and was not any more (None: it still fires)."""

    rule: str
    labels: Labels
    since_s: float | None
    seen_s: float
    last_s: float
    ended_s: float | None = None

    def before(self, start_s: float) -> bool:
        """Whether it fired before the load began; what may be of the load is."""
        known = self.since_s is not None and self.since_s + CLOCK_ERROR_S <= start_s
        return known or self.seen_s <= start_s

    @property
    def at_s(self) -> float:
        """When it began, as well as that is known."""
        return self.seen_s if self.since_s is None else min(self.since_s, self.seen_s)


class Episodes:
    """All of one check. `left_out`: those beyond the first 500."""

    def __init__(self) -> None:
        self.left_out = 0
        self._all: list[Episode] = []
        self._open: dict[tuple[object, Labels], Episode] = {}
        self._beyond: set[tuple[object, Labels]] = set()

    def __iter__(self) -> Iterator[Episode]:
        return iter(self._all)

    def seen(self, firing: Iterable[tuple[object, str, Alert]], at_s: float, ahead_s: float) -> None:
        """All that fires at an instant, by rule. `ahead_s`: the server's clock minus this one's."""
        now: set[tuple[object, Labels]] = set()
        for rule, name, alert in firing:
            key = (rule, alert.labels)
            now.add(key)
            since_s = None if alert.since_s is None else alert.since_s - ahead_s
            going = self._open.get(key)
            if going is not None and since_s is not None and since_s > going.last_s + CLOCK_ERROR_S:
                going.ended_s, going = since_s, None  # it ended and came again between two looks
            if going is None:
                self._add(key, Episode(name, alert.labels, since_s, at_s, at_s))
            else:
                going.last_s = at_s
        for key in [key for key in self._open if key not in now]:
            self._open.pop(key).ended_s = at_s
        self._beyond &= now

    def _add(self, key: tuple[object, Labels], episode: Episode) -> None:
        if len(self._all) >= MAX_EPISODES:
            self.left_out += key not in self._beyond
            self._beyond.add(key)
            return
        self._all.append(episode)
        self._open[key] = episode
