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

from simulator.errors import InputError
from simulator.validation.baselines import halves
from simulator.validation.compare import UNFIT, usable
from simulator.validation.machine import Machine
from simulator.validation.operators import find_operator
from simulator.validation.parameter import Parameter
from simulator.validation.parameter_values import applicable, current
from simulator.validation.table import FloatArray, Omission, Table, why_nothing

ROWS_A_TABLE = 2000
"""More rows of a table would not move a dozen parameters."""

ROWS_A_PARAMETER = 2
STEP = 0.02
"""Of the range of a parameter, for derivatives: prices are piecewise constant below it."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A parameter before and after, in its unit, and what resetting it to neutral costs.

    ``ablated_percent`` is the mean error on the held-out rows without its effect; None where it
    has no neutral value.
    """

    parameter: Parameter
    before: float
    after: float
    ablated_percent: float | None

    @property
    def at_bound(self) -> bool:
        """Whether the fit ran into the limit of what is physical."""
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
    progress: Callable[[str], None] | None = None,
) -> Calibration:
    """Fit the parameters of chip ``name`` that concern the operators of ``tables``.

    Args:
        name: a chip, or the file of one.
        tables: measured rows; faulty ones are left out as in ``validate``.
        hold_out: the share of the rows that the fit does not see.
        seed: of the random choice of those rows.
        overrides: ``PATH=VALUE`` settings that hold throughout; what they set is not fitted.
        progress: called with a line now and then.

    Raises:
        InputError: operators whose parameters lie in different files, no parameter to fit, too few
            rows, or scipy is not installed.
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
    parameters = [one for one in _parameters(name, operators) if one.path not in held]
    parts = [(halves(len(table), seed, 1 - hold_out), table) for table in tables]
    rows = sum(int(mask.sum()) for mask, _ in parts)
    if rows < ROWS_A_PARAMETER * len(parameters) or any(mask.all() for mask, _ in parts):
        raise InputError(
            f"{rows} rows are too few to fit {len(parameters)} parameters",
            hint=f"at least {ROWS_A_PARAMETER} rows a parameter, and some rows held out",
        )
    before = [_start(parameter, name) for parameter in parameters]
    samples = [_sample(table.take(mask), seed) for mask, table in parts]
    calls = 0

    def residuals(scaled: FloatArray) -> FloatArray:
        nonlocal calls
        calls += 1
        trial = _machine(machine, parameters, _values(parameters, scaled))
        found = [_deviations(trial, table) for table in samples]
        if progress is not None and calls % (len(parameters) + 1) == 1:
            error = np.mean([np.abs(np.expm1(deviation)).mean() for deviation in found])
            progress(f"{calls} trials: {100 * float(error):.2f} % on the fitted rows")
        return np.concatenate([deviation / len(deviation) ** 0.5 for deviation in found])

    start = np.clip(_scaled(parameters, before), 0.02, 0.98)
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
    after = [
        float(parameter.text(value).split()[0])
        for parameter, value in zip(parameters, _values(parameters, solution.x), strict=True)
    ]
    report = _report(machine, parameters, before, after, parts, (hold_out, seed))
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
    after: Sequence[float],
    parts: Sequence[tuple[np.ndarray, Table]],
    choice: tuple[float, int],
) -> Calibration:
    fitted = _machine(machine, parameters, after)
    found = []
    held_out = []
    for mask, table in parts:
        old = 100 * np.abs(np.expm1(_deviations(machine, table)))
        new = 100 * np.abs(np.expm1(_deviations(fitted, table)))
        held_out.append(table.take(~mask))
        found.append(
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
            errors = [np.abs(np.expm1(_deviations(bare, table))).mean() for table in held_out]
            without = 100 * float(np.mean(errors))
        results.append(Fitted(parameter, before[index], after[index], without))
    name = machine.chip.name
    root = parameters[0].root
    return Calibration(name, root, choice[1], choice[0], tuple(results), tuple(found))


def _parameters(name: str, operators: Sequence[str]) -> list[Parameter]:
    parameters = applicable(name, operators, ())
    roots = {parameter.root for parameter in parameters}
    if not parameters:
        raise InputError(f"there is no parameter to fit to {', '.join(operators) or 'no rows'}")
    if len(roots) > 1:
        raise InputError(
            f"{', '.join(operators)}: their parameters lie in the files of chip and system",
            hint="calibrate collective and server by themselves, with --operator",
        )
    return parameters


def _start(parameter: Parameter, name: str) -> float:
    value = current(parameter, name, ())
    return (parameter.low * parameter.high) ** 0.5 if value is None else value


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


def _scaled(parameters: Sequence[Parameter], values: Sequence[float]) -> FloatArray:
    """Values on a scale from 0 at ``low`` to 1 at ``high``."""
    return np.array(
        [
            (v - p.low) / (p.high - p.low)
            if _linear(p)
            else np.log(max(v, p.low) / p.low) / np.log(p.high / p.low)
            for p, v in zip(parameters, values, strict=True)
        ]
    )


def _values(parameters: Sequence[Parameter], scaled: FloatArray) -> list[float]:
    found = []
    for parameter, share in zip(parameters, scaled.tolist(), strict=True):
        span = parameter.high - parameter.low
        ratio = parameter.high / parameter.low
        linear = parameter.low + share * span
        found.append(linear if _linear(parameter) else parameter.low * ratio**share)
    return found


def _linear(parameter: Parameter) -> bool:
    """Whether the range is narrow enough for a linear scale; wide ones are logarithmic."""
    return parameter.high < 5 * parameter.low


def _optimizer() -> Any:
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise InputError(
            "the fit needs scipy", hint="pip install '.[validate]' in a checkout of chipsim"
        ) from None
    return least_squares
