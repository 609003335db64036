"""The circular block bootstrap over the cells of strata: seeded draws, shared by all series of equal shape.

A cell is a second, or a few seconds in long runs. A replicate draws blocks of neighbouring cells with replacement,
each stratum by itself; single calls are never drawn, since the calls of one stall are one event.
Politis and Romano, "A circular block-resampling procedure for stationary data" (1992).
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

REPLICATES = 2000
MAX_CELLS = 1800
"""Cells of one side. Longer runs have cells of several seconds: two hours have 4 s, far below what 15 blocks allow."""
_KEPT_BYTES = 128 << 20
"""Memory of the draws that are kept for the next series; those of a side and a block length take 3.6 MB."""

Floats = NDArray[np.float32]


class Resampler:
    """Draws of blocks. Equal seeds give equal draws, whatever was drawn before."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._kept: OrderedDict[tuple[int, int, int], NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def totals(self, stream: int, sums: NDArray[np.float64], length: int) -> Floats:
        """Return the total of each column of `sums` (cells x columns) in each replicate: REPLICATES x columns.

        Blocks have `length` cells. Streams are independent of each other: each side, run and stratum has its own.
        A replicate counts as many cells as there are: whole blocks are drawn and scaled up.
        """
        cells = len(sums)
        starts = self._starts(stream, cells, length)
        around = np.concatenate([np.zeros((1, sums.shape[1])), sums, sums[: length - 1]]).cumsum(axis=0)
        blocks = (around[length:] - around[:-length]) * (cells / (cells // length * length))
        made: Floats = starts.astype(np.float32) @ blocks.astype(np.float32)
        return made

    def _starts(self, stream: int, cells: int, length: int) -> NDArray[np.uint8]:
        """How often each replicate draws the block that begins at each cell: REPLICATES x cells."""
        key = stream, cells, length
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        rng = np.random.default_rng([self._seed, *key])
        drawn = rng.integers(0, cells, size=(REPLICATES, cells // length), dtype=np.int32)
        drawn += np.arange(0, REPLICATES * cells, cells, dtype=np.int32)[:, None]
        # No more blocks than cells: their number at one cell has a mean of at most 1 and never comes near 256.
        starts = np.bincount(drawn.ravel(), minlength=REPLICATES * cells).astype(np.uint8)
        self._kept[key] = starts = starts.reshape(REPLICATES, cells)
        self._bytes += starts.nbytes
        while self._bytes > _KEPT_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return starts
