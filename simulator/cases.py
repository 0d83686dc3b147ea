"""A CSV file of cases: rows of named cells that know where they stand."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from simulator.errors import InputError, Location, did_you_mean, nearest


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of a cell without blanks around it, and its place in the file."""

    text: str
    location: Location

    def fail(self, column: str, expected: str, hint: str | None = None) -> InputError:
        """An error that says what was found here and what was expected."""
        found = f"'{self.text}'" if self.text else "an empty cell"
        return InputError(
            f"column '{column}': found {found}, expected {expected}",
            location=self.location,
            hint=hint,
        )


@dataclass(frozen=True, slots=True)
class Cases:
    """``rows[i][j]`` belongs to ``columns[j]``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def read_cases(path: str, required: Sequence[str]) -> Cases:
    """Read a CSV file with a header that has all the ``required`` columns, in any order.

    A byte-order mark, CRLF line ends and blank lines are accepted; cells may be quoted but hold no
    line breaks.

    Raises:
        InputError: no such file, a directory, not UTF-8, no header, a missing, empty or repeated
            column, a row of another length, or no rows.
    """
    numbered = _numbered_lines(path, "a header and rows")
    header = _split(path, *numbered[0])
    columns = tuple(cell.text for cell in header)
    _check_header(header, required)
    rows = []
    for number, line in numbered[1:]:
        row = _split(path, number, line)
        if len(row) != len(columns):
            raise InputError(
                f"found {len(row)} cells, expected {len(columns)} as in the header",
                location=Location(path, number, 1, line, len(line)),
                hint=separator_hint(columns),
            )
        rows.append(row)
    if not rows:
        place = Location(path, numbered[0][0])
        raise InputError("the file has a header but no rows", location=place)
    return Cases(columns, tuple(rows))


def read_cells(path: str) -> tuple[tuple[Cell, ...], ...]:
    """The cells of every line of a CSV file without a header; blank lines are left out.

    Raises:
        InputError: no such file, a directory, not UTF-8, or nothing in it.
    """
    return tuple(_split(path, number, line) for number, line in _numbered_lines(path, "rows"))


def known_columns(table: Cases, names: Sequence[str]) -> None:
    """Raises InputError for a column that is none of ``names``."""
    for place, name in enumerate(table.columns):
        if name not in names:
            line = table.rows[0][place].location
            raise InputError(
                f"unknown column '{name}', expected {', '.join(names)}",
                location=Location(line.file),
                hint=did_you_mean(name, names),
            )


def kept_names(columns: Sequence[str], results: Collection[str]) -> tuple[str, ...]:
    """Names of a file's columns beside results: ``input_NAME`` where a result has the name.

    No two are alike, also where the file has a column ``input_NAME`` of its own.
    """
    taken = {*columns, *results}
    kept = []
    for column in columns:
        name = column
        if column in results:
            while name in taken:
                name = f"input_{name}"
            taken.add(name)
        kept.append(name)
    return tuple(kept)


def _numbered_lines(path: str, expected: str) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1."""
    lines = [line.rstrip("\r") for line in _read_text(path).split("\n")]
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip(" ,\t")]
    if not numbered:
        raise InputError(f"the file is empty, expected {expected}", location=Location(path))
    return numbered


def _read_text(path: str) -> str:
    try:
        data = Path(path).read_bytes()
    except IsADirectoryError:
        raise InputError(f"'{path}' is a directory, expected a CSV file") from None
    except FileNotFoundError:
        folder = Path(path).parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        close = nearest(Path(path).name, names)
        hint = f"did you mean '{folder / close}'?" if close else None
        raise InputError(f"there is no file '{path}'", hint=hint) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read '{path}': {reason}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("the file is not UTF-8 text", location=Location(path, line)) from None


def _split(path: str, number: int, line: str) -> tuple[Cell, ...]:
    try:
        texts = next(csv.reader([line], strict=True))
    except csv.Error:
        what = "a quote that is not closed where its cell ends"
        if "\r" in line:
            what = "a carriage return that ends no line"
        elif len(line) > csv.field_size_limit():
            what = f"more than {csv.field_size_limit()} characters in a cell"
        raise InputError(f"bad CSV: {what}", location=Location(path, number, 1, line)) from None
    cells = []
    offset = 0
    for text in texts:
        stripped = text.strip()
        # a quoted cell is longer in the file than its text: look for it from where it can start
        place = max(line.find(stripped, offset), offset)
        cells.append(Cell(stripped, Location(path, number, place + 1, line, max(1, len(stripped)))))
        following = line.find(",", place + len(stripped))
        offset = len(line) if following < 0 else following + 1
    return tuple(cells)


def _check_header(header: Sequence[Cell], required: Sequence[str]) -> None:
    seen: set[str] = set()
    for cell in header:
        if not cell.text:
            raise InputError("a column without a name", location=cell.location)
        if cell.text in seen:
            raise InputError(f"column '{cell.text}' appears twice", location=cell.location)
        seen.add(cell.text)
    for name in required:
        if name not in seen:
            first = header[0].location
            raise InputError(
                f"missing column '{name}'; found {', '.join(cell.text for cell in header)}",
                location=Location(first.file, first.line),
                hint=_renaming_hint(name, [cell.text for cell in header], required),
            )


def separator_hint(columns: Sequence[str]) -> str | None:
    """What parts the cells of a header that was read as one, if it is not commas."""
    if len(columns) == 1:
        for separator, what in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in columns[0]:
                return f"cells are parted by {what} here, expected commas"
    return None


def _renaming_hint(name: str, found: Sequence[str], required: Sequence[str]) -> str | None:
    parted = separator_hint(found)
    if parted is not None:
        return parted
    others = [column for column in found if column not in required]
    close = nearest(name, [column.lower() for column in others])
    return f"is '{close}' meant?" if close else None


def refuse_typos(table: Cases, known: Iterable[str], begun: Iterable[str] = ()) -> None:
    """Columns that mean nothing are kept, but not one that almost is a known one.

    Nor one that is the beginning, up to a ``_``, of one of ``begun``. Raises InputError.
    """
    known = list(known)
    for name in table.columns:
        if name in known:
            continue
        close = get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.85)
        close += [column for column in begun if column.startswith(f"{name.lower()}_")]
        if close and close[0] not in table.columns:
            raise InputError(
                f"unknown column '{name}'",
                location=Location(table.rows[0][0].location.file),
                hint=f"did you mean '{close[0]}'?",
            )


def known_name(cell: Cell, column: str, names: Sequence[str]) -> str:
    """The cell's text, which has to be one of ``names``.

    Raises:
        InputError: it is another; the nearest one is suggested.
    """
    if cell.text in names:
        return cell.text
    raise cell.fail(column, f"one of {', '.join(names)}", did_you_mean(cell.text, names))
