"""A run's course over time in at most 1,000 points, from what the loops counted on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.kernels import executor
from simulator.serving import course as columns
from simulator.serving import fields
from simulator.serving.population import mean_numbers
from simulator.serving.replica import Replica
from simulator.serving.results import RequestTable
from simulator.serving.work import PS_PER_S, added, by_plan, rates, work_weights
from simulator.timing.results import UNITS

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PoolTimeline:
    """What the chips of one pool did; every array is [points].

    ``busy_fraction`` is the share of time in iterations over the pool's replicas, ``kv_fraction``
    that of their blocks. ``utilization`` (by unit), ``mfu`` and ``mbu`` are shares of the time in
    iterations, as those of the whole run are, and 0 where nothing ran. ``flops`` and ``min_bytes``
    are those of each interval, whose sums are the run's.
    """

    busy_fraction: FloatArray
    kv_fraction: FloatArray
    utilization: dict[str, FloatArray]
    mfu: FloatArray
    mbu: FloatArray
    flops: FloatArray
    min_bytes: FloatArray


@dataclass(frozen=True, slots=True)
class Timeline:
    """Means over equal intervals (the first and the last may be shorter); every array is [points].

    ``time_s`` is the start of an interval, counted from the first arrival, ``duration_s`` its
    length. ``running`` requests have been scheduled and not completed, ``waiting`` ones have
    arrived and not been scheduled. ``tokens_per_s`` come out, ``computed_tokens_per_s`` go in;
    ``kv_fraction`` is of all blocks of all replicas, ``busy_fraction`` the share of time in
    iterations, over all replicas. ``pools`` are by role.
    """

    time_s: FloatArray
    duration_s: FloatArray
    running: FloatArray
    waiting: FloatArray
    kv_fraction: FloatArray
    tokens_per_s: FloatArray
    computed_tokens_per_s: FloatArray
    busy_fraction: FloatArray
    pools: dict[str, PoolTimeline]

    def rows(self) -> list[dict[str, Any]]:
        """One object a point, for JSON."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        shown["pools"] = {
            role: {
                "busy_fraction": pool.busy_fraction,
                "kv_fraction": pool.kv_fraction,
                "utilization": pool.utilization,
                "mfu": pool.mfu,
                "mbu": pool.mbu,
            }
            for role, pool in self.pools.items()
        }
        return _points(shown)


def timeline(
    pools: Mapping[str, Sequence[Replica]], table: RequestTable, start_ps: int
) -> Timeline | None:
    """Join what the replicas of each role did, those that no longer belong to it included.

    ``start_ps`` is the time of the first arrival on the replicas' clock. None where nothing ran.
    """
    groups = {role: [_Group.of(mine) for _, mine in by_plan(of)] for role, of in pools.items()}
    everyone = [group for mine in groups.values() for group in mine]
    width = max(group.width for group in everyone)
    if width == 0:
        return None
    for group in everyone:
        group.widen(width)
    replicas = [replica for of in pools.values() for replica in of]
    completed = table.status == 0
    end = int(table.completed_ps[completed].max()) + start_ps
    # what was lost to failures may have been computed later than any answer
    end = max(end, *(int(replica.counters[fields.LAST_END]) for replica in replicas))
    first, last = start_ps // width, (max(end, start_ps + 1) - 1) // width
    edges = np.arange(first, last + 2, dtype=np.int64) * width
    edges[0], edges[-1] = start_ps, max(end, start_ps + 1)
    for group in everyone:
        group.rows = group.rows[first : last + 1]
    span = np.diff(edges).astype(np.float64)
    total = added(group.rows for group in everyone)
    arrival, scheduled = table.arrival_ps[completed], table.scheduled_ps[completed]
    since = edges - start_ps
    return Timeline(
        time_s=since[:-1] / PS_PER_S,
        duration_s=span / PS_PER_S,
        running=mean_numbers(scheduled, table.completed_ps[completed], since),
        waiting=mean_numbers(arrival, scheduled, since),
        kv_fraction=total[:, columns.SUMS_FROM + fields.BLOCK_PS] / _room_ps(replicas, edges),
        tokens_per_s=total[:, columns.EMITTED] / (span / PS_PER_S),
        computed_tokens_per_s=total[:, columns.SUMS_FROM + fields.TOKEN_SUM] / (span / PS_PER_S),
        busy_fraction=_rounded(total[:, executor.TIME] / _time_ps(replicas, edges)),
        pools={role: _pool(groups[role], pools[role], edges) for role in pools},
    )


