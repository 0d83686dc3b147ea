"""``chipsim op matmul --cases``: shapes from a CSV file, the same rows with results to stdout."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator.cases import Cases, Cell, kept_names, known_name, read_cases
from simulator.cli.values import parse_whole
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.timing.results import MatmulTiming

MAX_SIZE = 2**31
MAX_PRODUCT = 2**55
"""Larger matmuls (4e16 multiply-accumulates) would leave 64-bit picoseconds on a small chip."""

OF_ALL_ROWS = ("rotating_buffers", "quantize", "replay", "blocks")
"""Options that are no columns."""

Shape = tuple[int, int, int]
Case = tuple[int, int, int, str]


def check_shape(shape: Shape, what: str) -> Shape:
    """Refuse a product of sizes that 64-bit arithmetic cannot hold.

    Raises:
        InputError: m k n is above ``MAX_PRODUCT``.
    """
    m, k, n = shape
    if m * k * n > MAX_PRODUCT:
        raise InputError(f"{what}: {m} x {k} x {n} is above {MAX_PRODUCT} multiply-accumulates")
    return shape


def parse_shape(text: str) -> Shape:
    """``MxKxN`` as three sizes.

    Raises:
        InputError: not three positive whole numbers with ``x`` between them.
    """
    parts = text.lower().split("x")
    if len(parts) != 3:
        raise InputError(f"found '{text}', expected a shape MxKxN such as 4096x4096x4096")
    m, k, n = (
        parse_whole(part, f"{name} of '{text}'", most=MAX_SIZE)
        for name, part in zip("MKN", parts, strict=True)
    )
    return check_shape((m, k, n), "shape")


def read_matmuls(path: str, default_dtype: str, dtypes: Sequence[str]) -> tuple[Cases, list[Case]]:
    """The rows of a file and the matmuls that they ask for; all are checked.

    Args:
        path: a CSV file with columns m, k, n and perhaps dtype; others are kept.
        default_dtype: data type where there is no such column, or an empty cell in it.
        dtypes: those that the chip has a rate for.

    Raises:
        InputError: with file, line and column of the first bad cell, or a column that is an option
            for all rows.
    """
    cases = read_cases(path, ("m", "k", "n"))
    at = {name: index for index, name in enumerate(cases.columns)}
    for name in OF_ALL_ROWS:
        if name in at:
            raise InputError(
                f"{path}: column '{name}' would not be read, all rows are run in one way",
                hint=f"leave it out and give --{name.replace('_', '-')}",
            )
    shapes = []
    for row in cases.rows:
        m, k, n = (_size(row[at[name]], name) for name in "mkn")
        if m * k * n > MAX_PRODUCT:
            raise row[at["m"]].fail("m", f"at most {MAX_PRODUCT} multiply-accumulates (m k n)")
        dtype = default_dtype
        if "dtype" in at and row[at["dtype"]].text:
            dtype = known_name(row[at["dtype"]], "dtype", dtypes)
        shapes.append((m, k, n, dtype))
    return cases, shapes


def result_rows(cases: Cases, results: Sequence[MatmulTiming]) -> list[dict[str, Any]]:
    """The rows of the file with the results beside them, flat.

    Where a column of the file has the name of a result, as in a file of measurements, the result
    keeps its name and the file's column becomes ``input_NAME``.
    """
    from simulator.report.json_out import flatten

    joined = []
    for row, result in zip(cases.rows, results, strict=True):
        outcome = flatten(_fields(result))
        names = kept_names(cases.columns, outcome.keys() - {"m", "k", "n", "dtype"})
        given = {name: cell.text for name, cell in zip(names, row, strict=True)}
        joined.append(given | outcome)
    return joined


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV with a header; None is an empty cell."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else value for key, value in row.items()})
    return stream.getvalue()


def _fields(result: MatmulTiming) -> dict[str, Any]:
    """As in the JSON, but with every key in every row, so that all rows have the same columns."""
    from simulator.report.operator_json import op_fields

    fields = op_fields(result)
    no_tile = {"m": None, "k": None, "n": None}
    fields["tile"] = fields["tile"] or no_tile
    fields["runner_up"] = fields["runner_up"] or {
        "cycles": None,
        "tile": no_tile,
        "loop_order": None,
    }
    return fields


def _size(cell: Cell, column: str) -> int:
    try:
        return parse_whole(cell.text, column, most=MAX_SIZE)
    except InputError:
        raise cell.fail(column, f"a whole number from 1 to {MAX_SIZE}") from None
