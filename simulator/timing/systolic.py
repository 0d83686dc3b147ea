"""One matmul on one systolic array: cycles, stalls and traffic, with every limit checked."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError
from simulator.kernels import systolic as closed
from simulator.kernels import systolic_chunks as chunking
from simulator.kernels import systolic_pipeline as pipeline
from simulator.kernels.systolic_counts import IN_VAIN, TOTAL_CYCLES

DATAFLOWS = {"ws": closed.WS, "os": closed.OS, "is": closed.IS}
LOADS = {"single": closed.SINGLE, "double": closed.DOUBLE}
BUFFERS = ("sram_ifmap_bytes", "sram_filter_bytes", "sram_ofmap_bytes")

MAX_SIZE = 2**31
MAX_ARRAY = 1024
UNLIMITED = 2**62


@dataclass(frozen=True, slots=True)
class SystolicCase:
    """C[m,n] = A[m,k] B[k,n] on ``arrays`` arrays of ``rows`` x ``cols`` cells.

    ``macs`` is the number of multiply-accumulates of a cell per cycle. Buffers that are None are
    unlimited; ``bandwidth`` is in words per cycle for the DRAM port of each operand, None for
    ideal memory. A word has ``word_bytes`` bytes.
    """

    m: int
    k: int
    n: int
    rows: int
    cols: int
    dataflow: str = "ws"
    load: str = "single"
    macs: int = 1
    arrays: int = 1
    sram_ifmap_bytes: int | None = None
    sram_filter_bytes: int | None = None
    sram_ofmap_bytes: int | None = None
    bandwidth: Fraction | None = None
    word_bytes: int = 1

    @property
    def ideal_memory(self) -> bool:
        """Whether neither a buffer nor the bandwidth is limited."""
        return self.bandwidth is None and all(getattr(self, name) is None for name in BUFFERS)


@dataclass(frozen=True, slots=True)
class SystolicTiming:
    """What a case costs; ``cycles`` = ``compute_cycles`` + ``stall_cycles``, traffic in words.

    ``cold_start_cycles`` (filling the first half of the buffers before cycle 0) and
    ``write_back_cycles`` (results still in SRAM after the last cycle) are outside of ``cycles``.
    ``stall_free_words_per_cycle`` is a bandwidth from which nothing stalls, None where a buffer
    holds fewer than two tiles or memory is ideal.
    """

    case: SystolicCase
    folds: int
    compute_cycles: int
    stall_cycles: int
    fill_drain_cycles: int
    utilization: float
    mapping_efficiency: float
    sram_ifmap_reads: int
    sram_filter_reads: int
    sram_ofmap_writes: int
    dram_ifmap_reads: int
    dram_filter_reads: int
    dram_ofmap_reads: int
    dram_ofmap_writes: int
    cold_start_cycles: int
    write_back_cycles: int
    stall_free_words_per_cycle: float | None

    @property
    def cycles(self) -> int:
        """All cycles from the first fold's first to the last fold's last."""
        return self.compute_cycles + self.stall_cycles

    @property
    def sram_reads(self) -> int:
        """Words of both operands that the array takes from SRAM."""
        return self.sram_ifmap_reads + self.sram_filter_reads

    @property
    def sram_writes(self) -> int:
        """Words of result, partial sums included, that the array hands to the accumulators."""
        return self.sram_ofmap_writes

    @property
    def dram_reads(self) -> int:
        """Words read from DRAM, spilled partial sums included."""
        return self.dram_ifmap_reads + self.dram_filter_reads + self.dram_ofmap_reads

    @property
    def dram_writes(self) -> int:
        """Words written to DRAM, spilled partial sums included."""
        return self.dram_ofmap_writes


def check_case(case: SystolicCase) -> tuple[str, str] | None:
    """The first field of a case that cannot be, and what is wrong with it; None where all is well.

    Buffers are checked last, because the tile that they must hold follows from the rest.
    """
    for name, most in (
        ("m", MAX_SIZE),
        ("k", MAX_SIZE),
        ("n", MAX_SIZE),
        ("rows", MAX_ARRAY),
        ("cols", MAX_ARRAY),
        ("macs", 2),
        ("arrays", 2**20),
        ("word_bytes", 16),
    ):
        value = getattr(case, name)
        if not 1 <= value <= most:
            return name, f"{name} is {value}; expected 1 to {most}"
    if case.dataflow not in DATAFLOWS:
        return "dataflow", f"unknown dataflow '{case.dataflow}'; expected ws, os or is"
    if case.load not in LOADS:
        return "load", f"unknown load '{case.load}'; expected single or double"
    if case.load == "double" and case.dataflow == "os":
        return "load", "load 'double' needs a stationary operand; os has none, use single"
    sizes = _shape(case)
    closed_form: Any = closed.arrays_cycles  # its Python original does not overflow
    words = case.m * case.k * case.n + closed_form.py_func(*sizes, case.macs, 1)
    if words >= 2**62:
        return "m", f"{case.m}x{case.k}x{case.n} is too large; cycles must stay below 2**62"
    return None if case.ideal_memory else _check_memory(case)


def systolic_timing(case: SystolicCase) -> SystolicTiming:
    """Price a case. O(1) with ideal memory, otherwise linear in folds that do not repeat.

    Raises InputError (without a place) for a case that ``check_case`` refuses, or where too many
    folds differ.
    """
    wrong = check_case(case)
    if wrong is not None:
        raise InputError(wrong[1])
    dataflow, m, k, n = DATAFLOWS[case.dataflow], case.m, case.k, case.n
    rows, cols = case.rows, case.cols
    sizes = _shape(case)
    folds = closed.fold_count(dataflow, m, k, n, rows, cols)
    compute = closed.arrays_cycles(*sizes, case.macs, case.arrays)
    total, cold, after = compute, 0, 0
    ifmap, filters, sums, result = m * k, k * n, 0, m * n
    enough = None
    if not case.ideal_memory:
        total, cold, after, row, col, sums, result = pipeline_counts(case)
        if total < 0:
            raise InputError(
                f"{case.m}x{case.k}x{case.n}: {folds} folds do not repeat often enough for finite "
                f"memory; more than {pipeline.MAX_STEPS} tiles would have to be followed one by one"
            )
        ifmap, filters = (col, row) if case.dataflow == "is" else (row, col)
        enough = _stall_free(case)
    cells = rows * cols * case.macs * case.arrays
    return SystolicTiming(
        case=case,
        folds=folds,
        compute_cycles=compute,
        stall_cycles=total - compute,
        fill_drain_cycles=closed.fill_drain_cycles(*sizes, case.macs, case.arrays),
        utilization=m * k * n / (cells * total),
        mapping_efficiency=closed.mapped_cells(dataflow, m, k, n) / (folds * rows * cols),
        sram_ifmap_reads=closed.sram_ifmap_reads(dataflow, m, k, n, rows, cols),
        sram_filter_reads=closed.sram_filter_reads(dataflow, m, k, n, rows, cols),
        sram_ofmap_writes=closed.sram_ofmap_writes(dataflow, m, k, n, rows, cols),
        dram_ifmap_reads=ifmap,
        dram_filter_reads=filters,
        dram_ofmap_reads=sums,
        dram_ofmap_writes=result,
        cold_start_cycles=cold,
        write_back_cycles=after,
        stall_free_words_per_cycle=enough,
    )


@functools.lru_cache(maxsize=4096)
def pipeline_counts(case: SystolicCase) -> tuple[int, ...]:
    """What ``run_pipeline`` counts; layers of a network that have the same shape share it."""
    return tuple(int(x) for x in run_case(case, _EMPTY, _EMPTY, _EMPTY.ravel()))


def extents(case: SystolicCase) -> tuple[int, int, int]:
    """What lies along the rows, along the columns, and what streams."""
    return {
        "ws": (case.k, case.n, case.m),
        "os": (case.m, case.n, case.k),
        "is": (case.k, case.m, case.n),
    }[case.dataflow]


_EMPTY = np.zeros((0, 0), np.int64)


def _shape(case: SystolicCase) -> tuple[int, int, int, int, int, int, int]:
    """Leading arguments of the closed forms."""
    dataflow, load = DATAFLOWS[case.dataflow], LOADS[case.load]
    return dataflow, load, case.m, case.k, case.n, case.rows, case.cols


def _capacities(case: SystolicCase) -> tuple[int, int, int]:
    """Words that the buffers of ROW, COL and OUT hold."""
    ifmap, filters, ofmap = (
        UNLIMITED if size is None else size // case.word_bytes
        for size in (case.sram_ifmap_bytes, case.sram_filter_bytes, case.sram_ofmap_bytes)
    )
    return (filters, ifmap, ofmap) if case.dataflow == "is" else (ifmap, filters, ofmap)


def _buffer_names(case: SystolicCase) -> tuple[str, str, str]:
    """The names of the buffers of ROW, COL and OUT."""
    ifmap, filters, ofmap = BUFFERS
    return (filters, ifmap, ofmap) if case.dataflow == "is" else (ifmap, filters, ofmap)


def _tiles(case: SystolicCase) -> tuple[int, int, int]:
    tiles = chunking.tile_words(
        DATAFLOWS[case.dataflow], *extents(case), case.rows, case.cols, case.macs
    )
    return tiles[0], tiles[1], tiles[2]


def _check_memory(case: SystolicCase) -> tuple[str, str] | None:
    """As ``check_case``, for the fields that describe buffers and bandwidth."""
    if case.arrays != 1:
        return "arrays", "finite SRAM or bandwidth is modelled for one array, not for several"
    if case.bandwidth is not None:
        missing = [name for name in BUFFERS if getattr(case, name) is None]
        if missing:
            return missing[0], f"a bandwidth needs all three buffers; {missing[0]} is missing"
        p, q = case.bandwidth.numerator, case.bandwidth.denominator
        if not (0 < p <= 10**6 and q <= 10**6):
            return (
                "bandwidth_words_per_cycle",
                f"bandwidth is {float(case.bandwidth):g} words per cycle; expected more than 0 "
                "and at most 1000000, with at most 6 decimals",
            )
    sizes = _shape(case)
    if case.bandwidth is not None:
        traffic = closed.sram_ifmap_reads(sizes[0], *sizes[2:])
        traffic += closed.sram_filter_reads(sizes[0], *sizes[2:])
        traffic += 2 * closed.sram_ofmap_writes(sizes[0], *sizes[2:])
        cycles = closed.array_cycles(*sizes, case.macs)
        if traffic * case.bandwidth.denominator + cycles * case.bandwidth.numerator >= 2**61:
            return "m", f"{case.m}x{case.k}x{case.n} is too large for this bandwidth"
    limits = zip(_buffer_names(case), _tiles(case), _capacities(case), strict=True)
    for name, words, capacity in sorted(limits):
        if capacity < words:
            need = words * case.word_bytes
            return name, f"{name} is {getattr(case, name)}; expected {need} or more, one tile"
    return None


def _stall_free(case: SystolicCase) -> float | None:
    """The closed form of the bandwidth that nothing waits for, where every buffer has two tiles."""
    capacities = _capacities(case)
    if any(have < 2 * tile for tile, have in zip(_tiles(case), capacities, strict=True)):
        return None
    sizes = _shape(case)
    return float(
        chunking.stall_free_bandwidth(
            sizes[0], sizes[1], *extents(case), case.rows, case.cols, case.macs, capacities[2]
        )
    )


def ticks_of(case: SystolicCase) -> tuple[int, int]:
    """Units of time per cycle, and per word on a port (0 where the bandwidth is not limited)."""
    return (1, 0) if case.bandwidth is None else case.bandwidth.as_integer_ratio()


def run_case(
    case: SystolicCase,
    feeds: NDArray[np.int64],
    arrivals: NDArray[np.int64],
    writes: NDArray[np.int64],
) -> NDArray[np.int64]:
    """What ``run_pipeline`` counts; its times go into the last three arrays unless they are empty.

    A jump that turns out to have been a guess is made again with more care.
    """
    for care in range(3):
        counts = pipeline.run_pipeline(
            *_shape(case)[:2],
            *extents(case),
            case.rows,
            case.cols,
            case.macs,
            *_capacities(case),
            *ticks_of(case),
            care,
            feeds,
            arrivals,
            writes,
        )
        if counts[TOTAL_CYCLES] != IN_VAIN:
            break
    return counts
