"""A priced copy as JSON and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.report.console import make_table, show
from simulator.report.figures import bytes_text, duration, percent, scaled

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.timing.results import CopyTiming


def copy_json(timing: CopyTiming) -> dict[str, Any]:
    """The document ``chipsim.op.copy/1``."""
    return {"schema": "chipsim.op.copy/1", "chip": timing.chip, **copy_fields(timing)}


def copy_fields(timing: CopyTiming) -> dict[str, Any]:
    """What is said of one copy, without schema and chip."""
    return {
        "size_bytes": timing.size_bytes,
        "cycles": timing.cycles,
        "time_s": timing.time_s,
        "bound_by": timing.bound_by,
        "bandwidth_bytes_per_s": timing.bandwidth_bytes_per_s,
        "utilization": timing.hbm_utilization,
        "hbm_bytes": timing.hbm_read_bytes + timing.hbm_write_bytes,
        "hbm_read_bytes": timing.hbm_read_bytes,
        "hbm_write_bytes": timing.hbm_write_bytes,
        "clock_hz": timing.clock_hz,
    }


def print_copy(timing: CopyTiming, console: Console) -> None:
    """The figures of one copy."""
    rows = [
        ("time", duration(timing.time_s)),
        ("cycles", f"{timing.cycles:,}"),
        ("bound by", timing.bound_by),
        ("bandwidth, both directions", scaled(timing.bandwidth_bytes_per_s, "B/s")),
        ("share of the HBM's peak", percent(timing.hbm_utilization)),
        ("read", bytes_text(timing.hbm_read_bytes)),
        ("written", bytes_text(timing.hbm_write_bytes)),
        ("clock", scaled(timing.clock_hz, "Hz")),
    ]
    title = f"copy of {bytes_text(timing.size_bytes)} on {timing.chip}"
    show(console, make_table(console, title, ("figure", "value"), rows))
