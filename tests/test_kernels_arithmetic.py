"""The kernels' integer arithmetic against Python's, which cannot overflow."""

from __future__ import annotations

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from simulator.kernels.arithmetic import PS_PER_S, ceil_div, cycles_to_ps, scale_up

MANY = settings(deadline=None, derandomize=True, max_examples=400)


@MANY
@given(st.integers(0, 2**62), st.integers(1, 2**61))
def test_ceil_div_rounds_up(a: int, b: int) -> None:
    assert ceil_div(a, b) == -(-a // b)


@MANY
@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(1, 2**62 - 1))
@example(2**62, 10**9, 819 * 10**9)
@example(10**18, 2 * 10**9, 3)
@example(0, 10**12, 1)
@example(4 * 10**18, 1, 1)
def test_scale_up_equals_big_integers(amount: int, num: int, den: int) -> None:
    expected = -(-amount * num // den)
    assume(expected < 2**63 - 1)
    assert scale_up(amount, num, den) == expected


@MANY
@given(st.integers(1, 2**50), st.integers(10**6, 10**13), st.integers(10**6, 10**14))
def test_scale_up_of_bytes_past_the_overflow(size: int, clock: int, bandwidth: int) -> None:
    expected = -(-size * clock // bandwidth)
    assume(expected < 2**62)
    assert scale_up(size, clock, bandwidth) == expected


@MANY
@given(st.integers(0, 2**62), st.integers(0, 2**31), st.integers(1, 2**40))
def test_scale_up_around_the_limit_of_the_short_path(amount: int, num: int, den: int) -> None:
    near = min(amount, (4 * 10**18 + num) // max(1, num))
    expected = -(-near * num // den)
    assume(expected < 2**63 - 1)
    assert scale_up(near, num, den) == expected


@MANY
@given(st.integers(0, 2**62), st.integers(1, 9 * 10**12))
def test_cycles_to_ps_equals_big_integers(cycles: int, clock: int) -> None:
    expected = -(-cycles * PS_PER_S // clock)
    assume(expected < 2**63 - 1)
    assert cycles_to_ps(cycles, clock) == expected


@MANY
@given(st.integers(0, 2**40), st.integers(10**6, 10**10))
def test_twice_the_clock_is_at_most_as_long(cycles: int, clock: int) -> None:
    assert cycles_to_ps(2 * cycles, 2 * clock) == cycles_to_ps(cycles, clock)
    assert cycles_to_ps(cycles, 2 * clock) <= cycles_to_ps(cycles, clock)
