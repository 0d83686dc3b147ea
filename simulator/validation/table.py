"""A table of measured rows: what was run, how long it took, and what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError

FloatArray = npt.NDArray[np.float64]
Column = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """``count`` rows of a source that are not compared, and why."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Omission:
    """Rows of one table that were left out; ``dtype`` is empty where they were not looked at."""

    chip: str
    operator: str
    dtype: str
    table: str
    left_out: LeftOut

    @property
    def text(self) -> str:
        """How many rows of what, and why."""
        rows = "1 row" if self.left_out.count == 1 else f"{self.left_out.count:,} rows"
        name = " ".join(word for word in (self.chip, self.operator, self.dtype) if word)
        return f"{rows} of {name} ({self.table}): {self.left_out.reason}"


@dataclass(frozen=True, slots=True)
class Table:
    """Measured rows of one chip, operator and data type from one source.

    ``inputs`` has one array a column of the operator, all as long as ``measured_s`` (seconds, all
    positive and finite). ``source`` names where the rows come from, ``stack`` the software
    that was measured and ``origin`` the device with its versions, where the rows say so.
    """

    chip: str
    operator: str
    dtype: str
    source: str
    stack: str
    inputs: Mapping[str, Column]
    measured_s: FloatArray
    left_out: tuple[LeftOut, ...] = ()
    origin: str = ""

    def __len__(self) -> int:
        return len(self.measured_s)

    def take(self, keep: Column) -> Table:
        """The rows that a mask or an array of indices selects."""
        inputs = {name: column[keep] for name, column in self.inputs.items()}
        return replace(self, inputs=inputs, measured_s=self.measured_s[keep])

    def without(self, bad: Column, reason: str) -> Table:
        """The table without the rows of a mask, and with the reason where there were any."""
        count = int(bad.sum())
        if not count:
            return self
        note = LeftOut(reason, count)
        return replace(self.take(~bad), left_out=(*self.left_out, note))

    def omissions(self) -> tuple[Omission, ...]:
        """What was left out of the table."""
        return tuple(
            Omission(self.chip, self.operator, self.dtype, self.source, note)
            for note in self.left_out
        )

    def keys(self, *but: str) -> list[tuple[Any, ...]]:
        """The inputs of each row as one tuple, in the order of the columns ``but`` for some."""
        kept = [column for name, column in self.inputs.items() if name not in but]
        return list(zip(*(column.tolist() for column in kept), strict=True))


def without_faults(table: Table, floor_s: FloatArray, *, repeats: bool = False) -> Table:
    """A table without rows that cannot be: no time, faster than the hardware, or seen twice.

    Args:
        table: rows whose times may still be zero, negative or not finite.
        floor_s: the least time that the chip needs for each row, by its data sheet.
        repeats: keep rows with the same inputs as another.
    """
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(table.measured_s) & (table.measured_s > 0))
    clean = table.without(bad, "latency is zero, negative or missing")
    floor = floor_s[~bad]
    above = clean.measured_s * TOLERANCE < floor
    clean = clean.without(above, "faster than the chip's data sheet allows by more than 2 %")
    if repeats:
        return clean
    seen: set[tuple[Any, ...]] = set()
    again = np.zeros(len(clean), dtype=bool)
    for index, key in enumerate(clean.keys()):
        again[index] = key in seen
        seen.add(key)
    return clean.without(again, "the same inputs stand in the table before")


TOLERANCE = 1.02
"""How far a measured row may seem to be above the physical peak before it is left out."""


def why_nothing(omissions: Sequence[Omission]) -> InputError:
    """The error where no row is left: each reason with its number."""
    shown = "; ".join(omission.text for omission in omissions[:SHOWN])
    more = f"; and {len(omissions) - SHOWN} reasons more" if len(omissions) > SHOWN else ""
    return InputError("no measured rows are left to compare with", hint=f"left out: {shown}{more}")


SHOWN = 5
"""Reasons that an error names."""
