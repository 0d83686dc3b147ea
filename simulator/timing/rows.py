"""Prices of the operators of a plan that depend on a number of rows and nothing else."""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, clear
from simulator.kernels.arrays import Int64Array
from simulator.kernels.executor import (
    BACKGROUND,
    CAUSE,
    COLD,
    DURATION,
    FABRIC,
    SENT,
    WARM,
    dominant,
)
from simulator.kernels.fabric_price import collective
from simulator.kernels.jit import inner, kernel
from simulator.mapping import tiles
from simulator.timing.prices import (
    ATTENTION,
    COLLECTIVE,
    GATHER,
    LATENT,
    MATMUL,
    MOE,
    PLAN_BACKGROUND,
    PLAN_COLLECTIVE,
    PLAN_FUSED,
    PLAN_GROUP,
    PLAN_KIND,
    PLAN_LOGITS,
    PLAN_OPS,
    PLAN_PASSES,
    PLAN_RANKS,
    PLAN_READ,
    PLAN_SPLIT,
    PLAN_WEIGHTS,
    PLAN_WIDTH,
    PLAN_WRITTEN,
    RESIDUAL_BITS,
    WEIGHT_BITS,
    price_matmul,
    price_streaming,
    resident,
)

P2P = 5
"""Number of the operation in packed fabrics (``fabric.pack.OP_INDEX``)."""


@inner
def price_collective(
    fabric: Int64Array, bits: Int64Array, row: Int64Array, rows: int, out: Int64Array
) -> None:
    """Price of a collective over a group of ranks; each chip sends its share of it."""
    size = bits_to_bytes(rows * row[PLAN_WIDTH] * bits[RESIDUAL_BITS])
    if row[PLAN_WEIGHTS] > 0:
        size = bits_to_bytes(row[PLAN_WEIGHTS] * bits[WEIGHT_BITS])
    duration, moving, _ = collective(fabric, row[PLAN_COLLECTIVE], size)
    ranks = row[PLAN_RANKS]
    sent = row[PLAN_PASSES] * ceil_div(size * (ranks - 1), ranks)
    clear(out)
    out[DURATION] = duration
    out[FABRIC] = moving
    out[SENT] = size if row[PLAN_COLLECTIVE] == P2P else sent
    out[CAUSE] = dominant(out)
    out[BACKGROUND] = row[PLAN_BACKGROUND]


@inner
def price_elementwise(
    chip: Int64Array, bits: Int64Array, row: Int64Array, rows: int, out: Int64Array
) -> None:
    """Price of vector work or of a gather, whose reads are weights and always come from HBM."""
    read = row[PLAN_READ] * rows
    written = row[PLAN_WRITTEN] * rows
    own_bits = bits[RESIDUAL_BITS]
    gather = row[PLAN_KIND] == GATHER
    read_bytes = bits_to_bytes(read * (bits[WEIGHT_BITS] if gather else own_bits))
    written_bytes = bits_to_bytes(written * own_bits)
    if not gather and resident(chip, read, own_bits):
        read_bytes = 0
    if resident(chip, written, own_bits):
        written_bytes = 0
    fused = row[PLAN_FUSED] == 1
    price_streaming(chip, row[PLAN_OPS] * rows, read_bytes, written_bytes, fused, out)


@kernel
def price_rows(
    chip: Int64Array,
    fabrics: Int64Array,
    bits: Int64Array,
    plan: Int64Array,
    rows: int,
    logits: bool,
    prices: Int64Array,
) -> int:
    """Price every operator of a plan that works on ``rows`` rows of one sort.

    ``fabrics`` is int64[groups, fields], ``prices`` int64[operators, 2, PRICE_FIELDS]; attention
    and experts are left alone. Returns the index of an operator whose smallest tile does not fit
    SRAM, or -1.
    """
    mapped = np.empty(tiles.MAP_FIELDS, dtype=np.int64)
    for op in range(len(plan)):
        row = plan[op]
        kind = row[PLAN_KIND]
        if kind == ATTENTION or kind == LATENT:  # noqa: SIM109 - ``in`` compiles a function
            continue
        if kind == MOE or (row[PLAN_LOGITS] == 1) != logits:
            continue
        price = prices[op]
        share = ceil_div(rows, row[PLAN_SPLIT])
        if rows == 0:
            clear(price[COLD])
            clear(price[WARM])
        elif kind == MATMUL:
            if not price_matmul(chip, bits, row, share, mapped, price):
                return op
        elif kind == COLLECTIVE:
            price_collective(fabrics[row[PLAN_GROUP]], bits, row, share, price[COLD])
        else:
            price_elementwise(chip, bits, row, share, price[COLD])
    return -1
