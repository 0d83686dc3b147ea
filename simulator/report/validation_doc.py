"""The validation report as Markdown: what is validated, how well, and what is not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.atomic import atomic_write
from simulator.report.validation_out import ERRORS, FIGURES, figure_texts, total_name, total_texts
from simulator.report.versions import package_version, versions

if TYPE_CHECKING:
    from simulator.validation.compare import Row
    from simulator.validation.run import Validation
    from simulator.validation.totals import Total

LIBRARIES = ("aiconfigurator-core", "pyarrow", "scipy")

HEAD = """# Validation

How far the prices of chipsim are from measured hardware: every chip and operator of which there are
measurements. Written by `chipsim validate --markdown`; [accuracy.md](accuracy.md) says how the
tables are read, what the columns mean and how to measure and calibrate a chip of your own.
"""

PLANNED = """The rows of one source (H200, vLLM, Llama 3.1 8B in fp8) are far off, and count in
every mean above. Their times are those of fewer requests in flight than they state;
[accuracy.md](accuracy.md#servers-that-are-far-off) has the evidence.
"""

COLUMNS = ("chip, data type, table", *FIGURES)


def write_report(result: Validation, path: str | Path, date: str | None) -> None:
    """Write the report.

    Raises:
        InputError: the file cannot be written.
    """
    text = report(result, date)
    with atomic_write(path) as stream:
        stream.write(text)


def report(result: Validation, date: str | None) -> str:
    """The report as text; ``date`` is stated as given, nothing is asked of a clock."""
    rows = result.rows()
    sums = result.totals()
    parts = [HEAD, _provenance(date), *_errors(rows, sums), _regimes(rows), *_engines(rows)]
    parts.append(_rest(result))
    return "\n".join(parts)


def _provenance(date: str | None) -> str:
    known = {**versions(), **{name: package_version(name) for name in LIBRARIES}}
    listed = ", ".join(f"{name} {version}" for name, version in known.items() if version)
    return f"{f'Date: {date}. ' if date else ''}Versions: {listed}.\n"


def _errors(rows: Iterable[Row], sums: Iterable[Total]) -> Iterable[str]:
    """A table an operator, of all rows; last those of its tables together."""
    sums = list(sums)
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.regime == "all":
            found.setdefault(row.operator, []).append(row)
    for operator, group in found.items():
        yield f"## {operator}: error in %, all rows\n"
        together = (_sum_cells(line) for line in sums if line.operator == operator)
        yield _markdown(COLUMNS, (*(_cells(row) for row in group), *together))


def _sum_cells(line: Total) -> tuple[str, ...]:
    dtype, chips = total_name(line)
    name = f"{chips}, {line.tables} tables" if dtype == "all" else f"{chips} {dtype}"
    return (f"**{name}**", *total_texts(line), *("–" * (len(FIGURES) - len(ERRORS))))


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{row.chip} {row.dtype}, {row.table}"
    return (name, *figure_texts(row, missing="–"))


def _regimes(rows: Iterable[Row]) -> str:
    """The mean error of each regime: one line a table."""
    from simulator.validation.compare import REGIMES

    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = (row.operator, f"{row.chip} {row.dtype}, {row.table}")
        found.setdefault(key, {})[row.regime] = row
    lines = [
        (
            *key,
            *(
                f"{of[name].errors.mape_percent:.1f} ({of[name].errors.count:,})"
                if name in of
                else "–"
                for name in REGIMES[1:]
            ),
        )
        for key, of in found.items()
    ]
    heads = ("operator", "chip, data type, table", *REGIMES[1:])
    return "## Mean error in % by regime (rows)\n\n" + _markdown(heads, lines)


def _engines(rows: Iterable[Row]) -> Iterable[str]:
    """The errors of servers by their engine; nothing where no server was compared."""
    from simulator.validation.compare import REGIMES

    shown = ERRORS[:-1]
    lines = [
        (f"{row.chip} {row.dtype}", row.regime, *figure_texts(row)[: len(shown)])
        for row in rows
        if row.operator == "server" and row.regime not in REGIMES
    ]
    if lines:
        heads = ("servers", "engine", *shown)
        yield "## Servers by engine: error in %\n\n" + _markdown(heads, lines)
        yield PLANNED


def _rest(result: Validation) -> str:
    lines = [f"- {item.text}" for item in result.omissions]
    absent: dict[str, list[str]] = {}
    for chip, operator in result.missing:
        absent.setdefault(chip, []).append(operator)
    missing = [f"- {chip}: {', '.join(names)}" for chip, names in absent.items()]
    if result.complete:
        missing += [f"- {name}: all operators" for name in _untouched(result)]
    return (
        "## Rows left out\n\n"
        + "\n".join(lines or ["- none"])
        + "\n\n## Not validated\n\nNo measurement of these is at hand; their prices rest on data "
        "sheets and on parameters of their relatives.\n\n" + "\n".join(missing or ["- none"]) + "\n"
    )


def _untouched(result: Validation) -> list[str]:
    """Chips that have a file and no row in the report."""
    from simulator.config.names import list_names

    seen = {item.table.chip for item in result.comparisons}
    return [name for name in list_names("chips") if name not in seen]


def _markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(heads)
    lines = [
        "| " + " | ".join(names) + " |",
        "|" + "|".join("---" for _ in names) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
