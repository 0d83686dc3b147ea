"""Finite SRAM and bandwidth: against a pipeline that ticks, against counts by hand, and physics."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference_pipeline import pipeline_cycles

from simulator.errors import InputError
from simulator.kernels.systolic_chunks import chunk_count, chunk_start
from simulator.timing.systolic import (
    BUFFERS,
    SystolicCase,
    check_case,
    extents,
    systolic_timing,
)
from simulator.timing.systolic import run_case as run_of

MODES = [("ws", "single"), ("os", "single"), ("is", "single"), ("ws", "double"), ("is", "double")]
small = st.integers(1, 24)
modes = st.sampled_from(MODES)
arrays = st.tuples(st.integers(1, 5), st.integers(1, 5))
buffers = st.tuples(*[st.integers(1, 300)] * 3)


def build(shape, array, mode, sizes, bandwidth) -> SystolicCase:
    flow, load = mode
    case = SystolicCase(*shape, *array, flow, load, 1, 1, *sizes, bandwidth)
    assume(check_case(case) is None)
    return case


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.tuples(small, small, small), arrays, modes, buffers, st.integers(1, 9))
def test_equals_a_pipeline_that_ticks(shape, array, mode, sizes, words) -> None:
    case = build(shape, array, mode, sizes, Fraction(words))
    row, col, stream = extents(case)
    count = chunk_count(stream, *array)
    chunks = [
        chunk_start(stream, count, c + 1) - chunk_start(stream, count, c) for c in range(count)
    ]
    ordered = (sizes[1], sizes[0], sizes[2]) if case.dataflow == "is" else sizes
    expected = pipeline_cycles(
        case.dataflow, case.load, row, col, stream, *array, chunks, ordered, words
    )
    assert systolic_timing(case).cycles == expected


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.tuples(st.integers(1, 120), st.integers(1, 120), st.integers(1, 400)),
    arrays,
    modes,
    st.tuples(*[st.sampled_from([None, 40, 300, 2000, 20_000])] * 3),
    st.tuples(st.integers(1, 40), st.integers(1, 4)),
)
def test_columns_that_repeat_are_jumped_over_exactly(shape, array, mode, sizes, words) -> None:
    """A run whose times are kept visits every tile; one that need not keep them may jump."""
    case = build(shape, array, mode, sizes, Fraction(*words))
    row_extent, col_extent, vectors = extents(case)
    folds = -(-row_extent // case.rows) * -(-col_extent // case.cols)
    assume(folds < 20_000)
    chunks = chunk_count(vectors, case.rows, case.cols)
    none = np.zeros((0, 0), np.int64)
    kept = np.zeros((folds, 1 + 2 * chunks), np.int64), np.zeros(folds * chunks, np.int64)
    feeds = np.zeros((folds, 1 + chunks), np.int64)
    visited = run_of(case, feeds, *kept)
    assert run_of(case, none, none, none.ravel()).tolist() == visited.tolist()


def test_counted_by_hand() -> None:
    # 4 folds of 2 x 2 weights, one vector each: A is resident, each weight tile has 4 words.
    # A fold takes 2 + 1 + 2 = 5 cycles; one word per cycle brings a tile in 4: nothing waits.
    case = SystolicCase(1, 4, 4, 2, 2, "ws", "single", 1, 1, *(8, 8, 8), Fraction(1))
    assert systolic_timing(case).stall_cycles == 0
    # Half a word per cycle brings tile f at 8 f (the first is there at 0), so that the last of the
    # 4 folds starts at 24 in place of 15.
    assert systolic_timing(replace(case, bandwidth=Fraction(1, 2))).stall_cycles == 9
    # A buffer of one tile is filled only when its tile is in the cells, 2 cycles after its start:
    # tile f starts at f (2 + 8).
    tight = replace(case, bandwidth=Fraction(1, 2), sram_filter_bytes=4)
    assert systolic_timing(tight).stall_cycles == 30 - 15


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.tuples(small, small, small),
    arrays,
    modes,
    buffers,
    st.fractions(Fraction(1, 10), 20, max_denominator=10),
    st.integers(2, 5),
)
def test_more_bandwidth_never_stalls_more(shape, array, mode, sizes, words, times) -> None:
    case = build(shape, array, mode, sizes, words)
    less, more = systolic_timing(case), systolic_timing(replace(case, bandwidth=words * times))
    assert more.stall_cycles <= less.stall_cycles
    assert (more.dram_reads, more.dram_writes) == (less.dram_reads, less.dram_writes)
    assert less.stall_cycles >= 0
    # each port needs time for its words, but for those of the cold start
    for port in (less.dram_ifmap_reads, less.dram_filter_reads):
        assert less.cycles + less.cold_start_cycles >= port / words


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.tuples(small, small, small), arrays, modes, buffers)
def test_stalls_vanish_at_the_predicted_bandwidth(shape, array, mode, sizes) -> None:
    case = build(shape, array, mode, sizes, Fraction(1))
    enough = systolic_timing(case).stall_free_words_per_cycle
    assume(enough is not None)
    exact = Fraction(math.ceil(enough * 1000), 1000)
    assert systolic_timing(replace(case, bandwidth=exact)).stall_cycles == 0


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.tuples(small, small, small),
    arrays,
    modes,
    buffers,
    st.fractions(Fraction(1, 4), 12, max_denominator=4),
    st.sampled_from(BUFFERS),
    st.integers(1, 60),
)
def test_more_sram_never_costs(shape, array, mode, sizes, words, name, extra) -> None:
    case = build(shape, array, mode, sizes, words)
    less = systolic_timing(case)
    more = systolic_timing(replace(case, **{name: getattr(case, name) + extra}))
    assert more.cycles <= less.cycles
    assert more.dram_reads <= less.dram_reads
    assert more.dram_writes <= less.dram_writes


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.tuples(small, small, small), arrays, modes, buffers)
def test_traffic_is_at_least_compulsory(shape, array, mode, sizes) -> None:
    case = build(shape, array, mode, sizes, None)
    m, k, n = shape
    timing = systolic_timing(case)
    assert m * k <= timing.dram_ifmap_reads <= timing.sram_ifmap_reads
    assert k * n <= timing.dram_filter_reads <= timing.sram_filter_reads
    assert m * n <= timing.dram_ofmap_writes <= timing.sram_ofmap_writes
    assert timing.dram_ofmap_writes - timing.dram_ofmap_reads == m * n
    ideal = systolic_timing(SystolicCase(*shape, *array, *mode))
    assert (ideal.dram_reads, ideal.dram_writes) == (m * k + k * n, m * n)


def test_unlimited_buffers_stall_nothing() -> None:
    case = SystolicCase(33, 65, 17, 8, 4, "is", "single", 1, 1, *(2**40,) * 3, Fraction(1, 1000))
    timing = systolic_timing(case)
    assert timing.stall_cycles == 0
    assert timing.cold_start_cycles == 33 * 65 * 1000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sram_filter_bytes": 63}, "sram_filter_bytes"),
        ({"sram_ifmap_bytes": 7}, "sram_ifmap_bytes"),
        ({"sram_ofmap_bytes": None}, "sram_ofmap_bytes"),
        ({"bandwidth": Fraction(0)}, "bandwidth_words_per_cycle"),
        ({"bandwidth": Fraction(10**7)}, "bandwidth_words_per_cycle"),
        ({"arrays": 2}, "arrays"),
        ({"word_bytes": 2}, "sram_filter_bytes"),
        ({"rows": 1, "cols": 1, "m": 2**20, "k": 2**20, "n": 2**20}, "m"),
    ],
)
def test_what_cannot_be_is_named(change, field) -> None:
    good = SystolicCase(64, 64, 64, 8, 8, "ws", "single", 1, 1, 4096, 64, 4096, Fraction(4))
    assert check_case(good) is None
    wrong = check_case(replace(good, **change))
    assert wrong is not None
    assert wrong[0] == field
    with pytest.raises(InputError):
        systolic_timing(replace(good, **change))
