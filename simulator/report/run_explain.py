"""Explanations of figures to which several kinds of chip, or several pools, have contributed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simulator.report import explain as why
from simulator.report.explain import Explanation
from simulator.report.figures import bytes_text, percent, scaled

if TYPE_CHECKING:
    from simulator.hardware import System
    from simulator.serving.results import PoolResult, RunResult


def explain_pools(result: RunResult, systems: Mapping[str, Sequence[System]]) -> list[Explanation]:
    """What the chips of each pool did, after the figures of all; ``systems`` are by role.

    Of a pool with several kinds of system only what holds for each of them is explained.
    """
    found = [
        Explanation(
            "MFU",
            "FLOPs of the model / what all chips could have done in the time in iterations of "
            "their replicas",
            f"= {scaled(result.flops, 'FLOP')} / {_could(result.flops, result.mfu, 'FLOP')} = "
            f"{percent(result.mfu)}",
            {"flops": result.flops, "time_s": result.serving_s},
        ),
        Explanation(
            "MBU",
            "(weights + KV cache, each read once an iteration) / what the HBM of all chips could "
            "have moved in that time",
            f"= {bytes_text(result.min_bytes)} / {_could(result.min_bytes, result.mbu, 'B')} = "
            f"{percent(result.mbu)}",
            {"min_bytes": result.min_bytes, "time_s": result.serving_s},
        ),
    ]
    dtype = result.dtypes.get("activation", "bf16")
    for role, pool in result.pools.items():
        kinds = {system.name: system for system in systems[role]}
        of_pool = [
            why.units(pool.utilization, pool.serving_s, pool.chips // pool.replicas),
            why.bound(pool.bound_by, pool.serving_s),
        ]
        if len(kinds) == 1:
            of_pool = [*_of_chip(pool, next(iter(kinds.values())), dtype), *of_pool]
        found += [
            dataclasses.replace(entry, figure=f"{entry.figure} ({role})") for entry in of_pool
        ]
    return found


def _of_chip(pool: PoolResult, system: System, dtype: str) -> list[Explanation]:
    chip, each = system.chip, pool.chips // pool.replicas
    peak, bandwidth = chip.peak_flops_per_s(dtype), chip.hbm.bandwidth_bytes_per_s
    return [
        why.mfu(pool.mfu, pool.flops, pool.serving_s, peak, each, dtype),
        why.mbu(pool.mbu, pool.min_bytes, pool.serving_s, bandwidth, each),
        why.peak(chip, dtype),
        why.hbm_limit(chip),
        why.host(system),
        why.memory(pool.memory_bytes, system),
    ]


def _could(done: int, share: float, unit: str) -> str:
    return scaled(done / share if share else 0.0, unit)
