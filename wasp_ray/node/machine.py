"""What the machine did to a load while it ran: suspension, and throttling by a CPU quota. It must not judge late calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from wasp_ray.clock import suspended_ns

MAX_SUSPENDED_NS = 1_000_000_000
_CPU_GROUPS = ("sys/fs/cgroup", "sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct")
"""Where cgroup v2 is mounted, then v1."""
_THROTTLED = re.compile(r"^throttled_(usec|time) (\d+)$", re.MULTILINE)
"""v2 counts in us, v1 in ns."""


def throttled_ns(root: str = "/") -> int:
    """How long the CPU quota of this process's cgroup has throttled its processes, ns over all CPUs; 0 if that is unknown."""
    for path in _cgroup_paths(root):
        for mount in _CPU_GROUPS:
            try:
                with open(f"{root}{mount}{path}/cpu.stat") as file:
                    found = _THROTTLED.search(file.read())
            except OSError:
                continue
            if found:
                return int(found[2]) * (1000 if found[1] == "usec" else 1)
    return 0


def _cgroup_paths(root: str) -> Iterator[str]:
    """The process's own cgroup by /proc, then the root of the mount: in a container that is the container's."""
    try:
        with open(f"{root}proc/self/cgroup") as file:
            yield from re.findall(r"^\d+:(?:|[^:\n]*\bcpu\b[^:\n]*):(/.+)$", file.read(), re.MULTILINE)
    except OSError:
        pass
    yield ""


class MachineWatch:
    """Measures from `begin`, at t = 0, to `end`, when the last call has ended. The clocks are arguments for tests."""

    def __init__(
        self, suspended: Callable[[], int] = suspended_ns, throttled: Callable[[], int] = throttled_ns
    ) -> None:
        self._suspended, self._throttled = suspended, throttled
        self._before = (0, 0)
        self.suspended_ns = self.throttled_ns = 0

    def begin(self) -> None:
        """Notes where the counters of the machine are."""
        self._before = self._suspended(), self._throttled()

    def end(self) -> None:
        """Measures how far they have come."""
        suspended, throttled = self._before
        self.suspended_ns = max(0, self._suspended() - suspended)
        self.throttled_ns = max(0, self._throttled() - throttled)

    def reasons(self) -> list[str]:
        """Reasons for the verdict `invalid`."""
        if self.suspended_ns <= MAX_SUSPENDED_NS:
            return []
        return [
            f"this machine was suspended for {self.suspended_ns / 1e9:.1f} s during the load: no call started then and times do"
            " not contain it; run the load again and keep the machine from sleeping"
        ]
