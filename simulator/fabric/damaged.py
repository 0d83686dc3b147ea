"""The time of a collective on a fabric that has lost chips or links.

An all-to-all is routed link by link, single messages as flows (``detours``). What every chip has
to get (all-gather, reduce-scatter, all-reduce, broadcast) can be packed into spanning trees that
fill the least cut (Edmonds, 1973; Zhao et al., "ForestColl", 2024): n chips need (n-1) shards over
c links, c being the fewest that cut any chip off. Where no larger part hangs on fewer links than
the least connected chip, that is exact in bandwidth; elsewhere it is a lower bound, and the answer
says so.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from simulator.fabric.collectives import price_collective
from simulator.fabric.detours import messages
from simulator.fabric.grid import exchange_load
from simulator.fabric.links import LinkGraph, LinkLoads, link_graph
from simulator.fabric.parts import Op, passes
from simulator.fabric.schedule import ceil_div
from simulator.hardware.fabric import Fabric
from simulator.kernels.fabric_cut import least_cut

_CUT_CHIPS = 4096
"""Least cuts of larger fabrics are not searched for."""


def traffic_ps(
    fabric: Fabric, graph: LinkGraph, loads: LinkLoads, op: Op, size: int, port: Fraction
) -> tuple[int, float, str]:
    """(picoseconds, shares on the busiest link, note) of the traffic on a perhaps damaged graph.

    ``port`` is the share of a switched chip's links that is left. The note is empty for an
    undamaged fabric.
    """
    chips = int(graph.alive.sum())
    if chips <= 1:
        return 0, 0.0, ""
    whole = link_graph(fabric)
    if fabric.is_switched and chips < fabric.chips:
        fabric = replace(fabric, axes=(chips,))
        graph = whole = link_graph(fabric)
    if op == "all-to-all" and (
        fabric.is_grid or (fabric.kind == "fully-connected" and graph is not whole)
    ):
        return _exchange(fabric, loads, size, chips)
    if op in ("p2p", "permute") and graph is not whole and not fabric.is_switched:
        found = messages(graph, op)
        note = f"{op} after the failures: over all minimal paths that are left, links shared fairly"
        return found.time_ps(fabric, size), found.load * fabric.chips, note
    timing = price_collective(fabric, op, size)
    moving = timing.link_ps + timing.injection_ps
    shares = timing.bytes_per_link_max * fabric.chips / size if size else 0.0
    if graph is whole or fabric.is_switched:
        # all of a switched chip's traffic passes the links that it has left
        slower = 1 / port
        return timing.time_ps + int(moving * (slower - 1)), shares * float(slower), ""
    slower, note = _slower(graph, whole, op)
    detour = max(0, loads.diameter - _diameter(fabric)) * passes(op) * fabric.hop_latency_ps
    return timing.time_ps + detour + int(moving * (slower - 1)), shares * float(slower), note


def _exchange(fabric: Fabric, loads: LinkLoads, size: int, chips: int) -> tuple[int, float, str]:
    """An all-to-all from the loads of its links."""
    base = price_collective(fabric, "all-to-all", 0, algorithm="direct").time_ps
    load = Fraction(loads.busiest).limit_denominator(10**6)
    carried = ceil_div(size * load.numerator, chips * load.denominator)
    efficiency = max(protocol.efficiency for protocol in fabric.protocols)
    rate = max(1, int(fabric.link_bandwidth_bytes_per_s * efficiency))
    hops = (loads.diameter - _diameter(fabric)) * fabric.hop_latency_ps
    return base + hops + ceil_div(carried * 10**12, rate), float(load), ""


def _diameter(fabric: Fabric) -> int:
    return exchange_load(fabric)[2] if fabric.is_grid else 1


def _slower(graph: LinkGraph, whole: LinkGraph, op: Op) -> tuple[Fraction, str]:
    """How much longer the bytes of a collective take on the damaged graph, and what that is."""
    before, after = _lanes(whole), max(1, _lanes(graph))
    living = np.nonzero(graph.alive)[0].astype(np.int64)
    known = len(living) <= _CUT_CHIPS
    cut = int(least_cut(graph.neighbour, living, after)) if known else after
    slower = Fraction(before, cut if op == "broadcast" else after)
    if op != "broadcast":
        slower *= Fraction(len(living) - 1, len(living)) / Fraction(whole.chips - 1, whole.chips)
    exact = known and (cut == after or op == "broadcast")
    kind = (
        "what the best packing of trees reaches"
        if exact
        else "a lower bound, from the links that the least connected chip has left"
    )
    return max(Fraction(1), slower), f"{op} after the failures: {kind}"


def _lanes(graph: LinkGraph) -> int:
    """Links of the least connected living chip."""
    chips = graph.neighbour[: graph.chips][graph.alive]
    return int(np.count_nonzero(chips >= 0, axis=1).min())
