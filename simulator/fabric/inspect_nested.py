"""What a hierarchy is made of, and what failures in its groups cost.

Groups count one after another: with n chips in a group, chip c of group g is chip g n + c. The
slowest group sets the time: inside by what its failures cost there, outside by the ports that it
has left and by its uplinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from simulator.errors import InfeasibleError
from simulator.fabric.collectives import price_collective
from simulator.fabric.failures import Failure
from simulator.hardware.fabric import Fabric, nest

if TYPE_CHECKING:
    from simulator.fabric.inspect import Inspection


def inspect_nested(fabric: Fabric, failures: Sequence[Failure], op: str, size: int) -> Inspection:
    """Parts, failures and traffic of a hierarchy, with an inspection of every group.

    Raises:
        InfeasibleError: failures cut chips off from their group, or a group from the others.
    """
    from simulator.fabric.inspect import Inspection

    inner, outer = _levels(fabric)
    groups = [_group(inner, index, failures, op, size) for index in range(outer.chips)]
    ports = [_ports(inner, index, group, failures) for index, group in enumerate(groups)]
    alive = [index for index, group in enumerate(groups) if group.lost_chips < inner.chips]
    if not alive:
        raise InfeasibleError("no chip is left")
    before = price_collective(fabric, op, size)
    slower = max(groups[i].time_after_s - groups[i].time_before_s for i in alive)
    left = _after(fabric, alive, ports)
    after = price_collective(left, op, size).time_s + max(0.0, slower)
    inside = max(_ratio(groups[i].load_after, groups[i].load_before) for i in alive)
    outside = max(inner.chips / ports[i] for i in alive)
    load = before.bytes_per_link_max * fabric.chips / size if size else 0.0
    rates = _rates(outer)
    return Inspection(
        fabric=fabric,
        chips=fabric.chips,
        links=sum(group.links for group in groups) + _outer_links(outer) * inner.chips,
        cubes=sum(group.cubes for group in groups),
        circuits=sum(group.circuits for group in groups),
        spare_cubes=sum(group.spare_cubes for group in groups),
        bisection_bytes_per_s=_bisection(outer, rates) * inner.chips,
        diameter_hops=groups[0].diameter_hops + 1,
        lost_chips=sum(group.lost_chips for group in groups),
        rerouted_circuits=sum(group.rerouted_circuits for group in groups),
        traffic=op,
        size_bytes=size,
        time_before_s=before.time_s,
        time_after_s=after,
        load_before=load,
        load_after=load * max(1.0, inside, outside),
        graph=None,
        loads=None,
        notes=tuple(_notes(fabric, groups, alive, ports)),
        groups=tuple(groups),
        uplinks=tuple(rate * inner.chips for rate in rates),
        ports=tuple(ports),
    )


def _levels(fabric: Fabric) -> tuple[Fabric, Fabric]:
    assert fabric.inner is not None and fabric.outer is not None, fabric.kind
    return fabric.inner, fabric.outer


def _rates(outer: Fabric) -> tuple[int, ...]:
    return outer.uplinks or (outer.link_bandwidth_bytes_per_s,) * outer.chips


def _outer_links(outer: Fabric) -> int:
    """Cables of the outer fabric for one chip of each group."""
    pairs = outer.chips * (outer.chips - 1) // 2
    return pairs if outer.kind == "fully-connected" else outer.chips


def _bisection(outer: Fabric, rates: Sequence[int]) -> int:
    """Between two halves of the groups, for one chip of each."""
    half = outer.chips // 2
    if outer.kind == "fully-connected":
        return half * (outer.chips - half) * outer.link_bandwidth_bytes_per_s
    # the half with the least uplinks can take no more
    return sum(sorted(rates)[:half])


def _ratio(after: float, before: float) -> float:
    return after / before if before else 1.0


def _group(
    inner: Fabric, index: int, failures: Sequence[Failure], op: str, size: int
) -> Inspection:
    from simulator.fabric.inspect import inspect_level

    own = tuple(f for f in failures if f.group == index and f.kind != "uplink")
    whole = inspect_level(inner, (), op, size)
    gone = {chip for failure in own for chip in failure.chips}
    if len(gone) == inner.chips and inner.pod is None:
        return replace(whole, lost_chips=inner.chips)
    if not own:
        return whole
    try:
        return inspect_level(inner, own, op, size)
    except InfeasibleError as error:
        first = index * inner.chips
        raise InfeasibleError(
            f"in group {index}, whose chips count from {first}: {error.message}", hint=error.hint
        ) from None


def _ports(inner: Fabric, index: int, group: Inspection, failures: Sequence[Failure]) -> int:
    """Chips of a group that still reach the other groups over a port of their own."""
    if group.lost_chips >= inner.chips and inner.pod is None:
        return 0
    assert group.graph is not None
    living = {int(chip) for chip in group.graph.alive.nonzero()[0]}
    cut = {f.chips[0] for f in failures if f.group == index and f.kind == "uplink"}
    if living and living <= cut:
        first = index * inner.chips
        raise InfeasibleError(
            f"the fabric falls apart: cut off are chips {first} to {first + inner.chips - 1}, "
            f"whose group {index} has no uplink left"
        )
    return len(living - cut)


def _after(fabric: Fabric, alive: Sequence[int], ports: Sequence[int]) -> Fabric:
    """The groups that are left; a group sends all that it has over the ports that it has left."""
    inner, outer = _levels(fabric)
    if len(alive) == 1:
        return inner
    rates = _rates(outer)
    kept = tuple(max(1, int(rates[i] * Fraction(ports[i], inner.chips))) for i in alive)
    smaller = replace(outer, axes=(len(alive),), link_bandwidth_bytes_per_s=min(kept), uplinks=kept)
    return nest(fabric.kind, inner, smaller)


def _notes(
    fabric: Fabric, groups: Sequence[Inspection], alive: Sequence[int], ports: Sequence[int]
) -> list[str]:
    inner, outer = _levels(fabric)
    notes = [f"{outer.chips} groups of {inner.chips} chips, joined by an outer fabric"]
    if outer.uplinks:
        least = min(outer.uplinks)
        slow = [str(i) for i, rate in enumerate(outer.uplinks) if rate == least]
        many = ", ".join(slow[:16]) + (" ..." if len(slow) > 16 else "")
        notes.append(f"uplinks differ: collectives over all groups wait for those of group {many}")
    for index, group in enumerate(groups):
        if index not in alive:
            notes.append(f"group {index} is lost: the others go on without it")
            continue
        notes += [f"group {index}: {note}" for note in group.notes]
        if ports[index] < inner.chips:
            notes.append(f"group {index} has {ports[index]} of {inner.chips} uplink ports left")
    return notes
