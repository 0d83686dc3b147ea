"""What a run took: energy and money of all chips of a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.hardware import System
from simulator.serving.pools import Pool
from simulator.serving.work import by_plan, work_of
from simulator.timing.energy import energy_j

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster


def kinds_of_chip(pools: Sequence[Pool]) -> list[System]:
    """One system of each kind of chip in the pools."""
    members = (member for pool in pools for member in pool.members)
    return list({m.plan.system.chip.name: m.plan.system for m in members}.values())


def energy_of(cluster: Cluster, simulated_s: float) -> float | None:
    """Joules of all chips: events of their replicas, and idle power for the whole run.

    None where a chip file states no energies.
    """
    members = [member for pool in cluster.deployment.pools for member in pool.members]
    total = 0.0
    for plan, mine in by_plan(cluster.replicas):
        work = work_of(mine)
        energy = energy_j(
            plan.system.chip,
            plan.dtypes.activation,
            flops=work.flops,
            vector_ops=work.vector_ops,
            sram_bytes=work.sram_bytes,
            traffic=work.traffic,
            chip_seconds=simulated_s * sum(m.chips for m in members if m.plan is plan),
        )
        if energy is None:
            return None
        total += energy
    return total


def cost_basis(pools: Sequence[Pool]) -> dict[str, str | None]:
    """What the price of each kind of chip is: ``rent``, ``ownership``, None where unsaid."""
    chips = (system.chip for system in kinds_of_chip(pools))
    return {c.name: c.price_basis for c in chips if c.price_usd_per_hour is not None}


def cost_of(pools: Sequence[Pool], simulated_s: float) -> float | None:
    """All chips for the whole run, in USD; None where a chip file states no price."""
    total = 0.0
    for member in (member for pool in pools for member in pool.members):
        price = member.plan.system.chip.price_usd_per_hour
        if price is None:
            return None
        total += price * member.chips * simulated_s / 3600
    return total
