"""Fills in a chip's vector (``kernels.chip_vector``) from its specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.hardware import (
    RUN_CLASSES,
    Chip,
    FusedKernels,
    GpuKernels,
    KernelLibraries,
    SystolicArray,
    TensorCore,
    rate_of,
)
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    ACCUMULATORS,
    ACTIVATION_BYTES,
    ATTENTION_BITS,
    ATTENTION_RATE,
    BEST_SPLIT,
    BEST_TILE,
    CLOCK_HZ,
    COLS,
    DATAFLOW,
    DEPTH,
    FIXED,
    FUSED_ABSENT,
    FUSED_BLOCK_ELEMENTS,
    FUSED_COPIES,
    FUSED_EDGES,
    FUSED_EXPERT,
    FUSED_EXPERT_LAUNCH_PS,
    FUSED_EXPERT_ROWS,
    FUSED_FITS,
    FUSED_GATHERS,
    FUSED_GENERIC,
    FUSED_JOINS,
    FUSED_KERNEL_PS,
    FUSED_LAUNCH_PS,
    FUSED_MATRIX,
    FUSED_NARROW_LAUNCH_PS,
    FUSED_NARROW_TILE,
    FUSED_OVERLAPS,
    FUSED_PACKS,
    FUSED_QUANTIZES,
    FUSED_QUERY_TILE,
    FUSED_REGROUPS,
    FUSED_ROW_TILE,
    FUSED_SCANS,
    FUSED_SM_BYTES_PER_S,
    FUSED_SOFTMAX,
    FUSED_SPLIT_GROUP,
    FUSED_SPLITS,
    FUSED_SPLITS_LATENT,
    FUSED_SPLITS_PROMPTS,
    FUSED_STREAM,
    FUSED_TILE_OF_MEAN,
    FUSED_TILE_PS,
    FUSED_TRANSPOSES,
    GPU,
    GPU_FEED,
    GPU_IN_STEP,
    GPU_L2_BYTES,
    GPU_MAC_ATTOJOULE,
    GPU_MACS_PER_S,
    GPU_NARROW_ROWS,
    GPU_PERSISTENT,
    GPU_POWER_MW,
    GPU_PROMOTED_PER_S,
    GPU_RAMP_PS,
    GPU_ROTATING,
    GPU_SCALED,
    GPU_SCALED_MACS_PER_S,
    GPU_SPLIT_PS,
    GPU_SPLIT_RATIO,
    GPU_SPLITS,
    GPU_STEP_PS,
    GPU_STORE_BYTES_PER_S,
    GPU_STREAM_BYTES_PER_S,
    GPU_TILE_PS,
    HBM_BYTES_PER_S,
    HBM_LATENCY_PS,
    INPUT_BUFFER,
    LIBRARY_VALUES,
    LOAD,
    LOAD_CYCLES,
    NO_LIMIT,
    OVERHEAD_PS,
    PER_MILLION,
    PLAIN_RATE,
    PREFETCH_BYTES,
    REGISTER_RESULTS,
    ROWS,
    RUN_BANDWIDTH,
    SRAM_BYTES,
    SRAM_BYTES_PER_S,
    SRAM_WRITE_BYTES_PER_S,
    SYSTOLIC,
    TENSOR_CORE,
    TILE_BYTES,
    TILE_COUNT,
    TILE_K,
    TILE_OVERHEAD_PS,
    TILES,
    UNIT_COUNT,
    UNIT_KIND,
    UNIT_RATE,
    VECTOR_OPS,
)
from simulator.kernels.library_vector import NVFP4_MACS, NVFP4_STEP_PS, TRITON_PROMOTION_OPS
from simulator.kernels.systolic import DOUBLE, IS, OS, SINGLE, WS
from simulator.mapping.attention_dtype import attention_dtype, plain_dtype
from simulator.mapping.memory import BITS, SCALED_ELEMENTS

_DATAFLOWS = {"ws": WS, "os": OS, "is": IS}


def pack_chip(
    chip: Chip,
    dtype: str,
    rotating_buffers: int = 0,
    blocks: bool = False,
    cache: str | None = None,
) -> Int64Array:
    """The vector of a chip that computes in ``dtype``, with a KV cache of type ``cache``, if any.

    ``rotating_buffers`` is how many copies of the weights a benchmark cycles through, which decides
    what of them lies in the L2 of a GPU when their turn comes again; 0 is the ordinary case of
    weights that were last read a whole model ago. ``blocks``: matmuls of 8 bits whose operands have
    scales in blocks.

    Raises InputError where the chip has no rate for that data type.
    """
    require_dtype(chip, dtype)
    if cache is not None and chip.fused is not None:
        chip = replace(chip, fused=chip.fused.with_cache(BITS[cache]))
    unit = chip.matrix
    if isinstance(unit, SystolicArray):
        out = np.zeros(TILES, dtype=np.int64)
        _pack_array(unit, out, dtype)
    else:
        tiles = unit.tiles if unit.kernels is None else unit.kernels.tiles
        out = np.zeros(TILES + 2 * len(tiles), dtype=np.int64)
        _pack_tensor_core(unit, tiles, out, dtype)
        _pack_fused(chip, out)
        libraries = libraries_of(chip)
        out[LIBRARY_VALUES:TILES] = libraries.packed(PER_MILLION)
        if unit.kernels is not None:
            _pack_gpu(chip, unit.kernels, libraries, out, dtype)
            out[GPU_ROTATING] = rotating_buffers
            if blocks:
                _pack_blocks(chip, unit, out)
    _pack_attention(chip, attention_dtype(chip, dtype, cache or dtype), out)
    _pack_memories(chip, out)
    out[CLOCK_HZ] = chip.sustained_clock_hz
    out[TILE_OVERHEAD_PS] = chip.tile_overhead_ps
    out[OVERHEAD_PS] = chip.operator_overhead_ps
    out[VECTOR_OPS] = chip.vector.ops_per_cycle
    out[UNIT_COUNT] = unit.count
    return out


def _pack_attention(chip: Chip, dtype: str, out: Int64Array) -> None:
    rates = chip.matrix.rates
    out[ATTENTION_BITS] = BITS[dtype]
    out[ATTENTION_RATE] = rates[rate_of(dtype)]
    out[PLAIN_RATE] = rates[rate_of(plain_dtype(chip, dtype))]


def _pack_memories(chip: Chip, out: Int64Array) -> None:
    sram = chip.sram
    out[HBM_BYTES_PER_S] = chip.hbm.sustained_bytes_per_s
    for index in range(RUN_CLASSES):
        out[RUN_BANDWIDTH + index] = chip.hbm.run_bytes_per_s(index)
    out[HBM_LATENCY_PS] = chip.hbm.latency_ps
    out[SRAM_BYTES_PER_S] = sram.bandwidth_bytes_per_s
    out[SRAM_WRITE_BYTES_PER_S] = sram.write_bandwidth_bytes_per_s or 0
    for index, size in enumerate(sram.buffers or (0, 0, 0)):
        out[INPUT_BUFFER + index] = size
    out[SRAM_BYTES] = sram.capacity_bytes
    out[TILE_BYTES] = int(sram.capacity_bytes * sram.tile_fraction)
    out[PREFETCH_BYTES] = int(sram.capacity_bytes * sram.prefetch_fraction)
    out[ACTIVATION_BYTES] = int(sram.capacity_bytes * sram.activation_fraction)


def _pack_array(unit: SystolicArray, out: Int64Array, dtype: str) -> None:
    out[UNIT_KIND] = SYSTOLIC
    out[UNIT_RATE] = unit.macs_per_cell[dtype]
    out[ROWS] = unit.rows
    out[COLS] = unit.cols
    out[ACCUMULATORS] = NO_LIMIT if unit.accumulator_bytes is None else unit.accumulator_bytes
    out[LOAD] = DOUBLE if unit.weight_load == "double" else SINGLE
    out[LOAD_CYCLES] = unit.load_cycles
    out[DEPTH] = unit.rows
    out[DATAFLOW] = _DATAFLOWS[unit.dataflow]


def _pack_tensor_core(
    unit: TensorCore, tiles: Sequence[tuple[int, int]], out: Int64Array, dtype: str
) -> None:
    out[UNIT_KIND] = TENSOR_CORE
    out[UNIT_RATE] = unit.macs_per_sm[rate_of(dtype)]
    out[ACCUMULATORS] = NO_LIMIT
    # The mapper cuts L2 tiles in multiples of the largest output tile that a kernel uses, and
    # deep enough that a kernel's pipeline is full.
    out[ROWS], out[COLS] = max(tiles, key=lambda tile: (tile[0] * tile[1], tile))
    out[DEPTH] = 16 * unit.tile_k
    out[REGISTER_RESULTS] = unit.count * out[ROWS] * out[COLS]
    # a stage of shared memory holds as many bytes of each data type
    out[TILE_K] = unit.tile_k if unit.kernels is None else unit.tile_k * 16 // BITS[dtype]
    out[TILE_COUNT] = len(tiles)
    for index, (rows, cols) in enumerate(tiles):
        out[TILES + 2 * index] = rows
        out[TILES + 2 * index + 1] = cols


def libraries_of(chip: Chip) -> KernelLibraries:
    """The kernel libraries of a GPU: its own, or the usual ones for one that is made in Python."""
    from simulator.config.loader import load_libraries

    return chip.libraries or load_libraries()


def mac_share(chip: Chip, dtype: str) -> float:
    """Energy of a multiply-accumulate of a GPU over that of one of 16 bits."""
    libraries = libraries_of(chip)
    if rate_of(dtype) == "fp4":
        return libraries.nvfp4.mac_energy
    return libraries.cublas.mac_energy_share(BITS[dtype])


def _pack_fused(chip: Chip, out: Int64Array) -> None:
    fused = chip.fused or FusedKernels(chip.operator_overhead_ps + chip.hbm.latency_ps)
    out[FUSED_LAUNCH_PS] = fused.launch_ps
    out[FUSED_KERNEL_PS] = fused.kernel_launch_ps
    out[FUSED_TILE_PS] = fused.tile_latency_ps
    out[FUSED_SM_BYTES_PER_S] = fused.sm_bandwidth_bytes_per_s
    for field, share in (
        (FUSED_EXPERT, fused.expert_efficiency),
        (FUSED_STREAM, fused.stream_efficiency),
        (FUSED_MATRIX, fused.matrix_efficiency),
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
    out[FUSED_REGROUPS] = int(fused.regroups_windows)
    out[FUSED_FITS] = int(fused.fits_tiles)
    out[FUSED_BLOCK_ELEMENTS] = fused.block_elements or 0
    out[FUSED_SPLITS_LATENT] = int(fused.splits_latent)
    out[FUSED_JOINS] = int(fused.always_joins)


def _pack_gpu(
    chip: Chip, gpu: GpuKernels, libraries: KernelLibraries, out: Int64Array, dtype: str
) -> None:
    """Fill in the fields of a GPU's kernels for a data type."""
    out[GPU] = 1
    out[GPU_TILE_PS] = gpu.tile_ps
    out[GPU_STEP_PS] = gpu.step_ps
    out[GPU_FEED] = gpu.feed_bytes_per_s
    issued = gpu.issue_efficiency
    if BITS[dtype] == 8 and gpu.eight_bit_issue is not None:
        issued = gpu.eight_bit_issue
    out[GPU_MACS_PER_S] = int(out[UNIT_RATE] * chip.sustained_clock_hz * issued)
    out[GPU_SPLIT_PS] = gpu.split_ps
    out[GPU_SPLITS] = FIXED if dtype in gpu.unsplit else BEST_SPLIT
    out[GPU_SCALED_MACS_PER_S] = NO_LIMIT
    # there is no arithmetic on floats of 4 bits without scales
    shared = SCALED_ELEMENTS.get("nvfp4" if dtype == "fp4" else dtype)
    if shared is not None:
        out[GPU_SPLITS] = BEST_TILE
        out[GPU_SCALED] = shared
        out[GPU_STEP_PS] = out[NVFP4_STEP_PS]
        out[GPU_SCALED_MACS_PER_S] = out[NVFP4_MACS] * chip.sustained_clock_hz
    out[GPU_RAMP_PS] = gpu.ramp_ps
    cublas = libraries.cublas
    out[GPU_MAC_ATTOJOULE] = round(gpu.mac_pj * 1e6 * mac_share(chip, dtype))
    if chip.power.tdp_w is not None:
        out[GPU_POWER_MW] = int(chip.power.tdp_w * 1e3 * cublas.switching_share)
    out[GPU_PERSISTENT] = 1 if gpu.persistent else 0
    out[GPU_IN_STEP] = 1 if gpu.in_step else 0
    out[GPU_NARROW_ROWS] = gpu.narrow_rows
    out[GPU_SPLIT_RATIO] = round(gpu.split_ratio * PER_MILLION)
    fastest = chip.sram.bandwidth_bytes_per_s
    out[GPU_STREAM_BYTES_PER_S] = min(fastest, gpu.stream_bytes_per_s or fastest)
    slower = gpu.store_bytes_per_s if dtype in gpu.unsplit else None
    to_l2 = int(fastest / cublas.l2_write_cost)
    out[GPU_STORE_BYTES_PER_S] = min(to_l2, slower or to_l2)
    # of each further partition; 1 / kept of two are all lines with the copies
    copies = 1 / cublas.l2_kept - 1
    out[GPU_L2_BYTES] = int(chip.sram.capacity_bytes / (1 + copies * (gpu.l2_partitions - 1)))


def _pack_blocks(chip: Chip, unit: TensorCore, out: Int64Array) -> None:
    """Change the fields of 8-bit kernels to those of operands with scales in blocks.

    Tensor cores that multiply floats of 4 bits take scales; before them results are promoted after
    each 128 of the inner dimension, the depth of a step (``kernels.gpu_experts``).
    """
    out[GPU_SPLITS] = BEST_TILE
    if "fp4" not in unit.rates:
        rate = chip.vector.ops_per_cycle * chip.sustained_clock_hz / unit.count
        out[GPU_PROMOTED_PER_S] = int(rate * PER_MILLION / out[TRITON_PROMOTION_OPS])


def require_dtype(chip: Chip, dtype: str) -> None:
    """Raise InputError where the chip's matrix unit has no rate for a data type."""
    if dtype not in chip.matrix.dtypes:
        raise InputError(
            f"chip '{chip.name}' has no rate for dtype '{dtype}'",
            hint=did_you_mean(dtype, chip.matrix.dtypes),
        )
