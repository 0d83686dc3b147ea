"""A chip as one int64 vector, which is how the kernels see it.

The offsets below are the whole interface between the frozen specifications and numba.
"""

from __future__ import annotations

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.hardware import (
    RUN_CLASSES,
    SHORTEST_RUN_BYTES,
    Chip,
    FusedKernels,
    GpuKernels,
    SystolicArray,
)
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.kernels.systolic import DOUBLE, IS, OS, SINGLE, WS
from simulator.mapping.memory import BITS

CLOCK_HZ = 0
HBM_BYTES_PER_S = 1
SRAM_BYTES_PER_S = 2
TILE_BYTES = 3
PREFETCH_BYTES = 4
ACTIVATION_BYTES = 5
HBM_LATENCY_PS = 6
OVERHEAD_PS = 7
VECTOR_OPS = 8
UNIT_KIND = 9
UNIT_COUNT = 10
UNIT_RATE = 11
ROWS = 12
COLS = 13
LOAD = 14
DATAFLOW = 15
TILE_K = 16
TILE_COUNT = 17
DEPTH = 18
REGISTER_RESULTS = 19
RUN_BANDWIDTH = 20
"""HBM bytes per second by length of the contiguous runs, RUN_CLASSES entries."""
ACCUMULATORS = RUN_BANDWIDTH + RUN_CLASSES
"""Bytes of partial sums beside the arrays; NO_LIMIT where they are not bounded."""
INPUT_BUFFER = ACCUMULATORS + 1
WEIGHT_BUFFER = INPUT_BUFFER + 1
RESULT_BUFFER = WEIGHT_BUFFER + 1
"""Bytes of separate buffers; 0 where the tile share is unified."""
SRAM_WRITE_BYTES_PER_S = RESULT_BUFFER + 1
"""Bandwidth of a separate write port; 0 where reads and writes share one."""
TILE_OVERHEAD_PS = SRAM_WRITE_BYTES_PER_S + 1
"""What every tile of an operator but the first takes beside its work."""
GPU = TILE_OVERHEAD_PS + 1
"""1 where the kernels of a GPU are known; the fields up to ``TILES`` hold for them alone."""
GPU_TILE_PS = GPU + 1
GPU_STEP_PS = GPU + 2
GPU_FEED = GPU + 3
"""Bytes per second that one multiprocessor pulls from L2."""
GPU_MACS_PER_S = GPU + 4
"""Multiply-accumulates per second that one multiprocessor issues, before the power limit."""
GPU_SPLIT_PS = GPU + 5
GPU_RAMP_PS = GPU + 6
GPU_MAC_ATTOJOULE = GPU + 7
"""Energy of one multiply-accumulate of this data type."""
GPU_POWER_MW = GPU + 8
"""Power that is left for switching; 0 where no limit is known."""
GPU_PERSISTENT = GPU + 9
GPU_L2_BYTES = GPU + 10
GPU_ROTATING = GPU + 11
"""How many copies of the weights a benchmark cycles through; 0: weights are cold in L2."""
GPU_SPLITS = GPU + 12
"""1 where the kernels of this data type can split the inner dimension."""
GPU_WAVE_LOSS = GPU + 13
"""Share of an unfinished wave that is lost where blocks are launched in waves, in parts of
PER_MILLION."""
GPU_EXPOSED_ENDS = GPU + 14
GPU_SHARED_FEED = GPU + 15
GPU_NARROW_ROWS = GPU + 16
"""Rows up to which kernels that do not split have tiles smaller than 128 x 128."""
GPU_SPLIT_RATIO = GPU + 17
"""Inner dimension over the longer side of the result from which kernels split, in parts of
PER_MILLION; 0 where the library looks for the best split."""
GPU_STREAM_BYTES_PER_S = GPU + 18
"""At which L2 gives what is read once."""
GPU_STORE_BYTES_PER_S = GPU + 19
"""At which results are written while nothing else runs."""
SRAM_BYTES = GPU + 20
"""Capacity of the on-chip memory."""
FUSED = SRAM_BYTES + 1
"""Kernels of attention and experts on a GPU (``hardware.FusedKernels``), in its order; shares in
parts of PER_MILLION."""
FUSED_LAUNCH_PS = FUSED
FUSED_KERNEL_PS = FUSED + 1
FUSED_TILE_PS = FUSED + 2
FUSED_SM_BYTES_PER_S = FUSED + 3
FUSED_MATRIX = FUSED + 4
FUSED_EXPERT = FUSED + 5
FUSED_STREAM = FUSED + 6
FUSED_ROW_TILE = FUSED + 7
FUSED_QUERY_TILE = FUSED + 8
FUSED_SPLITS = FUSED + 9
FUSED_SPLIT_GROUP = FUSED + 10
FUSED_EDGES = FUSED + 11
FUSED_EIGHT_BIT = FUSED + 12
FUSED_PACKS = FUSED + 13
FUSED_QUANTIZES = FUSED + 14
FUSED_ABSENT = FUSED + 15
FUSED_COPIES = FUSED + 16
FUSED_SPLITS_PROMPTS = FUSED + 17
FUSED_NARROW_TILE = FUSED + 18
FUSED_EXPERT_LAUNCH_PS = FUSED + 19
FUSED_EXPERT_ROWS = FUSED + 20
FUSED_SOFTMAX = FUSED + 21
FUSED_OVERLAPS = FUSED + 22
FUSED_SCANS = FUSED + 23
FUSED_TRANSPOSES = FUSED + 24
FUSED_NARROW_LAUNCH_PS = FUSED + 25
"""Of experts with narrow activations, which another library runs; 0 where none does."""
FUSED_GATHERS = FUSED + 26
FUSED_TILE_OF_MEAN = FUSED + 27
FUSED_GENERIC = FUSED + 28
TILES = FUSED + 29
PER_MILLION = 1_000_000
NO_LIMIT = 1 << 62

