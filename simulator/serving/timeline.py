"""A run's course over time in at most 1,000 points, from what the loops counted on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.serving import accumulators as acc
from simulator.serving.population import mean_numbers
from simulator.serving.results import RequestTable

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Means over equal intervals (the last one may be shorter); every array is [points].

    ``time_s`` is the start of an interval, counted from the first arrival. ``running`` requests
    have been scheduled and not completed, ``waiting`` ones have arrived and not been scheduled.
    ``tokens_per_s`` come out, ``computed_tokens_per_s`` go in; ``kv_fraction`` is of all blocks of
    all replicas, ``busy_fraction`` the share of time in iterations, over all replicas.
    """

    time_s: FloatArray
    running: FloatArray
    waiting: FloatArray
    kv_fraction: FloatArray
    tokens_per_s: FloatArray
    computed_tokens_per_s: FloatArray
    busy_fraction: FloatArray

    def rows(self) -> list[dict[str, float]]:
        """One object a point, for JSON."""
        names = self.__slots__
        columns = [getattr(self, name).tolist() for name in names]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def timeline(
    sums: Sequence[FloatArray],
    blocks: Sequence[int],
    table: RequestTable,
    start_ps: int,
) -> Timeline | None:
    """Join the replicas' intervals; ``sums`` are those that ran, ``blocks`` (of KV cache) all.

    ``start_ps`` is the time of the first arrival on the replicas' clock. None where nothing ran.
    """
    tails = [part[len(part) - acc.TIMELINE_FIELDS :] for part in sums]
    width = max((int(tail[acc.WIDTH]) for tail in tails), default=0)
    if width == 0:
        return None
    series = np.zeros((acc.SERIES, acc.BINS))
    for tail in tails:
        if tail[acc.WIDTH]:
            series += _at_width(tail, width)
    used = np.flatnonzero(series[acc.BUSY_PS])
    first, last = start_ps // width, int(used[-1])
    completed = table.status == 0
    end = int(table.completed_ps[completed].max()) + start_ps
    edges = np.arange(first, last + 2, dtype=np.int64) * width
    edges = np.clip(edges, start_ps, max(end, start_ps + 1)) - start_ps
    kept = np.diff(edges) > 0
    edges = np.concatenate((edges[:1], edges[1:][kept]))
    values = series[:, first : last + 1][:, kept]
    span = np.diff(edges).astype(np.float64)
    arrival, scheduled = table.arrival_ps[completed], table.scheduled_ps[completed]
    return Timeline(
        time_s=edges[:-1] / 1e12,
        running=mean_numbers(scheduled, table.completed_ps[completed], edges),
        waiting=mean_numbers(arrival, scheduled, edges),
        kv_fraction=values[acc.BLOCK_PS] / (span * sum(blocks)),
        tokens_per_s=values[acc.EMITTED_TOKENS] / (span / 1e12),
        computed_tokens_per_s=values[acc.COMPUTED_TOKENS] / (span / 1e12),
        busy_fraction=values[acc.BUSY_PS] / (span * len(blocks)),
    )


def _at_width(tail: FloatArray, width: int) -> FloatArray:
    """A replica's series [SERIES, BINS] with its intervals joined until they are ``width`` long."""
    series = tail[1:].reshape(acc.SERIES, acc.BINS)
    own = int(tail[acc.WIDTH])
    while own < width:
        joined = series[:, ::2] + series[:, 1::2]
        series = np.concatenate((joined, np.zeros_like(joined)), axis=1)
        own *= 2
    return series
