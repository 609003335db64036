"""A batch of records as columns: what the drain hands to books and sinks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Batch:
    """New records of a slab, alike in length; group, path, status, error hold node-wide string numbers."""

    rows: NDArray[np.void]  # the fields of wire.record.SLOT_FIELDS
    ring: NDArray[np.intp]
    group: NDArray[np.int32]
    path: NDArray[np.int32]
    status: NDArray[np.int32]
    error: NDArray[np.int32]
    data: dict[int, bytes] = field(default_factory=dict)  # index into rows -> raw JSON
    counters: list[tuple[str, int]] = field(default_factory=list)
