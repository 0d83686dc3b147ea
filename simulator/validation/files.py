"""Measured rows from a CSV file of the user: the columns of an operator and ``measured_s``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simulator.cases import Cases, Cell, read_cases, separator_hint
from simulator.errors import InputError, Location, nearest
from simulator.hardware import Chip
from simulator.validation.operators import Operator
from simulator.validation.table import LeftOut, Table

TIME = "measured_s"
LONGEST_S = 1e6
OTHER_UNITS = {"measured_ms": 1e-3, "measured_us": 1e-6, "measured_ns": 1e-9}
"""Columns of a time in another unit: refused by name, never guessed at."""

MAX_VALUE = 2**44

ORIGIN = ("device", "torch", "cuda", "driver")
"""Columns that say what was measured."""


def read_tables(
    path: str, chip: Chip, operator: Operator, dtype: str = "bf16", cases: Cases | None = None
) -> list[Table]:
    """The rows of a file by data type; faulty times stay for ``table.without_faults``.

    Args:
        path: CSV with the operator's columns, ``measured_s`` and perhaps ``dtype`` (``dtype``
            where there is none); further columns are ignored.
        chip: whose rates say which data types there are; rows of others are left out by name.
        operator: whose columns are read. If the file has a column ``operator`` (as that of
            ``scripts/measure_gpu.py`` has), only its rows are.
        dtype: of rows without one.
        cases: the rows of the file, where it has been read before.

    Raises:
        InputError: with file, line and column: no such file, a missing or misspelt column, a time
            in another unit, or a cell that is no number.
    """
    cases = cases or read_cases(path, ())
    at = {name: index for index, name in enumerate(cases.columns)}
    _check_columns(cases, operator, path)
    rows = cases.rows
    if "operator" in at:
        rows = tuple(row for row in rows if row[at["operator"]].text == operator.name)
        if not rows:
            raise InputError(f"no row of operator '{operator.name}'", location=Location(path))
    by_dtype: dict[str, list[tuple[Cell, ...]]] = {}
    strange: Counter[str] = Counter()
    for row in rows:
        name = (row[at["dtype"]].text if "dtype" in at else "") or dtype
        if name in chip.matrix.dtypes:
            by_dtype.setdefault(name, []).append(row)
        else:
            strange[name] += 1
    notes = tuple(
        LeftOut(f"{chip.name} has no rate for data type '{name}'", count)
        for name, count in sorted(strange.items())
    )
    if not by_dtype:
        raise InputError(
            f"no row with a data type of {chip.name}",
            location=Location(path),
            hint=f"it has {', '.join(chip.matrix.dtypes)}",
        )
    tables = []
    for name, picked in by_dtype.items():
        inputs = {
            column: _column(
                [row[at[column]] if column in at else None for row in picked], column, operator
            )
            for column in (*operator.columns, *operator.words)
        }
        seconds = np.array([_seconds(row[at[TIME]]) for row in picked])
        source = Path(path).name
        table = Table(chip.name, operator.name, name, source, source, inputs, seconds, notes)
        tables.append(replace(table, origin=_origin(picked, at)))
        notes = ()
    return tables


def _origin(rows: list[tuple[Cell, ...]], at: Mapping[str, int]) -> str:
    """What was measured, by the columns that ``scripts/measure_gpu.py`` writes; empty without."""
    found = []
    for column in ORIGIN:
        if column in at:
            names = sorted({row[at[column]].text for row in rows} - {""})
            word = "" if column == "device" else f"{column} "
            if names:
                found.append(word + " and ".join(names))
    return ", ".join(found)


def _check_columns(cases: Cases, operator: Operator, path: str) -> None:
    """Name a missing column, and the one that was probably meant."""
    for name in (*operator.required, TIME):
        if name in cases.columns:
            continue
        hint = separator_hint(cases.columns)
        if name == TIME:
            other = [found for found in cases.columns if found in OTHER_UNITS]
            if other:
                hint = f"'{other[0]}' is in another unit: give seconds, 1e-6 for a microsecond"
        if hint is None:
            free = [c for c in cases.columns if c not in (*operator.columns, *operator.words)]
            close = next((c for c in free if c.lower() == name), nearest(name, free))
            hint = f"is '{close}' meant?" if close else f"found {', '.join(cases.columns)}"
        raise InputError(
            f"missing column '{name}' of operator {operator.name}",
            location=Location(path, 1),
            hint=hint,
        )


def _column(cells: list[Cell | None], name: str, operator: Operator) -> Any:
    default = operator.defaults.get(name)
    if name in operator.words:
        words = [default if cell is None or not cell.text else cell.text for cell in cells]
        if None in words:
            cell = cells[words.index(None)]
            assert cell is not None
            raise cell.fail(name, "a name")
        return np.array(words)
    return np.array([_whole(cell, name, default) for cell in cells], dtype=np.int64)


def _whole(cell: Cell | None, name: str, default: Any) -> int:
    if cell is None or (not cell.text and default is not None):
        return int(default)
    text = cell.text
    if not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) > MAX_VALUE:
        hint = "without separators of thousands" if "," in text else None
        raise cell.fail(name, f"a whole number up to {MAX_VALUE}", hint)
    if int(text) == 0 and default != 0:
        raise cell.fail(name, "a whole number of at least 1")
    return int(text)


def _seconds(cell: Cell) -> float:
    try:
        value = float(cell.text) if cell.text else math.nan
    except ValueError:
        raise cell.fail(TIME, "seconds, a number such as 1.25e-5") from None
    if value > LONGEST_S:
        raise cell.fail(TIME, f"seconds, at most {LONGEST_S:g}")
    return value
