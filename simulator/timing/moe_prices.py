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

import numpy as np

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, clear
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import (
    FUSED_EXPERT_LAUNCH_PS,
    FUSED_LAUNCH_PS,
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
    SRAM,
    VECTOR,
    dominant,
)
from simulator.kernels.expert_kernels import BLOCKS, CUTLASS, TRTLLM, padded
from simulator.kernels.jit import inner, kernel
from simulator.kernels.moe import expert_tokens
from simulator.model.operators import GATE_OPS
from simulator.timing.expert_library import carries, gathers, launch_ps, library
from simulator.timing.expert_steps import (
    EXTRA_FIELDS,
    EXTRA_FLOPS,
    EXTRA_MATMULS_PS,
    EXTRA_RECEIVED,
    add,
    elementwise,
    exchange,
    exchange_beside,
    fixed_ps,
    grouped,
    mean_tokens,
    moved,
    quantize,
    quantizes,
    result_bits,
    seen_by,
    senders,
)
from simulator.timing.expert_sums import COMBINE_OPS, gate_blocks, sum_copies
from simulator.timing.prices import (
    ACTIVATION_BITS,
    PLAN_EXPERT_FORM,
    PLAN_GATED,
    PLAN_K,
    PLAN_LOCAL,
    PLAN_N,
    PLAN_RANKS,
    PLAN_TOP_K,
    RESIDUAL_BITS,
    WEIGHT_BITS,
    to_ps,
)

MODE_SORTED = 0
MODE_FUSED = 1

SORT_OPS = 8
"""Vector operations an assignment: histogram, prefix sum, scatter of the index (radix sort with one
digit an expert; Merrill and Grimshaw, 2011)."""


@inner
def widths(
    chip: Int64Array, bits: Int64Array, row: Int64Array, kernels: int
) -> tuple[int, int, int]:
    """(hidden, intermediate, results of the first matmul) with the padding of a library."""
    hidden, width = row[PLAN_K], row[PLAN_N]
    if chip[UNIT_KIND] != SYSTOLIC:
        both = (bits[ACTIVATION_BITS], bits[WEIGHT_BITS])
        hidden, width = padded(hidden, both, kernels), padded(width, both, kernels)
    return hidden, width, width * (2 if row[PLAN_GATED] == 1 else 1)


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
    a_bits, r_bits = bits[ACTIVATION_BITS], result_bits(chip, bits)
    ranks, own = senders(chip, bits, row, tokens, received)
    kernels = library(chip, bits, row)
    kind = (row[PLAN_EXPERT_FORM], kernels)
    blocks, streams = kind[0] == BLOCKS, gathers(chip, bits, row)
    hidden, width, wide = widths(chip, bits, row, kernels)
    seen = seen_by(chip, bits, row, counts, (hidden, width, wide), tokens, received)
    price = np.empty(PRICE_FIELDS, dtype=np.int64)
    copies = moved(chip, own * hidden, a_bits)
    arrived = moved(chip, received * hidden, a_bits)
    # what chips exchange may be wider than what is multiplied
    sent = bits_to_bytes(own * hidden * bits[RESIDUAL_BITS])
    both = bits_to_bytes(max(own, received) * hidden * bits[RESIDUAL_BITS])
    # kernels that carry the rows of other ranks' experts along write and read those too
    gates = own if carries(chip, bits, row) else received
    gated = moved(chip, gates * width, a_bits)
    inside = moved(chip, gates * wide, r_bits)
    out[DURATION] += launch_ps(chip, bits, row)
    # CUTLASS scales copies after they are sorted
    scaled = received if blocks and kernels == CUTLASS else tokens
    quantize(chip, bits, kind, scaled, hidden, price)
    add(price, out)
    if ranks > 1 or not streams:
        # an expert's kernel is as slow with narrow rows as with those of its results
        passing = bits_to_bytes((tokens + own) * hidden * r_bits)
        kept = moved(chip, tokens * hidden, a_bits)
        elementwise(chip, streams, own * SORT_OPS, kept, copies, passing, price)
        add(price, out)
    exchange(fabric, both, ranks, sent, price)
    add(price, out)
    # blocks are scaled by a kernel of their own, before which nothing can be gated
    apart = blocks or not streams
    written = inside if apart else gated
    grouped(chip, bits, counts, (hidden, wide, arrived, written), seen, kind, price, extra)
    add(price, out)
    if blocks and kernels == TRTLLM and quantizes(chip, bits):
        gate_blocks(chip, bits, row, tokens, received, (wide, width), price)
        add(price, out)
    elif apart:
        gating = bits_to_bytes(gates * (wide + width) * r_bits)
        elementwise(chip, streams, gates * width * GATE_OPS, inside, gated, gating, price)
        add(price, out)
        if blocks:
            quantize(chip, bits, kind, received, width, price)
            add(price, out)
    results = moved(chip, received * hidden, r_bits)
    grouped(chip, bits, counts, (width, hidden, gated, results), seen, kind, price, extra)
    add(price, out)
    exchange(fabric, both, ranks, sent, price)
    add(price, out)
    sum_copies(chip, bits, row, tokens, own, hidden, price)
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
    ranks, own = senders(chip, bits, row, tokens, received)
    kernels = library(chip, bits, row)
    hidden, width, wide = widths(chip, bits, row, kernels)
    seen = seen_by(chip, bits, row, counts, (hidden, width, wide), tokens, received)
    first = np.empty(PRICE_FIELDS, dtype=np.int64)
    second = np.empty(PRICE_FIELDS, dtype=np.int64)
    form = row[PLAN_EXPERT_FORM]
    kept = moved(chip, tokens * hidden, a_bits)
    results = moved(chip, tokens * hidden, result_bits(chip, bits))
    grouped(chip, bits, counts, (hidden, wide, kept, 0), seen, (form, kernels), first, extra)
    grouped(chip, bits, counts, (width, hidden, 0, results), seen, (form, kernels), second, extra)
    add(first, out)
    add(second, out)
    ops = received * width * GATE_OPS + own * hidden * COMBINE_OPS
    out[VECTOR] = to_ps(chip, ceil_div(ops, chip[VECTOR_OPS]))
    busy = max(max(out[MATRIX], out[VECTOR]), max(out[HBM], out[SRAM]))
    busy = max(busy, extra[EXTRA_MATMULS_PS])
    fixed = fixed_ps(chip)
    if chip[UNIT_KIND] != SYSTOLIC:
        fixed = min(chip[FUSED_LAUNCH_PS], chip[FUSED_EXPERT_LAUNCH_PS])
    edge = 0
    if ranks > 1:
        active = 0
        for e in range(len(counts)):
            active += 1 if counts[e] > 0 else 0
        size = bits_to_bytes(max(own, received) * hidden * bits[RESIDUAL_BITS])
        sent = bits_to_bytes(own * hidden * bits[RESIDUAL_BITS])
        edge = exchange_beside(fabric, size, ranks, sent, busy, max(1, active), out)
    out[DURATION] = fixed + 2 * edge + max(busy, out[FABRIC])


