"""The price of attention on one chip, over a batch of sequences; ``latent_prices`` is beside it.

Both count the work of each unit into a ``work`` vector (``WORK_*``), which ``chipsim op`` shows,
and turn it into a price. Matrix unit, vector unit, HBM and on-chip memory overlap, because queries
and the next block of keys are fetched ahead; with PLAN_NO_PREFETCH a block is fetched when the one
before has been used, so HBM's time adds to the others' and each block waits for its first word.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, clear, ps_to_cycles, scale_up
from simulator.kernels.arrays import Int64Array
from simulator.kernels.attention import (
    Shape,
    attended_pairs,
    kv_passes,
    needed_keys,
    sequence_cycles,
)
from simulator.kernels.chip_vector import (
    ATTENTION_BITS,
    CLOCK_HZ,
    COLS,
    HBM_BYTES_PER_S,
    HBM_LATENCY_PS,
    ROWS,
    SRAM_BYTES_PER_S,
    SYSTOLIC,
    UNIT_COUNT,
    UNIT_KIND,
    VECTOR_OPS,
    run_bandwidth,
)
from simulator.kernels.executor import (
    CAUSE,
    DURATION,
    HBM,
    MATRIX,
    READ,
    SRAM,
    VECTOR,
    WRITE,
    dominant,
)
from simulator.kernels.jit import inner, kernel
from simulator.mapping import tiles
from simulator.model.operators import SOFTMAX_OPS
from simulator.timing.gpu_attention_prices import count_gpu_attention
from simulator.timing.prices import (
    KV_BITS,
    PLAN_HEAD_DIM,
    PLAN_HEADS,
    PLAN_KV_HEADS,
    PLAN_NO_PREFETCH,
    PLAN_NO_UPDATE,
    PLAN_WINDOW,
    resident,
    to_ps,
)
from simulator.timing.work import (
    WORK_CYCLES,
    WORK_FIELDS,
    WORK_FLOPS,
    WORK_HBM,
    WORK_MATRIX,
    WORK_READ,
    WORK_ROUNDS,
    WORK_SRAM,
    WORK_SRAM_BYTES,
    WORK_VECTOR,
    WORK_WRITE,
)

KV_RUN_TOKENS = 16
"""Tokens of one head that lie together in HBM: a block of the paged KV cache."""


@inner
def add_sequences(
    chip: Int64Array,
    shape: Shape,
    kv_heads: int,
    a_bits: int,
    sequence: tuple[int, int, int],
    work: Int64Array,
) -> int:
    """Count ``sequence`` = (new, past, copies) equal sequences; returns the tokens read from the
    cache (its own tokens only where they are read again)."""
    new, past, copies = sequence
    group, key_dim, value_dim, window = shape
    cycles, scores, fed, blocks = sequence_cycles(chip, new, past, shape)
    passes = kv_passes(chip, new, group, value_dim, a_bits)
    heads = copies * kv_heads
    work[WORK_MATRIX] += cycles * heads
    work[WORK_VECTOR] += scores * heads * SOFTMAX_OPS
    work[WORK_SRAM_BYTES] += fed * copies
    work[WORK_FLOPS] += (
        2 * attended_pairs(new, past, window) * group * heads * (key_dim + value_dim)
    )
    work[WORK_ROUNDS] += (blocks + 1) * copies
    return copies * (needed_keys(new, past, window) * passes + new * (passes - 1))


@inner
def add_batch(
    chip: Int64Array,
    shape: Shape,
    kv_heads: int,
    a_bits: int,
    new: Int64Array,
    past: Int64Array,
    work: Int64Array,
) -> int:
    """Count all sequences, runs of equal ones at once; returns the tokens read from the cache."""
    kv_read = 0
    start = 0
    while start < len(new):
        end = start + 1
        while end < len(new) and new[end] == new[start] and past[end] == past[start]:
            end += 1
        sequence = (new[start], past[start], end - start)
        kv_read += add_sequences(chip, shape, kv_heads, a_bits, sequence, work)
        start = end
    return kv_read


@inner
def finish(chip: Int64Array, row: Int64Array, work: Int64Array) -> None:
    """Turn counted work into cycles: counts of products and scores are those of one array."""
    clock = chip[CLOCK_HZ]
    work[WORK_MATRIX] = ceil_div(work[WORK_MATRIX], chip[UNIT_COUNT])
    work[WORK_VECTOR] = ceil_div(work[WORK_VECTOR], chip[VECTOR_OPS])
    work[WORK_SRAM] = scale_up(work[WORK_SRAM_BYTES], clock, chip[SRAM_BYTES_PER_S])
    fill = 2 * chip[ROWS] + chip[COLS] - 2
    on_chip = max(max(work[WORK_MATRIX], work[WORK_VECTOR]), work[WORK_SRAM])
    busy = max(on_chip, work[WORK_HBM])
    if row[PLAN_NO_PREFETCH] == 1:
        waits = work[WORK_ROUNDS] * ps_to_cycles(chip[HBM_LATENCY_PS], clock)
        busy = on_chip + work[WORK_HBM] + waits
    work[WORK_CYCLES] = tiles.fixed_cycles(chip) + fill + busy


@inner
def count_attention(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    new: Int64Array,
    past: Int64Array,
    work: Int64Array,
) -> None:
    """Fill ``work`` for grouped-query attention over a batch."""
    if chip[UNIT_KIND] != SYSTOLIC:
        count_gpu_attention(chip, bits, row, new, past, work)
        return
    kv_heads, dim = row[PLAN_KV_HEADS], row[PLAN_HEAD_DIM]
    clear(work)
    shape = (ceil_div(row[PLAN_HEADS], kv_heads), dim, dim, row[PLAN_WINDOW])
    kv_read = add_batch(chip, shape, kv_heads, chip[ATTENTION_BITS], new, past, work)
    tokens = 0
    for i in range(len(new)):
        tokens += new[i]
    close_attention(chip, bits, row, tokens, kv_read, work)


@inner
def close_attention(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    tokens: int,
    kv_read: int,
    work: Int64Array,
) -> None:
    """Complete ``work`` that holds the sums of ``add_sequences`` over a batch of ``tokens``."""
    a_bits, kv_bits = chip[ATTENTION_BITS], bits[KV_BITS]
    heads, kv_heads, dim = row[PLAN_HEADS], row[PLAN_KV_HEADS], row[PLAN_HEAD_DIM]
    token_bytes = bits_to_bytes(2 * kv_heads * dim * kv_bits)
    cached = 0 if row[PLAN_NO_UPDATE] == 1 else tokens
    if not resident(chip, tokens * 2 * kv_heads * dim, a_bits):
        kv_read += cached
    clock = chip[CLOCK_HZ]
    work[WORK_READ] = kv_read * token_bytes
    work[WORK_WRITE] = cached * token_bytes
    # A block of the paged cache keeps one head's tokens together.
    paged = run_bandwidth(chip, bits_to_bytes(KV_RUN_TOKENS * dim * kv_bits))
    work[WORK_HBM] = scale_up(work[WORK_READ] + work[WORK_WRITE], clock, paged)
    moved = bits_to_bytes(tokens * heads * dim * a_bits)
    if not resident(chip, tokens * heads * dim, a_bits):
        work[WORK_READ] += moved
        work[WORK_WRITE] += moved
        work[WORK_HBM] += scale_up(2 * moved, clock, chip[HBM_BYTES_PER_S])
    work[WORK_SRAM_BYTES] *= token_bytes
    work[WORK_SRAM_BYTES] += bits_to_bytes(2 * tokens * heads * dim * a_bits)
    finish(chip, row, work)


@inner
def to_price(chip: Int64Array, work: Int64Array, out: Int64Array) -> None:
    """Work as a row of ``kernels.executor``'s prices."""
    clear(out)
    out[DURATION] = to_ps(chip, work[WORK_CYCLES])
    out[MATRIX] = to_ps(chip, work[WORK_MATRIX])
    out[VECTOR] = to_ps(chip, work[WORK_VECTOR])
    out[HBM] = to_ps(chip, work[WORK_HBM])
    out[SRAM] = to_ps(chip, work[WORK_SRAM])
    out[READ] = work[WORK_READ]
    out[WRITE] = work[WORK_WRITE]
    out[CAUSE] = dominant(out)


@kernel
def price_attention(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    new: Int64Array,
    past: Int64Array,
    out: Int64Array,
) -> None:
    """Price of attention over a batch: sequence i has new[i] queries after past[i] keys.

    ``row`` has PLAN_HEADS, PLAN_KV_HEADS, PLAN_HEAD_DIM and PLAN_WINDOW of this chip's share;
    ``out`` is int64[PRICE_FIELDS].
    """
    work = np.empty(WORK_FIELDS, dtype=np.int64)
    count_attention(chip, bits, row, new, past, work)
    to_price(chip, work, out)


@kernel
def count_cases(
    chip: Int64Array, bits: Int64Array, rows: Int64Array, batches: Int64Array, work: Int64Array
) -> None:
    """Work of many independent operators: case i has batches[i] = (sequences, new, past).

    ``rows`` is int64[cases, PLAN_FIELDS], ``work`` int64[cases, WORK_FIELDS].
    """
    for i in range(len(rows)):
        new = np.empty(batches[i, 0], dtype=np.int64)
        past = np.empty(batches[i, 0], dtype=np.int64)
        for sequence in range(len(new)):
            new[sequence] = batches[i, 1]
            past[sequence] = batches[i, 2]
        count_attention(chip, bits, rows[i], new, past, work[i])
