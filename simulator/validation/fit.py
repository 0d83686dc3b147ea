"""A fit of the physical parameters of one chip (or of its system's fabric) to measurements.

What is minimised is the logarithm of price over measurement on one part of the rows, robustly and
each table with the same weight; what is reported is the error on the other part. scipy's bounded
least squares does it (trust region reflective, soft L1 loss).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.validation.baselines import halves
from simulator.validation.certainty import standard_errors
from simulator.validation.compare import UNFIT, usable
from simulator.validation.machine import Machine
from simulator.validation.operators import find_operator
from simulator.validation.parameter import Parameter
from simulator.validation.parameter_values import applicable, current
from simulator.validation.scale import from_scale, slope_at, to_scale
from simulator.validation.table import FloatArray, Omission, Table, why_nothing

ROWS_A_TABLE = 2000
"""More rows of a table would not move a dozen parameters."""

ROWS_A_PARAMETER = 2

SAME = 2e-4
"""Root mean square of the logarithms of prices below which they are the same."""

STEP = 0.02
"""Of a parameter's place on its scale, for derivatives: prices are piecewise constant below it."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A parameter before and after, in its unit, and what resetting it to neutral costs.

    ``ablated_percent`` is the mean error on the held-out rows without its effect; None where it
    has no neutral value. ``standard_error`` is how far the scatter of the fitted rows leaves the
    value open; None where they only bound it. ``moved``: not where the fit changes no price.
    """

    parameter: Parameter
    before: float
    after: float
    standard_error: float | None
    moved: bool
    ablated_percent: float | None

    @property
    def at_bound(self) -> bool:
        """Whether the fit ran into the limit of what is physical."""
        if not self.moved:
            return False
        span = self.parameter.high - self.parameter.low
        near = min(self.after - self.parameter.low, self.parameter.high - self.after)
        return near < 1e-3 * span


@dataclass(frozen=True, slots=True)
class TableFit:
    """Mean absolute errors of one table in percent, before and after, on both parts."""

    table: Table
    fit_count: int
    fit_before_percent: float
    fit_after_percent: float
    held_out_count: int
    held_out_before_percent: float
    held_out_after_percent: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The outcome; ``root`` says whether it is a chip file or a system file that has changed."""

    chip: str
    root: str
    seed: int
    hold_out: float
    parameters: tuple[Fitted, ...]
    tables: tuple[TableFit, ...]
    omissions: tuple[Omission, ...] = ()

    @property
    def held_out_percent(self) -> float:
        """Mean error of the held-out rows, each table with the same weight."""
        return float(np.mean([table.held_out_after_percent for table in self.tables]))


