"""The price of routed experts on one rank of an expert-parallel group, in two ways.

* ``sorted``: tokens are sorted by expert into a permuted copy, exchanged all to all, multiplied by
  grouped matmuls, gated, exchanged back and summed; every step is an operator of its own, waits for
  the one before, and leaves its result in HBM where it does not fit on chip;
* ``fused``: one operator takes one expert's tokens after another, sends and receives the next one's
  meanwhile, and keeps what lies between the two matmuls on chip.

The busiest rank sets the pace: ``load`` are the shares of its experts. An expert's weights are read
from HBM once, if it has a token.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, clear, scale_up, transfer_ps
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    COLS,
    FUSED_ABSENT,
    FUSED_EXPERT_LAUNCH_PS,
    FUSED_LAUNCH_PS,
    FUSED_QUANTIZES,
    FUSED_STREAM,
    HBM_BYTES_PER_S,
    PER_MILLION,
    ROWS,
    SRAM_BYTES_PER_S,
    SYSTOLIC,
    UNIT_KIND,
    VECTOR_OPS,
)
from simulator.kernels.executor import (
    CAUSE,
    DURATION,
    FABRIC,
    HBM,
    MATRIX,
    PRICE_FIELDS,
    READ,
    SENT,
    SRAM,
    VECTOR,
    WRITE,
    dominant,
)
from simulator.kernels.fabric_price import collective
from simulator.kernels.gpu_attention import overlapped
from simulator.kernels.gpu_matmul import quantize_ps
from simulator.kernels.jit import inner, kernel
from simulator.kernels.moe import expert_tokens, grouped_cycles
from simulator.mapping import tiles
from simulator.model.operators import GATE_OPS
from simulator.timing.prices import (
    ACTIVATION_BITS,
    PLAN_GATED,
    PLAN_K,
    PLAN_LOCAL,
    PLAN_N,
    PLAN_RANKS,
    PLAN_TOP_K,
    WEIGHT_BITS,
    price_streaming,
    resident,
    to_ps,
)

EXTRA_SRAM_BYTES = 0
EXTRA_FLOPS = 1
EXTRA_RECEIVED = 2
EXTRA_FIELDS = 3
"""What a price row has no field for: int64[EXTRA_FIELDS], with the busiest rank's assignments."""

MODE_SORTED = 0
MODE_FUSED = 1

ALL_TO_ALL = 3
"""Number of the operation in packed fabrics (``fabric.pack.OP_INDEX``)."""

SORT_OPS = 8
"""Vector operations an assignment: histogram, prefix sum, scatter of the index (radix sort with one
digit an expert; Merrill and Grimshaw, 2011)."""

COMBINE_OPS = 2
"""Multiply by the router's weight and add, an element."""

PLAIN_BITS = 16
"""Of activations before they are quantized, and of weights that are not."""


@inner
def add(price: Int64Array, out: Int64Array) -> None:
    """An operator that follows: durations, busy times and bytes add up."""
    for field in range(SENT + 1):
        out[field] += price[field]


@inner
def carries(chip: Int64Array, bits: Int64Array, row: Int64Array) -> bool:
    """Whether the kernels carry the rows of tokens for other ranks' experts along."""
    if row[PLAN_LOCAL] == 0 or bits[WEIGHT_BITS] != PLAIN_BITS:
        return False
    absent: bool = chip[FUSED_ABSENT] == 1
    return absent


@inner
def senders(
    chip: Int64Array, bits: Int64Array, row: Int64Array, tokens: int, received: int
) -> tuple[int, int]:
    """(ranks that exchange tokens, copies of tokens that this rank sends and sums)."""
    own = tokens * row[PLAN_TOP_K]
    if row[PLAN_LOCAL] == 1:
        return 1, own if carries(chip, bits, row) else received
    return row[PLAN_RANKS], own


