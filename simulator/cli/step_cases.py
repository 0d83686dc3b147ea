"""``chipsim step --cases``: a step for each row of a CSV file, the rows with results to stdout.

A column is an option of the command (``batch``, ``tp``, ``dtype``, ...; ``system`` and ``model``
too), the path of a value of the configuration (``chip.hbm.bandwidth``), or kept as it is (as
``input_NAME`` beside a result of its name). What a row leaves out is as on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from simulator.cases import Cases, Cell, kept_names, read_cases, refuse_typos
from simulator.cli.layout_options import EXPERT_NAMES, chosen_layout
from simulator.cli.options import (
    chosen_engine,
    overrides_for,
    resolve_dtypes,
    with_engine,
)
from simulator.cli.variant_columns import Variants
from simulator.errors import InfeasibleError, InputError, Location, nearest

if TYPE_CHECKING:
    from simulator.hardware import System
    from simulator.model.convnet import ConvNet
    from simulator.model.transformer import Transformer
    from simulator.timing.results import StepTiming

ROOTS = ("chip", "system", "model", "engine", "library")
NEEDED = ("phase", "batch", "context")
_OPTIONS = {
    "system": "system_name",
    "model": "model_name",
    **{name: name for name in NEEDED},
    **{name: name for name in ("tp", "pp", "ep", "dp", "sp", "layout", "engine")},
    **{name: name for name in EXPERT_NAMES},
    **{name: name for name in ("dtype", "weight_dtype", "activation_dtype", "kv_dtype")},
}
"""Columns that are options, and the name of the parameter of each."""

_FIGURES = (
    *("system", "model", "phase", "batch", "context", "tp", "replicas", "layout", "dtypes"),
    *("time_s", "host_s", "tokens", "tokens_per_s", "mfu", "mbu", "utilization", "bound_by"),
    *("traffic_bytes", "memory_bytes", "flops", "min_bytes", "energy_j"),
)
"""Of the document ``chipsim.step/1``: what is one number or word, or a few of them."""


def load_inputs(
    options: Mapping[str, Any], overrides: tuple[str, ...]
) -> tuple[System, Transformer | ConvNet]:
    """The system, under its engine if one is named, and the model.

    Raises:
        InputError: unknown names and bad values.
    """
    from simulator.config.loader import load_any_model, load_system

    host = chosen_engine(options["engine"], overrides)
    bare = load_system(
        options["system_name"], overrides_for(overrides, "system", "chip", "library")
    )
    model = load_any_model(options["model_name"], overrides_for(overrides, "model"))
    return with_engine(bare, host), model


def price_one(
    options: Mapping[str, Any], system: System, model: Transformer | ConvNet
) -> StepTiming:
    """The step that the options of the command describe.

    Raises:
        InputError: bad sizes, or a layout that cannot be.
        InfeasibleError: it does not fit.
    """
    from simulator.api import price_step

    kinds = ("dtype", "weight_dtype", "activation_dtype", "kv_dtype")
    dtypes = resolve_dtypes(*(options[kind] for kind in kinds))
    return price_step(
        system,
        model,
        phase=options["phase"],
        batch=options["batch"],
        context=options["context"],
        layout=chosen_layout(options),
        weight_dtype=dtypes["weight_dtype"],
        activation_dtype=dtypes["activation_dtype"],
        kv_dtype=dtypes["kv_dtype"],
    )


def price_rows(
    path: str, options: Mapping[str, Any], overrides: tuple[str, ...], context: click.Context
) -> list[dict[str, Any]]:
    """The rows of a file with the figures of their steps beside them, all with the same keys.

    A row that does not fit has no figures, and ``infeasible`` says why.

    Raises:
        InputError: with file, line and column of the first bad cell.
        InfeasibleError: none of the rows fits.
    """
    table = read_cases(path, ())
    _check_columns(table, options)
    variants = Variants(table, ROOTS)
    chosen = [dict(options) | _given(row, table, context) for row in table.rows]

    def price(own: tuple[str, ...], rows: list[int]) -> list[StepTiming | InfeasibleError]:
        return [_step(chosen[row], (*overrides, *own), table.rows[row]) for row in rows]

    results = variants.price(price)
    errors = [found for found in results if isinstance(found, InfeasibleError)]
    if len(errors) == len(results):
        raise errors[0]
    if errors:
        click.echo(
            f"chipsim: {len(errors):,} of {len(results):,} rows do not fit; the column "
            "'infeasible' says why",
            err=True,
        )
    return _joined(table, results, chosen)


def _check_columns(table: Cases, options: Mapping[str, Any]) -> None:
    """Refuse a column that is almost an option, and what neither file nor command line gives."""
    place = Location(table.rows[0][0].location.file)
    refuse_typos(table, _OPTIONS)
    if not any(name in _OPTIONS or "." in name for name in table.columns):
        raise InputError(
            f"no column is an option of the command or a path; found {', '.join(table.columns)}",
            location=place,
            hint="for example batch, context, tp or chip.hbm.bandwidth",
        )
    missing = [name for name in NEEDED if options[name] is None and name not in table.columns]
    if missing:
        like = nearest(missing[0], [name for name in table.columns if name not in _OPTIONS])
        meant = f"is '{like}' meant? " if like else ""
        raise InputError(
            f"missing column '{missing[0]}'",
            location=place,
            hint=f"{meant}--{missing[0]} gives it for all rows",
        )


def _given(row: Sequence[Cell], table: Cases, context: click.Context) -> dict[str, Any]:
    """The options of a row, read as the command line reads them."""
    params = {param.name: param for param in context.command.params}
    found = {}
    for column, cell in zip(table.columns, row, strict=True):
        name = _OPTIONS.get(column)
        if name is None:
            continue
        if not cell.text:
            if column in NEEDED:
                raise cell.fail(column, "a value")
            continue
        try:
            found[name] = params[name].type.convert(cell.text, params[name], context)
        except InputError as error:
            message = error.message.removeprefix(f"--{column.replace('_', '-')}: ")
            raise InputError(
                f"column '{column}': {message}", location=cell.location, hint=error.hint
            ) from None
    return found


def _step(
    options: Mapping[str, Any], overrides: tuple[str, ...], row: Sequence[Cell]
) -> StepTiming | InfeasibleError:
    """The row's step, or why there is none."""
    try:
        return price_one(options, *load_inputs(options, overrides))
    except InfeasibleError as error:
        error.location = error.location or row[0].location
        return error
    except InputError as error:
        # of the row as a whole, where nothing says more
        place = error.location or row[0].location
        raise InputError(error.message, location=place, hint=error.hint) from None


def _joined(
    table: Cases,
    results: Sequence[StepTiming | InfeasibleError],
    chosen: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    from simulator.report.json_out import flatten, step_figures

    outcomes: list[dict[str, Any]] = []
    for found, options in zip(results, chosen, strict=True):
        if isinstance(found, InfeasibleError):
            asked = {name: options[_OPTIONS[name]] for name in ("system", "model", *NEEDED, "tp")}
            outcomes.append({**asked, "infeasible": found.message})
            continue
        document = step_figures(found)
        figures = flatten({name: document[name] for name in _FIGURES})
        outcomes.append({**figures, "infeasible": None})
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome))
    names.sort(key=lambda name: name == "infeasible")
    rows = []
    for cells, outcome in zip(table.rows, outcomes, strict=True):
        kept = kept_names(table.columns, set(names) - set(_OPTIONS))
        given = {name: cell.text for name, cell in zip(kept, cells, strict=True)}
        rows.append({**given, **{name: outcome.get(name, given.get(name)) for name in names}})
    return rows
