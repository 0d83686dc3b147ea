"""Grouped expert matmuls on a GPU: output tiles of all experts over the multiprocessors.

Two properties of the software come in beside the data types (``docs/moe.md``): operands that share
a scale in blocks, whose partial sums are promoted in between, and the library whose kernels run
(``expert_kernels``), which decides how tiles are chosen and scheduled.
"""

from __future__ import annotations

import math

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.attention import WARP_ROWS
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    FUSED_EXPERT,
    FUSED_SM_BYTES_PER_S,
    FUSED_TILE_PS,
    HBM_BYTES_PER_S,
    PER_MILLION,
    SRAM_BYTES,
    SRAM_BYTES_PER_S,
    TILE_K,
    UNIT_COUNT,
    UNIT_RATE,
    VECTOR_OPS,
)
from simulator.kernels.expert_kernels import (
    BLOCKS,
    CUTLASS,
    INTEGERS,
    MARLIN,
    MARLIN_FEWEST_ROWS,
    NARROW_COLUMNS,
    OPENAI,
    TRTLLM,
    WIDE_COLUMNS,
    WIDEST_COLUMNS,
    first_rows,
    guesses,
    largest_load,
    latencies,
    most_rows,
    next_rows,
    overlap_order,
)
from simulator.kernels.gpu_attention import joined
from simulator.kernels.gpu_matmul import lost
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    MARLIN_FLOATS,
    MARLIN_INTEGERS,
    MARLIN_MACS,
    MARLIN_OVERLAP,
    OPENAI_WEIGHT_BITS,
    TRITON_CLUSTER,
    TRITON_KEPT_RAMP,
    TRITON_PROMOTION_OPS,
    TRITON_WAVE_LOSS,
)

BLOCK = 128
"""Elements that share a scale, after which partial sums are promoted (DeepSeek-V3, section
3.3.2)."""


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
    ramp = chip[TRITON_KEPT_RAMP] / PER_MILLION
    return max(0.0, min(1.0, (1.0 - size / chip[SRAM_BYTES]) / ramp))


@inner
def cold_share(
    chip: Int64Array,
    counts: Int64Array,
    widths: tuple[int, int, int],
    bits: tuple[int, int],
    others: int,
    copies: int,
) -> float:
    """Share of the weights that a layer finds in HBM, not in L2, when a benchmark runs it over and
    over with ``copies`` of the weights in turn; all of them where it is 0, as in a model.

    ``widths`` = (hidden, intermediate, results of the first matmul); ``others`` are the bytes of
    tokens that pass in between.
    """
    if copies == 0:
        return 1.0
    active = 0
    for e in range(len(counts)):
        active += 1 if counts[e] > 0 else 0
    weights = float(active) * widths[0] * (widths[1] + widths[2]) * stored_bits(bits) / 8.0
    return lost(chip, weights * copies + others)


@inner
def waves(chip: Int64Array, blocks: float, library: int) -> float:
    """Rounds over the multiprocessors that ``blocks`` tiles for each of them take.

    At least one; a part of what the last round leaves idle is filled, as tiles do not end together,
    unless they were given out before.
    """
    idle = 1.0 if library == CUTLASS else chip[TRITON_WAVE_LOSS] / PER_MILLION
    return max(1.0, blocks + idle * (math.ceil(blocks) - blocks))


@inner
def tile_cycles(
    chip: Int64Array,
    tile: tuple[int, int],
    k: int,
    bits: tuple[int, int],
    kind: tuple[int, int],
) -> float:
    """Cycles of one multiprocessor for a tile of (rows, columns): its latency, and its products, at
    least those of the smallest instruction (``WARP_ROWS``), or the loads of its operands if those
    are slower.

    Weights narrower than the activations are converted on the way, which takes as long as loading
    them in the activations' type would; Marlin's and gpt-oss's kernels see ``expert_kernels``.
    ``kind`` = (form, library) of ``expert_kernels``. trtllm-gen's kernels of 4-bit weights and
    narrow activations do not run in pairs of multiprocessors, so that no other tile loads their
    rows along (FlashInfer issue 3971).
    """
    rows, columns = tile
    form, library = kind
    clock = float(chip[CLOCK_HZ])
    cluster = chip[TRITON_CLUSTER] / PER_MILLION
    rate = float(chip[UNIT_RATE]) * chip[FUSED_EXPERT] / PER_MILLION
    products = max(rows, WARP_ROWS) * columns / rate
    weight = float(max(bits[0], bits[1]))
    if library == MARLIN:
        products = max(rows, MARLIN_FEWEST_ROWS) * columns / min(rate, float(chip[MARLIN_MACS]))
        each = chip[MARLIN_INTEGERS if form == INTEGERS else MARLIN_FLOATS] / PER_MILLION
        products = joined(products, columns / each, chip[MARLIN_OVERLAP] / PER_MILLION)
        weight = float(bits[1])
    elif library == OPENAI:
        weight = min(weight, chip[OPENAI_WEIGHT_BITS] / PER_MILLION)
    elif form == BLOCKS:
        each = chip[VECTOR_OPS] / float(chip[UNIT_COUNT]) * BLOCK
        products += rows * columns * (chip[TRITON_PROMOTION_OPS] / PER_MILLION) / each
    alone = library == TRTLLM and bits[1] <= 4 and bits[0] < 16
    operands = (rows * bits[0] / (1.0 if alone else cluster) + columns * weight / cluster) / 8.0
    loads = operands * clock / chip[FUSED_SM_BYTES_PER_S]
    latency = chip[FUSED_TILE_PS] * 1e-12 * clock * latencies(chip, library)
    return latency + ceil_div(k, chip[TILE_K]) * chip[TILE_K] * max(products, loads)


