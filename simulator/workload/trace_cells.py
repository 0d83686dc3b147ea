"""One cell of a trace at a time: exact values, or an error that says what was found.

This is the slow and careful way, taken for blocks that the array parser of ``trace_csv`` does not
understand: to read numbers in an unusual notation, and to find and name the cell that is wrong.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from simulator.workload.request import MAX_TOKENS, PS_PER_S

_WALL_CLOCK = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_DIGITS = re.compile(r"\d{1,18}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CellError(ValueError):
    """What is wrong with a cell, in words that follow 'column X: '."""


def parse_tokens(text: str, *, zero_allowed: bool = False) -> int:
    """A whole number of tokens from 1 (or 0) to 2**40."""
    cell = text.strip()
    if _DIGITS.fullmatch(cell):
        return check_tokens(int(cell), cell, zero_allowed=zero_allowed)
    number = _decimal(cell, "a whole number of tokens")
    if number != number.to_integral_value():
        raise CellError(f"'{_short(cell)}' is a fraction, expected a whole number of tokens")
    return check_tokens(int(number), cell, zero_allowed=zero_allowed)


def check_tokens(count: int, shown: str, *, zero_allowed: bool = False) -> int:
    """``count`` if it is a possible number of tokens."""
    if count < 0:
        raise CellError(f"'{_short(shown)}' is negative, expected at least 1 token")
    if count == 0 and not zero_allowed:
        raise CellError("zero tokens, expected at least 1")
    if count > MAX_TOKENS:
        raise CellError(f"'{_short(shown)}' is too large, expected at most 2**40 tokens")
    return count


def parse_seconds(text: str) -> tuple[int, int]:
    """Seconds in decimal or scientific notation as whole seconds and picoseconds."""
    cell = text.strip()
    return split_seconds(_decimal(cell, "a time in seconds"), cell)


def split_seconds(seconds: Decimal, shown: str) -> tuple[int, int]:
    """A time as whole seconds and picoseconds, the picoseconds rounded half up."""
    if seconds < 0:
        raise CellError(f"'{_short(shown)}' is negative, expected a time of at least 0")
    if seconds >= PS_PER_S:
        raise CellError(f"'{_short(shown)}' is too large for a time in seconds")
    whole = int(seconds)
    part = ((seconds - whole) * PS_PER_S).to_integral_value(ROUND_HALF_UP)
    return whole, int(part)


def parse_wall_clock(text: str) -> tuple[int, int]:
    """``2023-11-16 18:15:46.6805900`` as seconds since 1970 (UTC) and picoseconds."""
    cell = text.strip()
    match = _WALL_CLOCK.fullmatch(cell)
    expected = "expected a time like 2023-11-16 18:15:46.6805900"
    if match is None:
        raise CellError(f"{_found(cell)}, {expected}")
    date, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{zone or 'Z'}")
    except ValueError as error:
        raise CellError(f"'{cell}' is no time ({error}), {expected}") from None
    since = moment - _EPOCH
    return since.days * 86_400 + since.seconds, int((fraction or "0").ljust(12, "0"))


def _decimal(cell: str, expected: str) -> Decimal:
    try:
        number = Decimal(cell) if "_" not in cell and cell.isascii() else None
    except InvalidOperation:
        number = None
    if number is None:
        raise CellError(f"{_found(cell)}, expected {expected}")
    if not number.is_finite():
        raise CellError(f"'{_short(cell)}' is not finite, expected {expected}")
    if number and abs(number.adjusted()) > 30:
        raise CellError(f"'{_short(cell)}' is out of range, expected {expected}")
    return number


def _found(cell: str) -> str:
    return f"found '{_short(cell)}'" if cell else "found nothing"


def _short(cell: str) -> str:
    return cell if len(cell) <= 40 else cell[:37] + "..."
