"""What a slice is made of, what failures cost it, and how its links are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from simulator.errors import InputError
from simulator.fabric.collectives import check_op, price_collective
from simulator.fabric.damaged import traffic_ps
from simulator.fabric.failures import Failure
from simulator.fabric.grid import exchange_load, spans
from simulator.fabric.inspect_nested import inspect_nested
from simulator.fabric.links import (
    LinkGraph,
    LinkLoads,
    bisection_links,
    link_graph,
    matrix_loads,
    uniform_loads,
)
from simulator.fabric.parts import Op
from simulator.fabric.repair import mend
from simulator.fabric.slices import assemble_slice
from simulator.hardware.fabric import Fabric

_MATRIX_CHIPS = 2048
_ROUTED_CHIPS = 20_000


@dataclass(frozen=True, eq=False)
class Inspection:
    """The answer of ``chipsim fabric``.

    A hierarchy has the inspections of its ``groups``, their ``uplinks`` in bytes a second, and the
    ``ports`` to the others that each has left.
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
    ports: tuple[int, ...] = ()


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
        return _large(fabric, failures, op, size_bytes)
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
        traffic_ps(fabric, graph, before, op, size_bytes, Fraction(1)),
        traffic_ps(fabric, repair.graph, after, op, size_bytes, repair.port_share),
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
        notes=(*repair.notes, *(note for _, _, note in times if note)),
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
    """Links across the middle of the axis where they are fewest, for a large grid."""
    return min((2 if closed else 1) * fabric.chips // size for size, closed in spans(fabric))


def _large(fabric: Fabric, failures: Sequence[Failure], op: Op, size: int) -> Inspection:
    """A grid of too many chips to route link by link, undamaged: from the closed forms alone."""
    if failures or not fabric.is_grid or fabric.kind == "twisted-torus":
        raise InputError(
            f"{fabric.chips} chips are too many to route link by link",
            hint=f"failures and twists are priced for at most {_ROUTED_CHIPS} chips",
        )
    exchange = op == "all-to-all"
    timing = price_collective(fabric, op, size, algorithm="direct" if exchange else "auto")
    load, _, diameter = exchange_load(fabric)
    shares = timing.bytes_per_link_max * fabric.chips / size if size else 0.0
    made = assemble_slice(fabric)
    return Inspection(
        fabric=fabric,
        chips=fabric.chips,
        links=sum(
            fabric.chips // axis * (axis - (0 if closed else 1)) for axis, closed in spans(fabric)
        ),
        cubes=len(made.cubes) if made else 0,
        circuits=made.circuits if made else 0,
        spare_cubes=made.spare_cubes if made else 0,
        bisection_bytes_per_s=_slab(fabric) * fabric.link_bandwidth_bytes_per_s,
        diameter_hops=diameter,
        lost_chips=0,
        rerouted_circuits=0,
        traffic=op,
        size_bytes=size,
        time_before_s=timing.time_s,
        time_after_s=timing.time_s,
        load_before=float(load) if exchange else shares,
        load_after=float(load) if exchange else shares,
        graph=None,
        loads=None,
        notes=(f"more than {_ROUTED_CHIPS} chips: closed forms, not routed link by link",),
    )
