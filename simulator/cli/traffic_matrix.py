"""``chipsim collective all-to-all --traffic-matrix FILE``: who sends how much to whom, as CSV.

Either a line for each sending chip with a cell for each receiving one, or, under the header
``source,target,bytes``, a line for each pair that has traffic; equal pairs add up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.cases import Cell, known_columns, read_cases, read_cells
from simulator.cli.values import parse_size, parse_whole
from simulator.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAIRS = ("source", "target", "bytes")


def read_matrix(path: str, chips: int) -> NDArray[np.int64]:
    """The bytes from each chip to each, int64[chips, chips].

    Raises:
        InputError: with file, line and column: no number of bytes, a chip that there is not, a
            line or a number of lines that does not fit ``chips``.
    """
    import numpy as np

    from simulator.fabric.matrix import MAX_CHIPS

    if chips > MAX_CHIPS:
        raise InputError(f"a traffic matrix has at most {MAX_CHIPS} chips, found {chips}")
    matrix = np.zeros((chips, chips), dtype=np.int64)
    rows = read_cells(path)
    if any(cell.text.lower() in PAIRS for cell in rows[0]):
        _read_pairs(path, matrix)
        return matrix
    if len(rows) != chips:
        raise InputError(
            f"found {len(rows)} lines, expected {chips}, one for each chip that sends",
            location=rows[-1][0].location,
            hint=f"or the header {','.join(PAIRS)} and a line for each pair",
        )
    for source, cells in enumerate(rows):
        if len(cells) != chips:
            raise InputError(
                f"found {len(cells)} cells, expected {chips}, one for each chip that receives",
                location=cells[min(chips, len(cells)) - 1].location,
            )
        for target, cell in enumerate(cells):
            matrix[source, target] = _bytes(cell)
    return matrix


def _read_pairs(path: str, matrix: NDArray[np.int64]) -> None:
    table = read_cases(path, PAIRS)
    known_columns(table, PAIRS)
    for cells in table.rows:
        row = dict(zip(table.columns, cells, strict=True))
        source, target = (_chip(row[name], name, len(matrix)) for name in PAIRS[:2])
        matrix[source, target] += _bytes(row["bytes"])


def _chip(cell: Cell, column: str, chips: int) -> int:
    try:
        return parse_whole(cell.text, column, least=0, most=chips - 1)
    except InputError as error:
        raise InputError(error.message, location=cell.location, hint=error.hint) from None


def _bytes(cell: Cell) -> int:
    try:
        return parse_size(cell.text, "bytes")
    except InputError as error:
        raise InputError(error.message, location=cell.location, hint=error.hint) from None
