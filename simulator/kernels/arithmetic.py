"""Exact integer arithmetic that the kernels share.

Everything is int64. Conversions round up, so that no price is below the physical bound, and they
are exact: twice the bandwidth or the clock can never come out slower by a rounding.
"""

from __future__ import annotations

from numba import njit

LIMIT = 1 << 62
PS_PER_S = 10**12


@njit(cache=True)
def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b, for a >= 0 and b > 0."""
    return (a + b - 1) // b


@njit(cache=True)
def scale_up(amount: int, num: int, den: int) -> int:
    """ceil(amount * num / den) without overflow, for amount, num >= 0 and 0 < den < 2**62."""
    if num == 0 or amount <= LIMIT // num - den // num - 1:
        return (amount * num + den - 1) // den
    whole = (amount // den) * num
    rest = amount % den
    # Long multiplication in base 2, most significant bit of num first, keeping the remainder.
    quotient = 0
    remainder = 0
    bit = 1
    while bit <= num // 2:
        bit *= 2
    while bit > 0:
        quotient *= 2
        remainder *= 2
        if remainder >= den:
            quotient += 1
            remainder -= den
        if num & bit:
            remainder += rest
            if remainder >= den:
                quotient += 1
                remainder -= den
        bit //= 2
    return whole + quotient + (1 if remainder > 0 else 0)


@njit(cache=True)
def cycles_to_ps(cycles: int, clock_hz: int) -> int:
    """Picoseconds that a number of cycles takes, rounded up."""
    whole = cycles // clock_hz
    rest = cycles % clock_hz
    micro = rest * 1_000_000
    upper = micro // clock_hz
    lower = (micro % clock_hz) * 1_000_000
    return whole * PS_PER_S + upper * 1_000_000 + (lower + clock_hz - 1) // clock_hz
