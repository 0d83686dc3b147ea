"""When each tile of a matmul on a systolic array moves: what traces and step-by-step views show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError
from simulator.kernels import systolic as closed
from simulator.kernels import systolic_chunks as chunking
from simulator.timing.systolic import DATAFLOWS, SystolicCase, check_case, run_case, ticks_of

MAX_TRACED_TILES = 2**21


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each tile of a case moves.

    ``feeds[f, 0]`` is the cycle at which fold f starts to load its stationary operand (unused when
    output stationary), ``feeds[f, 1 + c]`` that at which its chunk c starts to stream; a stream
    has ``chunks`` chunks and ``stream`` cycles. In units of 1/``ticks`` cycle, ``arrivals`` says
    for the same tiles when they had arrived from DRAM, and at ``1 + chunks + c`` for the tiles of
    B when output stationary or for partial sums read back; ``writes[f, c]`` when a result tile
    (one a fold when output stationary) was in DRAM. -1 is for what did not move. A word takes
    ``word_ticks``. Results of weight- and input-stationary folds are R + C - 2 cycles under way
    through the array; their DRAM times are without that delay.
    """

    feeds: NDArray[np.int64]
    arrivals: NDArray[np.int64]
    writes: NDArray[np.int64]
    chunks: int
    stream: int
    ticks: int
    word_ticks: int


def systolic_schedule(case: SystolicCase) -> Schedule:
    """The tile pipeline of a case with its times kept; some 32 bytes for each tile.

    Raises InputError for a case that ``check_case`` refuses and for more than 2**21 tiles.
    """
    wrong = check_case(case)
    if wrong is not None:
        raise InputError(wrong[1])
    flow = DATAFLOWS[case.dataflow]
    stream = closed.stream_cycles(flow, case.m, case.k, case.n, case.macs)
    chunks = chunking.chunk_count(stream, case.rows, case.cols)
    folds = closed.fold_count(flow, case.m, case.k, case.n, case.rows, case.cols)
    if folds * chunks > MAX_TRACED_TILES:
        raise InputError(
            f"{folds} folds of {chunks} chunks are too many to list; at most {MAX_TRACED_TILES} "
            "tiles in all"
        )
    if case.arrays != 1:
        raise InputError("the schedule of a single array can be listed, not that of several")
    feeds = np.zeros((folds, 1 + chunks), np.int64)
    arrivals = np.full((folds, 1 + 2 * chunks), -1, np.int64)
    writes = np.full(folds * chunks, -1, np.int64)
    run_case(case, feeds, arrivals, writes)
    p, q = ticks_of(case)
    return Schedule(feeds, arrivals, writes.reshape(folds, chunks), chunks, stream, p, q)