SWITCHING_SHARE = 0.85
"""Of the board power; the rest is drawn whatever runs (leakage, clocks, voltage regulators)."""

HBM_BYTE_PJ = 50.0
"""Energy of a byte from HBM, 6 pJ a bit (O'Connor et al., MICRO 2017, table 1, and its PHY)."""

L2_WRITE_COST = 2.0
"""L2 takes bytes at half the rate at which it gives them (1, 1.5, 2 and 3 were tried: H100 and
GB200 agree in 2)."""

L2_COPIES = 1 / 3
"""Share of the lines of an L2 that each further partition holds a copy of: what is read again stays
up to 1.0 of one partition's capacity (L40S) and 0.75 of two (H100, B200)."""

SYSTOLIC = 0
TENSOR_CORE = 1

_DATAFLOWS = {"ws": WS, "os": OS, "is": IS}


def pack_chip(chip: Chip, dtype: str, rotating_buffers: int = 0) -> Int64Array:
    """The vector of a chip that computes in ``dtype``.

    ``rotating_buffers`` is how many copies of the weights a benchmark cycles through, which decides
    what of them lies in the L2 of a GPU when their turn comes again; 0 is the ordinary case of
    weights that were last read a whole model ago.

    Raises InputError where the chip has no rate for that data type.
    """
    require_dtype(chip, dtype)
    unit = chip.matrix
    gpu = None if isinstance(unit, SystolicArray) else unit.kernels
    tiles = () if isinstance(unit, SystolicArray) else unit.tiles if gpu is None else gpu.tiles
    out = np.zeros(TILES + 2 * len(tiles), dtype=np.int64)
    sram = chip.sram
    out[CLOCK_HZ] = chip.sustained_clock_hz
    out[HBM_BYTES_PER_S] = chip.hbm.sustained_bytes_per_s
    for index in range(RUN_CLASSES):
        out[RUN_BANDWIDTH + index] = chip.hbm.run_bytes_per_s(index)
    out[SRAM_BYTES_PER_S] = sram.bandwidth_bytes_per_s
    out[SRAM_WRITE_BYTES_PER_S] = sram.write_bandwidth_bytes_per_s or 0
    for index, size in enumerate(sram.buffers or (0, 0, 0)):
        out[INPUT_BUFFER + index] = size
    out[ACCUMULATORS] = NO_LIMIT
    out[SRAM_BYTES] = sram.capacity_bytes
    out[TILE_BYTES] = int(sram.capacity_bytes * sram.tile_fraction)
    out[PREFETCH_BYTES] = int(sram.capacity_bytes * sram.prefetch_fraction)
    out[ACTIVATION_BYTES] = int(sram.capacity_bytes * sram.activation_fraction)
    out[HBM_LATENCY_PS] = chip.hbm.latency_ps
    out[TILE_OVERHEAD_PS] = chip.tile_overhead_ps
    out[OVERHEAD_PS] = chip.operator_overhead_ps
    out[VECTOR_OPS] = chip.vector.ops_per_cycle
    out[UNIT_COUNT] = unit.count
    if isinstance(unit, SystolicArray):
        out[UNIT_KIND] = SYSTOLIC
        out[UNIT_RATE] = unit.macs_per_cell[dtype]
        out[ROWS] = unit.rows
        out[COLS] = unit.cols
        if unit.accumulator_bytes is not None:
            out[ACCUMULATORS] = unit.accumulator_bytes
        out[LOAD] = DOUBLE if unit.weight_load == "double" else SINGLE
        out[DEPTH] = unit.rows
        out[DATAFLOW] = _DATAFLOWS[unit.dataflow]
    else:
        out[UNIT_KIND] = TENSOR_CORE
        _pack_fused(chip, out)
        out[UNIT_RATE] = unit.macs_per_sm[dtype]
        # The mapper cuts L2 tiles in multiples of the largest output tile that a kernel uses, and
        # deep enough that a kernel's pipeline is full.
        out[ROWS], out[COLS] = max(tiles, key=lambda tile: (tile[0] * tile[1], tile))
        out[DEPTH] = 16 * unit.tile_k
        out[REGISTER_RESULTS] = unit.count * out[ROWS] * out[COLS]
        # a stage of shared memory holds as many bytes of each data type
        out[TILE_K] = unit.tile_k if gpu is None else unit.tile_k * 16 // BITS[dtype]
        out[TILE_COUNT] = len(tiles)
        for index, (rows, cols) in enumerate(tiles):
            out[TILES + 2 * index] = rows
            out[TILES + 2 * index + 1] = cols
        if gpu is not None:
            _pack_gpu(chip, gpu, out, dtype)
            out[GPU_ROTATING] = rotating_buffers
    return out


