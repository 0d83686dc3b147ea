"""``chipsim collective`` as JSON fields and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.report.console import make_table, show
from simulator.report.figures import count
from simulator.units import format_bytes, format_rate, format_time

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.fabric.collective_timing import CollectiveTiming


_OFFERED = {
    "library": "the collective library",
    "engine": "the serving engine, in steps",
    "none": "nobody here: what the links would allow",
}


_BOUNDS = {
    "latency": "launch and latency",
    "link": "the links",
    "injection": "the ports of the chips",
    "reduction": "reduction and copies",
}


def collective_json(system: str, timing: CollectiveTiming) -> dict[str, Any]:
    """The document ``chipsim.collective/1``."""
    return {"schema": "chipsim.collective/1", "system": system, **collective_fields(timing)}


def collective_fields(timing: CollectiveTiming) -> dict[str, Any]:
    """The collective and its results."""
    return {
        "op": timing.op,
        "size_bytes": timing.size_bytes,
        "ranks": timing.ranks,
        "concurrent": timing.concurrent,
        "time_s": timing.time_s,
        "algorithm": timing.algorithm,
        "protocol": timing.protocol,
        "offered_by": timing.offered_by,
        "steps": timing.steps,
        "bytes_per_link_max": timing.bytes_per_link_max,
        "bytes_on_wire": timing.bytes_on_wire,
        "algorithm_bandwidth_bytes_per_s": timing.algorithm_bandwidth_bytes_per_s,
        "bus_bandwidth_bytes_per_s": timing.bus_bandwidth_bytes_per_s,
        "link_utilization": timing.link_utilization,
        "bound_by": timing.bound_by,
        "time_latency_s": timing.latency_ps / 1e12,
        "time_link_s": timing.link_ps / 1e12,
        "time_injection_s": timing.injection_ps / 1e12,
        "time_reduction_s": timing.reduction_ps / 1e12,
        "alternatives": [
            {
                "algorithm": other.algorithm,
                "time_s": other.time_s,
                "offered_by": other.offered_by,
            }
            for other in timing.alternatives
        ],
    }


def print_collective(system: str, timing: CollectiveTiming, console: Console) -> None:
    """Where the time goes, what moves, and what else there is."""
    several = f", {timing.concurrent} at a time" if timing.concurrent > 1 else ""
    show(
        console,
        f"{timing.op} of {format_bytes(timing.size_bytes)} among {count(timing.ranks, 'chips')} of "
        f"{system}{several}",
    )
    rows = [
        ("time", format_time(timing.time_s)),
        ("algorithm", f"{timing.algorithm} ({timing.protocol} protocol)"),
        ("offered by", _OFFERED[timing.offered_by]),
        ("steps", f"{timing.steps:,}"),
        ("  launch and latency", format_time(timing.latency_ps / 1e12)),
        *(
            (f"  {name}", format_time(part / 1e12))
            for name, part in (
                ("moving over links", timing.link_ps),
                ("moving through ports", timing.injection_ps),
                ("reduction and copies", timing.reduction_ps),
            )
            if part
        ),
        ("bound by", _BOUNDS[timing.bound_by]),
        ("algorithm bandwidth", format_rate(timing.algorithm_bandwidth_bytes_per_s)),
        ("bus bandwidth", format_rate(timing.bus_bandwidth_bytes_per_s)),
        ("bytes on the busiest link", format_bytes(timing.bytes_per_link_max)),
        ("bytes on all links", format_bytes(timing.bytes_on_wire)),
        ("use of the busiest link", f"{100 * timing.link_utilization:.1f} %"),
    ]
    show(console, make_table(console, "Collective", ("figure", "value"), rows))
    if timing.alternatives:
        others = [
            (other.algorithm, format_time(other.time_s), _OFFERED[other.offered_by])
            for other in timing.alternatives
        ]
        columns = ("algorithm", "time", "offered by")
        show(console, make_table(console, "Other algorithms", columns, others))
    faster = [
        o for o in timing.alternatives if o.offered_by == "engine" and o.time_s < timing.time_s
    ]
    if faster and timing.offered_by == "library":
        show(
            console,
            f"Priced is the collective library; step and run take the serving engine's "
            f"{faster[0].algorithm} kernel, {format_time(faster[0].time_s)} (--algorithm engine)",
        )
