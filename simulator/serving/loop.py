"""The serving loop of one replica between two events of the world, in one numba call.

``advance`` forms a batch, prices it, moves the clock to its end, emits tokens, and goes on until
something outside matters: the horizon (the next arrival), a completion that somebody waits for, a
batch size that has no price yet, a full log, or nothing left to do.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels import executor
from simulator.kernels.arrays import BoolArray, Float64Array, Int64Array
from simulator.kernels.executor import TOTAL_FIELDS
from simulator.kernels.jit import inner, kernel
from simulator.serving.scheduler import (
    FREE_BLOCKS,
    ITERATIONS,
    LOGGED,
    LOGITS,
    NOW,
    PEAK_BLOCKS,
    QUEUE_HEAD,
    QUEUE_TAIL,
    RUNNING,
    SCHEDULED,
    TOKENS,
    end_batch,
    form_batch,
)
from simulator.timing.batch import Packed, price_step
from simulator.timing.step import LONGEST_STEP_PS

# Why ``advance`` came back.
IDLE = 0
HORIZON = 1
UNPRICED = 2
LOG_FULL = 3
COMPLETION = 4
TOO_LONG = 5
"""The clock would leave the range of 64-bit picoseconds."""

# Fixed settings, int64[SETTINGS].
BUDGET = 0
MOST = 1
BLOCKS = 2
HOST_PS = 3
STOP_AT_COMPLETION = 4
SETTINGS = 5

# Running sums, float64[SUMS]; beyond the range of int64, or not whole.
BLOCK_PS = 0
SEQUENCE_PS = 1
TOKEN_SUM = 2
LOGIT_SUM = 3
PAIR_SUM = 4
PAST_SUM = 5
LOGIT_ITERATIONS = 6
SEQUENCE_SUM = 7
SUMS = 8

# Columns of the iteration log.
LOG_START = 0
LOG_END = 1
LOG_TOKENS = 2
LOG_SEQUENCES = 3
LOG_WAITING = 4
LOG_BLOCKS = 5
LOG_BUSY = 6
LOG_FIELDS = 11

LATEST_PS = 9 * 10**18
NO_HORIZON = np.iinfo(np.int64).max


@inner
def add_sums(
    sums: Float64Array,
    replica: Int64Array,
    blocks: int,
    duration: int,
    new: Int64Array,
    past: Int64Array,
) -> None:
    """Count a batch for the report."""
    sums[BLOCK_PS] += float(blocks) * duration
    sums[SEQUENCE_PS] += float(len(new)) * duration
    sums[TOKEN_SUM] += replica[TOKENS]
    sums[LOGIT_SUM] += replica[LOGITS]
    sums[SEQUENCE_SUM] += len(new)
    if replica[LOGITS] > 0:
        sums[LOGIT_ITERATIONS] += 1
    pairs = 0
    cached = 0
    for i in range(len(new)):
        pairs += new[i] * past[i] + new[i] * (new[i] + 1) // 2
        cached += past[i]
    sums[PAIR_SUM] += pairs
    sums[PAST_SUM] += cached


@inner
def write_log(
    log: Int64Array, replica: Int64Array, start: int, blocks: int, step: Int64Array
) -> None:
    """Add a row to the iteration log."""
    row = log[replica[LOGGED]]
    row[LOG_START] = start
    row[LOG_END] = replica[NOW]
    row[LOG_TOKENS] = replica[TOKENS]
    row[LOG_SEQUENCES] = replica[SCHEDULED]
    row[LOG_WAITING] = replica[QUEUE_TAIL] - replica[QUEUE_HEAD]
    row[LOG_BLOCKS] = blocks
    for unit in range(5):
        row[LOG_BUSY + unit] = step[executor.BUSY + unit]
    replica[LOGGED] += 1


@kernel
def advance(
    settings: Int64Array,
    replica: Int64Array,
    requests: Int64Array,
    waiting: Int64Array,
    running: Int64Array,
    new: Int64Array,
    past: Int64Array,
    table: Int64Array,
    priced: BoolArray,
    packed: Packed,
    totals: Int64Array,
    sums: Float64Array,
    log: Int64Array,
    horizon: int,
) -> int:
    """Run iterations that start before ``horizon``; returns why it stopped.

    ``priced`` is bool[2, rows]: whether ``table`` holds the prices of a number of tokens (0) and
    of logit positions (1). After UNPRICED the caller fills them in and calls again; the batch that
    was formed is kept.
    """
    prices = np.zeros(table.shape[1:], dtype=np.int64)
    step = np.zeros(TOTAL_FIELDS, dtype=np.int64)
    while True:
        if replica[SCHEDULED] == 0:
            if replica[NOW] >= horizon:
                return HORIZON
            if replica[RUNNING] == 0 and replica[QUEUE_HEAD] == replica[QUEUE_TAIL]:
                return IDLE
            if len(log) > 0 and replica[LOGGED] == len(log):
                return LOG_FULL
            form_batch(
                replica, requests, waiting, running, settings[BUDGET], settings[MOST], new, past
            )
        tokens, logits, count = replica[TOKENS], replica[LOGITS], replica[SCHEDULED]
        if not priced[0, tokens] or not priced[1, logits]:
            return UNPRICED
        price_step(packed, table, tokens, logits, new[:count], past[:count], prices, step)
        if step[executor.TIME] > LONGEST_STEP_PS or replica[NOW] > LATEST_PS:
            return TOO_LONG
        start = replica[NOW]
        duration = step[executor.TIME] + settings[HOST_PS]
        blocks = settings[BLOCKS] - replica[FREE_BLOCKS]
        replica[PEAK_BLOCKS] = max(replica[PEAK_BLOCKS], blocks)
        replica[NOW] = start + duration
        replica[ITERATIONS] += 1
        for field in range(TOTAL_FIELDS):
            totals[field] += step[field]
        totals[executor.CAUSES + executor.CAUSE_HOST] += settings[HOST_PS]
        totals[executor.TIME] += settings[HOST_PS]
        add_sums(sums, replica, blocks, duration, new[:count], past[:count])
        if len(log) > 0:
            write_log(log, replica, start, blocks, step)
        finished = end_batch(replica, requests, running, new)
        if finished > 0 and settings[STOP_AT_COMPLETION] == 1:
            return COMPLETION
