"""Constant or drawn pacing of one user: due times that do not depend on how long calls take. Pure."""

from __future__ import annotations

import random
from typing import Any

from wasp_ray.wire.record import LATE_NS


class Pace:
    """Due times of a paced user: the first call is due at once, each next one pace later."""

    def __init__(self, wait: Any) -> None:
        self._wait = wait
        self.active = wait is not None
        self.due = 0
        self._step = 0
        self._pending = False

    def next_due(self, now: int, rng: random.Random) -> int:
        """The next due time; the same until `taken`."""
        if not self._pending:
            self._step = self._wait.draw_ns(rng)
            self.due = self.due + self._step if self.due else now
            self._pending = True
        return self.due

    def skip_late(self, now: int) -> int:
        """Drops the paces that are late: how many; the next due lies in the future or is just late enough."""
        skipped = 0
        while now - self.due > LATE_NS and self._step > 0:
            self.due += self._step
            skipped += 1
        return skipped

    def taken(self) -> None:
        """The due call starts now."""
        self._pending = False

    def restart(self) -> None:
        """After a pause: the next call is due at once, what was missed is not made up for."""
        self.due = 0
        self._pending = False
