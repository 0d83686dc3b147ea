"""The data-centre network: aggregation blocks of pods, each with uplinks of its own rate.

Blocks meet in a non-blocking spine, so a flow between two of them is limited by the uplinks of
both; upgrading one block's uplinks helps it with every other block that is at least as fast.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from simulator.errors import InputError
from simulator.fabric.schedule import PS_PER_S, ceil_div
from simulator.hardware.fabric import Fabric

MAX_CHIPS = 147_456
"""Sixteen pods of 9,216 chips."""


@dataclass(frozen=True, slots=True)
class Dcn:
    """``uplinks[b]`` bytes a second and direction of block b, which has ``chips_per_block`` chips.

    ``latency_ps`` is one way from block to block.
    """

    uplinks: tuple[int, ...]
    chips_per_block: int
    latency_ps: int = 0

    def __post_init__(self) -> None:
        """Raises InputError for fewer than one block, too many chips, or a rate that is not > 0."""
        chips = len(self.uplinks) * self.chips_per_block
        if not 1 <= chips <= MAX_CHIPS:
            raise InputError(f"the network has {chips} chips, expected 1 to {MAX_CHIPS}")
        if min(self.uplinks) <= 0 or self.latency_ps < 0:
            raise InputError("uplinks need a rate above 0, and latencies are not negative")

    def upgraded(self, block: int, rate: int) -> Dcn:
        """The network after one block's uplinks were replaced.

        Raises:
            InputError: there is no such block, or the rate is not above 0.
        """
        if not 0 <= block < len(self.uplinks):
            raise InputError(f"there is no block {block}, expected 0 to {len(self.uplinks) - 1}")
        uplinks = (*self.uplinks[:block], rate, *self.uplinks[block + 1 :])
        return Dcn(uplinks, self.chips_per_block, self.latency_ps)


def network_of(fabric: Fabric) -> Dcn:
    """The network between the groups of a hierarchy; a block's uplinks are those of its chips.

    Raises:
        InputError: the fabric is no hierarchy, or is larger than the network can be.
    """
    inner, outer = fabric.inner, fabric.outer
    if inner is None or outer is None:
        raise InputError(f"a {fabric.kind} has no network between groups")
    rates = outer.uplinks or (outer.link_bandwidth_bytes_per_s,) * outer.chips
    uplinks = tuple(rate * inner.chips for rate in rates)
    return Dcn(uplinks, inner.chips, outer.hop_latency_ps)


def exchange_ps(dcn: Dcn, size: int) -> int:
    """An all-to-all of ``size`` bytes a chip over all blocks: the slowest uplinks set the time."""
    blocks = len(dcn.uplinks)
    if blocks == 1:
        return 0
    leaving = ceil_div(size * dcn.chips_per_block * (blocks - 1), blocks)
    return dcn.latency_ps + ceil_div(leaving * PS_PER_S, min(dcn.uplinks))


def all_reduce_ps(dcn: Dcn, size: int) -> int:
    """An all-reduce of ``size`` bytes that are spread over each block's chips.

    Each block sends and receives twice (blocks - 1) / blocks of it over its uplinks, direct.
    """
    blocks = len(dcn.uplinks)
    if blocks == 1:
        return 0
    once = ceil_div(ceil_div(size * (blocks - 1), blocks) * PS_PER_S, min(dcn.uplinks))
    return 2 * (dcn.latency_ps + once)


def transfers_ps(dcn: Dcn, pairs: Sequence[tuple[int, int, int]]) -> list[int]:
    """When transfers (source block, target block, bytes) that start together have arrived.

    They share uplinks and downlinks max-min fairly.
    """
    from simulator.fabric.flows import Flow, finish_times

    capacities: dict[Hashable, float] = {
        (way, block): float(rate)
        for block, rate in enumerate(dcn.uplinks)
        for way in ("up", "down")
    }
    flows = [
        Flow((("up", source), ("down", target)) if source != target else (), size)
        for source, target, size in pairs
    ]
    ends = finish_times(flows, capacities)
    return [
        round(end * PS_PER_S) + (dcn.latency_ps if source != target else 0)
        for end, (source, target, _) in zip(ends, pairs, strict=True)
    ]
