"""Columns of a ``--cases`` file that stand for ``--set``: ``chip.hbm.bandwidth`` and the like.

A row's values come after those of the command line, and rows with the same values share what was
loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from simulator.cases import Cases
from simulator.errors import ChipsimError, InputError, Location, nearest

R = TypeVar("R")

ROOTS = ("chip", "system", "model", "workload", "engine", "prefill", "decode")
"""What a path of ``--set`` begins with in one command or another."""


class Variants:
    """What the rows of a file override, for the parts of the configuration in ``roots``.

    Raises:
        InputError: a column that is almost such a column.
    """

    def __init__(self, table: Cases, roots: Sequence[str]) -> None:
        self._file = table.rows[0][0].location.file
        self._rows = table.rows
        self.columns = [
            (at, name) for at, name in enumerate(table.columns) if _is_path(name, roots, self._file)
        ]

    def overrides(self, row: int) -> tuple[str, ...]:
        """``PATH=VALUE`` of each cell of a row that is not empty."""
        cells = self._rows[row]
        return tuple(f"{name}={cells[at].text}" for at, name in self.columns if cells[at].text)

    def price(self, price: Callable[[tuple[str, ...], list[int]], Sequence[R]]) -> list[R]:
        """The result of each row; ``price`` gets overrides and the numbers of their rows.

        Raises:
            ChipsimError: whatever ``price`` raises, with its place in the file.
        """
        groups: dict[tuple[str, ...], list[int]] = {}
        for row in range(len(self._rows)):
            groups.setdefault(self.overrides(row), []).append(row)
        results: dict[int, R] = {}
        for own, rows in groups.items():
            try:
                priced = price(own, rows)
            except ChipsimError as error:
                raise self._located(error, rows[0]) from None
            results |= dict(zip(rows, priced, strict=True))
        return [results[row] for row in range(len(self._rows))]

    def _located(self, error: ChipsimError, row: int) -> ChipsimError:
        """What an error says of an override is said of the row's cell, or of its column."""
        found = error.location
        if found is None or found.file != "--set":
            return error
        for at, name in self.columns:
            cell = self._rows[row][at]
            if found.text not in (f"{name}={cell.text}", cell.text):
                continue
            of_path = found.text != cell.text and (found.column or 0) <= len(name)
            place = Location(self._file) if of_path else cell.location
            said = error.message if of_path else f"column '{name}': {error.message}"
            return type(error)(said, location=place, hint=error.hint)
        return error


def _is_path(name: str, roots: Sequence[str], file: str) -> bool:
    """Whether a column's name is the path of a value of the configuration."""
    root, dot, rest = name.partition(".")
    if not dot:
        return False
    if root in ROOTS and (root not in roots or not rest):
        raise InputError(
            f"column '{name}' sets nothing here",
            location=Location(file),
            hint=f"a column may set a value of {', '.join(roots)}, as chip.hbm.bandwidth",
        )
    if root in roots:
        return True
    close = nearest(root, roots)
    if close is not None:
        hint = f"did you mean '{close}.{rest}'?"
        raise InputError(f"unknown column '{name}'", location=Location(file), hint=hint)
    return False
