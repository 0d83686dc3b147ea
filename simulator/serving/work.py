"""What replicas did in their iterations, and what their chips could have done meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.kernels import executor
from simulator.serving import fields
from simulator.serving.population import exact_sum
from simulator.serving.replica import Replica
from simulator.timing import step
from simulator.timing.plan import Plan
from simulator.timing.results import CAUSES, UNITS

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

PS_PER_S = 1e12
"""Divide by it: quotients are rounded correctly, products with 1e-12 are not."""

_WAYS = ("hbm_read", "hbm_write", "fabric")


@dataclass(frozen=True, slots=True)
class Work:
    """What some replicas did: sums over their iterations, and what their chips could have done.

    ``peak`` are FLOPs at peak rate, ``stream`` bytes at HBM bandwidth, both in the time in
    iterations; ``room_ps`` is KV blocks x time.
    """

    totals: list[int]
    sums: FloatArray
    counters: Int64Array
    flops: int
    min_bytes: int
    peak: float
    stream: float
    room_ps: float
    peak_fraction: float
    vector_ops: float
    sram_bytes: float
    traffic: dict[str, int]

    @property
    def serving_s(self) -> float:
        """Time in iterations, summed over replicas."""
        return int(self.totals[executor.TIME]) / PS_PER_S

    @property
    def iterations(self) -> int:
        """Iterations of all replicas."""
        return int(self.counters[fields.ITERATIONS])

    @property
    def mfu(self) -> float:
        """FLOPs of the model over those at peak rate."""
        return self.flops / self.peak if self.peak else 0.0

    @property
    def mbu(self) -> float:
        """Least bytes over those at HBM bandwidth."""
        return self.min_bytes / self.stream if self.stream else 0.0

    def mean(self, field: int) -> float:
        """A running sum over the number of iterations."""
        return float(self.sums[field]) / max(1, self.iterations)

    @property
    def kv(self) -> dict[str, float]:
        """How full the KV cache was, at most and in the mean over the time in iterations."""
        held = float(self.sums[fields.BLOCK_PS])
        return {"peak_fraction": self.peak_fraction, "mean_fraction": held / max(1.0, self.room_ps)}


def work_of(replicas: Sequence[Replica]) -> Work:
    """Sums over replicas, whatever their plans."""
    # most of a large deployment may never have run: there is nothing to add
    ran = [r for r in replicas if r.counters[fields.ITERATIONS]] or replicas[:1]
    flops, least, peak, stream, vector_ops, sram_bytes = 0, 0, 0.0, 0.0, 0.0, 0.0
    traffic = dict.fromkeys(_WAYS, 0)
    # pool by pool, so that the figures of pools add up to those of all
    pools = ([r for r in ran if r.prefills == prefills] for prefills in (True, False))
    for plan, mine in (group for pool in pools for group in by_plan(pool)):
        own = _totals(mine)
        sums = added(r.sums for r in mine)
        iterations = sum(int(r.counters[fields.ITERATIONS]) for r in mine)
        done, need = model_work(plan, sums, iterations)
        flops += done
        chips = plan.layout.chips
        at_peak, at_bandwidth = rates(plan)
        busy = own[executor.TIME] / PS_PER_S
        peak += busy * at_peak
        stream += busy * at_bandwidth
        moved = [own[executor.BYTES + index] * chips for index in range(len(_WAYS))]
        for way, size in zip(_WAYS, moved, strict=True):
            traffic[way] += size
        # skewed loads meet fewer experts, and windows keep fewer keys: the prices know how many
        least += min(need, moved[0])
        vector_ops += step.vector_ops(plan, own) * chips
        sram_bytes += step.sram_bytes(plan, own) * chips
    return Work(
        totals=_totals(ran),
        sums=added(r.sums for r in ran),
        counters=added(r.counters for r in ran),
        flops=flops,
        min_bytes=least,
        peak=peak,
        stream=stream,
        room_ps=sum(float(r.totals[executor.TIME]) * r.blocks for r in ran),
        peak_fraction=max(int(r.counters[fields.PEAK_BLOCKS]) / r.blocks for r in ran),
        vector_ops=vector_ops,
        sram_bytes=sram_bytes,
        traffic=traffic,
    )


def by_plan(replicas: Iterable[Replica]) -> list[tuple[Plan, list[Replica]]]:
    """Replicas with the same plan together, in the order of their first."""
    groups: dict[int, tuple[Plan, list[Replica]]] = {}
    for replica in replicas:
        groups.setdefault(id(replica.plan), (replica.plan, []))[1].append(replica)
    return list(groups.values())


def rates(plan: Plan) -> tuple[float, float]:
    """(FLOP/s, bytes/s) of the chips of one replica at their peak."""
    chip, chips = plan.system.chip, plan.layout.chips
    peak = chips * chip.peak_flops_per_s(plan.dtypes.activation)
    return peak, chips * chip.hbm.bandwidth_bytes_per_s


def shares(totals: Sequence[int]) -> tuple[dict[str, float], dict[str, float]]:
    """(utilization by unit, time by cause) as fractions of the time in iterations."""
    time = max(1, totals[executor.TIME])
    busy = {name: int(totals[executor.BUSY + i]) / time for i, name in enumerate(UNITS)}
    causes = {name: int(totals[executor.CAUSES + i]) / time for i, name in enumerate(CAUSES)}
    return busy, causes


def model_work(plan: Plan, sums: FloatArray, iterations: int) -> tuple[int, int]:
    """(flops, bytes of weights and KV read once) of all iterations; see ``Transformer.flops``."""
    model = plan.model
    tokens, logits = int(sums[fields.TOKEN_SUM]), int(sums[fields.LOGIT_SUM])
    windowed = int(sums[fields.WINDOW_PAIRS]) if model.window is not None else None
    flops = model.flops(tokens, logits, int(sums[fields.PAIR_SUM]), windowed)
    # an iteration reads no expert that none of its tokens can have met: one token meets few, every
    # other one as many more, until all are met
    least, most = model.active_matmul_parameters, model.matmul_parameters
    others = int(sums[fields.MEETING_SUM]) - iterations
    weights = least * iterations
    weights += (most - least) * others // max(1, model.tokens_of_all_experts - 1)
    weights += model.head_parameters * int(sums[fields.LOGIT_ITERATIONS])
    cached = 0
    for layer, count in model.each_layer():
        seen = fields.PAST_SUM if layer.attention.window is None else fields.WINDOW_PAST
        cached += count * layer.attention.kv_elements_per_token * int(sums[seen])
    return flops, plan.dtypes.stored_bytes(weights, cached)


def work_weights(plan: Plan) -> tuple[FloatArray, FloatArray]:
    """What an iteration, and one of each running sum, add to the two figures of ``model_work``.

    Both are linear in those numbers. float64[1 + SUMS] each.
    """
    # large enough that nothing is rounded
    unit = 8 * max(1, plan.model.tokens_of_all_experts - 1)
    flops, least = np.zeros(1 + fields.SUMS), np.zeros(1 + fields.SUMS)
    for column in range(1 + fields.SUMS):
        row = np.zeros(1 + fields.SUMS)
        row[column] = unit
        done, need = model_work(plan, row[1:], int(row[0]))
        flops[column], least[column] = done / unit, need / unit
    return flops, least


def added(parts: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The sum of arrays of the same shape, of which there is one at least, in their order."""
    iterator = iter(parts)
    total = next(iterator).copy()
    for part in iterator:
        total += part
    return total


def _totals(replicas: Sequence[Replica]) -> list[int]:
    """The totals of all iterations of some replicas; together they may leave 64 bits."""
    rows = np.stack([r.totals for r in replicas])
    return [exact_sum(rows[:, field]) for field in range(executor.TOTAL_FIELDS)]
