"""Cycles and products of every small case, against arrays that move operands cell by cell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_systolic import run

from simulator.kernels import systolic as closed
from simulator.timing.systolic import DATAFLOWS, LOADS, SystolicCase, systolic_timing

MODES = [("ws", "single"), ("os", "single"), ("is", "single"), ("ws", "double"), ("is", "double")]


def operands(m: int, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices without repeated or zero entries, so that a misplaced operand shows."""
    a = np.arange(1, m * k + 1, dtype=np.int64).reshape(m, k) * 7 - 3
    b = np.arange(1, k * n + 1, dtype=np.int64).reshape(k, n) * 11 + 5
    return a, b


@pytest.mark.parametrize(("dataflow", "load"), MODES)
def test_every_small_case(dataflow: str, load: str) -> None:
    flow, way = DATAFLOWS[dataflow], LOADS[load]
    for m, k, n in itertools.product(range(1, 7), repeat=3):
        a, b = operands(m, k, n)
        expected = a @ b
        for rows, cols in itertools.product(range(1, 5), repeat=2):
            product, cycles, busy = run(dataflow, load, a, b, rows, cols)
            assert np.array_equal(product, expected)
            assert busy.sum() == m * k * n
            assert cycles == closed.array_cycles(flow, way, m, k, n, rows, cols, 1), (
                m, k, n, rows, cols,
            )  # fmt: skip


@pytest.mark.parametrize(("dataflow", "load"), MODES)
@settings(deadline=None, derandomize=True, max_examples=15)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_larger_cases(
    dataflow: str, load: str, m: int, k: int, n: int, rows: int, cols: int
) -> None:
    a, b = operands(m, k, n)
    product, cycles, busy = run(dataflow, load, a, b, rows, cols)
    timing = systolic_timing(SystolicCase(m, k, n, rows, cols, dataflow, load))
    assert np.array_equal(product, a @ b)
    assert timing.cycles == cycles
    assert timing.utilization == pytest.approx(busy.sum() / (rows * cols * cycles))