def _pack_fused(chip: Chip, out: Int64Array) -> None:
    fused = chip.fused or FusedKernels(chip.operator_overhead_ps + chip.hbm.latency_ps)
    out[FUSED_LAUNCH_PS] = fused.launch_ps
    out[FUSED_KERNEL_PS] = fused.kernel_launch_ps
    out[FUSED_TILE_PS] = fused.tile_latency_ps
    out[FUSED_SM_BYTES_PER_S] = fused.sm_bandwidth_bytes_per_s
    for field, share in (
        (FUSED_MATRIX, fused.matrix_efficiency),
        (FUSED_EXPERT, fused.expert_efficiency),
        (FUSED_STREAM, fused.stream_efficiency),
        (FUSED_EIGHT_BIT, fused.eight_bit_rate),
        (FUSED_SOFTMAX, fused.softmax_efficiency),
    ):
        out[field] = max(1, int(share * PER_MILLION))
    out[FUSED_ROW_TILE] = fused.row_tile
    out[FUSED_QUERY_TILE] = fused.query_tile
    out[FUSED_SPLITS] = fused.most_splits
    out[FUSED_SPLIT_GROUP] = fused.split_group
    out[FUSED_EDGES] = fused.window_edges
    out[FUSED_PACKS] = int(fused.packs_groups)
    out[FUSED_QUANTIZES] = int(fused.quantizes_queries)
    out[FUSED_ABSENT] = int(fused.carries_absent)
    out[FUSED_COPIES] = int(fused.copies_groups)
    out[FUSED_NARROW_TILE] = fused.narrow_query_tile or fused.query_tile
    out[FUSED_SPLITS_PROMPTS] = int(fused.splits_prompts)
    out[FUSED_OVERLAPS] = int(fused.overlaps_softmax)
    out[FUSED_TRANSPOSES] = int(fused.transposes_values)
    out[FUSED_SCANS] = int(fused.scans_sequences)
    out[FUSED_EXPERT_LAUNCH_PS] = fused.expert_launch
    out[FUSED_EXPERT_ROWS] = fused.expert_row_tile
    out[FUSED_NARROW_LAUNCH_PS] = fused.narrow_expert_launch_ps or 0
    out[FUSED_GATHERS] = int(fused.gathers_rows)
    out[FUSED_TILE_OF_MEAN] = int(fused.tile_of_mean)
    out[FUSED_GENERIC] = int(fused.generic_eight_bit)


