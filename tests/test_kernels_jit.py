"""The decorators of the kernels."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.kernels.jit import inner, kernel


@inner
def scaled(values, factor):
    total = 0
    for value in values:
        total += value * factor
    return total


@kernel
def both_ways(values, factor):
    return scaled(values, 3) + scaled(values, factor)


def test_a_constant_and_a_variable_share_one_function():
    assert both_ways(np.arange(4), 5) == 6 * 8
    assert len(scaled.overloads) == 1


def test_a_function_without_machine_code_cannot_be_called():
    both_ways(np.arange(4), 5)
    with pytest.raises(KeyError):
        scaled(np.arange(4), 5)
