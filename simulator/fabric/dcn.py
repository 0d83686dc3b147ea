"""Transfers between the groups of a hierarchy: pods on the data-centre network, nodes of GPUs.

Groups meet in a non-blocking spine, so a transfer between two of them is limited by the uplinks of
both; upgrading one group's uplinks helps it with every other that is at least as fast. A group that
is fully connected to the others has a link of its own to each.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from simulator.errors import InfeasibleError, InputError
from simulator.fabric.flows import Flow, finish_times
from simulator.fabric.parts import rate_of
from simulator.fabric.schedule import PS_PER_S
from simulator.hardware.fabric import Fabric


@dataclass(frozen=True, slots=True)
class Transfer:
    """``size_bytes`` from group ``source`` to group ``target``, spread over all their chips."""

    source: int
    target: int
    size_bytes: int


def parse_transfer(fabric: Fabric, text: str, size_bytes: int) -> Transfer:
    """The transfer that ``0-3`` stands for.

    Raises:
        InputError: the fabric has no groups, or the text does not name two of them.
    """
    if fabric.outer is None:
        raise InputError(
            f"--transfer {text[:40]}: a {fabric.kind} has no groups",
            hint="only hierarchies have, as h100:8x2 or tpu-v7x:16x24x24x16",
        )
    groups = fabric.outer.chips
    ends = text.split("-")
    if len(ends) != 2 or not all(
        end.isascii() and end.isdigit() and len(end) < 6 and int(end) < groups for end in ends
    ):
        raise InputError(
            f"--transfer: found '{text[:40]}', expected two groups from 0 to {groups - 1}, as 0-1"
        )
    source, target = int(ends[0]), int(ends[1])
    if source == target:
        raise InputError(
            f"--transfer: found '{text[:40]}', one group twice: a transfer goes to another group"
        )
    if size_bytes == 0:
        raise InputError(f"--transfer {text[:40]}: found 0 bytes, expected a positive size")
    return Transfer(source, target, size_bytes)


def transfers_ps(
    fabric: Fabric, transfers: Sequence[Transfer], ports: Sequence[int] = ()
) -> list[int]:
    """When transfers that start together have arrived; what they share is shared max-min fairly.

    ``ports[g]`` are the chips of group g that have their port to the others left; all where none
    are given. A transfer inside a group does not touch the network and takes no time on it.

    Raises:
        InputError: the fabric has no groups.
        InfeasibleError: a group has lost all its chips.
    """
    inner, outer = fabric.inner, fabric.outer
    if inner is None or outer is None:
        raise InputError(f"a {fabric.kind} has no network between groups")
    left = list(ports) or [inner.chips] * outer.chips
    gone = [t for t in transfers if not left[t.source] or not left[t.target]]
    if gone:
        lost = gone[0].source if not left[gone[0].source] else gone[0].target
        raise InfeasibleError(f"group {lost} is lost: nothing can be transferred to or from it")
    share = Fraction(max(rate_of(outer, protocol) for protocol in outer.protocols))
    share /= outer.link_bandwidth_bytes_per_s
    capacities: dict[Hashable, float] = {}
    flows = []
    for each in transfers:
        links: list[Hashable] = []
        if each.source != each.target:
            links = _links(fabric, each)
            for link in links:
                capacities[link] = float(share * _rate(outer, left, link))
        flows.append(Flow(tuple(links), each.size_bytes))
    ends = finish_times(flows, capacities)
    return [
        round(end * PS_PER_S) + (outer.hop_latency_ps if each.source != each.target else 0)
        for end, each in zip(ends, transfers, strict=True)
    ]


def _links(fabric: Fabric, each: Transfer) -> list[Hashable]:
    assert fabric.outer is not None
    if fabric.outer.kind == "fully-connected":
        return [("pair", each.source, each.target)]
    return [("up", each.source), ("down", each.target)]


def _rate(outer: Fabric, ports: Sequence[int], link: Hashable) -> int:
    """Bytes a second: of the uplinks of a group, or of the cables between two."""
    assert isinstance(link, tuple)
    if link[0] == "pair":
        return outer.link_bandwidth_bytes_per_s * min(ports[link[1]], ports[link[2]])
    rates = outer.uplinks or (outer.link_bandwidth_bytes_per_s,) * outer.chips
    return int(rates[link[1]] * ports[link[1]])
