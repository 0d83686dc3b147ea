"""A validation as JSON and as tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator.report.console import make_table, show

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.validation.compare import Errors, Row
    from simulator.validation.run import Validation
    from simulator.validation.table import Omission
    from simulator.validation.totals import Total

MISSING = "-"

ERRORS = ("rows", "mean", "median", "p90", "bias", "by time")
"""Columns of the errors of a table, in ``total_texts`` too."""

FIGURES = (*ERRORS, "roofline", "fit", "lookup", "stacks")
"""Columns of ``figure_texts``: the errors, and those of the simple methods beside them."""

TOTALS = ("operator", "data type", "chips", *ERRORS)
"""Columns of the errors over all tables of an operator."""

LEGEND_OF_ERRORS = (
    "mean, median, p90: of the absolute relative error of prices; by time: the sum of the "
    "deviations over that of the times."
)
LEGEND = (
    f"{LEGEND_OF_ERRORS} Beside them the mean error of simple methods on the "
    "same rows: the data sheet's roofline, two efficiencies and a constant (fitted to the "
    "other half), the nearest shapes measured in the other half, and another software stack."
)
LEGEND_WIDTH = 88


def left_out_json(omissions: Sequence[Omission]) -> list[dict[str, Any]]:
    """One object for each reason for which rows of a table were left out."""
    return [
        {
            "chip": item.chip,
            "operator": item.operator,
            "dtype": item.dtype,
            "table": item.table,
            "reason": item.left_out.reason,
            "count": item.left_out.count,
        }
        for item in omissions
    ]


def validation_json(result: Validation) -> dict[str, Any]:
    """The document ``chipsim.validate/1``."""
    return {
        "schema": "chipsim.validate/1",
        "rows": [_row(row) for row in result.rows()],
        "totals": [_total(line) for line in result.totals()],
        "left_out": left_out_json(result.omissions),
        "unvalidated": [{"chip": chip, "operator": name} for chip, name in result.missing],
    }


def print_validation(result: Validation, console: Console) -> None:
    """Errors and baselines by regime, then what was left out and what has no table."""
    simple = any(value is not None for row in result.rows() for value in row.baselines.values())
    columns = FIGURES if simple else ERRORS
    for comparison in result.comparisons:
        table = comparison.table
        title = f"{table.chip} {table.operator} {table.dtype}, {table.source}: error in %"
        rows = [(row.regime, *figure_texts(row)[: len(columns)]) for row in comparison.rows()]
        show(console, make_table(console, title, ("regime", *columns), rows))
    sums = result.totals()
    if sums:
        rows = [(line.operator, *total_name(line), *total_texts(line)) for line in sums]
        show(console, make_table(console, "all tables together: error in %", TOTALS, rows))
    show(console, "")
    show(
        console,
        textwrap.fill(LEGEND if simple else LEGEND_OF_ERRORS, min(LEGEND_WIDTH, console.width)),
    )
    for item in result.omissions:
        show(console, f"left out: {item.text}")
    for chip, name in result.missing:
        show(console, f"not validated: {chip} {name}: no measured rows")


def _row(row: Row) -> dict[str, Any]:
    return {
        "chip": row.chip,
        "operator": row.operator,
        "dtype": row.dtype,
        "table": row.table,
        "regime": row.regime,
        **_errors(row.errors),
        "baselines": dict(row.baselines),
    }


def _total(line: Total) -> dict[str, Any]:
    return {
        "operator": line.operator,
        "dtype": line.dtype,
        "chips": list(line.chips),
        "tables": line.tables,
        **_errors(line.errors),
    }


def _errors(found: Errors) -> dict[str, Any]:
    return {
        "count": found.count,
        "mape_percent": found.mape_percent,
        "median_percent": found.median_percent,
        "p90_percent": found.p90_percent,
        "bias_percent": found.bias_percent,
        "weighted_percent": found.weighted_percent,
    }


def total_name(line: Total) -> tuple[str, str]:
    """(data type, chips) of a total."""
    chips = line.chips[0] if len(line.chips) == 1 else f"{len(line.chips)} chips"
    return line.dtype or "all", chips


def total_texts(line: Total) -> tuple[str, ...]:
    """Its number of rows and its errors in percent."""
    return (f"{line.errors.count:,}", *_percents(line.errors))


def figure_texts(row: Row, missing: str = MISSING) -> tuple[str, ...]:
    """The cells of ``FIGURES``; errors are in percent."""
    simple = (missing if value is None else f"{value:.1f}" for value in row.baselines.values())
    return (f"{row.errors.count:,}", *_percents(row.errors), *simple)


def _percents(found: Errors) -> list[str]:
    figures = (
        found.mape_percent,
        found.median_percent,
        found.p90_percent,
        found.bias_percent,
        found.weighted_percent,
    )
    return [f"{value:.1f}" for value in figures]
