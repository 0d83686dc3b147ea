"""Quantities with units: text to an exact number in base units, and back for reports.

Base units are those of the specifications: bytes, bytes a second, hertz and picoseconds as whole
numbers; picojoules, watts, dollars an hour, requests a second and fractions as floats. Arithmetic
is exact (``fractions.Fraction``) until the last step, so that ``1.503 GHz`` is 1503000000 Hz.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, overload

from simulator.errors import InputError, article, nearest

IntDimension = Literal["bytes", "bandwidth", "frequency", "time", "count"]
FloatDimension = Literal["energy", "power", "price", "rate", "fraction"]
Dimension = IntDimension | FloatDimension

# Whatever is larger than this does not fit the 64-bit integers of the kernels.
_LARGEST = 2**62

_NUMBER = re.compile(
    r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,2})?(?![\d.])", re.ASCII
)
_EXPONENT = re.compile(r"[eE][+-]?\d")
_NOT_FINITE = re.compile(r"[+-]?\.?(?:nan|inf|infinity)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A dimension: its units with their size in base units, and what an error calls it."""

    units: dict[str, Fraction]
    base: str
    whole: bool
    needs_unit: bool
    example: str


def _scaled(*pairs: tuple[str, int | Fraction]) -> dict[str, Fraction]:
    return {unit: Fraction(size) for unit, size in pairs}


