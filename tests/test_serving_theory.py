"""Single servers against queueing theory, and Little's law to the picosecond."""

from __future__ import annotations

import numpy as np
import pytest
from constant_server import STEP_PS, plan, poisson, requests, serve
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.serving.population import (
    exact_sum,
    integral_ps,
    mean_numbers,
    number_at,
)
from simulator.serving.results import RunResult
from simulator.workload.request import ClosedLoop, Requests

FEW = settings(deadline=None, derandomize=True, max_examples=40)


def times(result: RunResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = result.table
    return table.arrival_ps, table.scheduled_ps, table.completed_ps


def service_ps(output: int = 1) -> int:
    alone = serve(requests(np.zeros(1), output=output))
    return int(alone.table.completed_ps[0])


def lindley(arrival: np.ndarray, service: list[int]) -> list[int]:
    """W[k + 1] = max(0, W[k] + S[k] - A[k]) (Lindley, Proc. Cambridge Phil. Soc. 48, 1952)."""
    waits = [0]
    for k, gap in enumerate(np.diff(arrival).tolist()):
        waits.append(max(0, waits[-1] + service[k] - gap))
    return waits


@FEW
@given(
    st.lists(
        st.tuples(st.one_of(st.just(0), st.integers(0, 3 * STEP_PS)), st.integers(1, 4)),
        min_size=1,
        max_size=30,
    )
)
def test_one_request_a_batch_is_lindleys_recursion(rows: list[tuple[int, int]]) -> None:
    gaps, outputs = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    arrival = np.cumsum(gaps)
    result = serve(requests(arrival, output=outputs))
    service = {n: service_ps(n) for n in set(outputs.tolist())}
    arrived, scheduled, completed = times(result)
    waits = lindley(arrival, [service[n] for n in outputs.tolist()])
    assert (scheduled - arrived).tolist() == waits
    assert (completed - scheduled).tolist() == [service[n] for n in outputs.tolist()]


def mean_and_error(waits: np.ndarray, batches: int = 20) -> tuple[float, float]:
    """Mean, and its standard error from the means of consecutive batches."""
    means = np.array([part.mean() for part in np.array_split(waits, batches)])
    return float(waits.mean()), float(means.std(ddof=1) / np.sqrt(batches))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waiting_is_that_of_m_d_1(load: float) -> None:
    service = service_ps()
    result = serve(requests(poisson(load / (service / 1e12), 12_000, seed=3)))
    arrived, scheduled, _ = times(result)
    mean, error = mean_and_error((scheduled - arrived) / service)
    # Pollaczek-Khinchine with a constant service time
    assert abs(mean - load / (2 * (1 - load))) < 3 * error
    assert error < 0.2 * mean


def test_waiting_is_that_of_m_m_1() -> None:
    """Answers of geometric length, 40 iterations in the mean: all but exponential."""
    load, mean_tokens, count = 0.6, 40, 2_500
    outputs = np.random.default_rng(5).geometric(1 / mean_tokens, count)
    rate = load / (mean_tokens * STEP_PS / 1e12)
    result = serve(requests(poisson(rate, count, seed=8), output=outputs))
    arrived, scheduled, completed = times(result)
    served = (completed - scheduled) / (outputs * STEP_PS)
    assert served.min() > 0.999
    assert served.max() < 1.001
    mean, error = mean_and_error((scheduled - arrived) / (mean_tokens * STEP_PS))
    assert abs(mean - load / (1 - load)) < 3 * error
    assert error < 0.2 * mean
    in_system = result.mean_requests_in_system
    assert in_system == pytest.approx(load / (1 - load), rel=0.35)


@FEW
@given(
    st.lists(
        st.tuples(st.integers(0, 2 * STEP_PS), st.integers(1, 6), st.integers(1, 5)),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from([1, 3, 64]),
    st.integers(1, 2),
)
def test_littles_law_is_exact(
    rows: list[tuple[int, int, int]], max_batch: int, replicas: int
) -> None:
    gaps, prompts, outputs = (np.array(c, dtype=np.int64) for c in zip(*rows, strict=True))
    traffic = Requests(np.cumsum(gaps), prompts, outputs)
    result = serve(traffic, on=plan(replicas=replicas), max_batch=max_batch, record_iterations=True)
    arrived, scheduled, completed = times(result)
    spent = exact_sum(completed - arrived)
    assert integral_ps(arrived, completed) == spent
    assert spent == exact_sum(scheduled - arrived) + exact_sum(completed - scheduled)
    assert result.mean_requests_in_system * result.simulated_s == pytest.approx(spent / 1e12)
    # the same from what the loops saw: who was in the batch or in the queue at the start of each
    # iteration stays to its end, and who came during it stays from then on
    log = result.log
    assert log is not None
    seen = int(((log.sequences + log.waiting) * (log.end_ps - log.start_ps)).sum())
    start = int(log.start_ps.min())
    for request, (at, replica) in enumerate(
        zip(arrived.tolist(), result.table.replica.tolist(), strict=True)
    ):
        mine = log.replica == replica
        during = mine & (log.start_ps - start < at) & (at < log.end_ps - start)
        if during.any():
            seen += int(log.end_ps[during][0]) - start - at
        assert result.table.status[request] == 0
    assert seen == spent


@FEW
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1, max_size=30))
def test_numbers_in_a_state(rows: list[tuple[int, int]]) -> None:
    entered = np.array([a for a, _ in rows], dtype=np.int64)
    left = entered + np.array([d for _, d in rows], dtype=np.int64)
    area = sum(int((entered <= t).sum() - (left <= t).sum()) for t in range(81))
    assert integral_ps(entered, left) == area == exact_sum(left - entered)
    edges = np.array([0, 7, 20, 81], dtype=np.int64)
    means = mean_numbers(entered, left, edges)
    assert (means * np.diff(edges)).sum() == pytest.approx(area)
    every = np.arange(81)
    assert number_at(entered, left, every).sum() == area


def test_sums_beyond_64_bits() -> None:
    large = np.full(1000, 9 * 10**18, dtype=np.int64)
    assert exact_sum(large) == 9 * 10**21
    assert integral_ps(np.zeros(1000, dtype=np.int64), large) == 9 * 10**21


@pytest.mark.parametrize(("users", "think_steps"), [(1, 3), (2, 3), (4, 3), (5, 3), (9, 0), (3, 7)])
def test_closed_loop_of_constant_times(users: int, think_steps: int) -> None:
    """X = min(N / (S + Z), 1 / S): the asymptotic bounds of a closed network (Denning and Buzen,
    ACM Computing Surveys 10, 1978), which constant times reach; and R = N / X - Z."""
    service, count = service_ps(), 400
    think = think_steps * service
    ones = np.ones(count, dtype=np.int64)
    result = serve(ClosedLoop(users, think * ones, ones, ones))
    arrived, _, completed = times(result)
    half = count // 2
    ends = np.sort(completed)
    rate = (count - half - users) / float(ends[-users - 1] - ends[half - 1])
    cycle = max(service + think, users * service)
    assert rate == pytest.approx(users / cycle, rel=0.02)
    late = np.argsort(arrived)[half:-users]
    response = (completed - arrived)[late]
    assert response.mean() == pytest.approx(users / rate - think, rel=0.05)
    assert rate * service <= 1 + 1e-9 or rate == pytest.approx(1 / service, rel=0.01)