@dataclass(slots=True)
class _Group:
    """Replicas of one plan and role: their intervals of ``width`` ps, float64[points, SERIES]."""

    replicas: list[Replica]
    width: int
    rows: FloatArray

    @staticmethod
    def of(replicas: list[Replica]) -> _Group:
        tallies = [(replica.counters, replica.tally) for replica in replicas]
        return _Group(replicas, *columns.booked(replicas[0].course, tallies))

    def widen(self, width: int) -> None:
        """Join intervals until they are ``width`` long."""
        while self.width and self.width < width:
            joined = self.rows[::2] + self.rows[1::2]
            self.rows = np.concatenate((joined, np.zeros_like(joined)))
            self.width *= 2


def _pool(groups: list[_Group], replicas: Sequence[Replica], edges: Int64Array) -> PoolTimeline:
    points = len(edges) - 1
    flops, least, peak, stream = (np.zeros(points) for _ in range(4))
    for group in groups:
        plan = group.replicas[0].plan
        of_flops, of_bytes = work_weights(plan)
        counted = group.rows[:, [columns.ITERATED, *range(columns.SUMS_FROM, columns.SERIES)]]
        flops += counted @ of_flops
        need = counted @ of_bytes
        moved = group.rows[:, executor.BYTES] * plan.layout.chips
        # as in the total (``work.work_of``)
        least += need if need.sum() <= moved.sum() else moved
        at_peak, at_bandwidth = rates(plan)
        busy_s = group.rows[:, executor.TIME] / PS_PER_S
        peak += busy_s * at_peak
        stream += busy_s * at_bandwidth
    total = added(group.rows for group in groups)
    time = total[:, executor.TIME]
    busy = {name: _share(total[:, executor.BUSY + i], time) for i, name in enumerate(UNITS)}
    held = total[:, columns.SUMS_FROM + fields.BLOCK_PS]
    return PoolTimeline(
        busy_fraction=_rounded(_share(time, _time_ps(replicas, edges))),
        kv_fraction=_share(held, _room_ps(replicas, edges)),
        utilization=busy,
        mfu=_share(flops, peak),
        mbu=_share(least, stream),
        flops=flops,
        min_bytes=least,
    )


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    result: FloatArray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return result


def _rounded(shares: FloatArray) -> FloatArray:
    """Without the last digits of sums: 1 and not 1.0000000000000002, but 1.1 where it is so."""
    return np.round(shares, 12)


def _time_ps(replicas: Iterable[Replica], edges: Int64Array) -> FloatArray:
    """Time that replicas belonged to their pool, in each interval, summed over them."""
    return _owned([(replica, 1) for replica in replicas], edges)


def _room_ps(replicas: Iterable[Replica], edges: Int64Array) -> FloatArray:
    """As ``_time_ps``, times the blocks of their KV cache."""
    return _owned([(replica, replica.blocks) for replica in replicas], edges)


def _owned(weighted: Sequence[tuple[Replica, int]], edges: Int64Array) -> FloatArray:
    """The sum of weight x time in its pool over replicas, in each interval."""
    always = 0
    found = np.zeros(len(edges) - 1)
    for replica, weight in weighted:
        if replica.since_ps == 0 and replica.until_ps == fields.NO_HORIZON:
            always += weight
        else:
            inside = np.clip(edges, replica.since_ps, replica.until_ps)
            found += np.diff(inside).astype(np.float64) * weight
    return found + float(always) * np.diff(edges)


def _points(shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Nested arrays [points] as one nested object a point."""
    parts = [
        _points(values) if isinstance(values, Mapping) else values.tolist()
        for values in shown.values()
    ]
    return [dict(zip(shown, point, strict=True)) for point in zip(*parts, strict=True)]
