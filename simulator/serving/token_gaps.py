"""The times between two tokens of a request, as a histogram that the serving loop fills.

int64[GAP_FIELDS] with 256 bins for each power of two (a bin is 0.4 % wide), so that a run of any
length takes the same memory; replicas with the same plan share it.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.jit import inner

SUB_BIN_BITS = 8
SUB_BINS = 1 << SUB_BIN_BITS
GAP_BINS = 56 * SUB_BINS
LAST_GAP = GAP_BINS
LAST_BIN = GAP_BINS + 1
"""The gap that was counted last and its bin: sequences of one batch mostly share it."""
GAP_FIELDS = GAP_BINS + 2


@inner
def add_gap(gaps: Int64Array, gap: int, count: int) -> None:
    """Count the time between two tokens of ``count`` requests, in picoseconds."""
    if gap != gaps[LAST_GAP]:
        # mostly that of the last gap
        exponent = max(0, (gaps[LAST_BIN] >> SUB_BIN_BITS) - 1)
        while gap >> exponent >= 2 * SUB_BINS:
            exponent += 1
        while exponent > 0 and gap >> exponent < SUB_BINS:
            exponent -= 1
        gaps[LAST_GAP] = gap
        gaps[LAST_BIN] = exponent * SUB_BINS + (gap >> exponent)
    gaps[gaps[LAST_BIN]] += count


def gap_values() -> Float64Array:
    """The lower bounds (ps) of the histogram's bins and, last, the upper bound of the last one."""
    index = np.arange(GAP_BINS + 1, dtype=np.int64)
    exponent = np.maximum(index // SUB_BINS - 1, 0)
    bounds: Float64Array = np.ldexp((index - exponent * SUB_BINS).astype(np.float64), exponent)
    return bounds
