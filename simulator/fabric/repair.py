"""What spare cubes and circuits replace after failures, and what the fabric goes on without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from simulator.errors import InfeasibleError
from simulator.fabric.failures import Failure
from simulator.fabric.links import LinkGraph, check_connected, link_graph
from simulator.fabric.slices import assemble_slice, circuits_touching, cube_of, is_optical
from simulator.hardware.fabric import Fabric, Pod


@dataclass(frozen=True, eq=False)
class Repair:
    """The fabric after failures: its graph, and what was lost or re-plugged."""

    graph: LinkGraph
    lost_chips: int
    rerouted_circuits: int
    spare_cubes: int
    notes: tuple[str, ...]
    port_share: Fraction = Fraction(1)


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
        cube = "cube has" if len(cubes) == 1 else "cubes have"
        left = "none is spare" if spare == 0 else f"{spare} are spare"
        note = f"{len(cubes)} {cube} failed and {left}: the slice goes on without what failed"
        return _without(graph, others, len(optical), spare, 0, (note,))
    notes = [
        f"cube {cube} is replaced by spare cube {made.cubes[-1] + 1 + index}"
        for index, cube in enumerate(cubes)
    ]
    notes += [f"{f.text} is optical: its circuit is re-plugged" for f in optical]
    if notes:
        notes.append("the slice has its shape again: every collective takes what it took before")
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