def mac_energy_share(dtype: str) -> float:
    """Energy of a multiply-accumulate against that of 16 bits.

    Operands and multipliers are as wide as the bits, the accumulators are not: a third at 16 bits.
    """
    return (BITS[dtype] + 8) / 24


def _pack_gpu(chip: Chip, gpu: GpuKernels, out: Int64Array, dtype: str) -> None:
    """Fill in the fields of a GPU's kernels for a data type."""
    out[GPU] = 1
    out[GPU_TILE_PS] = gpu.tile_ps
    out[GPU_STEP_PS] = gpu.step_ps
    out[GPU_FEED] = gpu.feed_bytes_per_s
    out[GPU_MACS_PER_S] = int(out[UNIT_RATE] * chip.sustained_clock_hz * gpu.issue_efficiency)
    out[GPU_SPLIT_PS] = gpu.split_ps
    out[GPU_SPLITS] = 0 if dtype in gpu.unsplit else 1
    out[GPU_RAMP_PS] = gpu.ramp_ps
    out[GPU_MAC_ATTOJOULE] = int(gpu.mac_pj * 1e6 * mac_energy_share(dtype))
    if chip.power.tdp_w is not None:
        out[GPU_POWER_MW] = int(chip.power.tdp_w * 1e3 * SWITCHING_SHARE)
    out[GPU_PERSISTENT] = 1 if gpu.persistent else 0
    out[GPU_WAVE_LOSS] = round(gpu.wave_loss * PER_MILLION)
    out[GPU_EXPOSED_ENDS] = 1 if gpu.exposed_ends else 0
    out[GPU_NARROW_ROWS] = gpu.narrow_rows
    out[GPU_SHARED_FEED] = 1 if gpu.shared_feed else 0
    out[GPU_SPLIT_RATIO] = round(gpu.split_ratio * PER_MILLION)
    fastest = chip.sram.bandwidth_bytes_per_s
    out[GPU_STREAM_BYTES_PER_S] = min(fastest, gpu.stream_bytes_per_s or fastest)
    slower = gpu.store_bytes_per_s if dtype in gpu.unsplit else None
    to_l2 = int(fastest / L2_WRITE_COST)
    out[GPU_STORE_BYTES_PER_S] = min(to_l2, slower or to_l2)
    out[GPU_L2_BYTES] = int(chip.sram.capacity_bytes / (1 + L2_COPIES * (gpu.l2_partitions - 1)))


@inner
def run_bandwidth(chip: Int64Array, run: int) -> int:
    """HBM bytes per second of accesses in contiguous runs of ``run`` bytes."""
    index = 0
    length = 2 * SHORTEST_RUN_BYTES
    while index < RUN_CLASSES - 1 and run >= length:
        length *= 2
        index += 1
    return chip[RUN_BANDWIDTH + index]


def require_dtype(chip: Chip, dtype: str) -> None:
    """Raise InputError where the chip's matrix unit has no rate for a data type."""
    if dtype not in chip.matrix.dtypes:
        raise InputError(
            f"chip '{chip.name}' has no rate for dtype '{dtype}'",
            hint=did_you_mean(dtype, chip.matrix.dtypes),
        )
