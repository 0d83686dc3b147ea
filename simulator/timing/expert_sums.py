"""Kernels of an expert layer that neither multiply nor exchange.

They are the weighted sum of the copies of tokens, and trtllm-gen's own for scales in blocks
(``docs/moe.md``).
"""

from __future__ import annotations

import math

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, clear, transfer_ps
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import HBM_BYTES_PER_S, PER_MILLION, UNIT_COUNT, VECTOR_OPS
from simulator.kernels.executor import DURATION, HBM, READ, VECTOR, WRITE
from simulator.kernels.gpu_matmul import join
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    QUANTIZE_GAP_PS,
    TRTLLM_ABSENT_PS,
    TRTLLM_GATED_PS,
    TRTLLM_ROUTE_PS,
    TRTLLM_SUMMED,
)
from simulator.kernels.quantization import SCALED
from simulator.model.operators import GATE_OPS
from simulator.timing.expert_library import gathers
from simulator.timing.expert_steps import elementwise, moved, result_bits
from simulator.timing.prices import ACTIVATION_BITS, PLAN_LOCAL, PLAN_TOP_K, to_ps

COMBINE_OPS = 2
"""Multiply by the router's weight and add, an element."""


@inner
def sum_copies(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    tokens: int,
    own: int,
    hidden: int,
    price: Int64Array,
) -> None:
    """The weighted sum of ``own`` copies of tokens.

    trtllm-gen's kernels look at those of other ranks' experts, too, and its time holds the lists of
    assignments that they go by.
    """
    r_bits = result_bits(chip, bits)
    back = moved(chip, own * hidden, r_bits)
    kept = moved(chip, tokens * hidden, r_bits)
    streams = gathers(chip, bits, row)
    passing = bits_to_bytes((tokens + own) * hidden * r_bits)
    every = tokens * row[PLAN_TOP_K]
    if streams:
        share = chip[TRTLLM_SUMMED] / PER_MILLION
        size = (tokens + share * every) * hidden * r_bits / 8.0
        passing = math.ceil(size)
    elementwise(chip, streams, own * hidden * COMBINE_OPS, back, kept, passing, price)
    if streams:
        price[DURATION] += every * chip[TRTLLM_ROUTE_PS]


@inner
def gate_blocks(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    tokens: int,
    received: int,
    sizes: tuple[int, int],
    price: Int64Array,
) -> None:
    """trtllm-gen's kernel that gates and scales the copies of tokens at once, a block a group.

    ``sizes`` = elements of a row that it reads and writes.
    """
    wide, width = sizes
    clear(price)
    r_bits = result_bits(chip, bits)
    price[VECTOR] = to_ps(chip, ceil_div(received * width * GATE_OPS, chip[VECTOR_OPS]))
    price[READ] = moved(chip, received * wide, r_bits)
    price[WRITE] = moved(chip, received * width, bits[ACTIVATION_BITS])
    price[HBM] = transfer_ps(price[READ] + price[WRITE], chip[HBM_BYTES_PER_S])
    every = tokens * row[PLAN_TOP_K] if row[PLAN_LOCAL] == 1 else received
    each = float(received) * chip[TRTLLM_GATED_PS] + float(every) * chip[TRTLLM_ABSENT_PS]
    blocks = ceil_div(width, SCALED) * each / chip[UNIT_COUNT]
    size = received * (wide + width) * r_bits / 8.0
    stream = size * 1e12 / chip[HBM_BYTES_PER_S]
    price[DURATION] = max(
        price[VECTOR], math.ceil(chip[QUANTIZE_GAP_PS] + join(chip, blocks, stream))
    )
