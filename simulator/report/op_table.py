"""The terminal report of one operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.report.console import make_table, show
from simulator.report.figures import MISSING, bytes_text, count, duration, percent, scaled

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from simulator.timing.operator_timing import OperatorTiming
    from simulator.timing.results import MatmulTiming

Rows = Sequence[tuple[str, str]]

_LIMITS = {
    "peak": "arithmetic at the clock above",
    "hbm": "HBM bytes at sustained bandwidth",
    "sram": "SRAM bytes at full bandwidth",
}


def print_op(result: MatmulTiming, console: Console) -> None:
    """Cycles and their split, the tiling, the traffic, the limits, and the runner-up."""
    shape = f"{result.m} x {result.k} x {result.n}"
    show(console, f"matmul {shape} (m x k x n), {result.dtype}, on {result.chip}")
    tiling = [
        ("tile (m x k x n)", tile_text(result.tile)),
        ("loop order", result.loop_order or MISSING),
    ]
    show(console, price_table(result, tiling, [], console), bounds_table(result, console))
    show(console, f"\n{runner_up_line(result)}")


def print_operator(result: OperatorTiming, console: Console) -> None:
    """Inputs, cycles and their split, traffic, lower bounds and busy units of an operator."""
    switches = {True: "{}", False: "no {}"}
    given = ", ".join(
        switches[value].format(name) if isinstance(value, bool) else f"{name} {value}"
        for name, value in result.given.items()
        if value is not None
    )
    show(console, f"{result.kind} on {result.chip}: {given}")
    sent = [("fabric traffic, sent", bytes_text(result.fabric_bytes))]
    show(console, price_table(result, [], sent, console), bounds_table(result, console))


def price_table(
    result: MatmulTiming | OperatorTiming, how: Rows, moved: Rows, console: Console
) -> Table:
    """Cycles, time and traffic, with rows on ``how`` it is done and on what else is ``moved``."""
    rows = [
        ("cycles", count(result.cycles, "cycles")),
        ("  computing", _cycles(result.compute_cycles, result.cycles)),
        ("  stalled", _cycles(result.stall_cycles, result.cycles)),
        ("clock", scaled(result.clock_hz, "Hz")),
        ("time", duration(result.time_s)),
        ("bound by", result.bound_by),
        ("utilization of the matrix unit", percent(result.utilization)),
        *how,
        ("HBM traffic, read", bytes_text(result.hbm_read_bytes)),
        ("HBM traffic, written", bytes_text(result.hbm_write_bytes)),
        ("SRAM traffic", bytes_text(result.sram_bytes)),
        *moved,
        ("arithmetic", scaled(result.flops, "FLOP")),
    ]
    return make_table(console, "Price", ("figure", "value"), rows)


def bounds_table(result: MatmulTiming | OperatorTiming, console: Console) -> Table:
    """What the price cannot undercut, and how long each unit was busy."""
    bounds = [
        (_LIMITS.get(name, name), _cycles(cycles, result.cycles))
        for name, cycles in result.limits_cycles.items()
    ]
    busy = [
        (f"{unit} busy", _cycles(cycles, result.cycles))
        for unit, cycles in result.busy_cycles.items()
    ]
    title = "Lower bounds, and busy time of the units"
    return make_table(console, title, ("of the price", "cycles (share)"), bounds + busy)


def runner_up_line(result: MatmulTiming) -> str:
    """The next best tiling, and by how much it lost."""
    if result.runner_up is None:
        return "runner-up: none; no other tiling fits the on-chip memory"
    cycles, tile_m, tile_k, tile_n, order = result.runner_up
    more = cycles - result.cycles
    lost = (
        f"costs {count(more, 'cycles')} more ({percent(more / result.cycles)})"
        if more
        else "costs as many cycles and came later in the order of search"
    )
    return f"runner-up: tile {tile_text((tile_m, tile_k, tile_n))}, loop order {order}: {lost}"


def tile_text(tile: tuple[int, int, int] | None) -> str:
    """A tile as ``m x k x n``."""
    return MISSING if tile is None else " x ".join(str(size) for size in tile)


def _cycles(cycles: int, whole: int) -> str:
    share = f" ({percent(cycles / whole)})" if whole else ""
    return count(int(cycles), "cycles") + share
