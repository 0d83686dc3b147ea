"""Kernels of a GPU that scale and round activations before a matmul takes them in 8 bits.

They wait for memory rather than move much: a block of threads scales a row, or a multiprocessor
one group of a row after the other. ``configs/libraries/quantization.yaml`` has their latencies.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import HBM_BYTES_PER_S, PER_MILLION, UNIT_COUNT
from simulator.kernels.gpu_matmul import blend, join
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    QUANTIZE_FURTHER_PS,
    QUANTIZE_GAP_PS,
    QUANTIZE_PASS,
    QUANTIZE_RESIDENT,
    QUANTIZE_ROW_PS,
)

SCALED = 128
"""Activations that share a scale where scales come in blocks."""


@inner
def quantize_row_ps(chip: Int64Array, width: int) -> float:
    """Time of a block that scales one row of ``width`` activations."""
    passes = ceil_div(width, chip[QUANTIZE_PASS])
    return float(chip[QUANTIZE_ROW_PS]) + chip[QUANTIZE_FURTHER_PS] * (passes - 1)


@inner
def quantize_ps(chip: Int64Array, rows: int, width: int, size: int) -> float:
    """Time of the kernel before an 8-bit matmul that scales each row of the activations.

    One block a row; ``size`` bytes are read and written.
    """
    row = quantize_row_ps(chip, width)
    waves = blend(1.0, rows / chip[UNIT_COUNT])
    return chip[QUANTIZE_GAP_PS] + join(chip, waves * row, size * 1e12 / chip[HBM_BYTES_PER_S])


@inner
def convert_ps(chip: Int64Array, width: int, size: int) -> float:
    """Time of a kernel that converts rows of ``width`` with static scales, or scales of 16 or 32
    elements. Many rows are in flight: the latency of one, and the stream of ``size`` bytes read
    and written.
    """
    row = quantize_row_ps(chip, width)
    return chip[QUANTIZE_GAP_PS] + join(chip, row, size * 1e12 / chip[HBM_BYTES_PER_S])


@inner
def convert_rows_ps(chip: Int64Array, rows: int, width: int, size: int) -> float:
    """Time of the kernel before a matmul whose operands share scales in groups: as ``convert_ps``,
    but that a multiprocessor has no more than so many rows in flight."""
    resident = chip[UNIT_COUNT] * (chip[QUANTIZE_RESIDENT] / PER_MILLION)
    row = blend(1.0, rows / resident) * quantize_row_ps(chip, width)
    return chip[QUANTIZE_GAP_PS] + join(chip, row, size * 1e12 / chip[HBM_BYTES_PER_S])


@inner
def scale_blocks_ps(chip: Int64Array, rows: int, width: int, size: int, group_ps: float) -> float:
    """Time of the kernel that scales each ``SCALED`` activations of a row by themselves.

    One block a row; ``size`` bytes are read and written; ``group_ps`` for each group of a row.
    """
    waves = blend(1.0, rows / chip[UNIT_COUNT])
    row = ceil_div(width, SCALED) * group_ps
    return chip[QUANTIZE_GAP_PS] + join(chip, waves * row, size * 1e12 / chip[HBM_BYTES_PER_S])
