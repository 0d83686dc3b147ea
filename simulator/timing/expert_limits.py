"""Where tokens more give a library's expert matmuls another tile, and what that may not save.

Some libraries take the rows of their tiles by the mean load of an expert, not by what is fastest
(``kernels.expert_kernels.guesses``). A larger tile can take less time for one token more. Nobody
has to take less time for fewer tokens, as they can be padded; what is measured is nearer to the
other way round: with a larger tile a layer takes as long as the most tokens with a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import SYSTOLIC, UNIT_KIND
from simulator.kernels.expert_kernels import (
    first_rows,
    guesses,
    largest_load,
    most_rows,
    next_rows,
)
from simulator.kernels.jit import kernel
from simulator.timing.expert_library import library
from simulator.timing.prices import ACTIVATION_BITS, WEIGHT_BITS

_MOST_TILES = 16


@kernel
def fill_limits(chip: Int64Array, bits: Int64Array, row: Int64Array, out: Float64Array) -> int:
    """Fill ``out`` with the largest mean load for each tile but the largest; returns their number,
    0 where tiles do not follow from it."""
    if chip[UNIT_KIND] == SYSTOLIC:
        return 0
    kernels = library(chip, bits, row)
    if not guesses(chip, kernels):
        return 0
    most = most_rows(chip, (bits[ACTIVATION_BITS], bits[WEIGHT_BITS]), kernels)
    rows = first_rows(kernels)
    count = 0
    while rows < most and count < len(out):
        out[count] = largest_load(chip, rows, kernels)
        count += 1
        rows = next_rows(rows, kernels)
    return count


def limits_of(chip: Int64Array, bits: Int64Array, row: Int64Array) -> list[float]:
    """The mean loads of experts beyond which the next larger tile is taken, rising."""
    out = np.empty(_MOST_TILES)
    return list(out[: fill_limits(chip, bits, row, out)].tolist())


def last_below(mean: Callable[[int], float], limit: float, tokens: int) -> int:
    """The most tokens with a mean load of at most ``limit``, for a mean that grows with them and is
    above it at ``tokens``; 0 if there are none."""
    low, high = 0, tokens
    while high - low > 1:
        middle = (low + high) // 2
        if mean(middle) <= limit:
            low = middle
        else:
            high = middle
    return low
