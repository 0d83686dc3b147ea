"""Single messages on a fabric that has lost chips or links: the ways around, as flows.

The chips of a grid lie on a ring through all of them, each next to the one before wherever the grid
allows that. A permute sends a message from every chip to the next one, a p2p message goes between
two neighbours on it. After failures the ring goes on without the chips that are lost; a message
takes all minimal paths that are left, at no more than the rate of one link, and messages that meet
share links max-min fairly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from simulator.fabric.flows import Flow, finish_times
from simulator.fabric.links import LinkGraph
from simulator.fabric.parts import Op, rate_of
from simulator.fabric.schedule import PS_PER_S, ceil_div
from simulator.hardware.fabric import Fabric
from simulator.kernels import fabric_links as kernels

Shares = tuple[tuple[int, float], ...]
"""Links of a message (slot of the flattened table) and the share of it that each carries."""


def ring_order(fabric: Fabric) -> list[int]:
    """The chips in an order in which each is next to the one before, and the last to the first.

    A grid of several axes is seen as a ladder: an axis by a line through all others. With an even
    axis there is a comb: row after row over all columns but the first, and back over that. With an
    odd ring there is one over the columns, whose last step goes around the ring. Otherwise (an odd
    mesh has no such ring) it is a line, whose end and beginning are apart.
    """
    long = [axis for axis, size in enumerate(fabric.axes) if size > 1]
    if not fabric.is_grid or len(long) < 2:
        return list(range(fabric.chips))
    even = [axis for axis in long if fabric.axes[axis] % 2 == 0]
    rings = [axis for axis in long if fabric.wrap[axis]]
    axis = (even or rings or long)[0]
    rows = fabric.axes[axis]
    line = _line([size for other, size in enumerate(fabric.axes) if other != axis])
    if even:
        places = [(row, at) for row in range(rows) for at in _turn(range(1, len(line)), row)]
        places += [(row, 0) for row in reversed(range(rows))]
    elif rings:
        places = [(row, at) for at in range(len(line)) for row in _turn(range(1, rows), at)]
        places += [(0, at) for at in reversed(range(len(line)))]
    else:
        places = [(row, at) for row in range(rows) for at in _turn(range(len(line)), row)]
    chips = [(*line[at][:axis], row, *line[at][axis:]) for row, at in places]
    return [int(np.ravel_multi_index(chip, fabric.axes)) for chip in chips]


def _turn(way: Sequence[int], count: int) -> Sequence[int]:
    """Every other time backwards."""
    return way if count % 2 == 0 else way[::-1]


def _line(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """A line through all places of a mesh, each next to the one before."""
    if not axes:
        return [()]
    rest = _line(axes[1:])
    return [(i, *rest[at]) for i in range(axes[0]) for at in _turn(range(len(rest)), i)]


@dataclass(frozen=True, eq=False)
class Messages:
    """Of each message: hops, when its last byte has left in units of a lone message, and ``load``.

    ``load`` is how many messages the busiest link carries.
    """

    hops: tuple[int, ...]
    ends: tuple[float, ...]
    load: float

    def time_ps(self, fabric: Fabric, size: int) -> int:
        """The time of the last message, with the fastest of the library's protocols."""
        found = []
        for protocol in fabric.protocols:
            fixed = fabric.collective_overhead_ps + protocol.startup_ps + protocol.step_latency_ps
            rate = rate_of(fabric, protocol)
            last = max(
                hops * fabric.hop_latency_ps + _moving_ps(size, end, rate)
                for hops, end in zip(self.hops, self.ends, strict=True)
            )
            found.append(fixed + 2 * fabric.endpoint_delay_ps + last)
        return min(found)


def _moving_ps(size: int, end: float, rate: int) -> int:
    units = Fraction(end).limit_denominator(10**6)
    return ceil_div(size * units.numerator * PS_PER_S, units.denominator * rate)


def messages(graph: LinkGraph, op: Op) -> Messages:
    """The messages of a permute, all at once, or the farthest p2p message alone."""
    living = [chip for chip in ring_order(graph.fabric) if graph.alive[chip]]
    pairs = list(zip(living, living[1:] + living[:1], strict=True))
    routes = [_route(graph, source, target) for source, target in pairs]
    hops = [distance for distance, _ in routes]
    if op == "p2p":
        farthest = max(range(len(routes)), key=lambda at: (hops[at], -at))
        load = max(share for _, share in routes[farthest][1])
        return Messages((hops[farthest],), (1.0,), load)
    loads: dict[int, float] = {}
    for _, shares in routes:
        for link, share in shares:
            loads[link] = loads.get(link, 0.0) + share
    return Messages(tuple(hops), tuple(_ends(routes, loads)), max(loads.values()))


def _ends(routes: Sequence[tuple[int, Shares]], loads: dict[int, float]) -> list[float]:
    """When each message has passed where a link passes one in a unit of time.

    A message that has its links to itself takes one; the others share theirs.
    """
    meeting = [at for at, (_, shares) in enumerate(routes) if any(loads[i] > 1 for i, _ in shares)]
    flows = [
        Flow(
            (*(link for link, _ in routes[at][1]), ("message", at)),
            1,
            shares=(*(share for _, share in routes[at][1]), 1.0),
        )
        for at in meeting
    ]
    capacities = dict.fromkeys((name for flow in flows for name in flow.links), 1.0)
    ends = [1.0] * len(routes)
    for at, end in zip(meeting, finish_times(flows, capacities), strict=True):
        ends[at] = end
    return ends


def _route(graph: LinkGraph, source: int, target: int) -> tuple[int, Shares]:
    """(hops, links with their shares) over all minimal paths."""
    slots = graph.neighbour.shape[1]
    direct = np.nonzero(graph.neighbour[source] == target)[0]
    if len(direct):
        return 1, ((source * slots + int(direct[0]), 1.0),)
    nodes = len(graph.neighbour)
    traffic, loads = np.zeros(nodes), np.zeros(graph.neighbour.shape)
    traffic[target] = 1.0
    distance, order = np.empty(nodes, dtype=np.int64), np.empty(nodes, dtype=np.int64)
    work = np.empty((2, nodes))
    kernels.spread(graph.neighbour, source, traffic, loads, distance, order, work[0], work[1])
    flat = loads.ravel()
    links = np.nonzero(flat)[0]
    return int(distance[target]), tuple((int(link), float(flat[link])) for link in links)
