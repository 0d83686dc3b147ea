"""Rows of another simulator, counts of traffic, double loading and several arrays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.timing.systolic import SystolicCase, check_case, systolic_timing

# SCALE-Sim 3.0.0 run, ideal memory: M, K, N, rows, cols, dataflow, compute cycles (the index of
# the last one), words of A and of B read from SRAM, mapping efficiency in percent
SCALESIM = [
    (8, 8, 8, 8, 8, "ws", 29, 64, 64, 100.0),
    (8, 8, 8, 8, 8, "os", 21, 64, 64, 100.0),
    (1, 8, 8, 8, 8, "is", 29, 8, 64, 12.5),
    (16, 24, 40, 8, 8, "ws", 569, 1920, 960, 100.0),
    (33, 17, 9, 8, 8, "ws", 329, 1122, 153, 39.843750),
    (33, 17, 9, 8, 8, "os", 309, 1122, 765, 46.406250),
    (33, 17, 9, 8, 8, "is", 464, 561, 765, 58.4375),
    (100, 100, 100, 8, 8, "ws", 20617, 130000, 10000, 92.455621),
    (1, 128, 64, 16, 16, "os", 631, 512, 8192, 6.25),
    (256, 192, 300, 32, 32, "is", 18911, 49152, 460800, 100.0),
    (256, 512, 384, 128, 128, "ws", 7655, 393216, 196608, 100.0),
    (100, 80, 120, 16, 64, "ws", 1939, 16000, 9600, None),
    (100, 80, 120, 64, 16, "os", 2527, 64000, 19200, None),
    (100, 80, 120, 16, 64, "is", 2139, 8000, 19200, None),
]
sizes = st.integers(1, 2**31)
dims = st.integers(1, 1024)
MODES = [("ws", "single"), ("os", "single"), ("is", "single"), ("ws", "double"), ("is", "double")]


@pytest.mark.parametrize("row", SCALESIM)
def test_equals_scalesim(row) -> None:
    *case, last, ifmap, filters, mapping = row
    timing = systolic_timing(SystolicCase(*case))
    assert timing.cycles - 1 == last
    assert timing.stall_cycles == 0
    assert (timing.sram_ifmap_reads, timing.sram_filter_reads) == (ifmap, filters)
    if mapping is not None:
        assert 100 * timing.mapping_efficiency == pytest.approx(mapping, abs=1e-5)


def test_formula_of_double_loading() -> None:
    rows, cols = 128, 64
    for m in (1, 100, 128, 500):
        timing = systolic_timing(SystolicCase(m, 1000, 300, rows, cols, "ws", "double"))
        folds = 8 * 5
        assert timing.folds == folds
        assert timing.cycles == rows + (folds - 1) * max(m, rows) + m + rows + cols - 2
    other = systolic_timing(SystolicCase(300, 1000, 77, rows, cols, "is", "double"))
    assert other.cycles == rows + (folds - 1) * rows + 77 + rows + cols - 2


@settings(deadline=None, derandomize=True, max_examples=100)
@given(sizes, sizes, sizes, dims, dims, st.sampled_from(MODES), st.integers(1, 2))
def test_physics_at_any_size(m, k, n, rows, cols, mode, macs) -> None:
    case = SystolicCase(m, k, n, rows, cols, *mode, macs)
    if check_case(case) is not None:
        with pytest.raises(InputError, match="too large"):
            systolic_timing(case)
        return
    timing = systolic_timing(case)
    assert 0 < timing.utilization <= timing.mapping_efficiency <= 1
    assert timing.cycles * rows * cols * macs >= m * k * n
    assert 0 <= timing.fill_drain_cycles < timing.cycles
    assert timing.sram_ofmap_writes >= m * n


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.integers(1, 4096),
    st.integers(1, 4096),
    st.integers(1, 4096),
    dims,
    dims,
    st.sampled_from(MODES),
    st.integers(1, 9),
)
def test_more_arrays_and_wider_cells_never_cost(m, k, n, rows, cols, mode, arrays) -> None:
    one = systolic_timing(SystolicCase(m, k, n, rows, cols, *mode))
    shared = systolic_timing(SystolicCase(m, k, n, rows, cols, *mode, 1, arrays))
    wide = systolic_timing(SystolicCase(m, k, n, rows, cols, *mode, 2))
    assert shared.cycles <= one.cycles <= shared.cycles * arrays
    assert wide.cycles <= one.cycles
    assert shared.utilization <= shared.mapping_efficiency
    # two vectors a cycle stream as one array does half of them, rounded up
    halved = {"ws": (-(-m // 2), k, n), "os": (m, -(-k // 2), n), "is": (m, k, -(-n // 2))}
    half = systolic_timing(SystolicCase(*halved[mode[0]], rows, cols, *mode))
    assert wide.cycles == half.cycles


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"m": 0}, "m"),
        ({"k": -1}, "k"),
        ({"n": 2**31 + 1}, "n"),
        ({"rows": 0}, "rows"),
        ({"cols": 1025}, "cols"),
        ({"macs": 3}, "macs"),
        ({"arrays": 0}, "arrays"),
        ({"dataflow": "rs"}, "dataflow"),
        ({"load": "triple"}, "load"),
        ({"load": "double", "dataflow": "os"}, "load"),
        ({"word_bytes": 0}, "word_bytes"),
    ],
)
def test_bad_values_are_named(change, field) -> None:
    good = {"m": 8, "k": 8, "n": 8, "rows": 8, "cols": 8}
    wrong = check_case(SystolicCase(**{**good, **change}))
    assert wrong is not None
    assert wrong[0] == field
