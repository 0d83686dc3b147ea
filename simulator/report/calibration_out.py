"""A calibration as a file, as JSON and as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.atomic import atomic_write
from simulator.report.console import make_table, show
from simulator.report.validation_out import MISSING, left_out_json
from simulator.report.versions import chipsim_version, package_version

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.validation.fit import Calibration, Fitted
    from simulator.validation.parameter import Parameter


def write_calibrated(result: Calibration, name: str, path: str) -> None:
    """Write the chip's (or system's) file with the fitted values, their source and the errors.

    Raises:
        InputError: the file cannot be written.
    """
    from simulator.config.config_files import kind_of_file
    from simulator.config.names import find_config
    from simulator.config.writer import Replacement, rewrite, set_list
    from simulator.config.yaml_nodes import Mapping, parse_yaml, read_text

    kind = f"{result.root}s"
    original = find_config(kind, name)
    root = parse_yaml(read_text(original), str(original))
    kind_of_file(root)
    assert isinstance(root, Mapping)
    source = _source(result)
    replacements = [
        Replacement(
            tuple(fitted.parameter.path.split(".")[1:]),
            fitted.parameter.text(fitted.after),
            f"{fitted.parameter.meaning}; {source}",
        )
        for fitted in result.parameters
        if fitted.moved
    ]
    if result.root == "chip":
        set_list(root, "validation", [_entry(table) for table in result.tables])
    comments = [
        f"{Path(original).stem}, calibrated: {source}.",
        "Values that the fit left alone, and their sources, are those of the original.",
    ]
    text = rewrite(root, replacements, comments)
    with atomic_write(path) as stream:
        stream.write(text)


def calibration_json(result: Calibration) -> dict[str, Any]:
    """The document ``chipsim.calibrate/1``."""
    return {
        "schema": "chipsim.calibrate/1",
        "chip": result.chip,
        "file": result.root,
        "seed": result.seed,
        "hold_out": result.hold_out,
        "held_out_percent": result.held_out_percent,
        "versions": {"chipsim": chipsim_version(), "scipy": package_version("scipy")},
        "parameters": [
            {
                "path": fitted.parameter.path,
                "meaning": fitted.parameter.meaning,
                "unit": fitted.parameter.unit,
                "low": fitted.parameter.low,
                "high": fitted.parameter.high,
                "before": fitted.before,
                "after": fitted.after,
                "standard_error": fitted.standard_error,
                "moved": fitted.moved,
                "at_bound": fitted.at_bound,
                "ablated_percent": fitted.ablated_percent,
            }
            for fitted in result.parameters
        ],
        "tables": [
            {
                "operator": item.table.operator,
                "dtype": item.table.dtype,
                "table": item.table.source,
                "origin": item.table.origin or None,
                "fit_count": item.fit_count,
                "fit_before_percent": item.fit_before_percent,
                "fit_after_percent": item.fit_after_percent,
                "held_out_count": item.held_out_count,
                "held_out_before_percent": item.held_out_before_percent,
                "held_out_after_percent": item.held_out_after_percent,
            }
            for item in result.tables
        ],
        "left_out": left_out_json(result.omissions),
    }


def print_calibration(result: Calibration, path: str, console: Console) -> None:
    """The errors on both parts, and the parameters with their ablation."""
    rows = [
        (
            f"{item.table.operator} {item.table.dtype}, {item.table.source}",
            f"{item.fit_count:,}",
            f"{item.fit_before_percent:.1f}",
            f"{item.fit_after_percent:.1f}",
            f"{item.held_out_count:,}",
            f"{item.held_out_before_percent:.1f}",
            f"{item.held_out_after_percent:.1f}",
        )
        for item in result.tables
    ]
    columns = ("table", "fitted", "before", "after", "held out", "before", "after")
    show(console, make_table(console, f"{result.chip}: mean error in %", columns, rows))
    values = [
        (
            fitted.parameter.path,
            f"{fitted.before:.4g}",
            f"{fitted.after:.4g}{' !' if fitted.at_bound else ''}",
            _spread(fitted),
            _bounds(fitted.parameter),
            "-" if fitted.ablated_percent is None else f"{fitted.ablated_percent:.1f}",
        )
        for fitted in result.parameters
    ]
    heads = ("parameter", "before", "after", "+-", "<bounds, unit", "without")
    show(console, make_table(console, "Parameters", heads, values))
    show(console, "", *(f"left out: {item.text}" for item in result.omissions))
    show(console, *(line for item in result.tables for line in got_worse(item)))
    left = [one.parameter.path for one in result.parameters if not one.moved]
    if left:
        show(console, f"left as before, since no other value fits better: {', '.join(left)}")
    show(
        console,
        f"without: mean error in % on held-out rows, now {result.held_out_percent:.1f} %, with the "
        "effect of the parameter taken away; +-: one standard error, by the scatter of the fitted "
        "rows alone; !: at the bound of what is physical",
        f"written: {path}",
    )


def _bounds(parameter: Parameter) -> str:
    return f"{parameter.low:g} to {parameter.high:g} {parameter.unit}".rstrip()


def _spread(fitted: Fitted) -> str:
    """The standard error, as the table shows it."""
    if fitted.standard_error is None:
        return MISSING
    return f"{fitted.standard_error:.2g}"


def got_worse(item: Any) -> tuple[str, ...]:
    """A line for a table whose held-out rows the fit prices worse than the values before it."""
    before, after = item.held_out_before_percent, item.held_out_after_percent
    if after <= before or f"{after:.1f}" == f"{before:.1f}":
        return ()
    return (
        f"the fit does not help {item.table.operator} {item.table.dtype}: on the rows held out the "
        f"mean error rises from {before:.1f} to {after:.1f} %",
    )


def _entry(item: Any) -> dict[str, str]:
    return {
        "operator": item.table.operator,
        "dtype": item.table.dtype,
        "table": f"{item.table.source}, held-out rows",
        "count": str(item.held_out_count),
        "mape_percent": f"{item.held_out_after_percent:.1f}",
    }


def _source(result: Calibration) -> str:
    """What the values come from: rows, tables, and what was measured where that is known."""
    tables = ", ".join(
        f"{item.table.operator} {item.table.dtype} of {item.table.source}" for item in result.tables
    )
    origins = dict.fromkeys(item.table.origin for item in result.tables if item.table.origin)
    measured = f"; measured on {'; '.join(origins)}" if origins else ""
    rows = sum(item.fit_count for item in result.tables)
    return (
        f"fitted by chipsim {chipsim_version()} to {rows} rows ({tables}){measured}, seed "
        f"{result.seed}; {result.held_out_percent:.1f} % mean error on the rows held out"
    )