def calibrate(
    name: str,
    tables: Sequence[Table],
    *,
    hold_out: float = 0.5,
    seed: int = 0,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> Calibration:
    """Fit the parameters of chip ``name`` that concern the operators of ``tables``.

    Args:
        name: a chip, or the file of one.
        tables: measured rows; faulty ones are left out as in ``validate``.
        hold_out: the share of the rows that the fit does not see.
        seed: of the random choice of those rows.
        overrides: ``PATH=VALUE`` settings that hold throughout; what they set is not fitted.
        only: paths of the parameters to fit; all that concern the operators where empty.
        progress: called with a line now and then.

    Raises:
        InputError: operators whose parameters lie in different files, no parameter to fit or of a
            name in ``only``, too few rows, or scipy is not installed.
    """
    optimizer = _optimizer()
    machine = Machine(name, overrides)
    cleaned = [_priceable(machine, usable(machine, table)) for table in tables]
    omissions = tuple(omission for table in cleaned for omission in table.omissions())
    tables = [table for table in cleaned if len(table)]
    if not tables and omissions:
        raise why_nothing(omissions)
    operators = sorted({table.operator for table in tables})
    held = {setting.partition("=")[0] for setting in overrides}
    parameters = [one for one in _parameters(name, operators, only) if one.path not in held]
    parts = [(halves(len(table), seed, 1 - hold_out), table) for table in tables]
    rows = sum(int(mask.sum()) for mask, _ in parts)
    if rows < ROWS_A_PARAMETER * len(parameters) or any(mask.all() for mask, _ in parts):
        shown = "".join(f"; left out: {omission.text}" for omission in omissions[:3])
        raise InputError(
            f"{rows} rows are too few to fit {len(parameters)} parameters",
            hint=f"at least {ROWS_A_PARAMETER} rows a parameter, and some rows held out; "
            f"--parameter names fewer of them{shown}",
        )
    known = [current(parameter, name, ()) for parameter in parameters]
    before = [
        (one.low * one.high) ** 0.5 if value is None else value
        for one, value in zip(parameters, known, strict=True)
    ]
    samples = [_sample(table.take(mask), seed) for mask, table in parts]
    calls = 0

    def residuals(shares: FloatArray) -> FloatArray:
        nonlocal calls
        calls += 1
        trial = _machine(machine, parameters, from_scale(parameters, shares))
        found = [_deviations(trial, table) for table in samples]
        if progress is not None and calls % (len(parameters) + 1) == 1:
            error = np.mean([np.abs(np.expm1(deviation)).mean() for deviation in found])
            progress(f"{calls} trials: {100 * float(error):.2f} % on the fitted rows")
        return np.concatenate([deviation / len(deviation) ** 0.5 for deviation in found])

    start = np.clip(to_scale(parameters, before), 0.02, 0.98)
    solution = optimizer(
        residuals,
        start,
        bounds=(0.0, 1.0),
        loss="soft_l1",
        f_scale=0.1 / max(1, min(len(table) for table in samples)) ** 0.5,
        diff_step=STEP,
        xtol=1e-3,
        ftol=1e-4,
        max_nfev=40,
    )
    found = _settled(residuals, solution, parameters, known)
    report = _report(machine, parameters, before, found, parts, (hold_out, seed))
    return replace(report, omissions=omissions)


def _priceable(machine: Machine, table: Table) -> Table:
    """The table without rows that have no price."""
    if not len(table):
        return table
    priced = find_operator(table.operator).price(machine, table.dtype, table.inputs)
    return table.without(~np.isfinite(priced), UNFIT)


def _report(
    machine: Machine,
    parameters: Sequence[Parameter],
    before: Sequence[float],
    found: Sequence[tuple[float, float | None, bool]],
    parts: Sequence[tuple[np.ndarray, Table]],
    choice: tuple[float, int],
) -> Calibration:
    after = [value for value, _, _ in found]
    fitted = _machine(machine, parameters, after)
    tables = []
    held_out = []
    for mask, table in parts:
        old = 100 * np.abs(np.expm1(_deviations(machine, table)))
        new = 100 * np.abs(np.expm1(_deviations(fitted, table)))
        held_out.append(table.take(~mask))
        tables.append(
            TableFit(
                table=table,
                fit_count=int(mask.sum()),
                fit_before_percent=float(old[mask].mean()),
                fit_after_percent=float(new[mask].mean()),
                held_out_count=int((~mask).sum()),
                held_out_before_percent=float(old[~mask].mean()),
                held_out_after_percent=float(new[~mask].mean()),
            )
        )
    results = []
    for index, parameter in enumerate(parameters):
        without = None
        if parameter.neutral is not None:
            values = [*after[:index], parameter.neutral, *after[index + 1 :]]
            bare = _machine(machine, parameters, values)
            off = [np.abs(np.expm1(_deviations(bare, table))).mean() for table in held_out]
            without = 100 * float(np.mean(off))
        results.append(Fitted(parameter, before[index], *found[index], without))
    name = machine.chip.name
    root = parameters[0].root
    return Calibration(name, root, choice[1], choice[0], tuple(results), tuple(tables))


def _settled(
    residuals: Callable[[FloatArray], FloatArray],
    solution: Any,
    parameters: Sequence[Parameter],
    known: Sequence[float | None],
) -> list[tuple[float, float | None, bool]]:
    """(value, standard error, whether it moved) of each parameter.

    The file's value stays where the fitted one changes no price: the search comes by values that no
    row depends on. An error is None where prices stay the same to one side.
    """
    spreads = standard_errors(solution.jac, solution.fun).tolist()
    values = from_scale(parameters, solution.x)
    out: list[tuple[float, float | None, bool]] = []
    for index, (parameter, value, old) in enumerate(zip(parameters, values, known, strict=True)):

        def change(share: float, index: int = index) -> float:
            other = np.array(solution.x, dtype=float)
            other[index] = share
            return float(np.linalg.norm(residuals(other) - solution.fun))

        share = float(solution.x[index])
        if old is not None:
            (before,) = to_scale([parameter], [old]).tolist()
            if change(before) < SAME:
                out.append((old, None, False))
                continue
        new = float(parameter.text(value).split()[0])
        open_below = share > STEP and change(share - STEP) < SAME
        known_error = np.isfinite(spreads[index]) and not open_below
        error = slope_at(parameter, new) * min(1.0, spreads[index]) if known_error else None
        out.append((new, error, True))
    return out


def _parameters(name: str, operators: Sequence[str], only: Sequence[str]) -> list[Parameter]:
    parameters = applicable(name, operators, ())
    known = [parameter.path for parameter in parameters]
    for path in only:
        if path not in known:
            raise InputError(
                f"--parameter: '{path}' is none that {', '.join(operators)} of {name} depend on",
                hint=did_you_mean(path, known),
            )
    parameters = [one for one in parameters if not only or one.path in only]
    roots = {parameter.root for parameter in parameters}
    if not parameters:
        raise InputError(f"there is no parameter to fit to {', '.join(operators) or 'no rows'}")
    if len(roots) > 1:
        raise InputError(
            f"{', '.join(operators)}: their parameters lie in the files of chip and system",
            hint="calibrate collective and server by themselves, with --operator",
        )
    return parameters


def _machine(base: Machine, parameters: Sequence[Parameter], values: Sequence[float]) -> Machine:
    pairs = zip(parameters, values, strict=True)
    return base.with_overrides(parameter.override(value) for parameter, value in pairs)


def _sample(table: Table, seed: int) -> Table:
    if len(table) <= ROWS_A_TABLE:
        return table
    return table.take(np.sort(np.random.default_rng(seed).permutation(len(table))[:ROWS_A_TABLE]))


def _deviations(machine: Machine, table: Table) -> FloatArray:
    """ln(price / measurement) of each row; 0 where a trial leaves it without a price."""
    priced = find_operator(table.operator).price(machine, table.dtype, table.inputs)
    return np.where(np.isfinite(priced), np.log(priced / table.measured_s), 0.0)


def _optimizer() -> Any:
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError(
            "the fit needs scipy", hint="pip install '.[validate]' in a checkout of chipsim"
        ) from None
    return least_squares
