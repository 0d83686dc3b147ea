"""The price of a single operator, for people: ``chipsim op``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Unpack

import numpy as np

from simulator.errors import InfeasibleError, InputError
from simulator.hardware import Chip
from simulator.kernels import executor
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.chip_vector import CLOCK_HZ
from simulator.mapping import matmul as mapper
from simulator.mapping import tiles
from simulator.mapping.loads import Bits
from simulator.timing import prices
from simulator.timing.hbm import resolve_memory
from simulator.timing.matmul_ways import MatmulWay, MatmulWays
from simulator.timing.results import CAUSES, CopyTiming, MatmulTiming

LARGEST = 2**31
"""Largest dimension of an operator; beyond it byte counts leave the range of the kernels."""

LARGEST_VOLUME = 2**55
"""Largest m*k*n, for the same reason."""

MOST_REMEMBERED = 2**16
"""Shapes whose mappings are kept for each chip and data type."""

LARGEST_COPY = 2**44
"""Largest copy in bytes (16 TiB)."""

_ORDERS = tuple(
    f"{loops}; {held}"
    for held in ("B held", "A held", "nothing held")
    for loops in ("m, n, k", "n, m, k")
)
"""By the code of ``tiles.ORDER``."""


def price_matmuls(
    chip: Chip,
    cases: Iterable[tuple[int, int, int, str]],
    **ways: Unpack[MatmulWays],
) -> list[MatmulTiming]:
    """Price C[m,n] = A[m,k] B[k,n] for each (m, k, n, dtype), all operands and results in HBM.

    ``ways`` are those of ``MatmulWay``.

    Raises InputError for sizes that are not positive or beyond the kernels' range and for a dtype
    without a rate, InfeasibleError where SRAM is smaller than one tile.
    """
    way = MatmulWay(**ways)
    way.check(chip)
    chip = resolve_memory(chip)
    rows = list(cases)
    shapes: dict[str, list[tuple[int, int, int]]] = {}
    for m, k, n, dtype in rows:
        _check_size(m, k, n)
        shapes.setdefault(dtype, []).append((m, k, n))
    priced: dict[str, Iterator[list[int]]] = {}
    for dtype, sizes in shapes.items():
        vector = way.pack(chip, dtype)
        out = _mapped(vector, sizes, way.bits(dtype))
        way.add_around(vector, dtype, np.array(sizes, np.int64), out)
        priced[dtype] = iter(out.tolist())
    facts = {dtype: _Facts.of(chip, dtype) for dtype in shapes}
    return [_timing(facts[row[3]], row, next(priced[row[3]])) for row in rows]


def matmul_seconds(
    chip: Chip,
    sizes: Int64Array,
    dtype: str,
    **ways: Unpack[MatmulWays],
) -> Float64Array:
    """Seconds of matmuls of one data type; the ``time_s`` of ``price_matmuls``, and nothing else.

    ``sizes`` is int64[rows, 3], m, k and n of each. Raises as ``price_matmuls``.
    """
    way = MatmulWay(**ways)
    way.check(chip)
    chip = resolve_memory(chip)
    # what may be out of range by its rounded product is looked at exactly
    strange = ((sizes < 1) | (sizes > LARGEST)).any(axis=1)
    strange |= sizes.astype(np.float64).prod(axis=1) > LARGEST_VOLUME / 2
    for m, k, n in sizes[strange].tolist():
        _check_size(m, k, n)
    vector = way.pack(chip, dtype)
    out = np.empty((len(sizes), tiles.MAP_FIELDS), dtype=np.int64)
    mapper.search_all(vector, np.ascontiguousarray(sizes), way.bits(dtype), out)
    way.add_around(vector, dtype, sizes, out)
    cycles = out[:, tiles.CYCLES].tolist()
    if min(cycles, default=0) < 0:
        raise _no_tile(chip.name, *sizes[cycles.index(min(cycles))].tolist())
    clock = chip.sustained_clock_hz
    return np.array([_seconds(each, clock) for each in cycles])


def _seconds(cycles: int, clock_hz: int) -> float:
    """Seconds that cycles take, rounded up to a picosecond."""
    return -(-cycles * 10**12 // clock_hz) / 1e12


def _no_tile(chip: str, m: int, k: int, n: int) -> InfeasibleError:
    return InfeasibleError(f"the SRAM of {chip} is smaller than one tile of {m}x{k}x{n}")


@lru_cache(maxsize=64)
def _remembered(chip: bytes, bits: Bits) -> dict[tuple[int, int, int], Int64Array]:
    """The mappings found so far for a chip, as its vector's bytes, and for bits of the operands."""
    return {}