@inner
def exchange(fabric: Int64Array, size: int, ranks: int, own: int, price: Int64Array) -> None:
    """All tokens to their experts' ranks, or back: ``size`` bytes at the busiest rank, of which
    ``own`` are what this rank sends on average."""
    clear(price)
    if ranks > 1:
        duration, moving, _ = collective(fabric, ALL_TO_ALL, size)
        price[DURATION] = duration
        price[FABRIC] = moving
        price[SENT] = ceil_div(own * (ranks - 1), ranks)


@inner
def fixed_ps(chip: Int64Array) -> int:
    """Time of an operator on a systolic array in which no unit works: overhead, first word, fill.

    The kernels of a GPU's expert layer are launched together (``expert_launch``)."""
    if chip[UNIT_KIND] == SYSTOLIC:
        fill = 2 * chip[ROWS] + chip[COLS] - 2
        return to_ps(chip, tiles.fixed_cycles(chip) + fill)
    return 0


@inner
def quantize(
    chip: Int64Array, bits: Int64Array, row: Int64Array, tokens: int, price: Int64Array
) -> None:
    """The kernel that converts tokens to narrow activations, where the engine has one."""
    clear(price)
    width = row[PLAN_K]
    if chip[UNIT_KIND] == SYSTOLIC or chip[FUSED_QUANTIZES] == 0:
        return
    if bits[ACTIVATION_BITS] >= PLAIN_BITS:
        return
    price[READ] = moved(chip, tokens * width, PLAIN_BITS)
    price[WRITE] = moved(chip, tokens * width, bits[ACTIVATION_BITS])
    size = bits_to_bytes(tokens * width * (PLAIN_BITS + bits[ACTIVATION_BITS]))
    price[HBM] = transfer_ps(price[READ] + price[WRITE], chip[HBM_BYTES_PER_S])
    price[DURATION] = max(price[HBM], math.ceil(quantize_ps(chip, tokens, width, size)))


@inner
def elementwise(
    chip: Int64Array, ops: int, read: int, written: int, passing: int, price: Int64Array
) -> None:
    """Vector work over data that streams through.

    Of ``passing`` bytes ``read`` and ``written`` go to HBM. A GPU moves all of them at its
    streaming efficiency of HBM's rate: requests for rows in an order of their own are not answered
    faster where L2 holds some of them.
    """
    if chip[UNIT_KIND] == SYSTOLIC:
        price_streaming(chip, ops, read, written, False, price)
        return
    clear(price)
    rate = chip[HBM_BYTES_PER_S] * chip[FUSED_STREAM] // PER_MILLION
    price[VECTOR] = to_ps(chip, ceil_div(ops, chip[VECTOR_OPS]))
    price[HBM] = transfer_ps(read + written, rate)
    price[DURATION] = max(max(price[VECTOR], price[HBM]), transfer_ps(passing, rate))
    price[READ] = read
    price[WRITE] = written


@inner
def together(chip: Int64Array, on_chip: int, hbm: int) -> int:
    """Time of arithmetic and HBM that overlap: the longer one, or nearly so on a GPU."""
    if chip[UNIT_KIND] == SYSTOLIC:
        return max(on_chip, hbm)
    slower: int = math.ceil(overlapped(float(on_chip), float(hbm)))
    return slower


@inner
def grouped(
    chip: Int64Array,
    bits: Int64Array,
    counts: Int64Array,
    shape: tuple[int, int, int, int],
    price: Int64Array,
    extra: Int64Array,
) -> None:
    """A grouped matmul: every expert's tokens x k times k x n, weights and rows through HBM.

    ``shape`` = (k, n, bytes read, bytes written) of the rows. Bytes fed by on-chip memory and flops
    are added to ``extra``.
    """
    k, n, read, written = shape
    clock = chip[CLOCK_HZ]
    widths = (bits[ACTIVATION_BITS], bits[WEIGHT_BITS])
    matrix, fed, weights = grouped_cycles(chip, counts, k, n, widths, read + written)
    for e in range(len(counts)):
        extra[EXTRA_FLOPS] += 2 * counts[e] * k * n
    extra[EXTRA_SRAM_BYTES] += fed
    read += weights
    hbm = scale_up(read + written, clock, chip[HBM_BYTES_PER_S])
    sram = scale_up(fed, clock, chip[SRAM_BYTES_PER_S])
    clear(price)
    price[DURATION] = fixed_ps(chip)
    # what comes from HBM passes through L2 meanwhile
    working = together(chip, to_ps(chip, matrix), to_ps(chip, hbm))
    price[DURATION] += max(working, to_ps(chip, sram))
    price[MATRIX] = to_ps(chip, matrix)
    price[HBM] = to_ps(chip, hbm)
    price[SRAM] = to_ps(chip, sram)
    price[READ] = read
    price[WRITE] = written


