"""``chipsim fabric`` as JSON fields and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator.report.console import make_table, show
from simulator.report.figures import count
from simulator.units import format_bytes, format_rate, format_time

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.fabric.dcn import Transfer
    from simulator.fabric.inspect import Inspection


Moved = Sequence[tuple["Transfer", int]]
"""Transfers between groups, and the picoseconds after which each has arrived."""


def fabric_json(
    system: str, found: Inspection, failures: Sequence[str], moved: Moved = ()
) -> dict[str, Any]:
    """The document ``chipsim.fabric/1``; link loads are in shares (see ``docs/fabric.md``)."""
    return {
        "schema": "chipsim.fabric/1",
        "system": system,
        "kind": found.fabric.kind,
        "axes": list(found.fabric.axes),
        "wrap": list(found.fabric.wrap),
        "chips": found.chips,
        "links": found.links,
        "cubes": found.cubes,
        "circuits": found.circuits,
        "spare_cubes": found.spare_cubes,
        "bisection_bytes_per_s": found.bisection_bytes_per_s,
        "diameter_hops": found.diameter_hops,
        "failures": list(failures),
        "lost_chips": found.lost_chips,
        "rerouted_circuits": found.rerouted_circuits,
        "traffic": found.traffic,
        "size_bytes": found.size_bytes,
        "time_s": {"before": found.time_before_s, "after": found.time_after_s},
        "max_link_load": {"before": found.load_before, "after": found.load_after},
        "uplinks_bytes_per_s": list(found.uplinks),
        "transfers": [
            {
                "source": each.source,
                "target": each.target,
                "size_bytes": each.size_bytes,
                "time_s": end / 1e12,
            }
            for each, end in moved
        ],
        "notes": list(found.notes),
    }


def print_fabric(
    system: str, found: Inspection, failed: bool, moved: Moved, console: Console
) -> None:
    """Parts, failures and traffic, before and after if something ``failed``."""
    rows = [
        ("chips", f"{found.chips:,}"),
        ("links", f"{found.links:,}"),
        ("bisection, one direction", format_rate(found.bisection_bytes_per_s)),
        ("diameter", count(found.diameter_hops, "hops")),
    ]
    if found.cubes:
        rows += [
            ("cubes", f"{found.cubes:,}"),
            ("optical circuits", f"{found.circuits:,}"),
            ("spare cubes in the pod", f"{found.spare_cubes:,}"),
        ]
    if failed:
        rows.append(("lost chips", f"{found.lost_chips:,}"))
    if failed and found.cubes:
        rows.append(("circuits re-plugged", f"{found.rerouted_circuits:,}"))
    closed = ", ".join(
        f"{size}{' closed' if wrap else ''}"
        for size, wrap in zip(found.fabric.axes, found.fabric.wrap, strict=True)
    )
    show(console, f"{system}: {found.fabric.kind}, axes {closed}")
    show(console, make_table(console, "Fabric", ("figure", "value"), rows))
    title = f"{found.traffic} of {format_bytes(found.size_bytes)} a chip"
    times = [
        ("time", format_time(found.time_before_s), format_time(found.time_after_s)),
        ("shares on the busiest link", f"{found.load_before:.6g}", f"{found.load_after:.6g}"),
    ]
    if failed:
        show(console, make_table(console, title, ("traffic", "before", "after"), times))
    else:
        whole = [(name, before) for name, before, _ in times]
        show(console, make_table(console, title, ("traffic", "value"), whole))
    each = "sends each other" if found.traffic == "all-to-all" else "has of the whole"
    share = found.size_bytes // max(1, found.chips)
    show(console, f"one share: what a chip {each}, {format_bytes(share)}")
    if moved:
        sent = [
            (
                f"{each.source} to {each.target}",
                format_bytes(each.size_bytes),
                format_time(end / 1e12),
            )
            for each, end in moved
        ]
        title = "Transfers between groups, all at once"
        show(console, make_table(console, title, ("groups", "size", "arrived after"), sent))
    for note in found.notes:
        show(console, note)