def _mapped(vector: Int64Array, sizes: list[tuple[int, int, int]], bits: Bits) -> Int64Array:
    """The best mapping of each shape, int64[shapes, fields]; a shape is searched for once."""
    known = _remembered(vector.tobytes(), bits)
    if len(known) > MOST_REMEMBERED:
        known.clear()
    missing = [shape for shape in dict.fromkeys(sizes) if shape not in known]
    if len(missing) > MOST_REMEMBERED // 64:  # a table: nobody asks for it twice
        found = np.empty((len(sizes), tiles.MAP_FIELDS), dtype=np.int64)
        mapper.search_all(vector, np.array(sizes, np.int64), bits, found)
        return found
    if missing:
        found = np.empty((len(missing), tiles.MAP_FIELDS), dtype=np.int64)
        mapper.search_all(vector, np.array(missing, np.int64), bits, found)
        known.update(zip(missing, found, strict=True))
    return np.array([known[shape] for shape in sizes])


def _check_size(m: int, k: int, n: int) -> None:
    if m < 1 or k < 1 or n < 1:
        raise InputError(f"matmul sizes must be at least 1, found {m}x{k}x{n}")
    if m > LARGEST or k > LARGEST or n > LARGEST or m * k * n > LARGEST_VOLUME:
        raise InputError(
            f"matmul {m}x{k}x{n} is too large: each size may be at most 2^31 and their "
            f"product at most 2^55"
        )


def price_matmul(
    chip: Chip,
    m: int,
    k: int,
    n: int,
    dtype: str = "bf16",
    **ways: Unpack[MatmulWays],
) -> MatmulTiming:
    """Price one matmul; see ``price_matmuls``."""
    case = (m, k, n, dtype)
    return price_matmuls(chip, [case], **ways)[0]


def _order(code: int) -> str:
    return _ORDERS[code]


@dataclass(frozen=True, slots=True)
class _Facts:
    """What all matmuls of one data type on one chip share; looked up once for many of them."""

    chip: str
    clock_hz: int
    peak: int
    hbm: int
    sram: int
    sustained: float

    @classmethod
    def of(cls, chip: Chip, dtype: str) -> _Facts:
        return cls(
            chip.name,
            chip.sustained_clock_hz,
            2 * chip.matrix.macs_per_cycle(dtype),
            chip.hbm.sustained_bytes_per_s,
            chip.sram.bandwidth_bytes_per_s,
            chip.sustained_clock_hz / chip.clock_hz,
        )


def _timing(facts: _Facts, case: tuple[int, int, int, str], out: list[int]) -> MatmulTiming:
    m, k, n, dtype = case
    cycles = out[tiles.CYCLES]
    if cycles < 0:
        raise _no_tile(facts.chip, m, k, n)
    flops = 2 * m * k * n
    moved = out[tiles.READ] + out[tiles.WRITE]
    clock = facts.clock_hz
    busy = {
        "matrix": out[tiles.ARRAY],
        "vector": 0,
        "hbm": out[tiles.HBM],
        "sram": out[tiles.FEED],
        "fabric": 0,
    }
    busiest = max(busy, key=busy.__getitem__)
    second = None
    if out[tiles.SECOND] >= 0:
        second = (
            out[tiles.SECOND],
            out[tiles.SECOND_M],
            out[tiles.SECOND_K],
            out[tiles.SECOND_N],
            _order(out[tiles.SECOND_ORDER]),
        )
    return MatmulTiming(
        chip=facts.chip,
        m=m,
        k=k,
        n=n,
        dtype=dtype,
        clock_hz=clock,
        cycles=cycles,
        compute_cycles=out[tiles.COMPUTE],
        time_s=_seconds(cycles, clock),
        bound_by=busiest if 2 * busy[busiest] >= cycles else "latency",
        tile=(out[tiles.TILE_M], out[tiles.TILE_K], out[tiles.TILE_N]),
        loop_order=_order(out[tiles.ORDER]),
        hbm_read_bytes=out[tiles.READ],
        hbm_write_bytes=out[tiles.WRITE],
        sram_bytes=out[tiles.SRAM],
        flops=flops,
        busy_cycles=busy,
        utilization=flops / (facts.peak * cycles) * facts.sustained,
        limits_cycles={
            "peak": -(-flops // facts.peak),
            "hbm": -(-moved * clock // facts.hbm),
            "sram": -(-out[tiles.SRAM] * clock // facts.sram),
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