@inner
def moved(chip: Int64Array, elements: int, bits: int) -> int:
    """Bytes of HBM traffic when a tensor is written or read: none if it stays on chip."""
    return 0 if resident(chip, elements, bits) else bits_to_bytes(elements * bits)


@inner
def price_sorted(
    chip: Int64Array,
    fabric: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    tokens: int,
    received: int,
    counts: Int64Array,
    extra: Int64Array,
    out: Int64Array,
) -> None:
    """Sort, exchange, grouped matmuls, exchange back, sum: one after another."""
    a_bits = bits[ACTIVATION_BITS]
    hidden, width = row[PLAN_K], row[PLAN_N]
    ranks, own = senders(chip, bits, row, tokens, received)
    wide = width * (2 if row[PLAN_GATED] == 1 else 1)
    price = np.empty(PRICE_FIELDS, dtype=np.int64)
    copies = moved(chip, own * hidden, a_bits)
    arrived = moved(chip, received * hidden, a_bits)
    both = bits_to_bytes(max(own, received) * hidden * a_bits)
    sent = bits_to_bytes(own * hidden * a_bits)
    # kernels that carry the rows of other ranks' experts along write and read those too
    gates = own if carries(chip, bits, row) else received
    inside = moved(chip, gates * wide, a_bits)
    gated = moved(chip, gates * width, a_bits)
    kept = moved(chip, tokens * hidden, a_bits)
    passing = bits_to_bytes((tokens + own) * hidden * a_bits)
    if chip[UNIT_KIND] != SYSTOLIC:
        out[DURATION] += chip[FUSED_EXPERT_LAUNCH_PS]
    quantize(chip, bits, row, tokens, price)
    add(price, out)
    elementwise(chip, own * SORT_OPS, kept, copies, passing, price)
    add(price, out)
    exchange(fabric, both, ranks, sent, price)
    add(price, out)
    grouped(chip, bits, counts, (hidden, wide, arrived, inside), price, extra)
    add(price, out)
    gating = bits_to_bytes(gates * (wide + width) * a_bits)
    elementwise(chip, gates * width * GATE_OPS, inside, gated, gating, price)
    add(price, out)
    grouped(chip, bits, counts, (width, hidden, gated, arrived), price, extra)
    add(price, out)
    exchange(fabric, both, ranks, sent, price)
    add(price, out)
    elementwise(chip, own * hidden * COMBINE_OPS, copies, kept, passing, price)
    add(price, out)


