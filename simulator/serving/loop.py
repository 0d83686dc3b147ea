"""The serving loop of one replica between two events of the world, in one numba call.

``advance`` forms a batch, prices it, moves the clock to its end, emits tokens, and goes on until
something outside matters: the horizon (the next arrival), a completion that somebody waits for, a
batch size that has no price yet, a full log, or nothing left to do. Where nothing runs and nothing
waits it jumps to the next request that was posted ahead.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels import executor
from simulator.kernels.arithmetic import scale_up
from simulator.kernels.arrays import BoolArray, Float64Array, Int64Array
from simulator.kernels.executor import TOTAL_FIELDS
from simulator.kernels.jit import inner, kernel
from simulator.serving.accumulators import add_interval
from simulator.serving.admission import NEW, PAST, State, receive
from simulator.serving.fields import (
    BLOCK_BYTES,
    BLOCK_PS,
    BLOCK_TOKENS,
    BLOCKS_IN_ALL,
    COPIED_IN,
    COPIED_OUT,
    DEADLINE,
    EMITTED,
    EVICTABLE,
    FREE_BLOCKS,
    HASH_BLOCKS,
    HELD,
    HELD_SHARED,
    HOST_BYTES_PER_S,
    HOST_PS,
    INBOX_HEAD,
    INBOX_TAIL,
    ITERATIONS,
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
    MOVED_IN,
    MOVED_OUT,
    MOVED_POOL,
    NOW,
    PAIR_SUM,
    PAST_SUM,
    PEAK_BLOCKS,
    POOL_BYTES_PER_S,
    POOL_IN,
    PROMPT,
    QUEUE_HEAD,
    QUEUE_TAIL,
    READY_AT,
    RUNNING,
    SCHEDULED,
    SEQUENCE_PS,
    SEQUENCE_SUM,
    STOP_AT_COMPLETION,
    TOKEN_SUM,
    TOKENS,
)
from simulator.serving.kv_cache import cached_prefix, grow
from simulator.serving.prefix_cache import unrefer
from simulator.serving.scheduler import end_batch, form_batch
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
CUT = 6
"""The iteration would end after the deadline: it was formed and never takes place."""
STALLED = 7
"""Requests wait for blocks that others hold (prefill replicas, until the cache has moved)."""

PS_PER_S = 10**12


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


@inner
def copy_ps(settings: Int64Array, replica: Int64Array) -> int:
    """How long the batch waits for blocks on their way to and from host and pool.

    Both directions of the host link work at once, and the pool is read through the host.
    """
    size = settings[BLOCK_BYTES]
    most = max(replica[COPIED_IN], replica[COPIED_OUT])
    if most == 0:
        return 0
    time = scale_up(most * size, PS_PER_S, settings[HOST_BYTES_PER_S])
    if replica[POOL_IN] > 0:
        pool = scale_up(replica[POOL_IN] * size, PS_PER_S, settings[POOL_BYTES_PER_S])
        time = max(time, pool)
    replica[MOVED_IN] += replica[COPIED_IN]
    replica[MOVED_OUT] += replica[COPIED_OUT]
    replica[MOVED_POOL] += replica[POOL_IN]
    replica[COPIED_IN] = 0
    replica[COPIED_OUT] = 0
    replica[POOL_IN] = 0
    return time


@inner
def next_batch(state: State, horizon: int) -> int:
    """Form a batch at NOW or, where nothing can run, at the next posted request.

    Returns UNPRICED when there is one, otherwise why there is none.
    """
    _, replica, requests, inbox, waiting, _, _, _ = state
    while True:
        if replica[NOW] >= horizon:
            return HORIZON
        receive(replica, requests, inbox, waiting)
        reason = IDLE
        if replica[RUNNING] > 0 or replica[QUEUE_HEAD] < replica[QUEUE_TAIL]:
            form_batch(state)
            if replica[SCHEDULED] > 0:
                return UNPRICED
            reason = STALLED
        if replica[INBOX_HEAD] == replica[INBOX_TAIL]:
            return reason
        coming = requests[inbox[replica[INBOX_HEAD]], READY_AT]
        if coming >= horizon:
            return HORIZON if reason == IDLE else reason
        replica[NOW] = coming


@kernel
def advance(
    state: State,
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
    settings, replica, _, _, _, _, batch, _ = state
    prices = np.zeros(table.shape[1:], dtype=np.int64)
    step = np.zeros(TOTAL_FIELDS, dtype=np.int64)
    while True:
        if replica[SCHEDULED] == 0:
            if len(log) > 0 and replica[LOGGED] == len(log):
                return LOG_FULL
            reason = next_batch(state, horizon)
            if reason != UNPRICED:
                return reason
        tokens, logits, count = replica[TOKENS], replica[LOGITS], replica[SCHEDULED]
        if not priced[0, tokens] or not priced[1, logits]:
            return UNPRICED
        new, past = batch[NEW][:count], batch[PAST][:count]
        price_step(packed, table, tokens, logits, new, past, prices, step)
        host = settings[HOST_PS] + copy_ps(settings, replica)
        duration = step[executor.TIME] + host
        if duration > LONGEST_STEP_PS or replica[NOW] > LATEST_PS:
            return TOO_LONG
        start = replica[NOW]
        if start + duration > settings[DEADLINE]:
            return CUT
        replica[LAST_START] = start
        blocks = settings[BLOCKS_IN_ALL] - replica[FREE_BLOCKS] - replica[EVICTABLE]
        replica[PEAK_BLOCKS] = max(replica[PEAK_BLOCKS], blocks)
        replica[NOW] = start + duration
        replica[ITERATIONS] += 1
        for field in range(TOTAL_FIELDS):
            totals[field] += step[field]
        totals[executor.CAUSES + executor.CAUSE_HOST] += host
        totals[executor.TIME] += host
        add_sums(sums, replica, blocks, duration, new, past)
        add_interval(sums, start, start + duration, blocks, tokens, logits)
        if len(log) > 0:
            write_log(log, replica, start, blocks, step)
        finished = end_batch(state)
        if finished > 0 and settings[STOP_AT_COMPLETION] == 1:
            return COMPLETION


@kernel
def reserve(state: State, number: int) -> bool:
    """Take the blocks for COMPUTED + 1 tokens of a request ahead of its arrival."""
    settings, replica, requests, _, _, _, _, prefixes = state
    return grow(settings, replica, requests[number], prefixes, 1)


@kernel
def release_held(state: State, number: int) -> None:
    """Return the blocks that were held for a prefilled request."""
    settings, replica, requests, _, _, _, _, prefixes = state
    request = requests[number]
    replica[FREE_BLOCKS] += request[HELD]
    request[HELD] = 0
    unrefer(settings, replica, request, request[HELD_SHARED], prefixes)
    request[HELD_SHARED] = 0


@kernel
def tokens_in_flight(state: State) -> int:
    """Prompts and emitted tokens of all requests that a replica has; what a router balances."""
    _, replica, requests, inbox, waiting, running, _, _ = state
    tokens = 0
    for index in range(replica[RUNNING]):
        tokens += requests[running[index], PROMPT] + requests[running[index], EMITTED]
    for index in range(replica[QUEUE_HEAD], replica[QUEUE_TAIL]):
        tokens += requests[waiting[index], PROMPT] + requests[waiting[index], EMITTED]
    for index in range(replica[INBOX_HEAD], replica[INBOX_TAIL]):
        tokens += requests[inbox[index], PROMPT] + requests[inbox[index], EMITTED]
    return tokens


@kernel
def cached_tokens(state: State, number: int) -> int:
    """Leading tokens of a request that are in the prefix cache."""
    settings, _, requests, _, _, _, _, prefixes = state
    return (
        cached_prefix(settings, requests[number], prefixes) * settings[HASH_BLOCKS] * (BLOCK_TOKENS)
    )
