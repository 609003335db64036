"""Mutants that change nothing a test could see, each with the reason. They are drawn, but not tested."""

_BY_FILE: dict[str, dict[str, str]] = {
    "schedule/pacing.py": {
        "return 0 if segment.pause else _half_up(max(to_fraction(segment.start), to_fraction(segment.end))) | 0 -> 1": (
            "a schedule that is 0 all the time is refused, so without its pauses the peak is 1 or more"
        ),
    },
    "stats/bank.py": {
        "if size * BUCKETS <= 8 * len(values):  # a dense count is cheaper than scattered adds"
        " | size * BUCKETS -> (size // BUCKETS)": "both ways count the same, at another speed",
    },
    "aggregator/slow_seconds.py": {
        "self._calls = np.zeros(64, np.int64) | 64 -> 65": "room for more seconds",
        "self._late = np.zeros(64, np.int64) | 64 -> 65": "room for more seconds",
    },
    "aggregator/book.py": {
        "if len(judged) < len(rows): | len(judged) < len(rows) -> (len(judged) <= len(rows))": "all are picked, by a copy",
        "if (column < 0).any(): | 0 -> 1": "the first group is looked up again, and found",
    },
    "wire/ring.py": {
        "if now - began >= self._ring_wait_ns: | now - began >= self._ring_wait_ns -> (now - began > self._ring_wait_ns)": (
            "a nanosecond more of waiting"
        ),
    },
}
EQUIVALENT = {f"wasp_ray/{path}: {change}": why for path, known in _BY_FILE.items() for change, why in known.items()}
"""Reasons by `Mutant.key`."""
