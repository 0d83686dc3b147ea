"""Throughput against speed: the same lengths from 1, 2, 4, ... users who ask again at once.

Every user has one request in the system at any time. With few of them an answer is written fast
and the chips are badly used; with many it is the other way round. What no other point beats in
both tokens a second for a chip and tokens a second for a user is the Pareto front.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.errors import InfeasibleError, InputError
from simulator.serving.results import Distribution, RequestTable, RunResult
from simulator.workload.request import ClosedLoop, Int64Array, Workload

ROUNDS = 5
"""Requests of each user, and as many again to begin and to end with."""

MOST_USERS = 2**20


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A number of users in steady state.

    Measured over ``requests`` completions between the first round's end and the last request's
    start, while every user has a request in the system. ``tokens_per_s_per_user`` is the inverse
    of the mean time per output token; ``pareto`` says whether no other point is better in both.
    """

    concurrency: int
    requests: int
    output_tokens_per_s: float
    requests_per_s: float
    tokens_per_s_per_chip: float
    tokens_per_s_per_user: float | None
    ttft_s: Distribution
    tpot_s: Distribution
    e2e_s: Distribution
    queue_s: Distribution
    kv_peak_fraction: float
    preemptions: int
    mfu: float
    mbu: float
    pareto: bool = False


def serve_curve(
    serve: Callable[[Workload], RunResult], workload: Workload, concurrency: Sequence[int]
) -> list[CurvePoint]:
    """Measure a workload's lengths at each number of users.

    Raises:
        InputError: a number of users that is out of range or given twice.
        InfeasibleError: no request fits the system.
    """
    if not concurrency:
        raise InputError("--concurrency: expected numbers of users, found none")
    for users in concurrency:
        if not 1 <= users <= MOST_USERS:
            raise InputError(f"--concurrency: found {users}, expected 1 to {MOST_USERS} users")
        if list(concurrency).count(users) > 1:
            raise InputError(f"--concurrency: {users} users are given twice")
    points = [_point(serve(with_users(workload, users)), users) for users in concurrency]
    return [dataclasses.replace(p, pareto=_on_front(p, points)) for p in points]


def with_users(workload: Workload, users: int) -> Workload:
    """``users`` who ask again at once, with the lengths of a workload, over and over in order."""
    traffic = workload.traffic
    count = max(len(traffic), (ROUNDS + 2) * users)
    rows: Int64Array = np.arange(count, dtype=np.int64) % len(traffic)
    loop = ClosedLoop(
        users,
        np.zeros(count, dtype=np.int64),
        traffic.prompt_tokens[rows],
        traffic.output_tokens[rows],
    )
    notes = (*workload.notes, f"{users} users without think time")
    return dataclasses.replace(workload, traffic=loop, notes=notes, slo=None)


def _point(result: RunResult, users: int) -> CurvePoint:
    from simulator.serving.metrics import distribution

    table = result.table
    done = np.flatnonzero(table.status == 0)
    if len(done) == 0:
        raise InfeasibleError(
            f"no request of workload '{result.workload}' fits {result.model} on {result.system}"
        )
    first, last = _steady(table, done, users)
    ends = table.completed_ps[done]
    inside = done[(ends > first) & (ends <= last)]
    span_s = (last - first) / 1e12
    tokens = int(table.output_tokens[inside].sum()) / span_s
    arrival, begun = table.arrival_ps[inside], table.first_token_ps[inside]
    steps = table.output_tokens[inside] - 1
    took = table.completed_ps[inside] - begun
    tpot = distribution(took[steps > 0] / steps[steps > 0])
    return CurvePoint(
        concurrency=users,
        requests=len(inside),
        output_tokens_per_s=tokens,
        requests_per_s=len(inside) / span_s,
        tokens_per_s_per_chip=tokens / result.chips,
        tokens_per_s_per_user=1 / tpot.mean if tpot.mean else None,
        ttft_s=distribution(begun - arrival),
        tpot_s=tpot,
        e2e_s=distribution(table.completed_ps[inside] - arrival),
        queue_s=distribution(table.scheduled_ps[inside] - arrival),
        kv_peak_fraction=result.kv["peak_fraction"],
        preemptions=result.preemptions,
        mfu=result.mfu,
        mbu=result.mbu,
    )


def _steady(table: RequestTable, done: Int64Array, users: int) -> tuple[int, int]:
    """From the completion that ends the first round to the last arrival, in picoseconds."""
    ends = np.sort(table.completed_ps[done])
    first = int(ends[min(users, len(ends)) - 1])
    last = int(table.arrival_ps[done].max())
    # too few requests fit the system for a steady state: take the whole run
    return (first, last) if last > first else (0, int(ends[-1]))


def _on_front(point: CurvePoint, points: Sequence[CurvePoint]) -> bool:
    def better(other: CurvePoint) -> bool:
        here = (point.tokens_per_s_per_chip, point.tokens_per_s_per_user or 0.0)
        there = (other.tokens_per_s_per_chip, other.tokens_per_s_per_user or 0.0)
        return there != here and all(b >= a for a, b in zip(here, there, strict=True))

    return not any(better(other) for other in points)
