"""The errors of an operator over all of its tables: one data type, and all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.validation.compare import Comparison, Errors, summarize


@dataclass(frozen=True, slots=True)
class Total:
    """Of all rows together, each with the same weight; ``dtype`` None: of every data type.

    ``tables`` is the number of them, ``chips`` are named in the order in which they were compared.
    """

    operator: str
    dtype: str | None
    chips: tuple[str, ...]
    tables: int
    errors: Errors


def totals(comparisons: Iterable[Comparison]) -> list[Total]:
    """By operator a line for each data type and one for all, where it adds up several tables."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault(comparison.table.operator, []).append(comparison)
    return [line for name, group in groups.items() for line in _of_operator(name, group)]


def _of_operator(operator: str, group: Sequence[Comparison]) -> Iterator[Total]:
    dtypes = dict.fromkeys(comparison.table.dtype for comparison in group)
    if len(dtypes) > 1:
        for dtype in dtypes:
            mine = [comparison for comparison in group if comparison.table.dtype == dtype]
            if len(mine) > 1:
                yield _total(operator, dtype, mine)
    if len(group) > 1:
        yield _total(operator, None, group)


def _total(operator: str, dtype: str | None, group: Sequence[Comparison]) -> Total:
    return Total(
        operator,
        dtype,
        tuple(dict.fromkeys(comparison.table.chip for comparison in group)),
        len(group),
        summarize(
            np.concatenate([comparison.predicted_s for comparison in group]),
            np.concatenate([comparison.table.measured_s for comparison in group]),
        ),
    )
