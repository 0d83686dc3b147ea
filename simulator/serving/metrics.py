"""What a finished replay says: latencies, rates, shares of time, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.serving import fields as loop
from simulator.serving import fields as sched
from simulator.serving import token_gaps as gap
from simulator.serving.goodput import judge
from simulator.serving.population import exact_sum, integral_ps
from simulator.serving.replica import Replica
from simulator.serving.results import Distribution, IterationLog, MovedCache, RunResult
from simulator.serving.stability import queue_growth
from simulator.serving.timeline import Timeline
from simulator.serving.work import PS_PER_S
from simulator.timing.results import UNITS
from simulator.workload.request import Requests, Workload

Int64Array = npt.NDArray[np.int64]
PERCENTILES = (50, 90, 95, 99)


def distribution(values_ps: npt.NDArray[Any]) -> Distribution:
    """Mean and linear percentiles in seconds; None where there are no values."""
    if len(values_ps) == 0:
        return Distribution(None, None, None, None, None)
    values = values_ps / PS_PER_S
    p50, p90, p95, p99 = (float(v) for v in np.percentile(values, PERCENTILES))
    return Distribution(float(values.mean()), p50, p90, p95, p99)


def token_gaps(
    requests: Int64Array, done: npt.NDArray[np.bool_], counts: Int64Array
) -> Distribution:
    """Inter-token latency over all tokens of completed requests but their first ones.

    The mean is exact. Percentiles are those of the histogram ``counts`` (int64[GAP_FIELDS], see
    ``token_gaps``), interpolated inside a bin, hence good to 0.4 %.
    """
    rows = requests[done]
    tokens = int((rows[:, sched.OUTPUT] - 1).sum())
    histogram = counts[: gap.GAP_BINS].copy()
    # tokens that came together with another one (speculation) have a gap of 0
    histogram[0] += max(0, tokens - int(histogram.sum()))
    total = int(histogram.sum())
    if total == 0 or tokens == 0:
        return Distribution(None, None, None, None, None)
    spent = exact_sum(rows[:, sched.COMPLETED_AT] - rows[:, sched.FIRST_TOKEN_AT])
    bounds = gap.gap_values()
    until = np.cumsum(histogram)
    found = []
    for percent in PERCENTILES:
        rank = percent / 100 * total
        index = int(np.searchsorted(until, rank))
        inside = (rank - (int(until[index]) - int(histogram[index]))) / int(histogram[index])
        found.append(float(bounds[index] + inside * (bounds[index + 1] - bounds[index])) / PS_PER_S)
    return Distribution(spent / tokens / PS_PER_S, *found)


def observed(
    result: RunResult,
    workload: Workload,
    requests: Int64Array,
    gaps: Int64Array,
    over_time: Timeline | None,
) -> RunResult:
    """Add what the loops and the table of requests say: inter-token latency, course over time,
    requests in the system, goodput, and whether the queue grew.

    ``gaps`` is the histogram of ``token_gaps``.
    """
    table = result.table
    done = table.status == 0
    start = int(requests[:, sched.ARRIVAL].min())
    warmup = max(0, round(result.options["warmup_s"] * PS_PER_S) - start)
    span = max(0.0, result.simulated_s - warmup / PS_PER_S)
    goodput = judge(table, workload, since_ps=warmup, span_s=span)
    fed = isinstance(workload.traffic, Requests) and bool(done.any())
    growth = queue_growth(table) if fed else None
    spent = integral_ps(table.arrival_ps[done], table.completed_ps[done])
    return replace(
        result,
        itl_s=token_gaps(requests, done, gaps),
        timeline=over_time,
        mean_requests_in_system=spent / 1e12 / result.simulated_s if result.simulated_s else 0.0,
        goodput=goodput,
        queue_growth=growth,
    )


def latencies(requests: Int64Array, counted: npt.NDArray[np.bool_]) -> dict[str, Distribution]:
    """TTFT, TPOT, end-to-end and queueing times of the counted requests.

    TPOT is (end-to-end - TTFT) / (output tokens - 1) and leaves out one-token outputs.
    """
    rows = requests[counted]
    arrival = rows[:, sched.ARRIVAL]
    first = rows[:, sched.FIRST_TOKEN_AT]
    end = rows[:, sched.COMPLETED_AT]
    several = rows[:, sched.OUTPUT] > 1
    per_token = (end - first)[several] / (rows[several, sched.OUTPUT] - 1)
    return {
        "ttft_s": distribution(first - arrival),
        "tpot_s": distribution(per_token),
        "e2e_s": distribution(end - arrival),
        "queue_s": distribution(rows[:, sched.SCHEDULED_AT] - arrival),
    }


def iteration_log(
    replicas: list[Replica], roles: Sequence[str], transfers: Sequence[MovedCache] = ()
) -> IterationLog:
    """The logs of all replicas, one after another, and the caches that moved between them."""
    parts = [replica.finish_log() for replica in replicas]
    rows = np.concatenate(parts)
    number = np.concatenate(
        [np.full(len(part), index, dtype=np.int64) for index, part in enumerate(parts)]
    )
    return IterationLog(
        replica=number,
        start_ps=rows[:, loop.LOG_START],
        end_ps=rows[:, loop.LOG_END],
        tokens=rows[:, loop.LOG_TOKENS],
        sequences=rows[:, loop.LOG_SEQUENCES],
        waiting=rows[:, loop.LOG_WAITING],
        kv_blocks=rows[:, loop.LOG_BLOCKS],
        busy_ps=rows[:, loop.LOG_BUSY : loop.LOG_BUSY + len(UNITS)],
        roles=tuple(roles),
        transfers=tuple(transfers),
    )
