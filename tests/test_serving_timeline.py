"""The course of a run over time: pool by pool it adds up to the run, and equals its iterations."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_serving_pools import OPTIONS, one_pool, pools, run
from test_serving_replay import MODEL, plan_for, requests_of

from simulator.api import load_model, load_system
from simulator.cli import main
from simulator.report.json_out import run_json
from simulator.serving.cluster import replay
from simulator.serving.faults import parse_fault
from simulator.serving.options import SCHEDULERS, ServingOptions
from simulator.serving.pools import Deployment, KvLink, Member, Pool
from simulator.serving.results import RunResult
from simulator.serving.timeline import Timeline
from simulator.serving.work import model_work, work_weights
from simulator.timing.choices import Dtypes
from simulator.timing.plan import Plan, make_plan
from simulator.timing.results import UNITS
from simulator.workload.request import Requests, Workload

MS = 10**9
ROWS = st.lists(
    st.tuples(st.integers(0, 9 * MS), st.integers(1, 60), st.integers(1, 40)),
    min_size=1,
    max_size=12,
)


def slow(plan: Plan, host_ps: int) -> Plan:
    """The same chips with so long a pause after each iteration: the small model takes no time."""
    return make_plan(dataclasses.replace(plan.system, host_overhead_ps=host_ps), MODEL, tp=1)


def line_of(result: RunResult) -> Timeline:
    assert result.timeline is not None
    return result.timeline


def check_sums(result: RunResult) -> None:
    """Every figure of a pool, weighted by what it is a share of, adds up to the run's."""
    line = line_of(result)
    assert 1 <= len(line.time_s) <= 1000
    assert (line.duration_s > 0).all()
    assert line.time_s[1:] == pytest.approx((line.time_s + line.duration_s)[:-1])
    assert list(line.pools) == list(result.pools)
    spent = np.zeros(len(line.time_s))
    for role, part in line.pools.items():
        total = result.pools[role]
        time = part.busy_fraction * line.duration_s * total.replicas
        spent += time
        assert time.sum() == pytest.approx(total.serving_s, rel=1e-9)
        for unit, share in part.utilization.items():
            assert (share * time).sum() == pytest.approx(
                total.utilization[unit] * total.serving_s, rel=1e-9, abs=1e-15
            )
        # shares of the time in iterations, as the totals are
        for name in ("mfu", "mbu"):
            mean = (getattr(part, name) * time).sum() / max(1e-30, time.sum())
            assert mean == pytest.approx(getattr(total, name), rel=1e-9)
        for shares in (part.busy_fraction, part.kv_fraction, part.mfu, part.mbu):
            assert shares.min() >= 0 and shares.max() <= 1 + 1e-9
        assert set(part.utilization) == set(UNITS)
        assert max(share.max() for share in part.utilization.values()) <= 1 + 1e-9
    parts = line.pools.values()
    assert sum(part.flops.sum() for part in parts) == pytest.approx(result.flops, rel=1e-12)
    assert sum(part.min_bytes.sum() for part in parts) == pytest.approx(result.min_bytes, rel=1e-12)
    assert spent.sum() == pytest.approx(result.serving_s, rel=1e-9)
    busy = line.busy_fraction * line.duration_s * result.replicas
    assert busy == pytest.approx(spent, rel=1e-9, abs=1e-18)
    emitted = (line.tokens_per_s * line.duration_s).sum()
    assert emitted >= result.requests.output_tokens * (1 - 1e-9)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    ROWS,
    st.sampled_from(sorted(SCHEDULERS)),
    st.sampled_from([7, 40]),
    st.integers(1, 2),
    st.sampled_from([20_000, 700_000_001, 3 * MS + 7]),
    st.booleans(),
)
def test_the_points_of_each_pool_add_up_to_the_run(
    rows: list[tuple[int, int, int]],
    scheduler: str,
    blocks: int,
    copies: int,
    host_ps: int,
    apart: bool,
) -> None:
    """Iterations that are much shorter and some that are longer than the intervals."""
    options = dataclasses.replace(OPTIONS, scheduler=scheduler)
    plan = slow(plan_for(blocks, options), host_ps)
    traffic = requests_of(rows)
    if apart:
        prompts = slow(plan_for(40, options), host_ps // 3)
        check_sums(run(pools(prompts, plan, copies, kv_link=KvLink(10**8)), traffic, options))
    else:
        check_sums(run(one_pool(plan, copies), traffic, options))


def spread(edges: np.ndarray, start: np.ndarray, end: np.ndarray, size: np.ndarray) -> np.ndarray:
    """``size`` of each iteration spread evenly from its start to its end over the intervals."""
    inside = np.minimum(edges[1:], end[:, None]) - np.maximum(edges[:-1], start[:, None])
    share = np.clip(inside, 0, None) / (end - start)[:, None]
    return (share * size[:, None]).sum(axis=0)


@pytest.mark.parametrize("host_ps", [20_000, 700_000_001, 3 * MS + 7])
def test_every_interval_equals_the_iterations_in_it(host_ps: int) -> None:
    """The log has each iteration; the course is booked in sums, and goes through many at once."""
    options = ServingOptions(max_batch=8, token_budget=50)
    plan = slow(plan_for(40, options), host_ps)
    rows = [(i % 7 * MS, 5 + 11 * i % 40, 1 + 17 * i % 50) for i in range(40)]
    fast = run(one_pool(plan, 2), requests_of(rows), options)
    logged = dataclasses.replace(options, record_iterations=True)
    result = run(one_pool(plan, 2), requests_of(rows), logged)
    log, line, start = result.log, line_of(result), rows[0][0]
    assert log is not None
    edges = np.append(line.time_s, line.time_s[-1] + line.duration_s[-1])
    edges = np.rint(edges * 1e12) + start
    duration = log.end_ps - log.start_ps
    time = spread(edges, log.start_ps, log.end_ps, duration)
    pool = line.pools["serve"]
    span = line.duration_s * 1e12 * 2
    assert pool.busy_fraction == pytest.approx(time / span, rel=1e-9, abs=1e-12)
    held = spread(edges, log.start_ps, log.end_ps, log.kv_blocks * duration)
    # the log has the blocks in use before the iteration's sequences end, as the course has
    assert pool.kv_fraction == pytest.approx(held / (span * 40), rel=1e-9, abs=1e-12)
    for index, unit in enumerate(UNITS):
        busy = spread(edges, log.start_ps, log.end_ps, log.busy_ps[:, index])
        expected = np.divide(busy, time, out=np.zeros_like(busy), where=time > 0)
        assert pool.utilization[unit] == pytest.approx(expected, rel=1e-6, abs=1e-12)
    tokens = spread(edges, log.start_ps, log.end_ps, log.tokens)
    assert line.computed_tokens_per_s * line.duration_s == pytest.approx(tokens, rel=1e-9)
    for name in ("mfu", "mbu", "flops", "min_bytes", "busy_fraction", "kv_fraction"):
        by_events = getattr(line_of(fast).pools["serve"], name)
        assert by_events == pytest.approx(getattr(pool, name), rel=1e-9, abs=1e-12)


def test_a_long_run_joins_intervals_without_a_loss() -> None:
    """Arrivals up to the end of the clock, one of them in an iteration that the joining meets."""
    plan = slow(plan_for(40, OPTIONS), 900 * MS)
    times = np.array([0, MS, 10**12, 10**15, 3 * 10**15, 10**18, 89 * 10**17], dtype=np.int64)
    lengths = np.full(len(times), 20, dtype=np.int64)
    check_sums(run(one_pool(plan, 2), Requests(times, lengths, lengths)))


def test_replicas_that_change_their_pool_count_where_they_are() -> None:
    plan = slow(plan_for(500, OPTIONS), 10**8)
    traffic = requests_of([(2 * 10**8, 2, 200)] * 120)
    members = (Pool("prefill", (Member(plan, 3),)), Pool("decode", (Member(plan, 1),)))
    deployment = Deployment(members, kv_link=KvLink(None), rebalance_ps=10**9)
    result = run(deployment, traffic)
    line = line_of(result)
    assert result.pool_changes >= 1
    for role, part in line.pools.items():
        assert part.busy_fraction.max() <= 1 + 1e-9
        assert part.flops.sum() > 0
        total = result.pools[role]
        assert part.flops.sum() / total.chips > 0
    assert line.busy_fraction.max() <= 1 + 1e-9
    spent = (line.busy_fraction * line.duration_s).sum() * result.replicas
    assert spent == pytest.approx(result.serving_s, rel=1e-9)
    done = sum(part.flops.sum() for part in line.pools.values())
    assert done == pytest.approx(result.flops, rel=1e-12)


def test_work_that_was_lost_counts_too() -> None:
    """A failure long after the only answer: what was computed until then is on the timeline."""
    plan = slow(plan_for(500, OPTIONS), MS)
    traffic = requests_of([(0, 5, 2), (1, 5, 400)])
    lost = one_pool(plan, 2, faults=(parse_fault("replica:1@50.5ms"),), on_failure="lose")
    result = run(lost, traffic)
    assert (result.requests.completed, result.lost_requests) == (1, 1)
    check_sums(result)
    line = line_of(result)
    assert line.time_s[-1] + line.duration_s[-1] > 10 * result.simulated_s


def windowed() -> Iterator[tuple[str, RunResult]]:
    """A model with windows, and experts under a load that meets fewer of them."""
    plan = make_plan(load_system("h100:1"), load_model("gpt-oss-20b"), dtypes=Dtypes())
    prompts = np.array([40, 3000, 700, 5], dtype=np.int64)
    arrivals = np.array([0, 0, 10**10, 2 * 10**10], dtype=np.int64)
    traffic = Requests(arrivals, prompts, np.array([200, 3, 60, 300], dtype=np.int64))
    for speculate in (0, 2):
        options = ServingOptions(token_budget=256, max_batch=16, speculate=speculate)
        yield f"speculate {speculate}", replay(plan, Workload("test", traffic), options)


def test_windows_experts_and_drafts() -> None:
    for _, result in windowed():
        check_sums(result)


@pytest.mark.parametrize("name", ["llama3-8b", "gpt-oss-20b", "deepseek-v3"])
def test_the_work_of_a_model_is_linear_in_what_is_counted(name: str) -> None:
    """The weights of the timeline are those of the one formula for the work of a model."""
    system = load_system("h200:8" if name == "deepseek-v3" else "h100:1")
    plan = make_plan(system, load_model(name), dtypes=Dtypes("fp8", "fp8", "fp8"))
    flops, least = work_weights(plan)
    sums = np.random.default_rng(0).integers(10**6, 10**9, len(flops) - 1).astype(np.float64)
    iterations = 12_345
    row = np.append(iterations, sums)
    assert (row @ flops, row @ least) == pytest.approx(model_work(plan, sums, iterations), rel=1e-9)


def test_the_points_of_the_json_name_the_pools(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    lines = [f"{i * 0.001:.3f},{20 + i},{5 + i % 3}" for i in range(12)]
    head = "arrived_at,num_prefill_tokens,num_decode_tokens"
    trace.write_text("\n".join([head, *lines, ""]))
    words = ("--prefill", "toy", "--decode", "toy", "--kv-link", "1GB/s,1us", "-o", str(tmp_path))
    assert main(("run", "llama-toy", str(trace), *words, "--format", "json")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "result.json").read_text()) == shown
    for point in shown["timeline"]:
        assert list(point["pools"]) == ["prefill", "decode"]
        for pool in point["pools"].values():
            assert list(pool) == ["busy_fraction", "kv_fraction", "utilization", "mfu", "mbu"]
            assert list(pool["utilization"]) == list(UNITS)
    alone = run_json(run(one_pool(plan_for(40, OPTIONS), 1), requests_of([(0, 4, 3)])))
    assert list(alone["timeline"][0]["pools"]) == ["serve"]


def test_the_table_over_time_has_ten_rows_whose_means_are_the_totals(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("run", "llama3-8b", "chat", "--limit", "20", "--prefill", "tpu-v6e")
    assert main((*words, "--decode", "tpu-v6e", "--explain")) == 0
    table = capsys.readouterr().out.split("Over time")[1].split("\n\n")[0].splitlines()
    rows = table[4:]
    assert "prefill" in table[1] and "busy %" in table[2] and len(rows) == 10
    decode = np.array([[float(cell) for cell in row.split()[-4:]] for row in rows])
    assert decode[:, 0].max() == 100.0
    assert 75 < decode[0, 2] <= 100  # decoding a few sequences is bound by HBM