@inner
def count_moe(
    chip: Int64Array,
    fabric: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    tokens: int,
    group: int,
    load: Float64Array,
    mode: int,
    out: Int64Array,
    extra: Int64Array,
) -> None:
    """See ``price_moe``; fills ``extra`` as well."""
    counts = np.empty(len(load), dtype=np.int64)
    received = expert_tokens(load, group * row[PLAN_TOP_K], group, counts)
    clear(out)
    clear(extra)
    extra[EXTRA_RECEIVED] = received
    extra[EXTRA_FLOPS] = 2 * received * row[PLAN_K] * row[PLAN_N] * (2 + row[PLAN_GATED])
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
    group: int,
    load: Float64Array,
    mode: int,
    out: Int64Array,
) -> None:
    """Price of the routed experts of one layer on the busiest rank of their group.

    ``tokens`` are this rank's before routing, ``group`` those of its group: all ranks have as many,
    or fewer, this one being the fullest; with PLAN_LOCAL every rank has all of them. ``row`` has
    PLAN_K (hidden), PLAN_N (intermediate width of this rank), PLAN_TOP_K, PLAN_GATED,
    PLAN_EXPERT_FORM and PLAN_RANKS; ``load`` is float64[local experts], the share of the group's
    tokens x top_k that goes to each expert of the busiest rank (``timing.expert_load``);
    ``fabric`` is packed for the expert group and may be any table where PLAN_RANKS is 1; ``mode``
    is MODE_SORTED or MODE_FUSED; ``out`` int64[PRICE_FIELDS].
    """
    extra = np.empty(EXTRA_FIELDS, dtype=np.int64)
    count_moe(chip, fabric, bits, row, tokens, group, load, mode, out, extra)


@kernel
def mean_load(row: Int64Array, tokens: int, group: int, load: Float64Array) -> float:
    """Mean load of an expert of the busiest rank as its kernels see it; see ``price_moe``."""
    counts = np.empty(len(load), dtype=np.int64)
    received = expert_tokens(load, group * row[PLAN_TOP_K], group, counts)
    return mean_tokens(row, tokens, received, len(load))


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
        group = tokens[i] if rows[i, PLAN_LOCAL] == 1 else tokens[i] * rows[i, PLAN_RANKS]
        count_moe(
            chip, fabric, bits, rows[i], tokens[i], group, loads[i], modes[i], out[i], extra[i]
        )