@inner
def price_fused(
    chip: Int64Array,
    fabric: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    tokens: int,
    received: int,
    counts: Int64Array,
    extra: Int64Array,
    out: Int64Array,
) -> None:
    """One operator, expert after expert; the exchange of the others' tokens runs meanwhile.

    The first expert's tokens have to be there before anything is computed, and the last one's
    results leave when everything has been.
    """
    a_bits = bits[ACTIVATION_BITS]
    hidden, width = row[PLAN_K], row[PLAN_N]
    ranks, own = senders(chip, bits, row, tokens, received)
    wide = width * (2 if row[PLAN_GATED] == 1 else 1)
    first = np.empty(PRICE_FIELDS, dtype=np.int64)
    second = np.empty(PRICE_FIELDS, dtype=np.int64)
    kept = moved(chip, tokens * hidden, a_bits)
    grouped(chip, bits, counts, (hidden, wide, kept, 0), first, extra)
    grouped(chip, bits, counts, (width, hidden, 0, kept), second, extra)
    add(first, out)
    add(second, out)
    ops = received * width * GATE_OPS + own * hidden * COMBINE_OPS
    out[VECTOR] = to_ps(chip, ceil_div(ops, chip[VECTOR_OPS]))
    busy = together(chip, max(out[MATRIX], out[VECTOR]), out[HBM])
    busy = max(busy, out[SRAM])
    fixed = fixed_ps(chip)
    if chip[UNIT_KIND] != SYSTOLIC:
        fixed = min(chip[FUSED_LAUNCH_PS], chip[FUSED_EXPERT_LAUNCH_PS])
    edge = 0
    size = bits_to_bytes(max(own, received) * hidden * a_bits)
    sent = bits_to_bytes(own * hidden * a_bits)
    exchange(fabric, size, ranks, sent, first)
    if ranks > 1:
        active = 0
        for e in range(len(counts)):
            active += 1 if counts[e] > 0 else 0
        edge = first[DURATION] - first[FABRIC] + ceil_div(first[FABRIC], max(1, active))
        out[FABRIC] = 2 * first[FABRIC]
        out[SENT] = 2 * first[SENT]
    out[DURATION] = fixed + 2 * edge + max(busy, out[FABRIC])


@inner
def count_moe(
    chip: Int64Array,
    fabric: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    tokens: int,
    load: Float64Array,
    mode: int,
    out: Int64Array,
    extra: Int64Array,
) -> None:
    """See ``price_moe``; fills ``extra`` as well."""
    counts = np.empty(len(load), dtype=np.int64)
    group = tokens if row[PLAN_LOCAL] == 1 else tokens * row[PLAN_RANKS]
    received = expert_tokens(load, group * row[PLAN_TOP_K], group, counts)
    clear(out)
    clear(extra)
    extra[EXTRA_RECEIVED] = received
    if mode == MODE_FUSED:
        price_fused(chip, fabric, bits, row, tokens, received, counts, extra, out)
    else:
        price_sorted(chip, fabric, bits, row, tokens, received, counts, extra, out)
    out[CAUSE] = dominant(out)


@kernel
def price_moe(
    chip: Int64Array,
    fabric: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    tokens: int,
    load: Float64Array,
    mode: int,
    out: Int64Array,
) -> None:
    """Price of the routed experts of one layer on the busiest rank of their group.

    ``tokens`` are this rank's before routing (all ranks have as many; with PLAN_LOCAL every rank
    has all tokens of the group); ``row`` has PLAN_K (hidden), PLAN_N (intermediate width of this
    rank), PLAN_TOP_K, PLAN_GATED and PLAN_RANKS; ``load`` is float64[local experts], the share of
    the group's tokens x top_k that goes to each expert of the busiest rank
    (``timing.expert_load``); ``fabric`` is packed for the expert group and may be any table where
    PLAN_RANKS is 1; ``mode`` is MODE_SORTED or MODE_FUSED; ``out`` int64[PRICE_FIELDS].
    """
    extra = np.empty(EXTRA_FIELDS, dtype=np.int64)
    count_moe(chip, fabric, bits, row, tokens, load, mode, out, extra)


@kernel
def count_cases(
    chip: Int64Array,
    fabric: Int64Array,
    bits: Int64Array,
    rows: Int64Array,
    tokens: Int64Array,
    loads: Float64Array,
    modes: Int64Array,
    out: Int64Array,
    extra: Int64Array,
) -> None:
    """Many expert layers of equal expert count: ``rows`` int64[cases, PLAN_FIELDS], ``loads``
    float64[cases, local experts], ``out`` and ``extra`` one row a case."""
    for i in range(len(rows)):
        count_moe(chip, fabric, bits, rows[i], tokens[i], loads[i], modes[i], out[i], extra[i])
