"""Grouped expert matmuls on a GPU: output tiles of all experts over the multiprocessors.

Two properties of the software come in beside the data types (``docs/moe.md``): operands that share
a scale in blocks, whose partial sums are promoted in between, and weights of 4-bit integers, which
Marlin converts to the type of the activations.
"""

from __future__ import annotations

import math

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.attention import WARP_ROWS
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    FUSED_EXPERT,
    FUSED_EXPERT_ROWS,
    FUSED_SM_BYTES_PER_S,
    FUSED_TILE_OF_MEAN,
    FUSED_TILE_PS,
    HBM_BYTES_PER_S,
    PER_MILLION,
    SRAM_BYTES,
    TILE_K,
    UNIT_COUNT,
    UNIT_RATE,
    VECTOR_OPS,
)
from simulator.kernels.gpu_attention import overlapped
from simulator.kernels.jit import inner

PLAIN = 0
BLOCKS = 1
"""Activations share a scale in groups of ``BLOCK``, weights in squares of it (DeepSeek-V3, arXiv
2412.19437, section 3.3.2)."""
INTEGERS = 2
"""16-bit activations, 4-bit integer weights: the Marlin kernels of vLLM."""

BLOCK = 128

PROMOTION_OPS = 2
"""Vector operations an element of the result after each ``BLOCK`` of the inner dimension: the
partial sum is multiplied by both scales and added (DeepSeek-V3, section 3.3.2, increasing
accumulation precision)."""

MARLIN_MACS = 460
"""Multiply-accumulates a cycle and multiprocessor that Marlin reaches. It is made of the mma.sync
instructions of Ampere, 1,024 a cycle (NVIDIA A100 white paper), on newer chips, too, between which
it converts weights. Fitted once: 550 and 430 with int4, 480 and 360 with mxfp4 on H100 and B200."""

MARLIN_FEWEST_ROWS = 16
MARLIN_MOST_ROWS = 64
"""Rows of its instruction, and most of its tile."""

SMALLEST_ROWS = 16
"""Fewest rows of a tile of a grouped matmul; the others are its doubles, up to the chip's
``expert_row_tile``."""

FEWEST_ROWS = 8
"""The same where the operands are swapped: tokens are the columns of an instruction of 128 rows."""

NARROW_COLUMNS = 64
WIDE_COLUMNS = 128
"""Output columns of a tile of a grouped matmul."""

CLUSTER = 2.0
"""Neighbouring tiles that load an operand together (thread block clusters, or a shared L1)."""

SHARERS = 2.0
"""Tiles that a multiprocessor works on at a time: half of the latency of each is hidden."""

KEPT_RAMP = 0.5
"""An expert's matrix of up to half of the L2 is kept for its next rows, one as large as the L2 is
not; between, a share that falls evenly (as ``WARM_RAMP`` of attention)."""


@inner
def stored_bits(bits: tuple[int, int]) -> float:
    """Bits of a weight with its share of a scale: of (activations, weights) with 4 bits, 8 for each
    16 weights where both have (nvfp4, arXiv 2509.25149), else for each 32 (OCP Microscaling Formats
    1.0, section 5.2)."""
    if bits[1] > 4:
        return float(bits[1])
    return bits[1] + (0.5 if bits[0] <= 4 else 0.25)


@inner
def kept_share(chip: Int64Array, size: float) -> float:
    """Share of an expert's matrix of ``size`` bytes that L2 holds until its next rows come."""
    return max(0.0, min(1.0, (1.0 - size / chip[SRAM_BYTES]) / KEPT_RAMP))


@inner
def waves(blocks: float) -> float:
    """Rounds over the multiprocessors that ``blocks`` tiles for each of them take.

    At least one; half of what the last round leaves idle is filled, as tiles do not end together.
    """
    return max(1.0, blocks + 0.5 * (math.ceil(blocks) - blocks))


@inner
def tile_cycles(
    chip: Int64Array, rows: int, columns: int, k: int, bits: tuple[int, int], form: int
) -> float:
    """Cycles of one multiprocessor for a tile: its latency, and its products, at least those of
    the smallest instruction (``WARP_ROWS``), or the loads of its operands if those are slower.

    Weights narrower than the activations are converted on the way, which takes as long as loading
    them in the activations' type would. ``form`` is PLAIN, BLOCKS or INTEGERS. trtllm-gen's kernels
    of 4-bit weights do not run in pairs of multiprocessors, so that no other tile loads their rows
    along (FlashInfer issue 3971)."""
    clock = float(chip[CLOCK_HZ])
    rate = float(chip[UNIT_RATE]) * chip[FUSED_EXPERT] / PER_MILLION
    products = max(rows, WARP_ROWS) * columns / rate
    weight = max(bits[0], bits[1])
    if form == INTEGERS:
        products = max(rows, MARLIN_FEWEST_ROWS) * columns / min(rate, float(MARLIN_MACS))
        weight = bits[1]
    elif form == BLOCKS:
        each = chip[VECTOR_OPS] / float(chip[UNIT_COUNT]) * BLOCK
        products += rows * columns * PROMOTION_OPS / each
    alone = chip[FUSED_TILE_OF_MEAN] == 1 and bits[1] <= 4 and form != INTEGERS
    sharers = 1.0 if alone else CLUSTER
    operands = (rows * bits[0] / sharers + columns * weight / CLUSTER) / 8.0
    loads = operands * clock / chip[FUSED_SM_BYTES_PER_S]
    latency = chip[FUSED_TILE_PS] * 1e-12 * clock / SHARERS
    return latency + ceil_div(k, chip[TILE_K]) * chip[TILE_K] * max(products, loads)


