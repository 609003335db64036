"""Which method the next call runs: `call`, or a @task drawn by weight. It must not time or book anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from wasp_ray.load.actors import tasks_of

Method = Callable[[], Any]


def picker(actor: Any, default_group: str, rng: random.Random) -> Callable[[], tuple[Method, str]] | None:
    """A drawer of (method, group name); None when the actor has a plain `call`."""
    found = tasks_of(type(actor))
    if not found:
        return None
    methods = [(getattr(actor, name), name) for name, _ in found]
    weights = list(accumulate(weight for _, weight in found))

    def pick() -> tuple[Method, str]:
        return rng.choices(methods, cum_weights=weights)[0]

    return pick
