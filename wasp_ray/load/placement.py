"""Where users of a Generator are to live: what each asks of the host that an engine of placement finds for it. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Resources of one user, or of one process with users_per_process=. On Ray each is an actor that has them to itself."""

    cpus: float = 1
    """Cores, in fractions if need be."""
    gpus: float = 0
    """A fraction of one, or a whole number; CUDA_VISIBLE_DEVICES has the number."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Custom resources of the cluster's hosts, by name."""

    def problems(self) -> list[str]:
        """What is wrong, one sentence each."""
        out = [
            f"placement: {name}={found!r}: expected a number from 0"
            for name, found in (("cpus", self.cpus), ("gpus", self.gpus))
            if not _is_amount(found)
        ]
        if _is_amount(self.gpus) and self.gpus > 1 and self.gpus != int(self.gpus):
            out.append(f"placement: gpus={self.gpus!r}: expected a fraction of one GPU, or a whole number")
        if not isinstance(self.resources, Mapping) or not all(
            isinstance(name, str) and name and _is_amount(amount) for name, amount in self.resources.items()
        ):
            out.append(f"placement: resources={self.resources!r}: expected amounts by name, as {{'fast_disk': 1}}")
        elif reserved := {name for name in self.resources if name.upper() in ("CPU", "GPU")}:
            out.append(f"placement: resources={sorted(reserved)}: use cpus= and gpus= for CPU and GPU")
        return out

    def to_data(self) -> dict[str, float]:
        """Amounts by the names that Ray has for them; those of nothing are left out."""
        amounts = {"CPU": float(self.cpus), "GPU": float(self.gpus), **{n: float(a) for n, a in self.resources.items()}}
        return {name: amount for name, amount in amounts.items() if amount}


def _is_amount(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value < float("inf")
