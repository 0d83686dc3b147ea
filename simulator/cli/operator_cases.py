"""Rows of a CSV file as keyword arguments of an operator's case, and the rows with results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simulator.cases import Cases, Cell, kept_names, read_cases, refuse_typos
from simulator.cli.matmul_cases import to_csv
from simulator.cli.values import parse_whole
from simulator.errors import ChipsimError, InputError, Location

if TYPE_CHECKING:
    from simulator.hardware import Chip
    from simulator.timing.operator_timing import OperatorTiming

Parser = Callable[[str], Any]
C = TypeVar("C")


def whole(text: str) -> int:
    """A whole number from 1."""
    return parse_whole(text, "cell")


def count(text: str) -> int:
    """A whole number from 0."""
    return parse_whole(text, "cell", least=0)


def yes_no(text: str) -> bool:
    """``true`` or ``false``.

    Raises InputError for anything else.
    """
    if text.lower() not in ("true", "false"):
        raise InputError(f"found '{text}', expected true or false")
    return text.lower() == "true"


def one_or_cases(given: Mapping[str, Any], needed: Sequence[str], cases_file: str | None) -> None:
    """Either all sizes of one case are given, or a file of cases.

    Raises:
        click.UsageError: neither, or some of both.
    """
    missing = [f"--{name.replace('_', '-')}" for name in needed if given[name] is None]
    if cases_file is None and missing:
        raise click.UsageError(f"missing {', '.join(missing)}; or give --cases FILE")
    if cases_file is not None and len(missing) < len(needed):
        raise click.UsageError("give either the sizes of one case or --cases FILE")


def print_cases(kind: str, chip: Chip, rows: Sequence[dict[str, Any]], form: str) -> None:
    """Priced rows on stdout: as CSV, or in JSON as the document ``chipsim.KIND.cases/1``."""
    if form == "json":
        from simulator.report.json_out import to_json

        schema = f"chipsim.{kind}.cases/1"
        click.echo(to_json({"schema": schema, "chip": chip.name, "rows": rows}))
    else:
        click.echo(to_csv(rows), nl=False)


def read_operator_cases(
    path: str,
    required: Mapping[str, Parser],
    optional: Mapping[str, Parser],
    build: Callable[..., C],
    check: Callable[[C], None],
) -> tuple[Cases, list[C]]:
    """The rows of a file and the case of each; unknown columns are kept.

    Raises InputError with file, line and column of the first bad cell, and for a column that
    almost has the name of a setting.
    """
    table = read_cases(path, tuple(required))
    known = {**required, **optional}
    refuse_typos(table, known)
    places = [(at, name) for at, name in enumerate(table.columns) if name in known]
    cases = []
    for row in table.rows:
        given = {
            name: _parsed(row[at], name, known[name])
            for at, name in places
            if row[at].text or name in required
        }
        case = build(**given)
        try:
            check(case)
        except ChipsimError as error:
            place = error.location or _about(error, row, table)
            raise InputError(error.message, location=place, hint=error.hint) from None
        cases.append(case)
    return table, cases


def joined_rows(cases: Cases, results: Sequence[OperatorTiming]) -> list[dict[str, Any]]:
    """The rows of the file with the results beside them, flat.

    A column of the file that has the name of a result is kept as ``input_NAME``.
    """
    from simulator.report.json_out import flatten
    from simulator.report.operator_json import operator_fields

    rows = []
    for row, result in zip(cases.rows, results, strict=True):
        outcome = flatten(operator_fields(result))
        names = kept_names(cases.columns, outcome.keys() - set(result.given))
        given = {name: cell.text for name, cell in zip(names, row, strict=True)}
        rows.append(given | outcome)
    return rows


def _parsed(cell: Cell, name: str, parser: Parser) -> Any:
    try:
        return parser(cell.text)
    except InputError as error:
        expected = error.message.partition("expected ")[2] or "another value"
        raise cell.fail(name, expected, error.hint) from None


def _about(error: ChipsimError, row: Sequence[Cell], table: Cases) -> Location:
    """The cell that a message speaks of; else the first of the row."""
    for name, cell in zip(table.columns, row, strict=True):
        if name in error.message or name.replace("_", " ") in error.message:
            return cell.location
    return row[0].location
