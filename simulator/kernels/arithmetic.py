"""Exact integer arithmetic that the kernels share.

Everything is int64. Conversions round up, so that no price is below the physical bound, and they
are exact: twice the bandwidth or the clock can never come out slower by a rounding.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner, kernel

SAFE = 4.0e18
"""Products below this are exact in int64, with room for the rounding of the comparison."""

PS_PER_S = 10**12

EXACT_CYCLES = 4_000_000
"""Cycles below this times PS_PER_S are exact in int64, beside any clock."""


@kernel
def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b, for a >= 0 and b > 0."""
    return (a + b - 1) // b


@inner
def bits_to_bytes(bits: int) -> int:
    """Bytes that hold a number of bits, rounded up."""
    return (bits + 7) // 8


@inner
def clear(row: Int64Array) -> None:
    """Set every element to zero; a plain loop compiles much faster than a slice assignment."""
    for field in range(len(row)):
        row[field] = 0


@inner
def copy(source: Int64Array, into: Int64Array) -> None:
    """Copy every element of ``source``."""
    for field in range(len(source)):
        into[field] = source[field]


@kernel
def scale_up(amount: int, num: int, den: int) -> int:
    """ceil(amount * num / den) without overflow, for amount, num >= 0 and 0 < den < 2**62."""
    if float(amount) * float(num) + float(den) < SAFE:
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


@inner
def ps_to_cycles(ps: int, clock_hz: int) -> int:
    """Cycles that a number of picoseconds takes, rounded up."""
    return scale_up(ps, clock_hz, int(np.int64(PS_PER_S)))


@inner
def transfer_ps(size: int, bytes_per_s: int) -> int:
    """Picoseconds that a number of bytes takes, rounded up."""
    return scale_up(size, int(np.int64(PS_PER_S)), bytes_per_s)


@kernel
def cycles_to_ps(cycles: int, clock_hz: int) -> int:
    """Picoseconds that a number of cycles takes, rounded up."""
    if cycles < EXACT_CYCLES:
        return (cycles * PS_PER_S + clock_hz - 1) // clock_hz
    whole = cycles // clock_hz
    rest = cycles % clock_hz
    micro = rest * 1_000_000
    upper = micro // clock_hz
    lower = (micro % clock_hz) * 1_000_000
    return whole * PS_PER_S + upper * 1_000_000 + (lower + clock_hz - 1) // clock_hz
