"""``chipsim systolic`` as JSON fields and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.report.console import make_table, show
from simulator.report.figures import MISSING, count, percent

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.timing.systolic import SystolicTiming

GIVEN = ("m", "k", "n", "rows", "cols", "dataflow", "load", "macs", "arrays", "word_bytes")


def systolic_json(timing: SystolicTiming) -> dict[str, Any]:
    """The document ``chipsim.systolic/1``."""
    return {"schema": "chipsim.systolic/1", **systolic_fields(timing)}


def systolic_fields(timing: SystolicTiming) -> dict[str, Any]:
    """The case and its results; traffic in words."""
    case = timing.case
    return {
        **{name: getattr(case, name) for name in GIVEN},
        "folds": timing.folds,
        "cycles": timing.cycles,
        "compute_cycles": timing.compute_cycles,
        "stall_cycles": timing.stall_cycles,
        "fill_drain_cycles": timing.fill_drain_cycles,
        "utilization": timing.utilization,
        "mapping_efficiency": timing.mapping_efficiency,
        "sram_reads": timing.sram_reads,
        "sram_writes": timing.sram_writes,
        "dram_reads": timing.dram_reads,
        "dram_writes": timing.dram_writes,
        "sram_ifmap_reads": timing.sram_ifmap_reads,
        "sram_filter_reads": timing.sram_filter_reads,
        "sram_ofmap_writes": timing.sram_ofmap_writes,
        "dram_ifmap_reads": timing.dram_ifmap_reads,
        "dram_filter_reads": timing.dram_filter_reads,
        "dram_ofmap_reads": timing.dram_ofmap_reads,
        "dram_ofmap_writes": timing.dram_ofmap_writes,
        "cold_start_cycles": timing.cold_start_cycles,
        "write_back_cycles": timing.write_back_cycles,
        "stall_free_words_per_cycle": timing.stall_free_words_per_cycle,
    }


def print_systolic(timing: SystolicTiming, console: Console) -> None:
    """Cycles and their split, efficiency, and the traffic of each operand."""
    case = timing.case
    show(
        console,
        f"{case.m} x {case.k} x {case.n} (m x k x n) on {_arrays(timing)}, {case.dataflow}, "
        f"{case.load} load",
    )
    enough = timing.stall_free_words_per_cycle
    rows = [
        ("folds", count(timing.folds)),
        ("cycles", count(timing.cycles)),
        ("  computing", _share(timing.compute_cycles, timing.cycles)),
        ("    of which fill and drain", _share(timing.fill_drain_cycles, timing.cycles)),
        ("  stalled on memory", _share(timing.stall_cycles, timing.cycles)),
        ("utilization", percent(timing.utilization)),
        ("mapping efficiency", percent(timing.mapping_efficiency)),
    ]
    if case.bandwidth is not None:
        rows += [
            ("before the first cycle (cold start)", count(timing.cold_start_cycles)),
            ("after the last cycle (write back)", count(timing.write_back_cycles)),
            ("no stall from, words per cycle", MISSING if enough is None else f"{enough:.4g}"),
        ]
    show(console, make_table(console, "Cycles", ("figure", "value"), rows))
    traffic = [
        ("A, input", count(timing.sram_ifmap_reads), "0", count(timing.dram_ifmap_reads), "0"),
        ("B, weights", count(timing.sram_filter_reads), "0", count(timing.dram_filter_reads), "0"),
        (
            "C, result",
            "0",
            count(timing.sram_ofmap_writes),
            count(timing.dram_ofmap_reads),
            count(timing.dram_ofmap_writes),
        ),
    ]
    columns = ("operand", "SRAM reads", "SRAM writes", "DRAM reads", "DRAM writes")
    show(console, make_table(console, "Traffic in words", columns, traffic))


def _arrays(timing: SystolicTiming) -> str:
    case = timing.case
    several = "" if case.arrays == 1 else f"{case.arrays} arrays of "
    double = " with 2 multiply-accumulates per cell" if case.macs == 2 else ""
    return f"{several}{case.rows} x {case.cols} cells{double}"


def _share(cycles: int, whole: int) -> str:
    return f"{count(cycles)} ({percent(cycles / whole)})"
