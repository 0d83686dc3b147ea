"""The price of one operator on one chip: the only place where an operator gets its time.

A plan is a model's share of one chip as int64 rows (``PLAN_*``); a price is int64[2,
PRICE_FIELDS] (``kernels.executor``), cold and warm. The kernels below are called by ``chipsim op``,
``chipsim step`` and the serving loop alike.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from simulator.kernels.arithmetic import ceil_div, cycles_to_ps, scale_up
from simulator.kernels.attention import kv_passes, sequence_cycles
from simulator.kernels.chip_vector import (
    ACTIVATION_BYTES,
    CLOCK_HZ,
    COLS,
    HBM_BYTES_PER_S,
    HBM_LATENCY_PS,
    OVERHEAD_PS,
    ROWS,
    SRAM_BYTES_PER_S,
    SYSTOLIC,
    UNIT_COUNT,
    UNIT_KIND,
    VECTOR_OPS,
)
from simulator.kernels.executor import (
    CAUSE,
    COLD,
    DURATION,
    FABRIC,
    FETCH,
    FETCH_BYTES,
    HBM,
    MATRIX,
    READ,
    SENT,
    SRAM,
    VECTOR,
    WARM,
    WRITE,
    dominant,
)
from simulator.kernels.fabric import collective
from simulator.mapping import matmul as mapper
from simulator.model.operators import SOFTMAX_OPS

# Kinds of operators in a plan.
MATMUL = 0
ELEMENTWISE = 1
GATHER = 2
ATTENTION = 3
COLLECTIVE = 4

# Fields of a plan's row.
PLAN_KIND = 0
PLAN_LOGITS = 1
"""1 where the rows are the positions that get logits."""
PLAN_K = 2
PLAN_N = 3
PLAN_STORED = 4
PLAN_OPS = 5
PLAN_READ = 6
PLAN_WRITTEN = 7
PLAN_FUSED = 8
PLAN_COLLECTIVE = 9
PLAN_WIDTH = 10
PLAN_HEADS = 11
PLAN_KV_HEADS = 12
PLAN_HEAD_DIM = 13
PLAN_FIELDS = 14

# Bits of the data types, int64[3].
WEIGHT_BITS = 0
ACTIVATION_BITS = 1
KV_BITS = 2


@njit(cache=True)
def resident(chip, elements: int, bits: int) -> bool:
    """Whether an activation tensor stays on chip: input and output of an operator share SRAM."""
    return 2 * ceil_div(elements * bits, 8) <= chip[ACTIVATION_BYTES]


@njit(cache=True)
def to_ps(chip, cycles: int) -> int:
    """Cycles of this chip in picoseconds, rounded up."""
    return cycles_to_ps(cycles, chip[CLOCK_HZ])


@njit(cache=True)
def price_matmul(chip, bits, row, m: int, mapped, price) -> bool:
    """Cold and warm price of a matmul with weights; False where no tile fits."""
    a_bits, b_bits = bits[ACTIVATION_BITS], bits[WEIGHT_BITS]
    k, n = row[PLAN_K], row[PLAN_N]
    a_moved = 0 if resident(chip, m * k, a_bits) else a_bits
    # A fused gate leaves fewer columns than were computed: spread their bits over the columns.
    c_moved = 0
    if not resident(chip, m * row[PLAN_STORED], a_bits):
        c_moved = ceil_div(a_bits * row[PLAN_STORED], n)
    moved = (a_moved, b_bits, c_moved, a_bits, b_bits)
    fetched = mapper.prefetchable(chip, k, n, b_bits)
    for variant in range(2):
        if variant == WARM and fetched == 0:
            price[WARM] = price[COLD]
            break
        mapper.search(chip, (m, k, n), moved, fetched * variant, mapped)
        if mapped[mapper.CYCLES] < 0:
            if variant == WARM:
                price[WARM] = price[COLD]
                break
            return False
        out = price[variant]
        out[:] = 0
        out[DURATION] = to_ps(chip, mapped[mapper.CYCLES])
        out[MATRIX] = to_ps(chip, mapped[mapper.ARRAY])
        out[SRAM] = to_ps(chip, mapped[mapper.FEED])
        out[HBM] = to_ps(chip, mapped[mapper.HBM])
        out[READ] = mapped[mapper.READ]
        out[WRITE] = mapped[mapper.WRITE]
        out[CAUSE] = dominant(out)
        if variant == WARM:
            out[FETCH_BYTES] = fetched
            out[FETCH] = to_ps(chip, scale_up(fetched, chip[CLOCK_HZ], chip[HBM_BYTES_PER_S]))
    return True


@njit(cache=True)
def price_streaming(chip, ops: int, read: int, written: int, fused: bool, out) -> None:
    """Price of vector work over data that streams through: the slowest of unit and memories."""
    clock = chip[CLOCK_HZ]
    vector = ceil_div(ops, chip[VECTOR_OPS])
    hbm = scale_up(read + written, clock, chip[HBM_BYTES_PER_S])
    fixed = 0
    if not fused:
        fixed = scale_up(chip[OVERHEAD_PS], clock, mapper.PS_PER_S)
    if hbm > 0:
        fixed += scale_up(chip[HBM_LATENCY_PS], clock, mapper.PS_PER_S)
    out[:] = 0
    out[DURATION] = to_ps(chip, fixed + max(vector, hbm))
    out[VECTOR] = to_ps(chip, vector)
    out[HBM] = to_ps(chip, hbm)
    out[READ] = read
    out[WRITE] = written
    out[CAUSE] = dominant(out)


@njit(cache=True)
def price_attention(chip, bits, row, new, past, out) -> None:
    """Price of attention over a batch: sequence i has new[i] queries after past[i] keys."""
    a_bits, kv_bits = bits[ACTIVATION_BITS], bits[KV_BITS]
    heads, kv_heads, dim = row[PLAN_HEADS], row[PLAN_KV_HEADS], row[PLAN_HEAD_DIM]
    group = ceil_div(heads, kv_heads)
    token_bytes = ceil_div(2 * kv_heads * dim * kv_bits, 8)
    cycles = 0
    scores = 0
    fed = 0
    tokens = 0
    kv_read = 0
    for i in range(len(new)):
        each, blocks, keys = sequence_cycles(chip, new[i], past[i], group, dim)
        passes = kv_passes(chip, new[i], group, dim, a_bits)
        cycles += each
        scores += blocks
        fed += keys
        tokens += new[i]
        kv_read += past[i] * passes + new[i] * (passes - 1)
    if not resident(chip, tokens * 2 * kv_heads * dim, a_bits):
        kv_read += tokens
    read = kv_read * token_bytes
    written = tokens * token_bytes
    if not resident(chip, tokens * heads * dim, a_bits):
        moved = ceil_div(tokens * heads * dim * a_bits, 8)
        read += moved
        written += moved
    clock = chip[CLOCK_HZ]
    matrix = ceil_div(cycles * kv_heads, chip[UNIT_COUNT])
    vector = ceil_div(scores * kv_heads * SOFTMAX_OPS, chip[VECTOR_OPS])
    hbm = scale_up(read + written, clock, chip[HBM_BYTES_PER_S])
    moved = fed * token_bytes + ceil_div(2 * tokens * heads * dim * a_bits, 8)
    sram = scale_up(moved, clock, chip[SRAM_BYTES_PER_S])
    fill = 0
    if chip[UNIT_KIND] == SYSTOLIC:
        fill = 2 * chip[ROWS] + chip[COLS] - 2
    total = mapper.fixed_cycles(chip) + fill + max(max(matrix, vector), max(hbm, sram))
    out[:] = 0
    out[DURATION] = to_ps(chip, total)
    out[MATRIX] = to_ps(chip, matrix)
    out[VECTOR] = to_ps(chip, vector)
    out[HBM] = to_ps(chip, hbm)
    out[SRAM] = to_ps(chip, sram)
    out[READ] = read
    out[WRITE] = written
    out[CAUSE] = dominant(out)


@njit(cache=True)
def price_collective(fabric, bits, row, rows: int, out) -> None:
    """Price of a collective over the tensor-parallel group."""
    size = ceil_div(rows * row[PLAN_WIDTH] * bits[ACTIVATION_BITS], 8)
    duration, moving, sent = collective(fabric, row[PLAN_COLLECTIVE], size)
    out[:] = 0
    out[DURATION] = duration
    out[FABRIC] = moving
    out[SENT] = sent
    out[CAUSE] = dominant(out)


@njit(cache=True)
def price_rows(chip, fabric, bits, plan, rows: int, logits: bool, prices) -> int:
    """Price every operator of a plan that works on ``rows`` rows of one sort.

    ``prices`` is int64[operators, 2, PRICE_FIELDS]; attention is left alone. Returns the index of
    an operator whose smallest tile does not fit SRAM, or -1.
    """
    mapped = np.empty(mapper.MAP_FIELDS, dtype=np.int64)
    for op in range(len(plan)):
        row = plan[op]
        if (row[PLAN_LOGITS] == 1) != logits or row[PLAN_KIND] == ATTENTION:
            continue
        price = prices[op]
        if rows == 0:
            price[:, :] = 0
        elif row[PLAN_KIND] == MATMUL:
            if not price_matmul(chip, bits, row, rows, mapped, price):
                return op
        elif row[PLAN_KIND] == COLLECTIVE:
            price_collective(fabric, bits, row, rows, price[COLD])
        else:
            read = row[PLAN_READ] * rows
            written = row[PLAN_WRITTEN] * rows
            a_bits = bits[ACTIVATION_BITS]
            # the reads of a gather are weights, which always come from HBM
            gather = row[PLAN_KIND] == GATHER
            read_bytes = ceil_div(read * (bits[WEIGHT_BITS] if gather else a_bits), 8)
            written_bytes = ceil_div(written * a_bits, 8)
            if not gather and resident(chip, read, a_bits):
                read_bytes = 0
            if resident(chip, written, a_bits):
                written_bytes = 0
            price_streaming(
                chip,
                row[PLAN_OPS] * rows,
                read_bytes,
                written_bytes,
                row[PLAN_FUSED] == 1,
                price[COLD],
            )
    return -1
