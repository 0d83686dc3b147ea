"""Matrix units: what multiplies, in which shape, and how fast for each data type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from simulator.hardware.gpu_kernels import GpuKernels

Dataflow = Literal["ws", "os", "is"]
WeightLoad = Literal["single", "double"]


@dataclass(frozen=True, slots=True)
class SystolicArray:
    """``count`` arrays of ``rows`` x ``cols`` cells.

    ``macs_per_cell[dtype]`` is the number of multiply-accumulates that one cell does in one cycle;
    a dtype that is absent has no rate on this chip. ``weight_load`` says whether a fold loads its
    stationary operand before it streams (``single``) or behind the previous fold (``double``),
    ``load_rows`` how many rows of it enter in a cycle: one where they shift through the array.
    ``accumulator_bytes`` is what all arrays together hold of 32-bit partial sums; more than that
    goes through SRAM for every fold of the inner dimension. None: as much as is needed.
    """

    rows: int
    cols: int
    count: int
    macs_per_cell: Mapping[str, int]
    dataflow: Dataflow = "ws"
    weight_load: WeightLoad = "single"
    load_rows: int = 1
    accumulator_bytes: int | None = None

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The data types that this unit has a rate for."""
        return tuple(self.macs_per_cell)

    @property
    def load_cycles(self) -> int:
        """Cycles in which an array takes in the stationary operand of a fold."""
        return -(-self.rows // self.load_rows)

    def macs_per_cycle(self, dtype: str) -> int:
        """Peak multiply-accumulates per cycle of the whole chip."""
        return self.rows * self.cols * self.count * self.macs_per_cell[dtype]


@dataclass(frozen=True, slots=True)
class TensorCore:
    """``count`` streaming multiprocessors, each working on one output tile at a time.

    ``macs_per_sm[dtype]`` is the rate of one multiprocessor in multiply-accumulates per cycle;
    ``tiles`` are the (rows, columns) of output tiles that its kernels come in, and ``tile_k`` is
    the depth of one step through the inner dimension. ``kernels`` says how a GPU's kernels run on
    them (``mapping.gpu_matmul``); without it a matmul is tiled for the SRAM like on any other unit.
    """

    count: int
    macs_per_sm: Mapping[str, int]
    tiles: tuple[tuple[int, int], ...]
    tile_k: int = 64
    kernels: GpuKernels | None = None

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The data types that this unit has a rate for."""
        return tuple(self.macs_per_sm)

    def macs_per_cycle(self, dtype: str) -> int:
        """Peak multiply-accumulates per cycle of the whole chip."""
        return self.count * self.macs_per_sm[dtype]


MatrixUnit = SystolicArray | TensorCore
