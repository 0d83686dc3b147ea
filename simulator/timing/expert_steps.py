"""What a layer of routed experts is made of: each step's price on one rank.

Sort, exchange, quantization, grouped matmuls and elementwise work, which ``timing.moe_prices`` puts
together. On a GPU a step depends on the library whose kernels run it (``docs/moe.md``).
"""

from __future__ import annotations

import math

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, clear, scale_up, transfer_ps
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    COLS,
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
    DURATION,
    FABRIC,
    HBM,
    MATRIX,
    READ,
    SENT,
    SRAM,
    VECTOR,
    WRITE,
)
from simulator.kernels.expert_kernels import BLOCKS, TRTLLM
from simulator.kernels.fabric_price import best_schedule, collective, exposed
from simulator.kernels.gpu_experts import cold_share
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import QUANTIZE_GROUP_PS, TRTLLM_SCALED_PS
from simulator.kernels.moe import grouped_cycles
from simulator.kernels.quantization import convert_ps, scale_blocks_ps
from simulator.mapping import tiles
from simulator.timing.expert_library import PLAIN_BITS, carries
from simulator.timing.prices import (
    ACTIVATION_BITS,
    PLAN_BUFFERS,
    PLAN_LOCAL,
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
EXTRA_MATMULS_PS = 3
"""Picoseconds of the matmuls one after the other on a GPU; 0 on arrays."""
EXTRA_FIELDS = 4
"""What a price row has no field for: int64[EXTRA_FIELDS], with the busiest rank's assignments."""

ALL_TO_ALL = 3
"""Number of the operation in packed fabrics (``fabric.pack.OP_INDEX``)."""


@inner
def add(price: Int64Array, out: Int64Array) -> None:
    """An operator that follows: durations, busy times and bytes add up."""
    for field in range(SENT + 1):
        out[field] += price[field]


@inner
def result_bits(chip: Int64Array, bits: Int64Array) -> int:
    """Bits of what a matmul writes: a GPU's kernels write 16 at least."""
    own: int = bits[ACTIVATION_BITS]
    return own if chip[UNIT_KIND] == SYSTOLIC else max(own, PLAIN_BITS)


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
def mean_tokens(row: Int64Array, tokens: int, received: int, local: int) -> float:
    """Assignments that a rank's kernels see, for each of its ``local`` experts: those of all its
    tokens, or the copies that an exchange has brought."""
    seen = tokens * row[PLAN_TOP_K] if row[PLAN_LOCAL] == 1 else received
    return float(seen) / local


@inner
def seen_by(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    counts: Int64Array,
    widths: tuple[int, int, int],
    tokens: int,
    received: int,
) -> tuple[float, float]:
    """(mean load of an expert, share of the weights that lie in HBM) as ``grouped_cycles`` has it.

    ``widths`` = (hidden, intermediate, results of the first matmul).
    """
    mean = mean_tokens(row, tokens, received, len(counts))
    if chip[UNIT_KIND] == SYSTOLIC:
        return mean, 1.0
    both = (bits[ACTIVATION_BITS], bits[WEIGHT_BITS])
    others = bits_to_bytes(2 * tokens * widths[0] * result_bits(chip, bits))
    return mean, cold_share(chip, counts, widths, both, others, row[PLAN_BUFFERS])


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
def exchange_beside(
    fabric: Int64Array, size: int, ranks: int, own: int, busy: int, active: int, price: Int64Array
) -> int:
    """``exchange`` both ways while the rank works for ``busy`` ps on ``active`` experts, one after
    another; the time of the first one's tokens, which nothing hides.

    A protocol with short steps that fills the links can be the faster one alone and the slower one
    beside work, so the schedule is the best for the whole.
    """
    total, moving, _, _ = best_schedule(fabric, ALL_TO_ALL, size, busy, active)
    price[FABRIC] = 2 * moving
    price[SENT] = 2 * ceil_div(own * (ranks - 1), ranks)
    first: int = exposed(total, moving, active)
    return first


@inner
def fixed_ps(chip: Int64Array) -> int:
    """Time of an operator on a systolic array in which no unit works: overhead, first word, fill.

    The kernels of a GPU's expert layer are launched together (``expert_launch``)."""
    if chip[UNIT_KIND] == SYSTOLIC:
        fill = 2 * chip[ROWS] + chip[COLS] - 2
        return to_ps(chip, tiles.fixed_cycles(chip) + fill)
    return 0


@inner
def quantizes(chip: Int64Array, bits: Int64Array) -> bool:
    """Whether activations are converted to narrow ones by a kernel of their own."""
    if chip[UNIT_KIND] == SYSTOLIC or chip[FUSED_QUANTIZES] == 0:
        return False
    own: bool = bits[ACTIVATION_BITS] < PLAIN_BITS
    return own


@inner
def quantize(
    chip: Int64Array,
    bits: Int64Array,
    kind: tuple[int, int],
    rows: int,
    width: int,
    price: Int64Array,
) -> None:
    """The kernel that converts rows to narrow activations, where the engine has one.

    ``kind`` = (form, library) of ``kernels.expert_kernels``.
    """
    clear(price)
    if not quantizes(chip, bits):
        return
    price[READ] = moved(chip, rows * width, PLAIN_BITS)
    price[WRITE] = moved(chip, rows * width, bits[ACTIVATION_BITS])
    size = bits_to_bytes(rows * width * (PLAIN_BITS + bits[ACTIVATION_BITS]))
    price[HBM] = transfer_ps(price[READ] + price[WRITE], chip[HBM_BYTES_PER_S])
    if kind[0] == BLOCKS:
        each = float(chip[TRTLLM_SCALED_PS if kind[1] == TRTLLM else QUANTIZE_GROUP_PS])
        price[DURATION] = max(price[HBM], math.ceil(scale_blocks_ps(chip, rows, width, size, each)))
    else:
        price[DURATION] = max(price[HBM], math.ceil(convert_ps(chip, width, size)))


@inner
def elementwise(
    chip: Int64Array,
    streams: bool,
    ops: int,
    read: int,
    written: int,
    passing: int,
    price: Int64Array,
) -> None:
    """Vector work over data that streams through.

    ``read`` and ``written`` bytes go to HBM. A GPU takes as long as for ``passing`` bytes at its
    streaming efficiency of HBM's rate: requests for rows in an order of their own are not answered
    faster where L2 holds some of them, nor where elements are narrower than 16 bits. Kernels that
    move 128 bits a thread (trtllm-gen) reach HBM's rate: they ``streams``.
    """
    if chip[UNIT_KIND] == SYSTOLIC:
        price_streaming(chip, ops, read, written, False, price)
        return
    clear(price)
    rate = chip[HBM_BYTES_PER_S]
    if not streams:
        # in two parts, as the product can exceed 64 bits
        whole, rest = rate // PER_MILLION, rate % PER_MILLION
        rate = whole * chip[FUSED_STREAM] + rest * chip[FUSED_STREAM] // PER_MILLION
    price[VECTOR] = to_ps(chip, ceil_div(ops, chip[VECTOR_OPS]))
    price[HBM] = transfer_ps(read + written, rate)
    price[DURATION] = max(max(price[VECTOR], price[HBM]), transfer_ps(passing, rate))
    price[READ] = read
    price[WRITE] = written


@inner
def grouped(
    chip: Int64Array,
    bits: Int64Array,
    counts: Int64Array,
    shape: tuple[int, int, int, int],
    seen: tuple[float, float],
    kind: tuple[int, int],
    price: Int64Array,
    extra: Int64Array,
) -> None:
    """A grouped matmul: every expert's tokens x k times k x n, weights and rows through HBM.

    ``shape`` = (k, n, bytes read, bytes written) of the rows, ``seen`` as in ``grouped_cycles``,
    ``kind`` likewise. Bytes fed by on-chip memory are added to ``extra``.
    """
    k, n, read, written = shape
    clock = chip[CLOCK_HZ]
    widths = (bits[ACTIVATION_BITS], bits[WEIGHT_BITS])
    matrix, fed, weights, whole = grouped_cycles(
        chip, counts, k, n, widths, kind, read + written, seen
    )
    extra[EXTRA_SRAM_BYTES] += fed
    extra[EXTRA_MATMULS_PS] += to_ps(chip, whole)
    read += weights
    hbm = scale_up(read + written, clock, chip[HBM_BYTES_PER_S])
    sram = scale_up(fed, clock, chip[SRAM_BYTES_PER_S])
    clear(price)
    working = max(max(matrix, hbm), max(sram, whole))
    price[DURATION] = fixed_ps(chip) + to_ps(chip, working)
    price[MATRIX] = to_ps(chip, matrix)
    price[HBM] = to_ps(chip, hbm)
    price[SRAM] = to_ps(chip, sram)
    price[READ] = read
    price[WRITE] = written


@inner
def moved(chip: Int64Array, elements: int, bits: int) -> int:
    """Bytes of HBM traffic when a tensor is written or read: none if it stays on chip."""
    return 0 if resident(chip, elements, bits) else bits_to_bytes(elements * bits)
