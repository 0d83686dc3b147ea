"""How matmuls are run and measured: what is around a kernel, and the form of its operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from simulator.errors import InputError
from simulator.hardware import Chip, SystolicArray
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.chip_vector import CLOCK_HZ
from simulator.kernels.library_vector import MATMUL_REPLAY_PS
from simulator.mapping import tiles
from simulator.mapping.gpu_matmul import add_quantization
from simulator.mapping.loads import Bits
from simulator.mapping.memory import BITS


class MatmulWays(TypedDict, total=False):
    """The fields of ``MatmulWay`` as keyword arguments."""

    rotating_buffers: int
    quantize: bool
    replay: bool
    blocks: bool


@dataclass(frozen=True, slots=True)
class MatmulWay:
    """``rotating_buffers`` reproduces a benchmark on a GPU that cycles through so many copies of B
    and uses the same A and C again: what of them is still in L2 does not come from HBM. 0, as in
    a model whose other layers came between: nothing is.

    ``quantize`` adds, for data types of 4 and 8 bits on a GPU, the kernel that scales the
    activations from 16 bits, and leaves results of 16 bits. ``replay`` adds what a benchmark on a
    GPU pays that replays a captured graph of one matmul. With ``blocks`` operands of 8 bits have a
    scale for each 128 of a row of A and each 128 x 128 of B, as DeepSeek-V3's.
    """

    rotating_buffers: int = 0
    quantize: bool = False
    replay: bool = False
    blocks: bool = False

    def check(self, chip: Chip) -> None:
        """Raise InputError for what the chip cannot run."""
        if self.rotating_buffers < 0:
            raise InputError(f"rotating buffers must be at least 0, found {self.rotating_buffers}")
        if not isinstance(chip.matrix, SystolicArray) and chip.matrix.kernels is not None:
            return
        for asked, what in (
            (self.quantize, "the quantization kernel is"),
            (self.replay, "replays are"),
            (self.blocks, "scales in blocks are"),
        ):
            if asked:
                raise InputError(f"{what} known for GPUs only, {chip.name} is none")

    def pack(self, chip: Chip, dtype: str) -> Int64Array:
        """The chip's vector; InputError for scales in blocks of other operands than of 8 bits."""
        if self.blocks and BITS[dtype] != 8:
            raise InputError(f"scales in blocks are of operands of 8 bits, found {dtype}")
        return pack_chip(chip, dtype, self.rotating_buffers, self.blocks)

    def bits(self, dtype: str) -> Bits:
        """Bits of the operands; those that are scaled, or have scales in groups, leave 16."""
        bits = BITS[dtype]
        wide = self.quantize or self.blocks or bits < 8
        return bits, bits, max(bits, 16) if wide else bits, bits, bits

    def add_around(
        self, vector: Int64Array, dtype: str, sizes: Int64Array, out: Int64Array
    ) -> None:
        """Add to priced matmuls (int64[rows, MAP_FIELDS]) what runs around their kernels."""
        if self.quantize and BITS[dtype] < 16:
            add_quantization(vector, np.ascontiguousarray(sizes), BITS[dtype], out)
        if self.replay:
            cycles = -(-int(vector[MATMUL_REPLAY_PS]) * int(vector[CLOCK_HZ]) // 10**12)
            out[:, tiles.CYCLES] += cycles
            out[out[:, tiles.SECOND] >= 0, tiles.SECOND] += cycles
