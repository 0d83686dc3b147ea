"""Loads of explicit links under minimal routing, and max-min fair rates of flows that share them.

A graph is a table ``neighbour[node, slot]``, -1 where there is no link; a directed link is its
node and slot. Loads are in shares: one share is what one chip sends to one other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import kernel

Float64Array = NDArray[np.float64]


@kernel
def spread(
    neighbour: Int64Array,
    source: int,
    traffic: Float64Array,
    loads: Float64Array,
    distance: Int64Array,
    order: Int64Array,
    ways: Float64Array,
    through: Float64Array,
) -> int:
    """Add one source's traffic to ``loads``, all minimal paths sharing equally; nodes reached.

    ``traffic[node]`` is what the source sends there. This is the dependency accumulation of
    Brandes (2001). The last four arrays are work space; ``distance`` is -1 where nothing leads.
    """
    nodes, slots = neighbour.shape
    for node in range(nodes):
        distance[node] = -1
        ways[node] = 0.0
        through[node] = 0.0
    distance[source] = 0
    ways[source] = 1.0
    order[0] = source
    reached = 1
    at = 0
    while at < reached:
        node = order[at]
        at += 1
        for slot in range(slots):
            other = neighbour[node, slot]
            if other < 0:
                continue
            if distance[other] < 0:
                distance[other] = distance[node] + 1
                order[reached] = other
                reached += 1
            if distance[other] == distance[node] + 1:
                ways[other] += ways[node]
    for index in range(reached - 1, -1, -1):
        node = order[index]
        for slot in range(slots):
            other = neighbour[node, slot]
            if other >= 0 and distance[other] == distance[node] + 1:
                share = ways[node] / ways[other] * (traffic[other] + through[other])
                loads[node, slot] += share
                through[node] += share
    return reached


@kernel
def exchange_loads(
    neighbour: Int64Array, sources: Int64Array, traffic: Float64Array, loads: Float64Array
) -> tuple[int, float]:
    """Loads of all ``sources`` sending ``traffic[node]`` to each node but themselves.

    Returns the greatest distance to a node with traffic, and all shares times their hops; the
    distance is -1 where such a node cannot be reached.
    """
    nodes = neighbour.shape[0]
    distance = np.empty(nodes, dtype=np.int64)
    order = np.empty(nodes, dtype=np.int64)
    ways = np.empty(nodes, dtype=np.float64)
    through = np.empty(nodes, dtype=np.float64)
    own = traffic.copy()
    diameter = 0
    hops = 0.0
    for source in sources:
        own[source] = 0.0
        spread(neighbour, source, own, loads, distance, order, ways, through)
        own[source] = traffic[source]
        for node in range(nodes):
            if traffic[node] > 0.0 and node != source:
                if distance[node] < 0:
                    return -1, 0.0
                diameter = max(diameter, distance[node])
                hops += traffic[node] * distance[node]
    return diameter, hops


@kernel
def matrix_loads(neighbour: Int64Array, matrix: Float64Array, loads: Float64Array) -> int:
    """Loads of ``matrix[source, node]``; the greatest distance used, -1 where a way is missing."""
    nodes = neighbour.shape[0]
    chips = matrix.shape[0]
    distance = np.empty(nodes, dtype=np.int64)
    order = np.empty(nodes, dtype=np.int64)
    ways = np.empty(nodes, dtype=np.float64)
    through = np.empty(nodes, dtype=np.float64)
    own = np.zeros(nodes, dtype=np.float64)
    diameter = 0
    for source in range(chips):
        for node in range(chips):
            own[node] = matrix[source, node] if node != source else 0.0
        spread(neighbour, source, own, loads, distance, order, ways, through)
        for node in range(chips):
            if own[node] > 0.0:
                if distance[node] < 0:
                    return -1
                diameter = max(diameter, distance[node])
    return diameter


@kernel
def ordered_loads(
    axes: Int64Array, closed: Int64Array, matrix: Float64Array, loads: Float64Array
) -> None:
    """Loads of dimension-ordered routing on an untwisted grid; half of a tie goes either way.

    Node numbers count the last axis fastest; slot 2 i leads up axis i, slot 2 i + 1 down.
    """
    dims = len(axes)
    stride = np.ones(dims, dtype=np.int64)
    for axis in range(dims - 2, -1, -1):
        stride[axis] = stride[axis + 1] * axes[axis + 1]
    chips = matrix.shape[0]
    for source in range(chips):
        for target in range(chips):
            amount = matrix[source, target]
            if amount <= 0.0 or source == target:
                continue
            base = source
            for axis in range(dims):
                size = axes[axis]
                here = source // stride[axis] % size
                there = target // stride[axis] % size
                up = there - here
                if closed[axis]:
                    up %= size
                down = size - up if closed[axis] else -up
                origin = base - here * stride[axis]
                if up > 0 and (not closed[axis] or up <= down):
                    part = amount / 2 if closed[axis] and up == down else amount
                    for step in range(up):
                        node = origin + (here + step) % size * stride[axis]
                        loads[node, 2 * axis] += part
                if (closed[axis] and up > 0 and down <= up) or (not closed[axis] and up < 0):
                    part = amount / 2 if closed[axis] and up == down else amount
                    for step in range(down):
                        node = origin + (here - step) % size * stride[axis]
                        loads[node, 2 * axis + 1] += part
                base = origin + there * stride[axis]


@kernel
def max_min_rates(
    first: Int64Array,
    link: Int64Array,
    share: Float64Array,
    capacity: Float64Array,
    active: Int64Array,
    rates: Float64Array,
) -> None:
    """Max-min fair rates by progressive filling (Bertsekas and Gallager, 1992, section 6.5.2).

    Flow f puts ``share[j]`` of its rate on ``link[j]`` for first[f] <= j < first[f+1]. Rates of
    all active flows rise together until a link is full; its flows stop there, and so on. An
    active flow without links has an infinite rate.
    """
    flows = len(first) - 1
    links = len(capacity)
    spare = capacity.copy()
    weight = np.zeros(links, dtype=np.float64)
    growing = np.zeros(flows, dtype=np.int64)
    left = 0
    for flow in range(flows):
        rates[flow] = 0.0
        if active[flow]:
            if first[flow] == first[flow + 1]:
                rates[flow] = np.inf
                continue
            growing[flow] = 1
            left += 1
            for j in range(first[flow], first[flow + 1]):
                weight[link[j]] += share[j]
    while left > 0:
        tightest = -1
        rise = np.inf
        for each in range(links):
            if weight[each] > 1e-12:
                room = spare[each] / weight[each]
                if room < rise:
                    rise = room
                    tightest = each
        if tightest < 0:
            break
        rise = max(rise, 0.0)
        for each in range(links):
            spare[each] -= rise * weight[each]
        for flow in range(flows):
            if not growing[flow]:
                continue
            rates[flow] += rise
            full = False
            for j in range(first[flow], first[flow + 1]):
                if share[j] > 0.0 and (
                    link[j] == tightest or spare[link[j]] <= 1e-9 * capacity[link[j]]
                ):
                    full = True
            if full:
                growing[flow] = 0
                left -= 1
                for j in range(first[flow], first[flow + 1]):
                    weight[link[j]] -= share[j]


@kernel
def drain(
    first: Int64Array,
    link: Int64Array,
    share: Float64Array,
    capacity: Float64Array,
    sizes: Float64Array,
    starts: Float64Array,
    finish: Float64Array,
) -> None:
    """When each flow of ``sizes`` bytes that starts at ``starts`` seconds has passed, fluid.

    Rates are max-min fair at any time and change where a flow starts or ends.
    """
    flows = len(sizes)
    rest = sizes.copy()
    active = np.zeros(flows, dtype=np.int64)
    done = np.zeros(flows, dtype=np.int64)
    rates = np.zeros(flows, dtype=np.float64)
    now = 0.0
    remaining = flows
    while remaining > 0:
        following = np.inf
        for flow in range(flows):
            if not done[flow] and not active[flow]:
                if starts[flow] <= now:
                    active[flow] = 1
                else:
                    following = min(following, starts[flow])
        max_min_rates(first, link, share, capacity, active, rates)
        ending = np.inf
        for flow in range(flows):
            if active[flow] and (rates[flow] > 0.0 or rest[flow] <= 0.0):
                need = rest[flow] / rates[flow] if rest[flow] > 0.0 else 0.0
                ending = min(ending, now + need)
        then = min(following, ending)
        if then == np.inf:
            break
        for flow in range(flows):
            if active[flow]:
                need = rest[flow] / rates[flow] if rest[flow] > 0.0 and rates[flow] > 0 else 0.0
                if rest[flow] <= 0.0 or (rates[flow] > 0 and now + need <= then * (1 + 1e-15)):
                    finish[flow] = then
                    active[flow] = 0
                    done[flow] = 1
                    rest[flow] = 0.0
                    remaining -= 1
                else:
                    rest[flow] -= rates[flow] * (then - now)
        now = then
