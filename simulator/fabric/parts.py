"""What the algorithms of all topologies share: names, and steps put together into schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from simulator.fabric.schedule import Phase, Resource, Schedule
from simulator.hardware.fabric import Fabric, Protocol

Op = Literal[
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast", "p2p", "permute"
]
OPS: tuple[Op, ...] = get_args(Op)

ALGORITHMS = (
    "ring",
    "bidirectional-ring",
    "multi-axis",
    "halving-doubling",
    "tree",
    "direct",
    "in-network",
    "hierarchical",
    "one-shot",
    "two-shot",
)

PERSONAL: tuple[Op, ...] = ("all-to-all", "p2p", "permute")
"""Operations where each byte has one receiver; libraries send them as plain messages."""

NONE = Fraction(0)


@dataclass(frozen=True, slots=True)
class Step:
    """``steps`` equal steps: hops of each, and shares of the buffer on a link and reduced.

    ``share`` counts what the busiest link carries; ``peers`` to how many others at once.
    """

    steps: int
    hops: int
    share: Fraction
    reduced: Fraction = NONE
    resource: Resource = "link"
    peers: int = 1


def rate_of(fabric: Fabric, protocol: Protocol, peers: int = 0) -> int:
    """Payload bytes a second of one link; limited by the channels to ``peers`` if those are.

    Where all chips share a bridge, each of as many messages gets its part of that.
    """
    rate = max(1, int(fabric.link_bandwidth_bytes_per_s * protocol.efficiency))
    if fabric.shared_bytes_per_s and fabric.chips >= fabric.shared_from:
        rate = max(1, min(rate, fabric.shared_bytes_per_s // fabric.chips))
    if peers and protocol.peer_bytes_per_s:
        rate = max(1, min(rate, peers * protocol.peer_bytes_per_s))
    return rate


def assemble(
    fabric: Fabric,
    protocol: Protocol,
    algorithm: str,
    steps: Sequence[Step],
    wire: Fraction,
    copied: Fraction = NONE,
    rate: int | None = None,
) -> Schedule:
    """A schedule from its steps; ``copied`` is the share that a chip moves within itself."""
    per_step = protocol.step_latency_ps + fabric.endpoint_delay_ps
    count = sum(step.steps for step in steps)
    phases = [
        Phase(
            steps=step.steps,
            latency_ps=step.hops * fabric.hop_latency_ps + per_step,
            link_num=step.share.numerator,
            link_den=step.share.denominator,
            rate=rate or rate_of(fabric, protocol, step.peers if step.peers > 1 else 0),
            reduce_num=step.reduced.numerator,
            reduce_den=step.reduced.denominator,
            reduce_rate=fabric.reduce_bytes_per_s,
            resource=step.resource,
            fill_ps=protocol.fill_ps * step.steps // count,
        )
        for step in steps
        if step.steps > 0
    ]
    if copied and fabric.copy_bytes_per_s:
        copy = (copied.numerator, copied.denominator, fabric.copy_bytes_per_s)
        phases.append(Phase(1, 0, 0, 1, 1, *copy))
    return Schedule(
        algorithm=algorithm,
        protocol=protocol.name,
        fixed_ps=fabric.collective_overhead_ps + protocol.startup_ps + fabric.endpoint_delay_ps,
        phases=tuple(phases),
        wire_num=wire.numerator,
        wire_den=wire.denominator,
        link_rate=fabric.link_bandwidth_bytes_per_s,
    )


def passes(op: Op) -> int:
    """An all-reduce is a reduce-scatter and an all-gather."""
    return 2 if op == "all-reduce" else 1


def reduces(op: Op) -> bool:
    """Whether the operation adds what arrives."""
    return op in ("all-reduce", "reduce-scatter")
