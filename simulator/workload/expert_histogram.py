"""Counted loads of experts from a text file: one number an expert."""

from __future__ import annotations

import math
from pathlib import Path

from simulator.errors import InputError, Location, nearest

LARGEST = 1e18
"""Of a load: sums of them stay finite."""

EXAMPLES = ("balanced", "random", "power:1.2")
"""What may have been meant by the name of a file that is not there."""


def read_histogram(path: str, experts: int) -> list[float]:
    """The loads in a file of one number a line; blank lines and lines after '#' are skipped.

    Raises InputError for a file that cannot be read, a number that is negative or not finite, or
    another number of lines than there are experts.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if Path(path).exists():
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InputError(f"cannot read {path}: {reason}", location=Location(path)) from None
        close = nearest(path, EXAMPLES)
        raise InputError(
            f"expert load: found '{path}', expected balanced, random, power:ALPHA or a file of "
            "loads",
            hint=f"did you mean '{close}'?" if close else None,
        ) from None
    loads = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.partition("#")[0].strip()
        if stripped:
            loads.append(_load(stripped, Location(path, number, 1, line, len(line))))
    if len(loads) != experts:
        raise InputError(
            f"'{path}' has {len(loads)} loads, expected one for each of {experts} experts",
            location=Location(path),
        )
    if sum(loads) <= 0:
        raise InputError("all expert loads are 0", location=Location(path))
    return loads


def _load(text: str, location: Location) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LARGEST:  # NaN is neither
        raise InputError(
            f"found '{text[:40]}', expected the load of an expert, a number from 0 to 1e18",
            location=location,
        )
    return value