@inner
def tile_time(
    chip: Int64Array,
    counts: Int64Array,
    tile: tuple[int, int],
    sides: tuple[int, int],
    bits: tuple[int, int],
    kind: tuple[int, int],
    rows_bytes: int,
    cold: float,
) -> tuple[float, float, float]:
    """(cycles, those of the matrix units, bytes of weights read) with one size of tiles.

    ``tile`` = (rows, columns), ``sides`` = (k, n), ``kind`` = (form, library). Tiles of the same
    rows follow each other. Where they are fewer than the multiprocessors, the next rows of the
    expert run beside them and share the weights; else the weights are read again, but for what L2
    has kept. A share ``cold`` of what is read comes from HBM.
    """
    clock = float(chip[CLOCK_HZ])
    k, n = sides
    library = kind[1]
    blocks = 0
    active = 0
    for e in range(len(counts)):
        active += 1 if counts[e] > 0 else 0
        blocks += ceil_div(counts[e], tile[0])
    matrix = k * n * stored_bits(bits) / 8.0
    kept = 1.0 if library == CUTLASS else kept_share(chip, matrix)
    across = ceil_div(n, tile[1])
    one = tile_cycles(chip, tile, k, bits, kind)
    busy = waves(chip, blocks * across / float(chip[UNIT_COUNT]), library) * one
    beside = max(1.0, float(chip[UNIT_COUNT]) / across)
    again = max(float(active), blocks / beside)
    read = matrix * (active * kept + again * (1.0 - kept))
    moving = (read * cold + rows_bytes) * clock / chip[HBM_BYTES_PER_S]
    time = joined(busy, moving, overlap_order(chip, library))
    # what comes from HBM passes through L2 meanwhile
    return max(time, (read + rows_bytes) * clock / chip[SRAM_BYTES_PER_S]), busy, read


@inner
def tensor_core_experts(
    chip: Int64Array,
    counts: Int64Array,
    sides: tuple[int, int],
    bits: tuple[int, int],
    kind: tuple[int, int],
    rows_bytes: int,
    seen: tuple[float, float],
) -> tuple[int, int, int, int]:
    """Output tiles of all experts in one launch over the multiprocessors: (cycles of the matrix
    units, bytes fed by on-chip memory, bytes of weights read from HBM, cycles of all).

    ``sides`` = (k, n), ``kind`` = (form, library), ``seen`` = (assignments that the kernels see for
    each local expert, those to other ranks' experts included; share of the weights that L2 does
    not hold). The tile is the best of the set, or has the rows that follow from the mean: then more
    tokens can take less time, which ``timing.expert_limits`` makes good.
    """
    library = kind[1]
    mean, cold = seen
    rows = first_rows(library)
    most = max(rows, most_rows(chip, bits, library))
    widest = WIDEST_COLUMNS if library == CUTLASS else WIDE_COLUMNS
    best = -1.0
    cycles = 0.0
    weights = 0.0
    while rows <= most and (best < 0.0 or not guesses(chip, library)):
        larger = next_rows(rows, library)
        columns = WIDE_COLUMNS if library == TRTLLM else NARROW_COLUMNS
        if guesses(chip, library) and largest_load(chip, rows, library) < mean and larger <= most:
            columns = widest + 1  # too small a tile
        while columns <= widest:
            time, busy, read = tile_time(
                chip, counts, (rows, columns), sides, bits, kind, rows_bytes, cold
            )
            if best < 0.0 or time < best:
                best = time
                cycles = busy
                weights = read
            columns *= 2
        rows = larger
    if weights == 0.0:
        return 0, 0, 0, 0
    size = math.ceil(weights)
    return math.ceil(cycles), size + rows_bytes, math.ceil(cold * size), math.ceil(best)