_BYTES = _scaled(
    ("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12), ("PB", 10**15),
    ("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30), ("TiB", 2**40),
)  # fmt: skip
_BITS = _scaled(
    ("kbps", Fraction(10**3, 8)), ("Mbps", Fraction(10**6, 8)), ("Gbps", Fraction(10**9, 8)),
    ("Tbps", Fraction(10**12, 8)),
)  # fmt: skip

_KINDS: dict[str, _Kind] = {
    "bytes": _Kind(_BYTES, "B", True, True, "16 GiB"),
    "bandwidth": _Kind(
        {f"{unit}/s": size for unit, size in _BYTES.items()} | _BITS, "B/s", True, True, "819 GB/s"
    ),
    "frequency": _Kind(
        _scaled(("Hz", 1), ("kHz", 10**3), ("MHz", 10**6), ("GHz", 10**9), ("THz", 10**12)),
        "Hz", True, True, "1.5 GHz",
    ),
    "time": _Kind(
        _scaled(
            ("ps", 1), ("ns", 10**3), ("us", 10**6), ("µs", 10**6), ("μs", 10**6), ("ms", 10**9),
            ("s", 10**12), ("min", 60 * 10**12), ("h", 3600 * 10**12),
        ),
        "ps", True, True, "500 ns",
    ),
    "count": _Kind({}, "", True, False, "128"),
    "energy": _Kind(
        _scaled(("pJ", 1), ("fJ", Fraction(1, 1000)), ("nJ", 10**3), ("uJ", 10**6)),
        "pJ", False, True, "0.5 pJ",
    ),
    "power": _Kind(
        _scaled(("W", 1), ("mW", Fraction(1, 1000)), ("kW", 10**3), ("MW", 10**6)),
        "W", False, True, "300 W",
    ),
    "price": _Kind(_scaled(("$/h", 1), ("USD/h", 1)), "$/h", False, True, "1.2 $/h"),
    "rate": _Kind(
        _scaled(("req/s", 1), ("requests/s", 1), ("/s", 1), ("req/min", Fraction(1, 60))),
        "req/s", False, True, "2.5 req/s",
    ),
    "fraction": _Kind(_scaled(("%", Fraction(1, 100))), "", False, False, "10 % or 0.1"),
}  # fmt: skip

_WORDS = {"bytes": "size", "count": "whole number"}

_ALSO_CALLED = {
    "byte": "B", "bytes": "B", "hertz": "Hz", "watt": "W", "watts": "W", "percent": "%",
    "usec": "us", "nsec": "ns", "msec": "ms", "sec": "s", "second": "s", "seconds": "s",
    "minute": "min", "minutes": "min", "hr": "h", "hour": "h", "hours": "h",
    "$": "$/h", "usd": "$/h", "dollar/h": "$/h", "qps": "req/s", "rps": "req/s", "req": "req/s",
}  # fmt: skip
"""Units that people write, for the hint; which of them count is in ``_KINDS``."""

_IN_BITS = re.compile(r"([kKMGTP]i?)(b|bits?)")
"""A prefix with bits, which many write where they mean bytes."""
_BITS_A_SECOND = re.compile(r"([kMGT])b(it)?s?/s(ec)?")
_BYTES_A_SECOND = re.compile(r"([kKMGTP]i?B)(s|ps|/sec|/second| per s| per second)?")


def base_unit(dimension: Dimension) -> str:
    """The unit in which ``parse_quantity`` answers; empty for counts and fractions."""
    return _KINDS[dimension].base


@overload
def parse_quantity(text: str, dimension: IntDimension) -> int: ...
@overload
def parse_quantity(text: str, dimension: FloatDimension) -> float: ...
@overload
def parse_quantity(text: str, dimension: Dimension) -> int | float: ...
def parse_quantity(text: str, dimension: Dimension) -> int | float:
    """``text`` such as ``819 GB/s`` in the base unit of ``dimension``.

    Raises ``InputError`` (without a location: the caller knows it) where the number is missing,
    negative, not finite or too large, where the unit is missing or unknown, and where a whole
    dimension (bytes, B/s, Hz, ps, counts) gets a part of its base unit.
    """
    return _parsed(text, dimension)


@functools.lru_cache(maxsize=4096)
def _parsed(text: str, dimension: Dimension) -> int | float:
    """As ``parse_quantity``; a sweep reads the same values of a file again and again."""
    kind = _KINDS[dimension]
    stripped = text.strip()
    match = _NUMBER.match(stripped)
    if match is None:
        raise _not_a_number(stripped, dimension)
    number = Fraction(match.group())
    if number < 0:
        raise InputError(
            f"'{stripped}' is negative",
            hint=f"expected {article(word := _word(dimension))} {word} of at least 0",
        )
    value = number * _unit_size(stripped, stripped[match.end() :].strip(), dimension)
    if value > _LARGEST:
        raise InputError(f"'{stripped}' is too large", hint=f"for example {kind.example}")
    if not kind.whole:
        return float(value)
    if value.denominator != 1:
        raise InputError(
            f"'{stripped}' is not a whole number{f' of {kind.base}' if kind.base else ''}",
            hint=f"for example {kind.example}",
        )
    return int(value)


def _word(dimension: Dimension) -> str:
    return _WORDS.get(dimension, dimension)


def _not_a_number(text: str, dimension: Dimension) -> InputError:
    example = _KINDS[dimension].example
    if _NOT_FINITE.match(text):
        return InputError(
            f"'{text}' is not a finite number", hint=f"expected a {_word(dimension)} like {example}"
        )
    found, word = f"'{text}'" if text else "nothing", _word(dimension)
    return InputError(
        f"expected {article(word)} {word}, found {found}", hint=f"for example {example}"
    )


def _unit_size(text: str, unit: str, dimension: Dimension) -> Fraction:
    kind = _KINDS[dimension]
    if unit in kind.units:
        return kind.units[unit]
    expected = f"expected one of {', '.join(u for u in kind.units if u != 'μs')}"
    if not unit:
        if not kind.needs_unit:
            return Fraction(1)
        raise InputError(f"'{text}' has no unit", hint=expected)
    if not kind.units:
        raise InputError(f"'{text}' is not a plain number", hint=f"for example {kind.example}")
    number = text.removesuffix(unit).strip()
    if _EXPONENT.match(unit):
        raise InputError(f"'{text}' is out of range", hint=f"for example {kind.example}")
    if unit[0] in ",_/" and unit[1:2].isdigit():
        raise InputError(
            f"'{text}' is not a number with a unit",
            hint=f"for example {kind.example}: a point before decimals, nothing between thousands",
        )
    close = _nearest_unit(unit, list(kind.units))
    hint = f"did you mean '{number} {close}'? {expected}" if close else expected
    hint = _bits_or_bytes(Fraction(number), unit, dimension) or hint
    word = _word(dimension)
    raise InputError(f"unknown unit '{unit}' for {article(word)} {word}", hint=hint)


def _bits_or_bytes(number: Fraction, unit: str, dimension: Dimension) -> str | None:
    """What a number of bits is in units that count, and what it is if bytes were meant.

    None where the unit is not one of bits.
    """
    bits = _IN_BITS.fullmatch(unit)
    if bits is None or dimension not in ("bytes", "bandwidth"):
        return None
    prefix = bits[1].replace("K", "k") if len(bits[1]) == 1 else bits[1].replace("k", "K")
    per_s = "/s" if dimension == "bandwidth" else ""
    units, plain = _KINDS[dimension].units, f"{float(number):.10g} {prefix}"
    if f"{prefix}B{per_s}" not in units:
        return None
    in_bits = f"{float(number / 8):.10g} {prefix}B{per_s}"
    if f"{prefix}bps" in units:
        in_bits = f"{plain}bps"
    return f"'{unit}' is in bits: did you mean '{in_bits}', or '{plain}B{per_s}' (bytes)?"


def _nearest_unit(unit: str, known: list[str]) -> str | None:
    """The unit that was meant; never one of another prefix, and bits never for bytes."""
    bits, per_s = _BITS_A_SECOND.fullmatch(unit), _BYTES_A_SECOND.fullmatch(unit)
    guesses = [
        f"{bits[1]}bps" if bits else "",
        f"{per_s[1]}/s" if per_s else "",
        _ALSO_CALLED.get(unit.lower(), ""),
        *(f"{unit.removesuffix('/s')}{rest}" for rest in ("B", "B/s", "Hz", "W")),
    ]
    for guess in guesses:
        if guess in known:
            return guess
    squeezed = unit.replace(" ", "").lower()
    for candidate in known:
        if candidate.lower() == squeezed:
            return candidate
    _, slash, period = squeezed.partition("/")
    lowered = {
        candidate.lower(): candidate
        for candidate in reversed(known)
        if candidate[0].lower() == squeezed[0] or not candidate[0].isalpha()
        if period not in ("h", "min") or candidate.lower().endswith(slash + period)
    }
    close = nearest(squeezed, lowered)
    return lowered[close] if close else None


def _three_digits(value: float, scales: tuple[tuple[float, str], ...]) -> str:
    """``value`` with three significant digits in the largest scale that it reaches."""
    if value == 0:
        return f"0 {scales[-1][1]}".rstrip()
    for index, (size, suffix) in enumerate(scales):
        scaled = value / size
        if abs(scaled) < 1 and index + 1 < len(scales):
            continue
        shown = f"{scaled:.3g}"
        if abs(float(shown)) >= 1000 and index > 0:
            # 999.6 of one unit rounds to 1 of the next one up
            size, suffix = scales[index - 1]
            shown = f"{value / size:.3g}"
        if "e" in shown:
            shown = f"{scaled:.0f}" if abs(scaled) >= 1 else f"{scaled:.2e}"
        return f"{shown} {suffix}".rstrip()
    raise AssertionError("scales must not be empty")


_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_TIMES = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"),
          (1e-12, "ps"))  # fmt: skip


def format_bytes(count: float) -> str:
    """A size with three digits: decimal prefixes, or binary ones where they come out whole."""
    for size, unit in _BINARY[:-1]:
        if count % size == 0 and size <= count < 10_000 * size:
            return f"{count / size:,.0f} {unit}"
    return _three_digits(count, tuple((size, f"{prefix}B") for size, prefix in _PREFIXES))


def format_time(seconds: float) -> str:
    """A duration with three digits, from picoseconds to hours; minutes only from two up."""
    if 60 <= seconds < 120:
        return f"{seconds:.3g} s"
    return _three_digits(seconds, _TIMES)


def format_rate(per_second: float, unit: str = "B/s") -> str:
    """A rate with three digits and a decimal prefix: ``819 GB/s``, ``197 TFLOP/s``."""
    return _three_digits(per_second, tuple((size, f"{prefix}{unit}") for size, prefix in _PREFIXES))
