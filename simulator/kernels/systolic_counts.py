"""What a run of a systolic array's tile pipeline comes to: cycles, and words through each port."""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inner
from simulator.kernels.systolic_ports import (
    CERTAIN,
    COL,
    COLD,
    DOUBT,
    OUT,
    ROW,
    WORDS_IN,
    WORDS_OUT,
    WRONG,
    Ints,
)

# entries of the result vector of run_pipeline
TOTAL_CYCLES = 0
COLD_CYCLES = 1
WRITE_BACK_CYCLES = 2
ROW_WORDS = 3
COL_WORDS = 4
OUT_READ_WORDS = 5
OUT_WRITE_WORDS = 6

IN_VAIN = -2
"""The cycles of a run that is to be made again with more care."""


@inner
def counts(state: Ints, cycles: int, end: int, p: int, word_time: int) -> Ints:
    """The result vector, int64[7], of a run of ``cycles`` whose last word is in DRAM at ``end``.

    The cycles are -1 where the run was given up, and ``IN_VAIN`` where one of the ports was later
    than thought. A word takes ``word_time`` ticks, ``p`` to a cycle.
    """
    result = np.zeros(7, np.int64)
    result[TOTAL_CYCLES] = cycles
    if np.max(state[:, DOUBT]) == WRONG or state[OUT, DOUBT] != CERTAIN:
        result[TOTAL_CYCLES] = IN_VAIN
    result[COLD_CYCLES] = ceil_div(max(state[ROW, COLD], state[COL, COLD]) * word_time, p)
    result[WRITE_BACK_CYCLES] = max(0, end - result[TOTAL_CYCLES])
    result[ROW_WORDS] = state[ROW, WORDS_IN]
    result[COL_WORDS] = state[COL, WORDS_IN]
    result[OUT_READ_WORDS] = state[OUT, WORDS_IN]
    result[OUT_WRITE_WORDS] = state[OUT, WORDS_OUT]
    return result
