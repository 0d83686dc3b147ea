"""Where the rows of a calibration come from: a file, or the tables that are at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from simulator.cases import Cases, read_cases
from simulator.errors import InputError, Location
from simulator.hardware import rate_of
from simulator.validation import published, silicon
from simulator.validation.files import read_tables
from simulator.validation.machine import Machine
from simulator.validation.operators import OPERATORS, find_operator
from simulator.validation.run import tables_of
from simulator.validation.table import LeftOut, Omission, Table

TABLES = ("aiconfigurator", "published")
"""Names of rows at hand; every other name is that of a file."""

OF_SYSTEMS = ("collective", "server")
"""Operators whose parameters are those of a system's file."""


def measured_tables(
    chip: str, source: str, operators: Sequence[str], dtype: str | None
) -> tuple[list[Table], tuple[Omission, ...]]:
    """The measured rows of one chip, and what of a file is not read.

    Args:
        chip: name or file.
        source: ``aiconfigurator``, ``published``, or a CSV file. A file with a column
            ``operator`` may hold several.
        operators: those that are wanted; all of the chip's own file where empty.
        dtype: only this data type.

    Raises:
        InputError: nothing of it is there, or the file is bad.
    """
    machine = Machine(chip)
    name = machine.chip.name
    unread: tuple[Omission, ...] = ()
    if source not in TABLES:
        cases = read_cases(source, ())
        names = operators or _operators_of(source, cases)
        found = [
            table
            for operator in names
            for table in read_tables(source, machine.chip, find_operator(operator), cases=cases)
        ]
        unread = () if operators else _unread(name, source, cases, names)
    else:
        names = operators or [one for one in OPERATORS if one not in OF_SYSTEMS]
        found = []
        for operator in names:
            if source == "published":
                found += published.load_tables(machine.chip, operator)
            elif name in silicon.SYSTEMS:
                found += tables_of(machine, operator)[0]
    known = machine.chip.matrix.dtypes
    wanted = None if dtype is None else rate_of(dtype)
    found = [t for t in found if t.dtype in known and wanted in (None, rate_of(t.dtype))]
    if not found:
        raise InputError(f"'{source}' has no rows of {name} for {', '.join(names)}")
    return found, unread


def _operators_of(path: str, cases: Cases) -> list[str]:
    """The operators in the column of that name, in the order of their first rows."""
    if "operator" not in cases.columns:
        raise InputError(
            "the file has no column 'operator'",
            location=Location(path, 1),
            hint="name the operator with --operator",
        )
    names = list(_count_operators(cases))
    return [name for name in names if name in OPERATORS and name not in OF_SYSTEMS] or names


def _unread(chip: str, path: str, cases: Cases, read: Sequence[str]) -> tuple[Omission, ...]:
    """Rows of other operators than those that are ``read``."""
    found = []
    for name, count in _count_operators(cases).items():
        if name in read:
            continue
        if name in OF_SYSTEMS:
            reason = f"fitted by itself, with --operator {name}"
        else:
            reason = "no operator with parameters to fit"
        found.append(Omission(chip, name, "", Path(path).name, LeftOut(reason, count)))
    return tuple(found)


def _count_operators(cases: Cases) -> Counter[str]:
    column = cases.columns.index("operator")
    return Counter(row[column].text for row in cases.rows)
