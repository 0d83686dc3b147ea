"""``chipsim collective --cases``: collectives from a CSV file, the same rows with results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simulator.cases import Cell, kept_names, read_cases, refuse_typos
from simulator.cli.values import parse_number, parse_size
from simulator.errors import ChipsimError, InputError

if TYPE_CHECKING:
    from simulator.hardware import Fabric

REQUIRED = ("op", "bytes")
PLAIN = ("topology", "bandwidth_bytes_per_s", "latency_s")
OPTIONAL = ("ranks", "algorithm", "system", *PLAIN, "endpoint_delay_s", "reduce_bytes_per_s")
GIVEN = ("op", "size_bytes", "concurrent", "schema", "system", "ranks")
MAX_RANKS = 2**20

_RANKS = re.compile(r"[0-9]{1,7}(x[0-9]{1,7}){0,3}", re.ASCII)


def price_rows(
    path: str, system_name: str | None, overrides: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Every row of the file with its results beside it.

    Raises:
        InputError: with file, line and column of the first bad cell.
    """
    from simulator.cli.options import check_override_roots
    from simulator.fabric.collectives import price_collective
    from simulator.report.collective_out import collective_fields

    check_override_roots(overrides, ("system", "chip", "library"))
    table = read_cases(path, REQUIRED)
    refuse_typos(table, REQUIRED + OPTIONAL)
    rows = []
    for cells in table.rows:
        row = dict(zip(table.columns, cells, strict=True))
        size = _checked(row["bytes"], lambda cell: parse_size(cell.text, "bytes"))
        fabric, group = _fabric(row, system_name, overrides)
        algorithm = _text(row, "algorithm") or "auto"
        try:
            timing = price_collective(
                fabric, row["op"].text, size, group=group, algorithm=algorithm
            )
        except ChipsimError as error:
            # the message says which of the cells it is about
            about = "algorithm" if "algorithm" in error.message else "op"
            if "group" in error.message:
                about = "ranks"
            place = row.get(about, row["op"]).location
            raise InputError(error.message, location=place, hint=error.hint) from None
        outcome = {k: v for k, v in collective_fields(timing).items() if k not in GIVEN}
        outcome["alternatives"] = " ".join(
            f"{other.algorithm}={other.time_s!r}" for other in timing.alternatives
        )
        names = kept_names(tuple(row), outcome.keys() - {"algorithm"})
        asked = {name: cell.text for name, cell in zip(names, row.values(), strict=True)}
        rows.append(asked | outcome)
    return rows


def _fabric(
    row: Mapping[str, Cell], system_name: str | None, overrides: tuple[str, ...]
) -> tuple[Fabric, int | None]:
    """The fabric of a row and its group: a system's, or one of plain figures."""
    named = _text(row, "system")
    if _text(row, "topology"):
        if named:
            raise row["system"].fail("system", "an empty cell beside a topology")
        return _plain_fabric(row), None
    name = named or system_name
    if name is None:
        raise InputError(
            "the row has neither a system nor a topology",
            location=row["op"].location,
            hint="fill one of the two columns, or give --system",
        )
    from simulator.config.loader import load_system

    try:
        fabric = load_system(name, overrides).fabric
    except InputError as error:
        if named and error.location is None:
            raise InputError(
                error.message, location=row["system"].location, hint=error.hint
            ) from None
        raise
    ranks = _text(row, "ranks")
    return fabric, (_axes(row["ranks"])[0] if ranks and "x" not in ranks else None)


def _plain_fabric(row: Mapping[str, Cell]) -> Fabric:
    from simulator.fabric.cases import plain_fabric

    if not _text(row, "ranks"):
        raise InputError("a topology needs ranks", location=row["topology"].location)
    for name in PLAIN:
        if not _text(row, name):
            raise InputError(f"a topology needs {name}", location=row["topology"].location)
    optional = {
        "endpoint_delay_ps": _ps(row, "endpoint_delay_s"),
        "reduce_bytes_per_s": _rate(row, "reduce_bytes_per_s"),
    }
    try:
        return plain_fabric(
            row["topology"].text,
            _axes(row["ranks"]),
            bandwidth_bytes_per_s=_rate(row, "bandwidth_bytes_per_s"),
            latency_ps=_ps(row, "latency_s"),
            **optional,
        )
    except InputError as error:
        if error.location is not None:
            raise
        place = row["topology"].location
        raise InputError(error.message, location=place, hint=error.hint) from None


def _text(row: Mapping[str, Cell], name: str) -> str:
    return row[name].text if name in row else ""


def _checked(cell: Cell, read: Any) -> Any:
    try:
        return read(cell)
    except InputError as error:
        raise InputError(error.message, location=cell.location, hint=error.hint) from None


def _axes(cell: Cell) -> tuple[int, ...]:
    text = cell.text.lower()
    if _RANKS.fullmatch(text):
        axes = tuple(int(part) for part in text.split("x"))
        product = 1
        for axis in axes:
            product *= axis
        if 1 <= product <= MAX_RANKS:
            return axes
    raise cell.fail("ranks", f"1 to {MAX_RANKS} ranks, or a shape such as 4x4x8")


def _ps(row: Mapping[str, Cell], name: str) -> int:
    if not _text(row, name):
        return 0
    cell = row[name]
    seconds = _checked(cell, lambda c: parse_number(c.text, name, allow_zero=True))
    if seconds > 1000:
        raise cell.fail(name, "at most 1000 seconds")
    picoseconds: int = round(seconds * 1e12)
    return picoseconds


def _rate(row: Mapping[str, Cell], name: str) -> int:
    if not _text(row, name):
        return 0
    cell = row[name]
    rate = _checked(cell, lambda c: parse_number(c.text, name))
    if not 1 <= rate <= 1e18:
        raise cell.fail(name, "1 to 1e18 bytes a second")
    whole: int = round(rate)
    return whole
