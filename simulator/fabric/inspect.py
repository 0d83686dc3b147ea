"""What a slice is made of, what failures cost it, and how its links are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from simulator.errors import InfeasibleError, InputError
from simulator.fabric.collectives import check_op, price_collective
from simulator.fabric.failures import Failure
from simulator.fabric.inspect_nested import inspect_nested
from simulator.fabric.links import (
    LinkGraph,
    LinkLoads,
    bisection_links,
    check_connected,
    link_graph,
    matrix_loads,
    uniform_loads,
)
from simulator.fabric.parts import Op
from simulator.fabric.schedule import ceil_div
from simulator.fabric.slices import (
    assemble_slice,
    circuits_touching,
    cube_of,
    is_optical,
)
from simulator.hardware.fabric import Fabric, Pod

_MATRIX_CHIPS = 2048
_ROUTED_CHIPS = 20_000


@dataclass(frozen=True, eq=False)
class Repair:
    """The fabric after failures: its graph, and what was lost or re-plugged."""

    graph: LinkGraph
    lost_chips: int
    rerouted_circuits: int
    spare_cubes: int
    notes: tuple[str, ...]
    port_share: Fraction = Fraction(1)


@dataclass(frozen=True, eq=False)
class Inspection:
    """The answer of ``chipsim fabric``.

    A hierarchy has the inspections of its ``groups``, and their ``uplinks`` in bytes a second.
    ``load_before`` and ``load_after`` are shares on the busiest link: a share is what one chip
    sends one other in an all-to-all, or one rank's shard in the other operations.
    """

    fabric: Fabric
    chips: int
    links: int
    cubes: int
    circuits: int
    spare_cubes: int
    bisection_bytes_per_s: int
    diameter_hops: int
    lost_chips: int
    rerouted_circuits: int
    traffic: str
    size_bytes: int
    time_before_s: float
    time_after_s: float
    load_before: float
    load_after: float
    graph: LinkGraph | None
    loads: LinkLoads | None
    notes: tuple[str, ...]
    groups: tuple[Inspection, ...] = ()
    uplinks: tuple[int, ...] = ()


def inspect(
    fabric: Fabric,
    failures: Sequence[Failure] = (),
    traffic: str = "all-to-all",
    size_bytes: int = 2**30,
) -> Inspection:
    """Parts, failures and traffic of one slice.

    Raises:
        InputError: an unknown operation, or a single chip.
        InfeasibleError: the failures cut chips off.
    """
    op = check_op(traffic)
    if fabric.chips == 1:
        raise InputError("one chip has no fabric", hint="name a shape, such as tpu-v5e:4x4")
    if fabric.inner is not None:
        return inspect_nested(fabric, failures, op, size_bytes)
    return inspect_level(fabric, tuple(failures), op, size_bytes)


@lru_cache(maxsize=16)
def inspect_level(
    fabric: Fabric, failures: tuple[Failure, ...], op: Op, size_bytes: int
) -> Inspection:
    """The inspection of a fabric of one level; equal groups of a hierarchy share it."""
    if fabric.chips > _ROUTED_CHIPS:
        raise InputError(
            f"{fabric.chips} chips are too many to route link by link",
            hint=f"expected at most {_ROUTED_CHIPS}; 'chipsim collective' prices larger ones",
        )
    graph = link_graph(fabric)
    made = assemble_slice(fabric)
    repair = mend(fabric, failures)
    before = best_loads(graph)
    after = before if repair.graph is graph else uniform_loads(repair.graph)
    shape = graph.transitive or fabric.chips <= 4096
    bisection = (bisection_links(graph) if shape else _slab(fabric)) * (
        fabric.link_bandwidth_bytes_per_s
    )
    times = [
        _traffic_ps(fabric, graph, before, op, size_bytes, Fraction(1)),
        _traffic_ps(fabric, repair.graph, after, op, size_bytes, repair.port_share),
    ]
    return Inspection(
        fabric=fabric,
        chips=fabric.chips,
        links=fabric.chips * fabric.ports if fabric.is_switched else graph.links,
        cubes=len(made.cubes) if made else 0,
        circuits=made.circuits if made else 0,
        spare_cubes=repair.spare_cubes,
        bisection_bytes_per_s=bisection,
        diameter_hops=1 if fabric.is_switched else before.diameter,
        lost_chips=repair.lost_chips,
        rerouted_circuits=repair.rerouted_circuits,
        traffic=op,
        size_bytes=size_bytes,
        time_before_s=times[0][0] / 1e12,
        time_after_s=times[1][0] / 1e12,
        load_before=times[0][1],
        load_after=times[1][1],
        graph=repair.graph,
        loads=after,
        notes=repair.notes,
    )


def best_loads(graph: LinkGraph) -> LinkLoads:
    """Loads of a uniform all-to-all under the better routing of an undamaged fabric.

    In an open mesh minimal-adaptive routing crowds the middle, so there the axes are taken in
    order; elsewhere both load the links alike.
    """
    if graph.transitive or not graph.fabric.is_grid or graph.fabric.kind == "twisted-torus":
        return uniform_loads(graph)
    if graph.chips > _MATRIX_CHIPS:
        return uniform_loads(graph)
    return matrix_loads(graph, np.ones((graph.chips, graph.chips)), "dimension-ordered")


def _slab(fabric: Fabric) -> int:
    """Links across the middle of the longest axis of a large grid."""
    longest = max(range(len(fabric.axes)), key=lambda axis: fabric.axes[axis])
    ways = 2 if fabric.wrap[longest] else 1
    return ways * fabric.chips // fabric.axes[longest]


def mend(fabric: Fabric, failures: Sequence[Failure]) -> Repair:
    """Replace what spare cubes and circuits can replace; take the rest out of the graph.

    A failed chip, host, cube or copper link costs its cube, for which a spare one steps in. A
    failed optical link is re-plugged. Where there is no pod, or no spare cube is left, the slice
    goes on without the failed parts.

    Raises:
        InfeasibleError: the chips that are left do not hang together.
    """
    graph = link_graph(fabric)
    made = assemble_slice(fabric)
    spare = made.spare_cubes if made else 0
    if fabric.is_switched:
        return _mend_switch(fabric, graph, failures)
    if fabric.pod is None or made is None:
        return _without(graph, failures, 0, 0, 0, ())
    optical = [f for f in failures if f.link and is_optical(fabric, fabric.pod, *f.link)]
    others = [f for f in failures if f not in optical]
    cubes = sorted({cube for f in others for cube in _cubes(fabric, fabric.pod, f)})
    if len(cubes) > spare:
        note = f"{len(cubes)} cubes failed and {spare} are spare: the slice goes on without them"
        return _without(graph, others, len(optical), spare, 0, (note,))
    notes = [
        f"cube {cube} is replaced by spare cube {made.cubes[-1] + 1 + index}"
        for index, cube in enumerate(cubes)
    ]
    notes += [f"{f.text} is optical: its circuit is re-plugged" for f in optical]
    moved = circuits_touching(fabric, fabric.pod, cubes)
    gone = set(cubes)
    single = sum(
        1
        for f in optical
        if f.link and not {cube_of(fabric, fabric.pod, end) for end in f.link} & gone
    )
    chips = len(cubes) * fabric.pod.edge ** len(fabric.axes)
    return Repair(graph, chips, moved + single, spare - len(cubes), tuple(notes))


def _cubes(fabric: Fabric, pod: Pod, failure: Failure) -> set[int]:
    ends = failure.link or failure.chips
    return {cube_of(fabric, pod, chip) for chip in ends}


def _without(
    graph: LinkGraph,
    failures: Sequence[Failure],
    rerouted: int,
    spare: int,
    lost: int,
    notes: tuple[str, ...],
) -> Repair:
    if not failures:
        return Repair(graph, lost, rerouted, spare, notes)
    chips = {chip for failure in failures for chip in failure.chips}
    links = [f.link for f in failures if f.link and not set(f.link) & chips]
    left = graph.without(chips, list(dict.fromkeys((min(link), max(link)) for link in links)))
    check_connected(left)
    return Repair(left, lost + len(chips), rerouted, spare, notes)


def _mend_switch(fabric: Fabric, graph: LinkGraph, failures: Sequence[Failure]) -> Repair:
    chips = {chip for failure in failures for chip in failure.chips}
    broken: dict[int, int] = {}
    for failure in failures:
        if failure.link and failure.link[0] not in chips:
            broken[failure.link[0]] = broken.get(failure.link[0], 0) + 1
    cut = [chip for chip, count in broken.items() if count >= fabric.ports]
    if cut:
        raise InfeasibleError(
            f"the fabric falls apart: cut off are chip {', '.join(map(str, sorted(cut)))}"
        )
    share = Fraction(fabric.ports - max(broken.values(), default=0), fabric.ports)
    if not chips and share == 1:
        return Repair(graph, 0, 0, 0, ())
    left = graph.without(chips, [])
    check_connected(left)
    return Repair(left, len(chips), 0, 0, (), share)


def _traffic_ps(
    fabric: Fabric, graph: LinkGraph, loads: LinkLoads, op: str, size: int, port: Fraction
) -> tuple[int, float]:
    """(picoseconds, shares on the busiest link) of the traffic on a perhaps damaged graph.

    An all-to-all is routed link by link. The others keep their schedule, slowed by the links
    that their least connected chip has lost, which is a lower bound.
    """
    chips = int(graph.alive.sum())
    if chips <= 1:
        return 0, 0.0
    whole = link_graph(fabric)
    if fabric.is_switched and chips < fabric.chips:
        fabric = replace(fabric, axes=(chips,))
        graph = whole = link_graph(fabric)
    routed = fabric.is_grid or (fabric.kind == "fully-connected" and graph is not whole)
    if op == "all-to-all" and routed:
        base = price_collective(fabric, op, 0, algorithm="direct").time_ps
        load = Fraction(loads.busiest).limit_denominator(10**6)
        carried = ceil_div(size * load.numerator, chips * load.denominator)
        rate = max(1, int(fabric.link_bandwidth_bytes_per_s * _efficiency(fabric)))
        hops = (loads.diameter - _diameter(fabric)) * fabric.hop_latency_ps
        return base + hops + ceil_div(carried * 10**12, rate), float(load)
    timing = price_collective(fabric, op, size)
    moving = timing.link_ps + timing.injection_ps
    if graph is whole:
        slower = Fraction(1)
    else:
        lanes = [
            int(np.count_nonzero(g.neighbour[: g.chips][g.alive] >= 0, axis=1).min())
            for g in (whole, graph)
        ]
        slower = Fraction(1) if fabric.is_switched else Fraction(lanes[0], max(1, lanes[1]))
    slower = max(Fraction(1), slower) / port
    shares = timing.bytes_per_link_max * fabric.chips / size if size else 0.0
    return timing.time_ps + int(moving * (slower - 1)), shares * float(slower)


def _efficiency(fabric: Fabric) -> float:
    return max(protocol.efficiency for protocol in fabric.protocols)


def _diameter(fabric: Fabric) -> int:
    from simulator.fabric.grid import exchange_load

    return exchange_load(fabric)[2] if fabric.is_grid else 1
