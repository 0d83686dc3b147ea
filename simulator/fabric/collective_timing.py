"""What is known of a priced collective, with the bandwidths of nccl-tests."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.fabric.parts import Op
from simulator.fabric.schedule import Breakdown, Schedule, ceil_div


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another algorithm, with the fastest protocol for it.

    ``offered_by`` is ``library`` where the collective library has it, ``engine`` where the
    serving engine has it for this size, and ``none`` where it is what the links would allow.
    """

    algorithm: str
    time_s: float
    offered_by: str = "library"


@dataclass(frozen=True, slots=True)
class CollectiveTiming:
    """One collective among ``ranks``; bandwidths as nccl-tests defines them (PERFORMANCE.md).

    ``bytes_per_link_max`` is what the busiest link or port carries in one direction for this
    collective, ``bytes_on_wire`` what all links carry together.
    """

    op: str
    size_bytes: int
    ranks: int
    concurrent: int
    time_ps: int
    algorithm: str
    protocol: str
    steps: int
    bytes_per_link_max: int
    bytes_on_wire: int
    algorithm_bandwidth_bytes_per_s: float
    bus_bandwidth_bytes_per_s: float
    link_utilization: float
    bound_by: str
    alternatives: tuple[Alternative, ...]
    latency_ps: int = 0
    link_ps: int = 0
    injection_ps: int = 0
    reduction_ps: int = 0
    offered_by: str = "library"

    @property
    def time_s(self) -> float:
        """Seconds."""
        return self.time_ps / 1e12


def bus_factor(op: Op, ranks: int) -> tuple[int, int]:
    """Bus bandwidth over algorithm bandwidth (nccl-tests, doc/PERFORMANCE.md) as a fraction."""
    if op == "all-reduce":
        return 2 * (ranks - 1), ranks
    if op in ("all-gather", "reduce-scatter", "all-to-all"):
        return ranks - 1, ranks
    return 1, 1


def timing_of(
    op: Op,
    size: int,
    ranks: int,
    concurrent: int,
    parts: Breakdown,
    schedule: Schedule,
    others: tuple[Alternative, ...],
) -> CollectiveTiming:
    """The figures of a priced schedule."""
    total = parts.total_ps
    bandwidth = size * 1e12 / total if total else 0.0
    num, den = bus_factor(op, ranks)
    causes = {
        "latency": parts.latency_ps,
        "link": parts.link_ps,
        "injection": parts.injection_ps,
        "reduction": parts.reduction_ps,
    }
    busy = parts.link_ps + parts.injection_ps
    if schedule.link_rate:
        # a protocol that keeps a link waiting does not use it
        busy = min(busy, ceil_div(parts.link_bytes * 10**12, schedule.link_rate))
    return CollectiveTiming(
        op=op,
        size_bytes=size,
        ranks=ranks,
        concurrent=concurrent,
        time_ps=total,
        algorithm=schedule.algorithm,
        protocol=schedule.protocol,
        steps=schedule.steps,
        bytes_per_link_max=ceil_div(parts.link_bytes, concurrent),
        bytes_on_wire=ceil_div(size * schedule.wire_num, schedule.wire_den),
        algorithm_bandwidth_bytes_per_s=bandwidth,
        bus_bandwidth_bytes_per_s=bandwidth * num / den,
        link_utilization=busy / total if total else 0.0,
        bound_by=max(causes, key=lambda name: causes[name]),
        alternatives=others,
        latency_ps=parts.latency_ps,
        link_ps=parts.link_ps,
        injection_ps=parts.injection_ps,
        reduction_ps=parts.reduction_ps,
    )


def no_collective(op: Op, size: int, concurrent: int) -> CollectiveTiming:
    """A collective among one rank: nothing moves and nothing is launched."""
    return CollectiveTiming(
        op, size, 1, concurrent, 0, "none", "none", 0, 0, 0, 0.0, 0.0, 0.0, "latency", ()
    )
