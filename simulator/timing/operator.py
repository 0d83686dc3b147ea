"""The price of a single operator, for people: ``chipsim op``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from simulator.errors import InfeasibleError, InputError
from simulator.hardware import Chip
from simulator.kernels import executor
from simulator.kernels.arithmetic import scale_up
from simulator.kernels.chip_vector import CLOCK_HZ, HBM_BYTES_PER_S, SRAM_BYTES_PER_S, pack_chip
from simulator.mapping import matmul as mapper
from simulator.mapping import tiles
from simulator.mapping.memory import BITS
from simulator.timing import prices
from simulator.timing.hbm import resolve_memory
from simulator.timing.results import CAUSES, CopyTiming, MatmulTiming

LARGEST = 2**31
"""Largest dimension of an operator; beyond it byte counts leave the range of the kernels."""

LARGEST_VOLUME = 2**55
"""Largest m*k*n, for the same reason."""

LARGEST_COPY = 2**44
"""Largest copy in bytes (16 TiB)."""

_HELD = ("B held", "A held", "nothing held")


def price_matmuls(chip: Chip, cases: Iterable[tuple[int, int, int, str]]) -> list[MatmulTiming]:
    """Price C[m,n] = A[m,k] B[k,n] for each (m, k, n, dtype), all operands and results in HBM.

    Raises InputError for sizes that are not positive or beyond the kernels' range and for a dtype
    without a rate, InfeasibleError where SRAM is smaller than one tile.
    """
    chip = resolve_memory(chip)
    vectors: dict[str, npt.NDArray[np.int64]] = {}
    results = []
    for m, k, n, dtype in cases:
        if min(m, k, n) < 1:
            raise InputError(f"matmul sizes must be at least 1, found {m}x{k}x{n}")
        if max(m, k, n) > LARGEST or m * k * n > LARGEST_VOLUME:
            raise InputError(
                f"matmul {m}x{k}x{n} is too large: each size may be at most 2^31 and their "
                f"product at most 2^55"
            )
        if dtype not in vectors:
            vectors[dtype] = pack_chip(chip, dtype)
        results.append(_price(chip, vectors[dtype], m, k, n, dtype))
    return results


def price_matmul(chip: Chip, m: int, k: int, n: int, dtype: str = "bf16") -> MatmulTiming:
    """Price one matmul; see ``price_matmuls``."""
    return price_matmuls(chip, [(m, k, n, dtype)])[0]


def _order(code: int) -> str:
    loops = "n, m, k" if code & 1 else "m, n, k"
    return f"{loops}; {_HELD[code >> 1]}"


def _price(
    chip: Chip, vector: npt.NDArray[np.int64], m: int, k: int, n: int, dtype: str
) -> MatmulTiming:
    bits = BITS[dtype]
    out = np.empty(tiles.MAP_FIELDS, dtype=np.int64)
    mapper.search(vector, (m, k, n), (bits, bits, bits, bits, bits), 0, out)
    cycles = int(out[tiles.CYCLES])
    if cycles < 0:
        raise InfeasibleError(f"the SRAM of {chip.name} is smaller than one tile of {m}x{k}x{n}")
    flops = 2 * m * k * n
    peak = 2 * chip.matrix.macs_per_cycle(dtype)
    moved = int(out[tiles.READ] + out[tiles.WRITE])
    clock = int(vector[CLOCK_HZ])
    busy = {
        "matrix": int(out[tiles.ARRAY]),
        "vector": 0,
        "hbm": int(out[tiles.HBM]),
        "sram": int(out[tiles.FEED]),
        "fabric": 0,
    }
    busiest = max(busy, key=lambda unit: busy[unit])
    second = None
    if out[tiles.SECOND] >= 0:
        second = (
            int(out[tiles.SECOND]),
            int(out[tiles.SECOND_M]),
            int(out[tiles.SECOND_K]),
            int(out[tiles.SECOND_N]),
            _order(int(out[tiles.SECOND_ORDER])),
        )
    return MatmulTiming(
        chip=chip.name,
        m=m,
        k=k,
        n=n,
        dtype=dtype,
        clock_hz=clock,
        cycles=cycles,
        compute_cycles=int(out[tiles.COMPUTE]),
        time_s=-(-cycles * 10**12 // clock) / 1e12,
        bound_by=busiest if 2 * busy[busiest] >= cycles else "latency",
        tile=(int(out[tiles.TILE_M]), int(out[tiles.TILE_K]), int(out[tiles.TILE_N])),
        loop_order=_order(int(out[tiles.ORDER])),
        hbm_read_bytes=int(out[tiles.READ]),
        hbm_write_bytes=int(out[tiles.WRITE]),
        sram_bytes=int(out[tiles.SRAM]),
        flops=flops,
        busy_cycles=busy,
        utilization=flops / (peak * cycles) * (clock / chip.clock_hz),
        limits_cycles={
            "peak": -(-flops // peak),
            "hbm": int(scale_up(moved, clock, int(vector[HBM_BYTES_PER_S]))),
            "sram": int(scale_up(int(out[tiles.SRAM]), clock, int(vector[SRAM_BYTES_PER_S]))),
        },
        runner_up=second,
    )


def price_copies(chip: Chip, sizes: Sequence[int]) -> list[CopyTiming]:
    """Price copies of so many bytes inside the HBM of a chip.

    Raises InputError for a size that is not positive or above ``LARGEST_COPY``.
    """
    for size in sizes:
        if not 1 <= size <= LARGEST_COPY:
            raise InputError(f"copy: found {size} bytes, expected 1 to {LARGEST_COPY}")
    vector = pack_chip(resolve_memory(chip), chip.matrix.dtypes[0])
    out = np.zeros((len(sizes), executor.PRICE_FIELDS), dtype=np.int64)
    prices.price_copies(vector, np.array(sizes, dtype=np.int64), out)
    clock = int(vector[CLOCK_HZ])
    return [_copy(chip, clock, size, row) for size, row in zip(sizes, out.tolist(), strict=True)]


def _copy(chip: Chip, clock: int, size: int, row: list[int]) -> CopyTiming:
    time_ps = row[executor.DURATION]
    rate = 2 * size * 10**12 / time_ps
    return CopyTiming(
        chip=chip.name,
        size_bytes=size,
        cycles=time_ps * clock // 10**12,
        clock_hz=clock,
        time_s=time_ps / 1e12,
        bound_by=CAUSES[row[executor.CAUSE]],
        hbm_read_bytes=row[executor.READ],
        hbm_write_bytes=row[executor.WRITE],
        bandwidth_bytes_per_s=rate,
        hbm_utilization=rate / chip.hbm.bandwidth_bytes_per_s,
    )
