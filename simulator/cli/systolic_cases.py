"""``chipsim systolic --cases``: arrays and shapes from a CSV file, the same rows with results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from simulator.cases import Cases, Cell, kept_names, known_name, read_cases, refuse_typos
from simulator.cli.values import parse_whole
from simulator.errors import InputError, Location

if TYPE_CHECKING:
    from simulator.timing.systolic import SystolicCase

REQUIRED = ("m", "k", "n", "rows", "cols", "dataflow")
BUFFERS = ("sram_ifmap_bytes", "sram_filter_bytes", "sram_ofmap_bytes")
BANDWIDTH = "bandwidth_words_per_cycle"
OPTIONAL = ("load", "macs", "arrays", "word_bytes", *BUFFERS, BANDWIDTH)
DATAFLOWS = ("ws", "os", "is")
LOADS = ("single", "double")
MAX_BYTES = 2**50

_MOST = {"m": 2**31, "k": 2**31, "n": 2**31, "rows": 1024, "cols": 1024, "macs": 2}
_MOST |= {"arrays": 2**20, "word_bytes": 16} | dict.fromkeys(BUFFERS, MAX_BYTES)
_DECIMAL = re.compile(r"[0-9]{1,7}(\.[0-9]{0,6})?|\.[0-9]{1,6}")


def parse_bandwidth(text: str, what: str) -> Fraction:
    """Words per cycle as an exact fraction.

    Raises:
        InputError: not a decimal above 0 and up to 1000000, with at most six places.
    """
    stripped = text.strip()
    if _DECIMAL.fullmatch(stripped):
        value = Fraction(stripped)
        if 0 < value <= 10**6 and value.numerator <= 10**6:
            return value
    raise InputError(
        f"{what}: found '{text[:60]}', expected words per cycle: a decimal above 0 and up to "
        "1000000, with at most six significant digits"
    )


def read_systolic_cases(path: str) -> tuple[Cases, list[SystolicCase]]:
    """The rows of a file and the cases that they ask for; all are checked, limits included.

    Raises:
        InputError: with file, line and column of the first bad cell.
    """
    from simulator.timing.systolic import check_case

    table = read_cases(path, REQUIRED)
    refuse_typos(table, REQUIRED + OPTIONAL, OPTIONAL)
    cases = []
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=True))
        case = _case(cells)
        wrong = check_case(case)
        if wrong is not None:
            field, message = wrong
            raise InputError(message, location=_place(cells, field))
        cases.append(case)
    return table, cases


def result_rows(
    table: Cases, results: list[Mapping[str, Any]], given: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The rows of the file with the results beside them.

    Results keep their names; a column of the file that has the name of a result, but is not one
    of the ``given`` fields, becomes ``input_NAME``.
    """
    rows = []
    for cells, result in zip(table.rows, results, strict=True):
        outcome = {key: value for key, value in result.items() if key not in given}
        names = kept_names(table.columns, outcome)
        asked = {name: cell.text for name, cell in zip(names, cells, strict=True)}
        rows.append(asked | outcome)
    return rows


def _case(cells: Mapping[str, Cell]) -> SystolicCase:
    from simulator.timing.systolic import SystolicCase

    values: dict[str, Any] = {
        name: _whole(cells[name], name) for name in ("m", "k", "n", "rows", "cols")
    }
    values["dataflow"] = known_name(cells["dataflow"], "dataflow", DATAFLOWS)
    for name in OPTIONAL:
        cell = cells.get(name)
        if cell is None or not cell.text:
            continue
        if name == "load":
            values["load"] = known_name(cell, name, LOADS)
        elif name == BANDWIDTH:
            try:
                values["bandwidth"] = parse_bandwidth(cell.text, name)
            except InputError as error:
                raise InputError(error.message, location=cell.location) from None
        else:
            values[name] = _whole(cell, name)
    return SystolicCase(**values)


def _whole(cell: Cell, column: str) -> int:
    try:
        return parse_whole(cell.text, column, most=_MOST[column])
    except InputError:
        raise cell.fail(column, f"a whole number from 1 to {_MOST[column]}") from None


def _place(cells: Mapping[str, Cell], field: str) -> Location:
    if field in cells:
        return cells[field].location
    place = cells["m"].location
    return Location(place.file, place.line)
