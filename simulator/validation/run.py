"""A validation: which tables, their comparisons, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.config.names import list_names
from simulator.errors import InputError
from simulator.hardware import rate_of
from simulator.validation import published, silicon
from simulator.validation.compare import UNFIT, Comparison, Row, compare, usable
from simulator.validation.files import read_tables
from simulator.validation.machine import Machine
from simulator.validation.operators import OPERATORS, find_operator
from simulator.validation.table import LeftOut, Omission, Table, why_nothing
from simulator.validation.totals import Total, totals


@dataclass(frozen=True, slots=True)
class Validation:
    """All comparisons, in the order of the tables; ``missing`` names (chip, operator) without.

    ``complete`` where all chips and operators were asked for."""

    comparisons: tuple[Comparison, ...]
    omissions: tuple[Omission, ...]
    missing: tuple[tuple[str, str], ...]
    complete: bool = False

    def totals(self) -> list[Total]:
        """The errors of each operator over all of its tables."""
        return totals(self.comparisons)

    def rows(self) -> list[Row]:
        """The rows of all comparisons."""
        return [row for comparison in self.comparisons for row in comparison.rows()]


def known_chips() -> list[str]:
    """Chips that have a file and a table, those of the installed package included."""
    return sorted({*silicon.SYSTEMS, *published.chips()} & set(list_names("chips")))


def chips_at_hand() -> list[str]:
    """``known_chips`` without those whose tables are not installed."""
    try:
        silicon.package_folder()
    except InputError:
        return [name for name in known_chips() if name not in silicon.SYSTEMS]
    return known_chips()


def validate(
    chips: Sequence[str],
    *,
    operators: Iterable[str] = (),
    dtype: str | None = None,
    file: str | None = None,
    overrides: Iterable[str] = (),
    every_stack: bool = False,
    seed: int = 0,
    baselines: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Validation:
    """Compare prices with measurements.

    Args:
        chips: names or files of chips; all whose tables are at hand where empty.
        operators: names of operators; all that have tables where empty.
        dtype: only this data type.
        file: a CSV file in place of the installed and published tables; needs one chip and one
            operator.
        overrides: ``PATH=VALUE`` settings of the chip or its systems.
        every_stack: compare with the tables of all software stacks, not of the first.
        seed: of the halves that the baselines learn from.
        baselines: whether to compute the simple methods beside.
        progress: called with a line before each table.

    Raises:
        InputError: unknown names, a bad file, or nothing to compare.
    """
    # what is named twice is compared, and counted, once
    wanted = tuple(dict.fromkeys(find_operator(name).name for name in operators)) or (*OPERATORS,)
    chips = tuple(dict.fromkeys(chips))
    at_hand = chips or chips_at_hand()
    if progress is not None and len(at_hand) < len(chips or known_chips()):
        progress("the tables of GPUs are not installed: pip install '.[validate]' in a checkout")
    found: list[Comparison] = []
    omitted: list[Omission] = []
    missing: list[tuple[str, str]] = []
    for chip in at_hand:
        machine = Machine(chip, overrides)
        name = machine.chip.name
        for operator in wanted:
            tables, others = tables_of(machine, operator, file, every_stack)
            kinds = dict.fromkeys(table.dtype for table in tables)
            tables = [t for t in tables if dtype is None or rate_of(t.dtype) == rate_of(dtype)]
            if file is not None and kinds and not tables:
                raise InputError(
                    f"{file}: no row has the data type {dtype}", hint=f"it has {', '.join(kinds)}"
                )
            if not tables:
                missing.append((name, operator))
            for table in tables:
                if progress is not None:
                    rows = "1 row" if len(table) == 1 else f"{len(table):,} rows"
                    progress(f"{name} {operator} {table.dtype} ({table.source}): {rows}")
                if table.dtype not in machine.chip.matrix.dtypes:
                    note = LeftOut(f"{name} has no rate for {table.dtype}", len(table))
                    omitted.append(Omission(name, operator, table.dtype, table.source, note))
                    continue
                pair = compare(machine, table, others, seed=seed, baselines=baselines)
                if pair is not None:
                    found.append(pair)
                    omitted += pair.table.omissions()
                    continue
                kept = usable(machine, table)
                everything = np.ones(len(kept), bool)
                omitted += kept.without(everything, UNFIT).omissions()
    if not found and omitted:
        raise why_nothing(omitted)
    if not found:
        raise InputError(
            "there are no measured rows to compare with",
            hint=f"chips with tables: {', '.join(known_chips())} (a file counts as the chip "
            "that its 'name' says); or give --table FILE.csv",
        )
    complete = not (chips or operators or dtype or file)
    return Validation(tuple(found), tuple(omitted), tuple(missing), complete)


def tables_of(
    machine: Machine, operator: str, file: str | None = None, every_stack: bool = False
) -> tuple[list[Table], list[Table]]:
    """(tables to compare with, tables of other stacks) of one chip and operator.

    From ``file`` where there is one, else from what Google published, else from the installed
    package.

    Raises:
        InputError: the file is bad, or the package is needed and not installed.
    """
    if file is not None:
        return read_tables(file, machine.chip, find_operator(operator)), []
    name = machine.chip.name
    tables = published.load_tables(machine.chip, operator)
    if name not in silicon.SYSTEMS:
        return tables, []
    every = silicon.load_tables(name, operator, every_stack=True)
    if every_stack:
        return [*tables, *every], every
    chosen = [table for table in every if table.stack == silicon.preferred(table, every)]
    return [*tables, *chosen], every
