"""Loads of experts that only grow with the number of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.timing.expert_growth import GrowingLoads, capped, first_units
from simulator.timing.expert_load import histogram, parse_expert_load


def falling(experts: int, top_k: int, tilt: float) -> GrowingLoads:
    """An expert's share falls by a factor from each to the next, at most one of each token."""
    shares = tilt ** np.arange(experts)
    shares /= shares.sum()
    return GrowingLoads(lambda n: capped(shares * (n * top_k), n), experts, top_k)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 64), st.integers(1, 8), st.floats(0.2, 1))
def test_every_token_goes_to_so_many_experts_and_none_is_taken_back(
    experts: int, top_k: int, tilt: float
) -> None:
    top_k = min(top_k, experts)
    loads = falling(experts, top_k, tilt)
    before = np.zeros(experts, dtype=np.int64)
    for tokens in range(1, 200):
        found = loads.of(tokens)
        assert found.sum() == tokens * top_k
        assert found.max() <= tokens
        assert (found >= before).all()
        before = found


def test_whole_loads_are_those_of_the_law() -> None:
    loads = falling(40, 2, 0.95)
    shares = 0.95 ** np.arange(40)
    for tokens in (100, 777, 4096):
        aim = shares / shares.sum() * tokens * 2
        assert np.abs(loads.of(tokens) - aim).max() <= 0.02 * aim.max() + 1.5


def test_units_come_evenly_by_hand() -> None:
    units, offsets = np.array([4, 2, 2]), np.array([0.5, 0.4, 0.6])
    # at 1/8, 3/8, 5/8, 7/8; at 3/10, 8/10; at 2/10, 7/10
    found = [first_units(units, offsets, count, 8).tolist() for count in range(1, 9)]
    assert found[:4] == [[1, 0, 0], [1, 0, 1], [1, 1, 1], [2, 1, 1]]
    assert found[4:] == [[3, 1, 1], [3, 1, 2], [3, 2, 2], [4, 2, 2]]


def test_what_is_above_the_most_goes_to_the_others() -> None:
    assert capped(np.array([6.0, 2.0, 1.0]), 4.0).tolist() == pytest.approx([4, 10 / 3, 5 / 3])
    assert capped(np.array([6.0, 0.0, 0.0]), 4.0).tolist() == [4, 1, 1]


@pytest.mark.parametrize("load", ["random", "random:2", "power:1.2"])
def test_the_busiest_rank_never_has_fewer(load: str) -> None:
    before = np.zeros(16)
    for tokens in range(1, 400):
        shares = parse_expert_load(load, 64, 4, tokens, 4)
        found = shares * tokens * 4
        assert (found >= before - 1e-6).all()
        before = found


def test_copies_take_half_of_the_busiest_experts() -> None:
    plain = histogram([8, 4, 2, 2], 1, 1000, 1)
    assert plain == pytest.approx([0.5, 0.25, 0.125, 0.125], abs=0.002)
    halved = histogram([8, 4, 2, 2], 1, 1000, 1, copies=1)
    assert halved == pytest.approx([0.25, 0.25, 0.25, 0.125, 0.125], abs=0.002)
