"""Prices of all rows of a table beside their measurements, and the errors by regime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.validation.baselines import lookup, second_stack, two_efficiencies
from simulator.validation.machine import Machine
from simulator.validation.operators import find_operator
from simulator.validation.table import FloatArray, Table, without_faults
from simulator.validation.work import Work

LAUNCH_S = 5e-6
"""Rows whose roofline is shorter are bound by launch and latency."""

REGIMES = ("all", "launch", "memory", "transitional", "compute")
"""By the data-sheet roofline: ``launch`` below 5 us; then by the ratio of compute to transfer time,
``transitional`` from a half to two, ``memory`` below and ``compute`` above."""

BASELINES = ("roofline", "two_efficiencies", "lookup", "stacks")


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of predictions in percent; of ``count`` rows."""

    count: int
    mape_percent: float
    median_percent: float
    p90_percent: float
    bias_percent: float
    weighted_percent: float


@dataclass(frozen=True, slots=True)
class Row:
    """The errors of one regime of a table, and those of the baselines on the same rows."""

    chip: str
    operator: str
    dtype: str
    table: str
    regime: str
    errors: Errors
    baselines: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table with the price of every row; ``regimes`` has the name of each row's regime.

    ``machine`` is the name or file of the chip as it was given, with its ``overrides``.
    """

    table: Table
    predicted_s: FloatArray
    work: Work
    regimes: npt.NDArray[np.str_]
    baselines: dict[str, FloatArray | None]
    machine: str = ""
    overrides: tuple[str, ...] = ()

    @property
    def errors(self) -> FloatArray:
        """Signed relative error of each row."""
        return self.predicted_s / self.table.measured_s - 1

    def rows(self) -> list[Row]:
        """One row a regime that occurs, ``all`` first; experts by how the tokens spread and servers
        by their engine as well."""
        found = []
        for regime in REGIMES:
            mask = np.ones(len(self.table), bool) if regime == "all" else self.regimes == regime
            if mask.any():
                found.append(self._row(regime, mask))
        load = self.table.inputs.get("expert_load")
        if load is not None:
            even = load == "balanced"
            for name, mask in (("balanced", even), ("power law", ~even)):
                if mask.any() and not mask.all():
                    found.append(self._row(name, mask))
        if self.table.operator == "server":
            engines = self.table.inputs["engine"]
            found += [self._row(name, engines == name) for name in sorted(set(engines)) if name]
        return found

    def _row(self, regime: str, mask: npt.NDArray[np.bool_]) -> Row:
        table = self.table
        simple = {name: self._baseline(name, mask) for name in BASELINES}
        errors = summarize(self.predicted_s[mask], table.measured_s[mask])
        return Row(table.chip, table.operator, table.dtype, table.source, regime, errors, simple)

    def _baseline(self, name: str, mask: npt.NDArray[np.bool_]) -> float | None:
        values = self.baselines.get(name)
        if values is None:
            return None
        known = mask & np.isfinite(values)
        if not known.any():
            return None
        off = np.abs(values[known] / self.table.measured_s[known] - 1)
        return 100 * float(off.mean())


def summarize(predicted: FloatArray, measured: FloatArray) -> Errors:
    """Mean, median, 90th percentile and bias of the relative error, and the time-weighted one.

    The time-weighted error is the sum of the deviations over the sum of the measured times.
    """
    signed = predicted / measured - 1
    size = np.abs(signed)
    return Errors(
        count=len(size),
        mape_percent=100 * float(size.mean()),
        median_percent=100 * float(np.median(size)),
        p90_percent=100 * float(np.percentile(size, 90)),
        bias_percent=100 * float(signed.mean()),
        weighted_percent=100 * float(np.abs(predicted - measured).sum() / measured.sum()),
    )


UNFIT = "does not fit the memory of the system"

OTHER_UNITS = {"nanoseconds": 1e9, "microseconds": 1e6, "milliseconds": 1e3}


def usable(machine: Machine, table: Table) -> Table:
    """The table without rows that cannot be, and without systems that the chip does not have.

    Raises:
        InputError: most of the rows take so long that their times are in another unit.
    """
    operator = find_operator(table.operator)
    if not len(table):
        return table
    if operator.chips:
        names = table.inputs[operator.chips].tolist()
        if names:
            known = {name: machine.has_system(name) for name in sorted(set(names))}
            absent = np.array([not known[name] for name in names], dtype=bool)
            table = table.without(absent, "the chip's family has no system of that many chips")
    if not len(table):
        return table
    floor = operator.work(machine, table.dtype, table.inputs).floor_s
    clean = without_faults(table, floor, repeats=operator.repeats)
    if len(clean):
        _check_unit(clean, operator.work(machine, clean.dtype, clean.inputs).floor_s)
    return clean


def _check_unit(table: Table, floor_s: FloatArray) -> None:
    """Refuse times that can only be in another unit: hundreds of times what a row needs."""
    times = float(np.median(table.measured_s / np.maximum(floor_s, LAUNCH_S)))
    for unit, scale in OTHER_UNITS.items():
        if times > 0.3 * scale:
            raise InputError(
                f"{table.source}: half of the {len(table):,} rows of {table.operator} take more "
                f"than {times:,.0f} times what {table.chip} needs for them",
                hint=f"are the times in {unit}? those of 'measured_s' are seconds",
            )


def regimes_of(work: Work) -> npt.NDArray[np.str_]:
    """The regime of each row; see ``REGIMES``."""
    ratio = work.compute_s / np.maximum(work.transfer_s, 1e-30)
    names = np.where(ratio < 0.5, "memory", np.where(ratio > 2, "compute", "transitional"))
    return np.where(work.roofline_s < LAUNCH_S, "launch", names)


def compare(
    machine: Machine,
    table: Table,
    others: Sequence[Table] = (),
    *,
    seed: int = 0,
    baselines: bool = True,
) -> Comparison | None:
    """Price every usable row of a table; None where no row is.

    Args:
        machine: the chip and its systems.
        table: measured rows, faulty ones included.
        others: tables of other stacks for the same operator, for their disagreement.
        seed: of the halves that the baselines learn from.
        baselines: whether to compute them.

    Raises:
        InputError: a data type without a rate, or a row that has no price.
    """
    operator = find_operator(table.operator)
    table = usable(machine, table)
    if not len(table):
        return None
    predicted = operator.price(machine, table.dtype, table.inputs)
    misfits = ~np.isfinite(predicted)
    table = table.without(misfits, UNFIT)
    predicted = predicted[~misfits]
    if not len(table):
        return None
    work = operator.work(machine, table.dtype, table.inputs)
    simple: dict[str, FloatArray | None] = {}
    if baselines:
        simple = {
            "roofline": work.roofline_s,
            "two_efficiencies": two_efficiencies(work, table.measured_s, seed),
            "lookup": lookup(operator, table.inputs, work, table.measured_s, seed),
            "stacks": second_stack(table, others),
        }
    regimes = regimes_of(work)
    return Comparison(table, predicted, work, regimes, simple, machine.name, machine.overrides)
