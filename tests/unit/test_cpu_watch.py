"""CPU time of a node's own processes over the time of the load."""

from __future__ import annotations

import os

from wasp_ray.clock import cpu_ns_of, process_cpu_ns
from wasp_ray.node.cpu import CpuWatch


def test_only_what_was_taken_in_between_counts() -> None:
    """Of this process and the others, which are threads of it when they have its pid; one that has died adds nothing."""
    now, own, others = [100], [50], {7: 1_000, 8: 2_000, os.getpid(): 9}
    watch = CpuWatch(lambda: now[0], lambda: own[0], lambda pid: others.get(pid, 0))
    watch.begin([7, os.getpid(), 8])
    now[0], own[0], others[7] = 400, 60, 1_005
    del others[8]
    watch.end()
    assert (watch.cpu_ns, watch.over_ns) == (10 + 5, 300)


def test_the_clock_of_a_process_is_its_cpu_time() -> None:
    """As the process reads it itself; of a process that is not there it is 0."""
    before = process_cpu_ns()
    assert before <= cpu_ns_of(os.getpid()) <= process_cpu_ns()
    assert cpu_ns_of(2**22 + 1) == 0
