"""The least work of a measured row, and the peaks of the data sheet that it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError
from simulator.mapping.memory import stored_bits
from simulator.validation.machine import Machine
from simulator.validation.table import Column, FloatArray

Inputs = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Work:
    """Least flops and bytes of each row of a table, and the peaks that they are held against.

    ``bytes`` pass a path of ``bytes_per_s`` (HBM, or the links of a chip); of those
    ``cached_bytes`` at most may still lie in a cache from the run before.
    """

    flops: FloatArray
    bytes: FloatArray
    flops_per_s: float
    bytes_per_s: float
    cached_bytes: float = 0.0

    @property
    def compute_s(self) -> FloatArray:
        """Seconds of arithmetic at the peak of the data sheet."""
        return self.flops / self.flops_per_s

    @property
    def transfer_s(self) -> FloatArray:
        """Seconds of traffic at the bandwidth of the data sheet."""
        return self.bytes / self.bytes_per_s

    @property
    def roofline_s(self) -> FloatArray:
        """The larger of the two."""
        return np.maximum(self.compute_s, self.transfer_s)

    @property
    def floor_s(self) -> FloatArray:
        """No measurement can be below this: the roofline with a warm cache."""
        cold = np.maximum(0.0, self.bytes - self.cached_bytes)
        return np.maximum(self.compute_s, cold / self.bytes_per_s)


def chip_work(machine: Machine, dtype: str, flops: FloatArray, moved: FloatArray) -> Work:
    """Work of one chip on its matrix unit and HBM.

    Raises:
        InputError: the chip has no rate for the data type.
    """
    chip = machine.chip
    if dtype not in chip.matrix.dtypes:
        known = ", ".join(chip.matrix.dtypes)
        raise InputError(f"chip '{chip.name}' has no rate for '{dtype}'; it has {known}")
    peak = float(chip.peak_flops_per_s(dtype))
    hbm = float(chip.hbm.bandwidth_bytes_per_s)
    return Work(flops, moved, peak, hbm, float(chip.sram.capacity_bytes))


def dtype_bytes(dtype: str) -> float:
    """Bytes of an element, with its share of a scale."""
    return stored_bits(dtype) / 8
