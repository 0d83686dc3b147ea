"""The explicit links of a fabric, and what traffic puts on them under minimal routing.

Chips are numbered with the last axis fastest. In a grid slot 2 i of a chip leads up axis i and
slot 2 i + 1 down; the one link of a pair is in the even slot of both. Switches are nodes behind
the chips.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InfeasibleError, InputError
from simulator.fabric.torus_loads import damaged_loads, fits
from simulator.hardware.fabric import Fabric
from simulator.kernels import fabric_links as kernels
from simulator.kernels.arrays import Int64Array

Float64Array = NDArray[np.float64]
Link = tuple[int, int]

_SIDE_BY_SIDE = 1024
"""From more chips on the sources of a damaged torus are routed many at a time."""


@dataclass(frozen=True, eq=False)
class LinkGraph:
    """``neighbour[node, slot]`` and ``rate[node, slot]`` in bytes a second; -1 and 0 for none.

    ``chips`` nodes are chips, the others switches; ``hop_ps[node, slot]`` is a link's latency.
    ``transitive`` says that all chips look alike, so that one source stands for all.
    """

    fabric: Fabric
    chips: int
    neighbour: Int64Array
    rate: Int64Array
    alive: NDArray[np.bool_]
    transitive: bool

    @property
    def links(self) -> int:
        """Cables: pairs of directed links."""
        return int(np.count_nonzero(self.neighbour >= 0)) // 2

    def without(self, chips: Iterable[int], links: Iterable[Link]) -> LinkGraph:
        """The graph after failures; a cable fails in both directions.

        Raises:
            InputError: two chips that no cable joins.
        """
        neighbour, rate, alive = self.neighbour.copy(), self.rate.copy(), self.alive.copy()
        gone = sorted(set(chips))
        for chip in gone:
            alive[chip] = False
            neighbour[neighbour == chip] = -1
            neighbour[chip] = -1
        for one, other in links:
            cut = False
            for a, b in ((one, other), (other, one)):
                slots = np.nonzero(self.neighbour[a] == b)[0]
                cut = cut or len(slots) > 0
                neighbour[a, slots[:1]] = -1
            if not cut:
                raise InputError(f"no link joins chip {one} and chip {other}")
        rate[neighbour < 0] = 0
        return LinkGraph(self.fabric, self.chips, neighbour, rate, alive, False)


@dataclass(frozen=True, eq=False)
class LinkLoads:
    """``loads[node, slot]`` in shares; ``hops`` of all shares of all chips, and the diameter."""

    loads: Float64Array
    busiest: float
    hops: float
    diameter: int


@lru_cache(maxsize=32)
def link_graph(fabric: Fabric) -> LinkGraph:
    """The links of any fabric but a hierarchy's, whose levels have graphs of their own."""
    if fabric.is_grid:
        return _grid_graph(fabric)
    n = fabric.chips
    if fabric.kind == "fully-connected":
        neighbour = np.array(
            [[other for other in range(n) if other != chip] for chip in range(n)], dtype=np.int64
        ).reshape(n, n - 1)
        nodes = n
    elif fabric.is_switched:
        nodes = n + 1
        neighbour = np.full((nodes, n), -1, dtype=np.int64)
        neighbour[:n, 0] = n
        neighbour[n, :] = np.arange(n)
    else:
        raise InputError(f"a fabric of kind '{fabric.kind}' has no links of one level")
    rate = np.where(neighbour >= 0, fabric.link_bandwidth_bytes_per_s, 0).astype(np.int64)
    return LinkGraph(fabric, n, neighbour, rate, np.ones(n, dtype=np.bool_), n == nodes)


