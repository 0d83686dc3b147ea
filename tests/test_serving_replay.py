"""Replays against the spelled-out scheduler, to the picosecond, and what every replay must hold."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_serving import BLOCK, Sequence, Server, closed_loop, open_loop

from simulator.errors import InfeasibleError, InputError
from simulator.hardware import (
    Chip,
    Dram,
    Energy,
    Fabric,
    Power,
    ServingEngine,
    Sram,
    System,
    SystolicArray,
    VectorUnit,
)
from simulator.mapping.memory import plan_memory
from simulator.model.transformer import llama
from simulator.report.json_out import run_json, to_json
from simulator.serving import fields as sched
from simulator.serving import fleet, metrics, status
from simulator.serving.cluster import replay
from simulator.serving.options import ServingOptions
from simulator.serving.results import RequestTable, RunResult
from simulator.timing.plan import Plan, make_plan
from simulator.workload.request import ClosedLoop, Requests, Workload

MODEL = llama(
    name="small",
    layers=2,
    hidden=16,
    heads=4,
    kv_heads=2,
    head_dim=4,
    intermediate=32,
    vocabulary=64,
    max_context=512,
)

CHIP = Chip(
    name="small",
    clock_hz=10**9,
    matrix=SystolicArray(8, 8, 1, {"bf16": 1}, weight_load="double"),
    vector=VectorUnit(16),
    sram=Sram(64 << 10, 10**12),
    hbm=Dram(10**9, 10**11, latency_ps=100_000),
    link=None,
    power=Power(energy=Energy({"bf16": 1.0}, 1.0, 1.0, 10.0, 10.0, 0.5)),
    price_usd_per_hour=2.0,
)


def plan_for(blocks: int, options: ServingOptions, replicas: int = 1) -> Plan:
    """A plan whose HBM holds exactly so many blocks beside weights and activations."""
    fabric = Fabric("none") if replicas == 1 else Fabric("torus", (replicas,), (False,), 10**10)
    engine = ServingEngine("host", iteration_ps=20_000, sequence_ps=700)
    system = System("small", "small", CHIP, fabric, hbm_reserve_fraction=0.0, engine=engine)
    memory = plan_memory(
        system,
        MODEL,
        tp=1,
        weight_bits=16,
        activation_bits=16,
        kv_bits=16,
        tokens=options.token_budget,
        logits=min(options.max_batch, options.token_budget),
    )
    capacity = memory.weights + memory.activations + blocks * BLOCK * memory.kv_per_token
    chip = dataclasses.replace(CHIP, hbm=dataclasses.replace(CHIP.hbm, capacity_bytes=capacity))
    return make_plan(dataclasses.replace(system, chip=chip), MODEL, tp=1)


def requests_of(rows: list[tuple[int, int, int]]) -> Requests:
    """(gap since the last arrival, prompt, output) rows as a trace."""
    gaps, prompts, outputs = (np.array(c, dtype=np.int64) for c in zip(*rows, strict=True))
    return Requests(np.cumsum(gaps), prompts, outputs)


def run(plan: Plan, traffic: Requests | ClosedLoop, options: ServingOptions) -> RunResult:
    return replay(plan, Workload("test", traffic), options)


def servers_for(plan: Plan, blocks: int, options: ServingOptions) -> list[Server]:
    return [
        Server(plan, blocks, options.token_budget, options.max_batch) for _ in range(plan.replicas)
    ]


def sequences_of(traffic: Requests | ClosedLoop) -> list[Sequence]:
    out = [
        Sequence(i, int(p), int(o))
        for i, (p, o) in enumerate(zip(traffic.prompt_tokens, traffic.output_tokens, strict=True))
    ]
    if isinstance(traffic, Requests):
        for sequence, arrival in zip(out, traffic.arrival_ps, strict=True):
            sequence.arrival = int(arrival)
    return out


def compare(result: RunResult, expected: list[Sequence], servers: list[Server]) -> None:
    """Every time of every request, measured from the first arrival."""
    start = min(s.arrival for s in expected)
    table = result.table
    assert table.arrival_ps.tolist() == [s.arrival - start for s in expected]
    assert table.scheduled_ps.tolist() == [s.scheduled - start for s in expected]
    assert table.first_token_ps.tolist() == [s.first - start for s in expected]
    assert table.completed_ps.tolist() == [s.completed - start for s in expected]
    assert table.preemptions.tolist() == [s.preempted for s in expected]
    assert result.iterations == sum(server.iterations for server in servers)
    blocks = servers[0].blocks
    assert result.kv["peak_fraction"] == max(server.peak for server in servers) / blocks


@st.composite
def options_and_blocks(draw: st.DrawFn) -> tuple[ServingOptions, int]:
    options = ServingOptions(
        max_batch=draw(st.sampled_from([1, 2, 5, 64])),
        token_budget=draw(st.sampled_from([1, 3, 16, 50, 512])),
        record_iterations=draw(st.booleans()),
    )
    return options, draw(st.sampled_from([6, 7, 9, 12, 40, 500]))


# a sequence of at most 6 blocks fits the smallest cache above
LENGTHS = st.tuples(st.one_of(st.integers(1, 8), st.integers(1, 60)), st.integers(1, 36))
ROWS = st.lists(
    st.tuples(st.one_of(st.just(0), st.integers(0, 10**7), st.integers(0, 10**9)), LENGTHS).map(
        lambda row: (row[0], *row[1])
    ),
    min_size=1,
    max_size=14,
)
SOME = settings(deadline=None, derandomize=True, max_examples=80)


@SOME
@given(options_and_blocks(), ROWS, st.integers(1, 3))
def test_open_loop_equals_the_reference(
    setting: tuple[ServingOptions, int], rows: list[tuple[int, int, int]], replicas: int
) -> None:
    options, blocks = setting
    plan = plan_for(blocks, options, replicas)
    traffic = requests_of(rows)
    result = run(plan, traffic, options)
    assert result.kv["blocks"] == blocks
    servers = servers_for(plan, blocks, options)
    expected = sequences_of(traffic)
    open_loop(servers, expected)
    compare(result, expected, servers)
    assert result.preemptions == sum(s.preempted for s in expected)


@SOME
@given(
    options_and_blocks(),
    st.lists(
        st.tuples(LENGTHS, st.one_of(st.just(0), st.integers(0, 10**9))), min_size=1, max_size=14
    ),
    st.integers(1, 6),
    st.integers(1, 2),
)
def test_closed_loop_equals_the_reference(
    setting: tuple[ServingOptions, int],
    rows: list[tuple[tuple[int, int], int]],
    users: int,
    replicas: int,
) -> None:
    options, blocks = setting
    plan = plan_for(blocks, options, replicas)
    lengths, think = zip(*rows, strict=True)
    prompts, outputs = (np.array(c, dtype=np.int64) for c in zip(*lengths, strict=True))
    traffic = ClosedLoop(users, np.array(think, dtype=np.int64), prompts, outputs)
    result = run(plan, traffic, options)
    servers = servers_for(plan, blocks, options)
    expected = sequences_of(traffic)
    closed_loop(servers, expected, list(think), min(users, len(rows)))
    compare(result, expected, servers)


def pressed() -> tuple[Plan, Requests, ServingOptions]:
    """Twelve sequences that grow to six blocks each in a cache of nine."""
    options = ServingOptions(max_batch=8, token_budget=64, record_iterations=True)
    return plan_for(9, options), requests_of([(1000, 40, 50)] * 12), options


def test_pressure_preempts_and_recomputes() -> None:
    plan, traffic, options = pressed()
    result = run(plan, traffic, options)
    servers = servers_for(plan, 9, options)
    expected = sequences_of(traffic)
    open_loop(servers, expected)
    compare(result, expected, servers)
    assert result.preemptions > 0
    assert result.kv["peak_fraction"] == 1.0
    # recomputation costs tokens beyond those that each request needs once
    assert result.log is not None
    assert result.log.tokens.sum() > (40 + 50 - 1) * 12


@SOME
@given(options_and_blocks(), ROWS, st.integers(1, 3))
def test_what_every_replay_holds(
    setting: tuple[ServingOptions, int], rows: list[tuple[int, int, int]], replicas: int
) -> None:
    options, blocks = setting
    options = dataclasses.replace(options, record_iterations=True)
    plan = plan_for(blocks, options, replicas)
    traffic = requests_of(rows)
    created: list[fleet.Replica] = []

    class Recorded(fleet.Replica):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            created.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet, "Replica", Recorded)
        result = run(plan, traffic, options)
    state = created[0].requests
    assert (state[:, sched.EMITTED] == traffic.output_tokens).all()
    assert (state[:, sched.BLOCKS] == 0).all()
    for replica in created:
        assert replica.counters[sched.FREE_BLOCKS] == blocks
        assert replica.counters[sched.RUNNING] == 0
        assert replica.counters[sched.QUEUE_HEAD] == replica.counters[sched.QUEUE_TAIL]
    assert sum(int(r.counters[sched.COMPLETED]) for r in created) == len(traffic)

    table = result.table
    assert (table.status == status.COMPLETED).all()
    assert (table.arrival_ps <= table.scheduled_ps).all()
    assert (table.scheduled_ps < table.first_token_ps).all()
    assert (table.first_token_ps <= table.completed_ps).all()
    one = table.output_tokens == 1
    assert (table.first_token_ps[one] == table.completed_ps[one]).all()
    assert (table.first_token_ps[~one] < table.completed_ps[~one]).all()
    counts = result.requests
    assert (counts.arrived, counts.completed, counts.rejected) == (len(rows), len(rows), 0)
    assert counts.prompt_tokens == sum(row[1] for row in rows)
    assert counts.output_tokens == sum(row[2] for row in rows)

    log = result.log
    assert log is not None
    assert (log.tokens >= log.sequences).all() and (log.sequences >= 1).all()
    assert log.tokens.max() <= options.token_budget
    assert log.sequences.max() <= options.max_batch
    assert log.kv_blocks.max() <= blocks
    once = int((table.prompt_tokens + table.output_tokens - 1).sum())
    assert log.tokens.sum() >= once
    if result.preemptions == 0:
        assert log.tokens.sum() == once
        assert result.flops == MODEL.flops(once, counts.output_tokens, _pairs(table))
    for index in range(replicas):
        mine = log.replica == index
        assert (log.start_ps[mine][1:] >= log.end_ps[mine][:-1]).all()
    span = log.end_ps - log.start_ps
    assert (log.busy_ps <= span[:, None]).all()
    assert result.serving_s == pytest.approx(span.sum() * 1e-12)
    assert result.simulated_s == pytest.approx(table.completed_ps.max() * 1e-12)
    held = float((log.kv_blocks * span).sum()) / span.sum() / blocks
    assert result.kv["mean_fraction"] == pytest.approx(held)
    assert 0 < result.mfu <= 1 and 0 < result.mbu <= 1
    assert all(0 <= share <= 1 for share in result.utilization.values())
    assert sum(result.bound_by.values()) == pytest.approx(1)


def _pairs(table: RequestTable) -> int:
    """Unmasked pairs of prompt + output - 1 tokens a request, however they were chunked."""
    lengths = (table.prompt_tokens + table.output_tokens - 1).tolist()
    return sum(n * (n + 1) // 2 for n in lengths)


@SOME
@given(ROWS)
def test_littles_law_iteration_by_iteration(rows: list[tuple[int, int, int]]) -> None:
    """Waiting and running at the start of an iteration are those that have come and not gone."""
    options = ServingOptions(max_batch=4, token_budget=4096, record_iterations=True)
    result = run(plan_for(500, options), requests_of(rows), options)
    table, log = result.table, result.log
    assert log is not None
    origin = rows[0][0]
    for start, running, waiting in zip(log.start_ps, log.sequences, log.waiting, strict=True):
        present = (table.arrival_ps + origin <= start) & (table.completed_ps + origin > start)
        assert present.sum() == running + waiting
    # integral of requests in the system = sum of the times that they spent there
    events = np.sort(np.concatenate([table.arrival_ps, table.completed_ps]))
    inside = [int(((table.arrival_ps <= t) & (table.completed_ps > t)).sum()) for t in events[:-1]]
    integral = int((np.array(inside) * np.diff(events)).sum())
    assert integral == int((table.completed_ps - table.arrival_ps).sum())
    mean = result.e2e_s.mean
    assert mean is not None
    assert integral * 1e-12 == pytest.approx(mean * len(rows))


@SOME
@given(options_and_blocks(), ROWS, ROWS)
def test_two_halves_far_apart_are_two_runs(
    setting: tuple[ServingOptions, int],
    first: list[tuple[int, int, int]],
    second: list[tuple[int, int, int]],
) -> None:
    options, blocks = setting
    plan = plan_for(blocks, options)
    one, two = requests_of(first), requests_of(second)
    alone = [run(plan, half, options).table for half in (one, two)]
    late = int(alone[0].completed_ps.max()) + int(one.arrival_ps[0]) + 10**12 + 7
    both = Requests(
        np.concatenate([one.arrival_ps, two.arrival_ps + late]),
        np.concatenate([one.prompt_tokens, two.prompt_tokens]),
        np.concatenate([one.output_tokens, two.output_tokens]),
    )
    joined = run(plan, both, options).table
    shift = late + int(two.arrival_ps[0]) - int(one.arrival_ps[0])
    for column in ("arrival_ps", "scheduled_ps", "first_token_ps", "completed_ps"):
        expected = np.concatenate([getattr(alone[0], column), getattr(alone[1], column) + shift])
        assert (getattr(joined, column) == expected).all(), column


def test_what_can_never_fit_is_rejected_and_counted() -> None:
    options = ServingOptions(max_batch=4, token_budget=64)
    plan = plan_for(8, options)  # 128 tokens
    rows = [(0, 100, 29), (5, 100, 30), (5, 500, 12), (5, 500, 13), (5, 3, 2)]
    result = run(plan, requests_of(rows), options)
    # 100 + 29 - 1 = 128 tokens fit; 129 do not; 513 are beyond the model's 512
    assert result.table.status.tolist() == [
        status.COMPLETED,
        status.REJECTED_KV,
        status.REJECTED_KV,
        status.REJECTED_CONTEXT,
        status.COMPLETED,
    ]
    assert result.requests.rejected == 3
    assert result.requests.rejected_because == {"kv_capacity": 2, "context_length": 1}
    assert result.requests.arrived == 5
    assert result.requests.completed == 2
    assert result.requests.output_tokens == 31
    assert (result.table.completed_ps[1:4] == -1).all()
    assert (result.table.replica[1:4] == -1).all()


def test_nothing_can_run() -> None:
    options = ServingOptions(token_budget=64)
    result = run(plan_for(1, options), requests_of([(0, 400, 300)]), options)
    assert result.requests.completed == 0
    assert result.iterations == 0
    assert result.ttft_s.mean is None and result.e2e_s.p99 is None
    assert json.loads(to_json(run_json(result)))["mfu"] == 0
    with pytest.raises(InfeasibleError):
        run(plan_for(0, options), requests_of([(0, 4, 3)]), options)


def test_the_same_run_twice_gives_the_same_bytes() -> None:
    plan, traffic, options = pressed()
    texts = {to_json(run_json(run(plan, traffic, options))) for _ in range(2)}
    fresh, _, _ = pressed()
    texts.add(to_json(run_json(run(fresh, traffic, options))))
    assert len(texts) == 1


def test_recording_changes_nothing() -> None:
    plan, traffic, options = pressed()
    quiet = dataclasses.replace(options, record_iterations=False)
    assert to_json(run_json(run(plan, traffic, options))) == to_json(
        run_json(run(plan, traffic, quiet))
    )


def test_percentiles_are_linear() -> None:
    values = np.arange(11, dtype=np.int64) * 10**12
    found = metrics.distribution(values[::-1])
    assert (found.mean, found.p50, found.p90) == (5.0, 5.0, 9.0)
    assert found.p99 == pytest.approx(9.9)
    two = metrics.distribution(np.array([0, 10**12], dtype=np.int64))
    assert (two.p50, two.p90, two.p99) == (0.5, 0.9, 0.99)


def test_latencies_follow_their_definitions() -> None:
    options = ServingOptions()
    rows = [(0, 30, 1), (10**6, 20, 5), (10**6, 10, 9)]
    result = run(plan_for(100, options), requests_of(rows), options)
    table = result.table
    first = table.first_token_ps - table.arrival_ps
    whole = table.completed_ps - table.arrival_ps
    per_token = (whole - first)[1:] / (table.output_tokens[1:] - 1)
    for found, expected in (
        (result.ttft_s, first),
        (result.tpot_s, per_token),
        (result.e2e_s, whole),
        (result.queue_s, table.scheduled_ps - table.arrival_ps),
    ):
        assert found.mean == pytest.approx(expected.mean() * 1e-12)
        assert found.p50 == pytest.approx(np.percentile(expected, 50) * 1e-12)
        assert found.p99 == pytest.approx(np.percentile(expected, 99) * 1e-12)
    assert result.output_tokens_per_s == pytest.approx(15 / result.simulated_s)
    assert result.cost_usd == pytest.approx(2.0 * result.simulated_s / 3600)


def test_warmup_leaves_early_requests_out_of_the_statistics() -> None:
    rows = [(0, 30, 4), (10**12, 30, 4), (10**12, 30, 4)]
    cold = run(plan_for(100, ServingOptions()), requests_of(rows), ServingOptions())
    options = ServingOptions(warmup_s=0.5)
    warm = run(plan_for(100, options), requests_of(rows), options)
    assert (cold.requests.counted, warm.requests.counted) == (3, 2)
    assert warm.requests.output_tokens == 12
    assert (warm.table.completed_ps == cold.table.completed_ps).all()
    assert warm.requests_per_s == pytest.approx(2 / (warm.simulated_s - 0.5))


def test_replicas_share_requests_in_turn() -> None:
    options = ServingOptions()
    plan = plan_for(100, options, replicas=3)
    result = run(plan, requests_of([(0, 8, 3)] * 7), options)
    assert result.table.replica.tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(
    "bad",
    [
        {"max_batch": 0},
        {"token_budget": 0},
        {"token_budget": 1 << 30},
        {"warmup_s": -1.0},
        {"warmup_s": float("nan")},
        {"warmup_s": float("inf")},
    ],
)
def test_bad_options(bad: dict) -> None:
    with pytest.raises(InputError):
        ServingOptions(**bad)
