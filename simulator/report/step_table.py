"""The terminal report of one step: a summary, and its operators added up over the layers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.report.accuracy import rests_on
from simulator.report.console import make_table, show
from simulator.report.figures import (
    MISSING,
    bytes_text,
    count,
    duration,
    groups,
    percent,
    rate,
    scaled,
)
from simulator.report.json_out import seconds
from simulator.timing.results import CAUSES, UNITS, OperatorSpan

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from simulator.timing.results import StepTiming

_LAYER = re.compile(r"^(?:layers?|block)\.?[0-9]+\.")
_STACK = re.compile(r"^([a-z_]+)[0-9]+\.")


@dataclass(slots=True)
class OperatorTotal:
    """The same operator of every layer, added up; ``bound_by`` weighs each layer by its time."""

    name: str
    detail: str
    layers: int = 0
    time_ps: int = 0
    flops: int = 0
    hbm_bytes: int = 0
    fabric_bytes: int = 0
    bound_ps: Counter[str] = field(default_factory=Counter)

    @property
    def label(self) -> str:
        """The name, with the number of layers where there are several: ``qkv x32``."""
        return self.name if self.layers == 1 else f"{self.name} x{self.layers}"

    @property
    def bound_by(self) -> str:
        """What most of the time was bound by."""
        return max(self.bound_ps, key=lambda cause: (self.bound_ps[cause], cause))


def total_operators(spans: Iterable[OperatorSpan]) -> list[OperatorTotal]:
    """Add up spans over the layers, in the order of their first appearance."""
    totals: dict[str, OperatorTotal] = {}
    for span in spans:
        name = _STACK.sub(r"\1.", _LAYER.sub("", span.name))
        total = totals.setdefault(name, OperatorTotal(name, span.detail))
        total.layers += 1
        total.time_ps += span.duration_ps
        total.flops += span.flops
        total.hbm_bytes += span.hbm_read_bytes + span.hbm_write_bytes
        total.fabric_bytes += span.fabric_bytes
        total.bound_ps[span.bound_by] += span.duration_ps
    return list(totals.values())


def print_step(result: StepTiming, console: Console) -> None:
    """Summary, units and operators."""
    types = " ".join(f"{what} {dtype}" for what, dtype in result.dtypes.items())
    show(
        console,
        f"{result.phase} step of {result.model} on {result.system} "
        f"({groups(result.replicas, result.tp, result.layout)}), "
        f"batch {count(result.batch, 'sequences')}, context {count(result.context, 'tokens')}",
        f"data types: {types}" + (f"; engine {result.engine.name}" if result.engine else ""),
    )
    show(console, _summary(result, console), _units(result, console))
    show(console, operators_table(result, console))
    if result.collectives:
        show(console, collectives_table(result, console))
    for note in result.notes:
        show(console, f"note: {note}")
    show(console, f"\n{rests_on(result)}")


def operators_table(result: StepTiming, console: Console) -> Table:
    """One row an operator name, and one for the host's overhead."""
    whole = result.time_ps or 1
    rows = [
        (
            total.label,
            total.detail,
            duration(seconds(total.time_ps)),
            percent(total.time_ps / whole),
            total.bound_by,
            scaled(total.flops, "FLOP"),
            bytes_text(total.hbm_bytes),
        )
        for total in total_operators(result.operators)
    ]
    host = duration(seconds(result.host_ps))
    rows.append(("host overhead", "", host, percent(result.host_ps / whole), "host", "", ""))
    columns = ("operator", "<shape", "time", "share", "<bound by", "flops", "HBM bytes")
    return make_table(console, "Operators, summed over layers, of one chip", columns, rows)


def collectives_table(result: StepTiming, console: Console) -> Table:
    """What moves over the fabric, one row a name."""
    rows = [
        (
            f"{each.name} x{each.count}" if each.count > 1 else each.name,
            each.op,
            str(each.ranks),
            bytes_text(each.size_bytes),
            duration(seconds(each.time_ps)),
            duration(seconds(each.exposed_ps)),
        )
        for each in result.collectives
    ]
    columns = ("collective", "<operation", "ranks", "buffer", "time", "exposed")
    return make_table(console, "Collectives, summed over layers, of one chip", columns, rows)


def _summary(result: StepTiming, console: Console) -> Table:
    per_s = result.tokens / result.time_s if result.time_ps else None
    traffic = result.traffic_bytes
    rows = [
        ("time of the step", duration(result.time_s)),
        ("tokens", count(result.tokens, "tokens")),
        ("throughput", rate(per_s, "tokens")),
        ("MFU (of peak arithmetic)", percent(result.mfu)),
        ("MBU (of peak HBM bandwidth)", percent(result.mbu)),
        ("arithmetic of the model", scaled(result.flops, "FLOP")),
        ("HBM traffic, read", bytes_text(traffic.get("hbm_read"))),
        ("HBM traffic, written", bytes_text(traffic.get("hbm_write"))),
        ("fabric traffic", bytes_text(traffic.get("fabric"))),
        (
            "energy, estimated" if result.energy_basis else "energy",
            MISSING if result.energy_j is None else scaled(result.energy_j, "J"),
        ),
    ]
    rows += [
        (f"HBM of each chip: {what}", bytes_text(n)) for what, n in result.memory_bytes.items()
    ]
    return make_table(console, "Step", ("figure", "value"), rows)


def _units(result: StepTiming, console: Console) -> Table:
    rows = [
        (
            cause,
            percent(result.utilization.get(cause)) if cause in UNITS else MISSING,
            percent(result.bound_by.get(cause, 0.0)),
        )
        for cause in CAUSES
        if cause != "bubble" or result.bound_by.get(cause)
    ]
    return make_table(console, "Units", ("unit", "busy", "bound by"), rows)