def _grid_graph(fabric: Fabric) -> LinkGraph:
    axes, dims, n = fabric.axes, len(fabric.axes), fabric.chips
    place = np.stack(np.unravel_index(np.arange(n), axes), axis=1)
    neighbour = np.full((n, 2 * dims), -1, dtype=np.int64)
    for axis, (size, closed) in enumerate(zip(axes, fabric.wrap, strict=True)):
        if size == 1:
            continue
        twist = np.array(fabric.twist[axis] if fabric.twist else (0,) * dims)
        for slot, way in ((2 * axis, 1), (2 * axis + 1, -1)):
            moved = place.copy()
            moved[:, axis] += way
            outside = (moved[:, axis] < 0) | (moved[:, axis] >= size)
            moved[:, axis] %= size
            moved[outside] = (moved[outside] + way * twist) % np.array(axes)
            to = np.ravel_multi_index(tuple(moved.T), axes)
            there = np.ones(n, dtype=bool) if closed and size > 2 else ~outside
            neighbour[there, slot] = to[there]
        if size == 2:
            # the one cable of a pair sits in the even slot of both
            lower = neighbour[:, 2 * axis + 1] >= 0
            neighbour[lower, 2 * axis] = neighbour[lower, 2 * axis + 1]
            neighbour[:, 2 * axis + 1] = -1
    rate = np.where(neighbour >= 0, fabric.link_bandwidth_bytes_per_s, 0).astype(np.int64)
    alike = all(closed or size <= 2 for size, closed in zip(axes, fabric.wrap, strict=True))
    return LinkGraph(fabric, n, neighbour, rate, np.ones(n, dtype=np.bool_), alike)


def uniform_loads(graph: LinkGraph) -> LinkLoads:
    """Every chip sends one share to every other, over all minimal paths equally.

    Raises:
        InfeasibleError: some chips are cut off; they are named.
    """
    check_connected(graph)
    nodes = len(graph.neighbour)
    loads = np.zeros(graph.neighbour.shape, dtype=np.float64)
    traffic = np.zeros(nodes, dtype=np.float64)
    traffic[: graph.chips] = graph.alive
    living = np.nonzero(graph.alive)[0].astype(np.int64)
    sources = living[:1] if graph.transitive else living
    reached = 0
    if graph.chips > _SIDE_BY_SIDE and not graph.transitive and fits(graph.fabric):
        whole = link_graph(graph.fabric).neighbour
        found = damaged_loads(graph.fabric, whole, graph.neighbour, graph.alive)
        loads, sources, reached = found.loads, found.missing, found.diameter
    diameter, _ = kernels.exchange_loads(graph.neighbour, sources, traffic, loads)
    if graph.transitive:
        loads = _by_symmetry(graph, loads)
    busiest = float(loads.max(initial=0.0))
    return LinkLoads(loads, busiest, float(loads.sum()), max(reached, int(diameter)))


def _by_symmetry(graph: LinkGraph, loads: Float64Array) -> Float64Array:
    """One source's loads summed by direction are every link's loads from all sources."""
    if graph.fabric.kind == "fully-connected":
        return np.ones_like(loads)
    return np.where(graph.neighbour >= 0, loads.sum(axis=0)[np.newaxis, :], 0.0)


