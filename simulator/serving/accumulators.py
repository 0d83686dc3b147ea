"""What the serving loop counts while it runs: gaps between tokens, and the course over time.

Both have a fixed size, so that a run of any length takes the same memory:

- a histogram of the times between two tokens of a request, int64[GAP_FIELDS], with 256 bins for
  each power of two (a bin is 0.4 % wide); replicas with the same plan share it;
- the last ``TIMELINE_FIELDS`` of a replica's sums (float64): ``BINS`` equal intervals of time.
  Where the run outgrows them, pairs of intervals are joined and all are twice as long.
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

BINS = 1000
FIRST_WIDTH_PS = 10**9
WIDTH = 0
"""Length of an interval in picoseconds, 0 before the first iteration."""
BLOCK_PS = 0
COMPUTED_TOKENS = 1
EMITTED_TOKENS = 2
BUSY_PS = 3
SERIES = 4
TIMELINE_FIELDS = 1 + SERIES * BINS


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


@inner
def add_interval(
    sums: Float64Array, start: int, end: int, blocks: int, computed: int, emitted: int
) -> None:
    """Spread an iteration from ``start`` to ``end`` evenly over the intervals that it touches.

    ``blocks`` of KV cache were in use, ``computed`` tokens went in, ``emitted`` came out.
    """
    base = len(sums) - TIMELINE_FIELDS
    width = max(int(sums[base + WIDTH]), FIRST_WIDTH_PS)
    while end > width * BINS:
        width *= 2
        for series in range(SERIES):
            first = base + 1 + series * BINS
            for i in range(BINS // 2):
                sums[first + i] = sums[first + 2 * i] + sums[first + 2 * i + 1]
            sums[first + BINS // 2 : first + BINS] = 0.0
    sums[base + WIDTH] = width
    at = start
    while at < end:
        # as at // width, which takes three times as long
        index = int(at / width)
        if index * width > at:
            index -= 1
        elif (index + 1) * width <= at:
            index += 1
        until = min(end, (index + 1) * width)
        share = (until - at) / (end - start)
        place = base + 1 + index
        sums[place + BLOCK_PS * BINS] += float(blocks) * (until - at)
        sums[place + COMPUTED_TOKENS * BINS] += computed * share
        sums[place + EMITTED_TOKENS * BINS] += emitted * share
        sums[place + BUSY_PS * BINS] += until - at
        at = until


def gap_values() -> Float64Array:
    """The lower bounds (ps) of the histogram's bins and, last, the upper bound of the last one."""
    index = np.arange(GAP_BINS + 1, dtype=np.int64)
    exponent = np.maximum(index // SUB_BINS - 1, 0)
    bounds: Float64Array = np.ldexp((index - exponent * SUB_BINS).astype(np.float64), exponent)
    return bounds
