"""Algorithms where any two chips are one pass apart: switches, PCIe, fully connected links.

n ranks, a buffer of S bytes in each (for an all-gather: of the result), m = S/n. A chip of a
switch has one port, so messages to several peers follow each other on it; in a fully connected
domain each peer has its own link.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from simulator.fabric.parts import Op, Step, assemble, passes, reduces
from simulator.fabric.schedule import Schedule
from simulator.hardware.fabric import Fabric, Protocol


def switched_schedules(fabric: Fabric, op: Op, protocol: Protocol) -> list[Schedule]:
    """Every algorithm that the operation has with one protocol."""
    n = fabric.chips
    found: list[Schedule] = []
    if op in ("all-reduce", "all-gather", "reduce-scatter"):
        found.append(_ring(fabric, op, protocol, n))
        found.append(_direct(fabric, op, protocol, n))
        if n & (n - 1) == 0:
            found.append(_halving_doubling(fabric, op, protocol, n))
        if op == "all-reduce":
            found.append(_tree(fabric, op, protocol, n))
        if op == "all-reduce" and _switch_reduces(fabric, n):
            found.append(_in_network(fabric, op, protocol, n))
    elif op == "all-to-all":
        found.append(_exchange(fabric, protocol, n))
    elif op == "broadcast":
        found.append(_tree(fabric, op, protocol, n))
        found.append(_scatter_gather(fabric, protocol, n))
        if _switch_reduces(fabric, n):
            found.append(_in_network(fabric, op, protocol, n))
    else:
        one = [Step(1, 1, Fraction(1))]
        if op == "p2p":
            # a message alone shares with nobody
            fabric = replace(fabric, shared_from=n + 1)
        found.append(
            assemble(fabric, protocol, "direct", one, Fraction(n if op == "permute" else 1))
        )
    return found


def _switch_reduces(fabric: Fabric, n: int) -> bool:
    return fabric.in_network_efficiency > 0 and n >= fabric.in_network_from


def _ring(fabric: Fabric, op: Op, protocol: Protocol, n: int) -> Schedule:
    """(n-1) steps of m each way: Patarasuk and Yuan, 2009."""
    m = Fraction(1, n)
    steps = []
    if reduces(op):
        steps.append(Step(n - 1, 1, m, reduced=m))
    if op != "reduce-scatter":
        steps.append(Step(n - 1, 1, m))
    wire = Fraction(passes(op) * (n - 1))
    return assemble(fabric, protocol, "ring", steps, wire, copied=m)


def _direct(fabric: Fabric, op: Op, protocol: Protocol, n: int) -> Schedule:
    """Everybody sends to everybody at once; the sums wait for the last arrival only."""
    m = Fraction(1, n)
    out = _to_all(fabric, n, m)
    steps = []
    if reduces(op):
        steps.append(Step(1, 1, out.share, m, out.resource, n - 1))
    if op != "reduce-scatter":
        steps.append(Step(1, 1, out.share, resource=out.resource, peers=n - 1))
    return assemble(fabric, protocol, "direct", steps, Fraction(passes(op) * (n - 1)), copied=m)


def _to_all(fabric: Fabric, n: int, m: Fraction) -> Step:
    """One step that sends m to each of n-1 peers."""
    if fabric.kind == "fully-connected":
        return Step(1, 1, m)
    return Step(1, 1, (n - 1) * m, resource="injection")


def _exchange(fabric: Fabric, protocol: Protocol, n: int) -> Schedule:
    m = Fraction(1, n)
    out = _to_all(fabric, n, m)
    step = Step(1, 1, out.share, resource=out.resource, peers=n - 1)
    rate = None
    if fabric.is_switched and protocol.peer_bytes_per_s:
        # the channels to the peers work side by side; together they may not exceed the port
        port = int(fabric.link_bandwidth_bytes_per_s * protocol.efficiency)
        rate = max(1, min(port, (n - 1) * protocol.peer_bytes_per_s))
    return assemble(fabric, protocol, "direct", [step], Fraction(n - 1), copied=m, rate=rate)


def _halving_doubling(fabric: Fabric, op: Op, protocol: Protocol, n: int) -> Schedule:
    """log2 n exchanges, each of half as much: Thakur, Rabenseifner and Gropp, 2005.

    Of the sums only what the next exchange sends on is waited for; the rest overlaps with it.
    """
    rounds = n.bit_length() - 1
    halves = [Fraction(1, 2**k) for k in range(1, rounds + 1)]
    steps = []
    if reduces(op):
        steps += [
            Step(1, 1, half, half / 2 if half != halves[-1] else Fraction(0)) for half in halves
        ]
    if op != "reduce-scatter":
        steps += [Step(1, 1, half) for half in reversed(halves)]
    wire = Fraction(passes(op) * (n - 1))
    return assemble(fabric, protocol, "halving-doubling", steps, wire, copied=Fraction(1, n))


def _tree(fabric: Fabric, op: Op, protocol: Protocol, n: int) -> Schedule:
    """A binomial tree: the whole buffer up (all-reduce) and down, in ceil(log2 n) steps each."""
    rounds = (n - 1).bit_length()
    whole = Fraction(1)
    steps = [Step(rounds, 1, whole, reduced=whole)] if op == "all-reduce" else []
    steps.append(Step(rounds, 1, whole))
    wire = Fraction(passes(op) * (n - 1))
    return assemble(fabric, protocol, "tree", steps, wire)


def _scatter_gather(fabric: Fabric, protocol: Protocol, n: int) -> Schedule:
    """The root scatters, all gather: van de Geijn's broadcast of large messages."""
    m = Fraction(1, n)
    out = _to_all(fabric, n, m)
    scatter = Step(1, 1, out.share, resource=out.resource)
    if fabric.kind == "fully-connected":
        return assemble(
            fabric, protocol, "direct", [scatter, Step(1, 1, m)], Fraction((n - 1) * (n + 1), n)
        )
    wire = Fraction(n - 1, n) + (n - 1)
    return assemble(fabric, protocol, "ring", [scatter, Step(n - 1, 1, m)], wire)


def _in_network(fabric: Fabric, op: Op, protocol: Protocol, n: int) -> Schedule:
    """The switch adds and multicasts: two passes of S + m through each port, or one of S.

    A chip reads its nth of the sums while all others read theirs from it (S out, m in), then
    writes it once for all (m out, S in); both directions carry S (n+1)/n. NVLink SHARP works so.
    """
    share = Fraction(n + 1, n) if op == "all-reduce" else Fraction(1)
    rate = max(1, int(fabric.link_bandwidth_bytes_per_s * fabric.in_network_efficiency))
    # two passes at half the bytes each, so that a pass is a step with its latency
    count = passes(op)
    steps = [Step(count, 1, share / count, resource="injection")]
    wire = share * n if op == "all-reduce" else Fraction(n)
    own = Protocol(protocol.name, startup_ps=fabric.in_network_startup_ps)
    return assemble(fabric, own, "in-network", steps, wire, rate=rate)
