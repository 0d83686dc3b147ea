"""What an iteration adds to the clock, the totals, the sums and the log of a replica."""

from __future__ import annotations

from simulator.kernels import executor
from simulator.kernels.arrays import Int64Array
from simulator.kernels.attention import attended_pairs
from simulator.kernels.executor import TOTAL_FIELDS
from simulator.kernels.jit import inner
from simulator.serving.course import Tally, open_iteration
from simulator.serving.fields import (
    BLOCK_PS,
    BLOCKS_IN_ALL,
    DEADLINE,
    EVICTABLE,
    FREE_BLOCKS,
    ITERATIONS,
    LAST_END,
    LAST_START,
    LATEST_PS,
    LOG_BLOCKS,
    LOG_BUSY,
    LOG_END,
    LOG_SEQUENCES,
    LOG_START,
    LOG_TOKENS,
    LOG_WAITING,
    LOGGED,
    LOGIT_ITERATIONS,
    LOGIT_SUM,
    LOGITS,
    MEETING,
    MEETING_SUM,
    NOW,
    PAIR_SUM,
    PAST_SUM,
    PEAK_BLOCKS,
    QUEUE_HEAD,
    QUEUE_TAIL,
    SCHEDULED,
    SEQUENCE_PS,
    SEQUENCE_SUM,
    TOKEN_SUM,
    TOKENS,
    WINDOW,
    WINDOW_PAIRS,
    WINDOW_PAST,
)
from simulator.timing.step import LONGEST_STEP_PS

# Why ``advance`` came back.
IDLE = 0
HORIZON = 1
UNPRICED = 2
LOG_FULL = 3
COMPLETION = 4
TOO_LONG = 5
"""The clock would leave the range of 64-bit picoseconds."""
CUT = 6
"""The iteration would end after the deadline: it was formed and never takes place."""
STALLED = 7
"""Requests wait for blocks that others hold (prefill replicas, until the cache has moved)."""
GOES_ON = 8


@inner
def refused(settings: Int64Array, replica: Int64Array, duration: int) -> int:
    """Why an iteration cannot take place, or GOES_ON."""
    if duration > LONGEST_STEP_PS or replica[NOW] > LATEST_PS:
        return TOO_LONG
    if replica[NOW] + duration > settings[DEADLINE]:
        return CUT
    return GOES_ON


@inner
def count_iteration(
    settings: Int64Array,
    replica: Int64Array,
    tally: Tally,
    step: Int64Array,
    host: int,
    pairs: int,
    cached: int,
    new: Int64Array,
    past: Int64Array,
) -> None:
    """Move the clock by a priced step and ``host`` picoseconds, and count the batch.

    Its sequences have ``new`` tokens after ``past`` ones in the cache, ``pairs`` unmasked
    query-key pairs a head and ``cached`` tokens together. What they emit is counted by the caller,
    who ends with ``course.close_iteration``.
    """
    totals, sums, _, _ = tally
    start = replica[NOW]
    duration = step[executor.TIME] + host
    open_iteration(replica, tally, start + duration)
    blocks = settings[BLOCKS_IN_ALL] - replica[FREE_BLOCKS] - replica[EVICTABLE]
    replica[LAST_START] = start
    replica[PEAK_BLOCKS] = max(replica[PEAK_BLOCKS], blocks)
    replica[NOW] = start + duration
    replica[LAST_END] = start + duration
    replica[ITERATIONS] += 1
    for field in range(TOTAL_FIELDS):
        totals[field] += step[field]
    totals[executor.CAUSES + executor.CAUSE_HOST] += host
    totals[executor.TIME] += host
    sums[BLOCK_PS] += float(blocks) * duration
    sums[SEQUENCE_PS] += float(replica[SCHEDULED]) * duration
    sums[TOKEN_SUM] += replica[TOKENS]
    sums[MEETING_SUM] += min(replica[TOKENS], settings[MEETING])
    sums[LOGIT_SUM] += replica[LOGITS]
    sums[SEQUENCE_SUM] += replica[SCHEDULED]
    if replica[LOGITS] > 0:
        sums[LOGIT_ITERATIONS] += 1
    sums[PAIR_SUM] += pairs
    sums[PAST_SUM] += cached
    window = settings[WINDOW]
    if window > 0:
        for i in range(replica[SCHEDULED]):
            sums[WINDOW_PAIRS] += attended_pairs(new[i], past[i], window)
            sums[WINDOW_PAST] += min(past[i], window)


@inner
def write_log(log: Int64Array, settings: Int64Array, replica: Int64Array, step: Int64Array) -> None:
    """Add a row to the iteration log."""
    row = log[replica[LOGGED]]
    row[LOG_START] = replica[LAST_START]
    row[LOG_END] = replica[NOW]
    row[LOG_TOKENS] = replica[TOKENS]
    row[LOG_SEQUENCES] = replica[SCHEDULED]
    row[LOG_WAITING] = replica[QUEUE_TAIL] - replica[QUEUE_HEAD]
    row[LOG_BLOCKS] = settings[BLOCKS_IN_ALL] - replica[FREE_BLOCKS] - replica[EVICTABLE]
    for unit in range(5):
        row[LOG_BUSY + unit] = step[executor.BUSY + unit]
    replica[LOGGED] += 1