def matrix_loads(
    graph: LinkGraph, matrix: Float64Array, routing: str = "minimal-adaptive"
) -> LinkLoads:
    """Loads of a traffic matrix [source chip, target chip] in shares (or bytes).

    ``routing`` is ``minimal-adaptive`` (all minimal paths equally) or ``dimension-ordered``
    (axis after axis; half of a tie either way; only on a whole grid without twist).

    Raises:
        InputError: a matrix of another size or with bad figures, or a routing that does not fit.
        InfeasibleError: some chips are cut off.
    """
    matrix = np.ascontiguousarray(matrix, dtype=np.float64)
    if matrix.shape != (graph.chips, graph.chips):
        shape = "x".join(map(str, matrix.shape))
        raise InputError(f"a traffic matrix of {shape}, expected {graph.chips}x{graph.chips}")
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise InputError("a traffic matrix holds finite numbers of at least 0")
    check_connected(graph)
    loads = np.zeros(graph.neighbour.shape, dtype=np.float64)
    if routing == "dimension-ordered":
        fabric = graph.fabric
        whole = graph.links == link_graph(fabric).links and graph.alive.all()
        if not fabric.is_grid or fabric.kind == "twisted-torus" or not whole:
            raise InputError("dimension-ordered routing needs a whole grid without twist")
        axes = np.array(fabric.axes, dtype=np.int64)
        closed = np.array(
            [c and s > 2 for s, c in zip(fabric.axes, fabric.wrap, strict=True)], dtype=np.int64
        )
        kernels.ordered_loads(axes, closed, matrix, loads)
        for axis, size in enumerate(fabric.axes):
            if size == 2:
                loads[:, 2 * axis] += loads[:, 2 * axis + 1]
                loads[:, 2 * axis + 1] = 0.0
        diameter = sum(s // 2 if c else s - 1 for s, c in zip(axes, closed, strict=True))
    elif routing == "minimal-adaptive":
        diameter = kernels.matrix_loads(graph.neighbour, matrix, loads)
        if diameter < 0:
            raise InfeasibleError("some traffic has no way to its chip")
    else:
        raise InputError(
            f"unknown routing '{routing}'", hint="minimal-adaptive or dimension-ordered"
        )
    return LinkLoads(loads, float(loads.max(initial=0.0)), float(loads.sum()), int(diameter))


def check_connected(graph: LinkGraph) -> None:
    """Raises InfeasibleError that names the chips cut off from the others (the smaller part)."""
    living = np.nonzero(graph.alive)[0]
    if len(living) == 0:
        raise InfeasibleError("no chip is left")
    part = _reached(graph, int(living[0]))
    inside = [int(chip) for chip in living if chip in part]
    outside = [int(chip) for chip in living if chip not in part]
    if outside:
        fewer: Sequence[int] = min(inside, outside, key=len)
        names = ", ".join(chip_name(graph.fabric, int(chip)) for chip in fewer[:16])
        more = f" and {len(fewer) - 16} more" if len(fewer) > 16 else ""
        raise InfeasibleError(f"the fabric falls apart: cut off are chip {names}{more}")


def _reached(graph: LinkGraph, start: int) -> set[int]:
    found = {start}
    waiting = [start]
    while waiting:
        for other in graph.neighbour[waiting.pop()].tolist():
            if other >= 0 and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def chip_name(fabric: Fabric, chip: int) -> str:
    """A chip's number, with its coordinates in a grid of several axes."""
    if not fabric.is_grid or len(fabric.axes) == 1:
        return str(chip)
    place = ",".join(str(int(i)) for i in np.unravel_index(chip, fabric.axes))
    return f"{chip} ({place})"


def bisection_links(graph: LinkGraph) -> int:
    """Links in one direction across the worst cut into equal halves that is a slab of an axis.

    For an untwisted torus that is the bisection; for a twisted one an upper bound of it.
    """
    fabric = graph.fabric
    if not fabric.is_grid:
        half = graph.chips // 2
        return half * (graph.chips - half) if fabric.kind == "fully-connected" else half
    place = np.unravel_index(np.arange(graph.chips), fabric.axes)
    source = np.repeat(np.arange(graph.chips), graph.neighbour.shape[1])
    target = graph.neighbour.ravel()
    source, target = source[target >= 0], target[target >= 0]
    best = len(target)
    for axis, size in enumerate(fabric.axes):
        for offset in range(max(1, size // 2) if fabric.wrap[axis] else 1):
            if size == 1:
                continue
            inside = (place[axis] - offset) % size < (size + 1) // 2
            best = min(best, int(np.count_nonzero(inside[source] & ~inside[target])))
    return best


@lru_cache(maxsize=64)
def twisted_load(fabric: Fabric) -> tuple[Fraction, Fraction, int]:
    """(shares on the busiest link, hops of one chip's shares, diameter) of a twisted torus."""
    found = uniform_loads(link_graph(fabric))
    # loads are sums of fractions of small numbers of paths
    busiest = Fraction(found.busiest).limit_denominator(10_000)
    hops = Fraction(round(found.hops), math.prod(fabric.axes))
    return busiest, hops, found.diameter