@inner
def mean_rows(chip: Int64Array, bits: tuple[int, int], mean: float) -> int:
    """Rows of a tile where they follow from the ``mean`` of the tokens of a local expert.

    FlashInfer's trtllm-gen kernels (``computeSelectedTileN``, ``selectDefaultTileN``) round it up
    to a power of two and, unless tuned, take the size below, from 8 to 64; to 128 with 4-bit
    weights and narrow activations, to 32 with 4-bit weights and 16-bit ones. The mean is that of
    all assignments that the kernels see, those to other ranks' experts included.
    """
    most = chip[FUSED_EXPERT_ROWS]
    if bits[1] <= 4:
        most = most * 2 if bits[0] < 16 else most // 2
    rows = FEWEST_ROWS
    while rows < most and 2 * rows < mean:
        rows *= 2
    return rows


@inner
def part_time(
    chip: Int64Array,
    counts: Int64Array,
    part: float,
    tile: tuple[int, int],
    sides: tuple[int, int],
    bits: tuple[int, int],
    form: int,
    rows_bytes: int,
) -> tuple[float, float, float]:
    """(cycles, those of the matrix units, bytes of weights read) with one size of tiles.

    ``part`` of each expert's tokens; ``tile`` = (rows, columns), ``sides`` = (k, n). Tiles of the
    same rows follow each other. Where they are fewer than the multiprocessors, the next rows of
    the expert run beside them and share the weights; else the weights come from HBM again, but for
    what L2 has kept.
    """
    clock = float(chip[CLOCK_HZ])
    k, n = sides
    blocks = 0
    active = 0
    for e in range(len(counts)):
        tokens = int(counts[e] * part)
        active += 1 if tokens > 0 else 0
        blocks += ceil_div(tokens, tile[0])
    matrix = k * n * stored_bits(bits) / 8.0
    kept = kept_share(chip, matrix)
    across = ceil_div(n, tile[1])
    one = tile_cycles(chip, tile[0], tile[1], k, bits, form)
    busy = waves(blocks * across / float(chip[UNIT_COUNT])) * one
    beside = max(1.0, float(chip[UNIT_COUNT]) / across)
    again = max(float(active), blocks / beside)
    read = matrix * (active * kept + again * (1.0 - kept))
    moving = (read + rows_bytes * part) * clock / chip[HBM_BYTES_PER_S]
    return overlapped(busy, moving), busy, read


@inner
def tensor_core_experts(
    chip: Int64Array,
    counts: Int64Array,
    k: int,
    n: int,
    bits: tuple[int, int],
    form: int,
    rows_bytes: int,
    mean: float,
) -> tuple[int, int, int, int]:
    """Output tiles of all experts in one launch over the multiprocessors: (cycles of the matrix
    units, bytes fed by on-chip memory, bytes of weights read from HBM, cycles at least).

    The tile is the best of the set, or that of ``mean_rows``. Larger tiles can take less time for
    uneven loads; but a matmul takes as long as the largest one that would have had smaller ones.
    """
    active = 0
    for e in range(len(counts)):
        active += 1 if counts[e] > 0 else 0
    if active == 0:
        return 0, 0, 0, 0
    guessed = chip[FUSED_TILE_OF_MEAN] == 1 and form != INTEGERS
    rows = FEWEST_ROWS if guessed else SMALLEST_ROWS
    most = mean_rows(chip, bits, mean) if guessed else max(rows, chip[FUSED_EXPERT_ROWS])
    if form == INTEGERS:
        most = min(most, MARLIN_MOST_ROWS)
    best = -1.0
    least = 0.0
    cycles = 0.0
    weights = 0.0
    while rows <= most:
        part = min(1.0, 2.0 * rows / mean) if guessed and rows < most else 1.0
        columns = WIDE_COLUMNS if guessed else NARROW_COLUMNS
        while columns <= WIDE_COLUMNS:
            time, busy, read = part_time(
                chip, counts, part, (rows, columns), (k, n), bits, form, rows_bytes
            )
            if guessed:
                least = max(least, time)
            if best < 0.0 or time < best or guessed:
                best = time
                cycles = busy
                weights = read
            columns *= 2
        rows *= 2
    size = math.ceil(weights)
    return math.ceil(cycles), size + rows_bytes, size, math.ceil(least)
