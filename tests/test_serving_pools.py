"""Routers, prefill and decode pools, transfers and faults: against a spelled-out reference, at
their limits, and what every run of them conserves."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_pools import Box, Item, ceil_div, disaggregated
from test_serving_replay import BLOCK, LENGTHS, MODEL, ROWS, plan_for, requests_of

from simulator.engine.links import SharedLinks
from simulator.engine.world import World
from simulator.errors import InputError
from simulator.fabric.flows import Flow, finish_times
from simulator.report.json_out import run_json, to_json
from simulator.serving import cluster as clusters
from simulator.serving import fields
from simulator.serving.cluster import replay, serve
from simulator.serving.faults import outages, parse_fault
from simulator.serving.options import SCHEDULERS, KvTiers, ServingOptions
from simulator.serving.pools import Deployment, KvLink, Member, Pool, kv_bytes, one_system
from simulator.serving.results import RunResult
from simulator.serving.status import COMPLETED, LOST
from simulator.timing.plan import Plan
from simulator.workload.request import ClosedLoop, PrefixBlocks, Requests, Workload

SOME = settings(deadline=None, derandomize=True, max_examples=60)
FEW = settings(deadline=None, derandomize=True, max_examples=25)
OPTIONS = ServingOptions(max_batch=8, token_budget=50)
UNLIMITED = KvLink(None)


def pools(prefill: Plan, decode: Plan, copies: int = 1, **more: object) -> Deployment:
    members = (Pool("prefill", (Member(prefill),)), Pool("decode", (Member(decode, copies),)))
    return Deployment(members, **{"kv_link": UNLIMITED, **more})  # type: ignore[arg-type]


def one_pool(plan: Plan, copies: int, **more: object) -> Deployment:
    return dataclasses.replace(one_system(plan, copies), **more)


def run(deployment: Deployment, traffic: Requests | ClosedLoop, options: ServingOptions = OPTIONS):
    return serve(deployment, Workload("test", traffic), options)


def items_of(traffic: Requests) -> list[Item]:
    columns = (traffic.prompt_tokens, traffic.output_tokens, traffic.arrival_ps)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Item(i, *row) for i, row in enumerate(rows)]


@SOME
@given(
    ROWS,
    st.sampled_from([1, 3, 16, 50, 512]),
    st.sampled_from([6, 7, 9, 40, 500]),
    st.integers(1, 3),
    st.sampled_from([None, 10**7, 10**8, 10**9, 10**11]),
    st.sampled_from([0, 1, 123_456_789]),
)
def test_disaggregation_equals_the_reference(
    rows: list[tuple[int, int, int]],
    budget: int,
    blocks: int,
    copies: int,
    rate: int | None,
    latency: int,
) -> None:
    """Every time of every request, whatever contends: blocks, links, iterations."""
    check_against_reference(rows, budget, blocks, copies, rate, latency)


WAITED_ONCE = [
    *[(0, 22, 19), (0, 24, 19), (605460, 42, 13), (616732, 50, 22), (0, 4, 30), (241930, 37, 27)],
    *[(0, 17, 22), (1, 2, 8), (1, 38, 19), (1, 28, 7), (1, 18, 19), (116627, 38, 26)],
    *[(885603711, 56, 16), (451268, 30, 14)],
]


@pytest.mark.parametrize(
    ("rows", "budget", "blocks", "copies", "rate", "latency"),
    [
        # one that gave up its blocks took them again and again before one whose cache had come
        ([(0, 24, 15), (0, 48, 14)], 16, 6, 1, 10**8, 0),
        # it waited for the blocks of one that waited behind it
        ([(0, 44, 17), (0, 3, 24), (0, 23, 12)], 50, 6, 1, 10**8, 0),
        # a cache got blocks that an iteration which was still going on returns
        ([(0, 19, 6), (0, 5, 4), (1, 58, 11), (1, 17, 4), (0, 16, 12)], 50, 6, 2, None, 0),
        # several replicas without room moved each other's clocks by a picosecond
        ([(0, 17, 30), (0, 45, 7), (0, 49, 27), (1, 38, 26), (0, 50, 10)], 16, 6, 2, 10**7, 9),
        # one that had waited for blocks once was thought to wait for ever
        (WAITED_ONCE, 50, 6, 2, None, 0),
    ],
)
def test_scarce_blocks_equal_the_reference(
    rows: list[tuple[int, int, int]],
    budget: int,
    blocks: int,
    copies: int,
    rate: int | None,
    latency: int,
) -> None:
    check_against_reference(rows, budget, blocks, copies, rate, latency)


def check_against_reference(
    rows: list[tuple[int, int, int]],
    budget: int,
    blocks: int,
    copies: int,
    rate: int | None,
    latency: int,
) -> None:
    options = ServingOptions(max_batch=5, token_budget=budget)
    plans = plan_for(500, options), plan_for(blocks, options)
    traffic = requests_of(rows)
    result = run(pools(*plans, copies, kv_link=KvLink(rate, latency)), traffic, options)
    source = Box(plans[0], 500, budget, 5, prefills=True)
    targets = [Box(plans[1], blocks, budget, 5, prefills=False) for _ in range(copies)]
    items = items_of(traffic)
    disaggregated(source, targets, items, rate, latency, kv_bytes(plans[0], 1))
    start = items[0].arrival
    table = result.table
    assert table.scheduled_ps.tolist() == [item.scheduled - start for item in items]
    assert table.first_token_ps.tolist() == [item.first - start for item in items]
    assert table.completed_ps.tolist() == [item.completed - start for item in items]
    assert table.preemptions.tolist() == [item.preempted for item in items]
    assert result.iterations == source.iterations + sum(box.iterations for box in targets)
    moved = [item for item in items if item.output > 1]
    transfer = result.kv_transfer
    assert transfer is not None
    assert transfer.transfers == len(moved)
    assert transfer.bytes == sum(kv_bytes(plans[0], item.prompt) for item in moved)
    if moved:
        exposed = sum(item.arrived - item.first for item in moved) / len(moved)
        queued = sum(item.flows - item.began for item in moved) / len(moved)
        assert transfer.exposed_s == pytest.approx(exposed / 1e12)
        assert transfer.queue_s.mean == pytest.approx(queued / 1e12)


@FEW
@given(ROWS, st.sampled_from([16, 50, 512]))
def test_with_an_unlimited_link_each_pool_is_alone(
    rows: list[tuple[int, int, int]], budget: int
) -> None:
    """The prefill pool by itself gives the first tokens; a decode pool that is fed at those
    instants with finished prompts gives the rest."""
    options = ServingOptions(max_batch=64, token_budget=budget)
    plan = plan_for(500, options)
    traffic = requests_of(rows)
    result = run(pools(plan, plan), traffic, options).table
    ones = dataclasses.replace(traffic, output_tokens=np.ones_like(traffic.output_tokens))
    alone = replay(plan, Workload("prompts", ones), options).table
    assert (result.first_token_ps == alone.completed_ps).all()

    source = items_of(traffic)
    box = Box(plan, 500, budget, 64, prefills=False)
    for item, first in zip(source, alone.completed_ps.tolist(), strict=True):
        item.arrival, item.first, item.emitted = first, first, 1
        item.computed, item.blocks = item.prompt, ceil_div(item.prompt + 1, BLOCK)
    coming = sorted((i for i in source if i.output > 1), key=lambda item: item.arrival)
    now = 0
    while coming or box.queue or box.running:
        now = box.until if box.until is not None else max(now, coming[0].arrival)
        box.until = None
        for item in box.leaving:
            box.free += item.blocks
        box.leaving = []
        while coming and coming[0].arrival <= now:
            item = coming.pop(0)
            box.free -= item.blocks
            box.join(item)
        if box.queue or box.running:
            box.begin(now)
    ends = [item.first if item.output == 1 else item.completed for item in source]
    assert result.completed_ps.tolist() == ends


def test_one_request_pays_for_its_transfer_to_the_picosecond() -> None:
    plan = plan_for(500, OPTIONS)
    traffic = requests_of([(0, 40, 3)])
    size = kv_bytes(plan, 40)
    free = run(pools(plan, plan), traffic).table
    duration = int(free.first_token_ps[0])
    # the last of two layers is ready with the first token; the first one left before
    slow = run(pools(plan, plan, kv_link=KvLink(10**8, 77)), traffic)
    per_layer = size * 10**12 // (2 * 10**8)
    first_done = ceil_div(duration, 2) + per_layer
    arrival = max(duration, first_done) + per_layer + 77
    late = slow.table.completed_ps[0] - free.completed_ps[0]
    assert late == arrival - duration
    assert slow.kv_transfer is not None
    assert slow.kv_transfer.exposed_s == pytest.approx((arrival - duration) / 1e12)
    assert slow.kv_transfer.bytes == size == 40 * 2 * 2 * 2 * 4 * 2


def test_a_cache_waits_for_blocks_and_the_wait_is_reported() -> None:
    options = ServingOptions(max_batch=8, token_budget=512)
    result = run(
        pools(plan_for(500, options), plan_for(7, options)),
        requests_of([(0, 60, 30), (0, 60, 30)]),
        options,
    )
    assert result.kv_transfer is not None
    assert result.kv_transfer.queue_s.p99 > 0
    ends = np.sort(result.table.completed_ps)
    assert ends[1] > ends[0]


@SOME
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 10**6), st.integers(0, 999)),
        min_size=1,
        max_size=8,
    )
)
def test_transfers_share_links_as_fluid_flows(rows: list[tuple[int, int, int, int]]) -> None:
    """One layer that is ready at once is a plain max-min fair flow."""
    rates = [1e9, 2e9, 3e9, 5e8, 1e9, 2e9, 1e9, 4e9]
    world, ends = World(), {}
    links = SharedLinks(world, rates, lambda tag: ends.__setitem__(tag, world.now_ps))

    def begin(tag: int, out: int, into: int, size: int, start: int) -> None:
        event = world.timeout(start * 10**6)
        event.callbacks.append(lambda _: links.start(tag, (out, 4 + into), size))

    for tag, row in enumerate(rows):
        begin(tag, *row)
    world.run()
    flows = [Flow((o, 4 + i), size, start / 1e6) for o, i, size, start in rows]
    expected = finish_times(flows, dict(enumerate(rates)))
    for tag, end in enumerate(expected):
        assert ends[tag] / 1e12 == pytest.approx(end, rel=1e-9, abs=1e-11)
    carried = [0] * 8
    for out, into, size, _ in rows:
        carried[out] += size
        carried[4 + into] += size
    assert links.carried == carried


FAULTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["replica", "chip", "link"]), st.integers(0, 2)).map(
            lambda pair: f"{pair[0]}:{pair[1]}"
        ),
    ).flatmap(
        lambda where: st.tuples(
            st.integers(0, 10**4), st.one_of(st.integers(1, 3000), st.none())
        ).map(lambda when: f"{where}@{when[0]} us" + (f",repair {when[1]} us" if when[1] else ""))
    ),
    max_size=6,
)


class Kept(clusters.Cluster):
    """A cluster that can be looked into after the run."""

    last: Kept

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        Kept.last = self


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 10**9), LENGTHS), min_size=1, max_size=14),
    st.sampled_from(["always", "never", "uncached"]),
    st.sampled_from(["round-robin", "least-loaded", "power-of-two", "prefix-aware"]),
    st.sampled_from([6, 9, 40]),
    st.sampled_from([None, 10**7, 10**10]),
    FAULTS,
    st.sampled_from(["retry", "lose"]),
    st.sampled_from([None, 10**9]),
    st.sampled_from(sorted(SCHEDULERS)),
)
def test_nothing_is_lost_or_made(
    lengths: list[tuple[int, tuple[int, int]]],
    policy: str,
    router: str,
    blocks: int,
    rate: int | None,
    faults: list[str],
    on_failure: str,
    rebalance: int | None,
    scheduler: str,
) -> None:
    """Requests, tokens, KV blocks and bytes, through transfers, preemptions and failures."""
    plans = plan_for(40, OPTIONS), plan_for(blocks, OPTIONS)
    rows = [(gap, *pair) for gap, pair in lengths]
    deployment = pools(
        *plans,
        2,
        kv_link=KvLink(rate, 1000),
        router=router,
        disaggregate=policy,
        uncached_tokens=20,
        faults=tuple(parse_fault(text) for text in faults),
        on_failure=on_failure,
        rebalance_ps=rebalance if blocks == 40 else None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "Cluster", Kept)
        options = dataclasses.replace(OPTIONS, scheduler=scheduler)
        result = run(deployment, requests_of(rows), options)
    cluster = Kept.last
    done = result.table.status == COMPLETED
    lost = result.table.status == LOST
    assert (done | lost).all()
    assert result.lost_requests == int(lost.sum())
    assert result.requests.completed + result.lost_requests == len(rows)
    if on_failure == "retry" and all("repair" in text for text in faults):
        assert not lost.any()
    requests = cluster.requests
    assert (requests[done, fields.EMITTED] == result.table.output_tokens[done]).all()
    assert result.requests.output_tokens == int(result.table.output_tokens[done].sum())
    for field in (fields.BLOCKS, fields.HELD, fields.SHARED, fields.HELD_SHARED):
        assert not requests[:, field].any()
    for replica in cluster.replicas:
        assert replica.idle
        counters = replica.counters
        assert counters[fields.FREE_BLOCKS] + counters[fields.EVICTABLE] == replica.blocks
        assert counters[fields.PEAK_BLOCKS] <= replica.blocks
    assert cluster.prefill is not None and not cluster.prefill.transfers.busy
    table = result.table
    assert (table.first_token_ps[done] >= table.scheduled_ps[done]).all()
    assert (table.completed_ps[done] >= table.first_token_ps[done]).all()
    if rate is not None:
        log = cluster.prefill.transfers.log
        fastest = [ceil_div(size * 10**12, rate) for size in log.sizes]
        moved = zip(log.time_ps, fastest, strict=True)
        # rounding leaves a picosecond a layer
        assert all(time + 4 * MODEL.layers >= least for time, least in moved)


def test_dealt_ahead_or_one_by_one_is_the_same() -> None:
    """A failure of nobody's interest, long after the run, forces nothing to change."""
    plan = plan_for(40, OPTIONS)
    traffic = requests_of([(10**6, 30, 20)] * 40)
    ahead = run(one_pool(plan, 3), traffic)
    late = run(one_pool(plan, 3, faults=(parse_fault("replica:1@10s"),)), traffic)
    assert (ahead.table.completed_ps == late.table.completed_ps).all()
    assert late.failures == 0


def test_a_failed_replica_takes_its_requests_with_it() -> None:
    plan = plan_for(500, OPTIONS)
    traffic = requests_of([(0, 30, 200)] * 4)
    whole = run(one_pool(plan, 2), traffic)
    half = int(whole.table.completed_ps.max()) // 2
    fault = parse_fault(f"replica:0@{half} ps")
    retried = run(one_pool(plan, 2, faults=(fault,)), traffic)
    assert retried.requests.completed == 4 and retried.failures == 1
    assert (retried.table.completed_ps[[0, 2]] > whole.table.completed_ps.max()).all()
    # the tokens that were out stay: their first ones came before the failure
    assert (retried.table.first_token_ps == whole.table.first_token_ps).all()
    assert (retried.table.replica == 1).all()
    gone = run(one_pool(plan, 2, faults=(fault,), on_failure="lose"), traffic)
    assert gone.lost_requests == 2 and gone.requests.completed == 2
    assert gone.requests.arrived == gone.requests.completed + gone.lost_requests
    both = (fault, parse_fault(f"replica:1@{half} ps"))
    none = run(one_pool(plan, 2, faults=both), traffic)
    assert none.lost_requests == 4 and none.requests.completed == 0


def test_no_iteration_of_a_broken_replica_ends_while_it_is_broken() -> None:
    options = dataclasses.replace(OPTIONS, record_iterations=True)
    plan = plan_for(40, options)
    faults = tuple(parse_fault(f"replica:0@{t} us,repair 300 us") for t in (100, 500, 900))
    result = run(one_pool(plan, 2, faults=faults), requests_of([(10**7, 30, 40)] * 30), options)
    assert result.failures == 3 and result.log is not None
    mine = result.log.replica == 0
    for t in (100, 500, 900):
        inside = (result.log.end_ps[mine] > t * 10**6) & (
            result.log.start_ps[mine] < (t + 300) * 10**6
        )
        assert not inside.any()


def test_a_broken_link_holds_transfers_up() -> None:
    plan = plan_for(500, OPTIONS)
    traffic = requests_of([(0, 40, 3)])
    link = KvLink(10**8)
    plain = run(pools(plan, plan, kv_link=link), traffic)
    moving = int(plain.table.first_token_ps[0])
    fault = parse_fault(f"link:1@{moving} ps,repair 5 ms")
    broken = run(pools(plan, plan, kv_link=link, faults=(fault,)), traffic)
    assert broken.table.completed_ps[0] - plain.table.completed_ps[0] == 5 * 10**9


def test_a_link_that_stays_broken_is_given_up() -> None:
    """What was on its way to it goes elsewhere; where there is no elsewhere it is lost."""
    plan = plan_for(500, OPTIONS)
    traffic = requests_of([(0, 40, 3)])
    link = KvLink(10**8)
    plain = run(pools(plan, plan, kv_link=link), traffic)
    moving = int(plain.table.first_token_ps[0])
    fault = parse_fault(f"link:1@{moving} ps")
    other = run(pools(plan, plan, 2, kv_link=link, faults=(fault,)), traffic)
    assert other.table.replica.tolist() == [2] and other.lost_requests == 0
    # all of it moves again: both layers, one after the other
    again = kv_bytes(plan, 40) * 10**4
    late = other.table.completed_ps[0] - plain.table.completed_ps[0]
    assert late == again - (plain.kv_transfer.exposed_s * 1e12)
    none = run(pools(plan, plan, kv_link=link, faults=(fault,)), traffic)
    assert none.lost_requests == 1
    # the prefill replica's own link: what it had is computed anew by another
    members = (Pool("prefill", (Member(plan, 2),)), Pool("decode", (Member(plan),)))
    mine = parse_fault(f"link:0@{moving} ps")
    anew = run(Deployment(members, kv_link=link, faults=(mine,)), traffic)
    assert anew.requests.completed == 1
    assert anew.table.completed_ps[0] > plain.table.completed_ps[0] + moving // 2


def test_what_the_decode_pool_has_cached_need_not_move() -> None:
    options = dataclasses.replace(OPTIONS, prefix_cache=True)
    plan = plan_for(500, options)
    rows = [(0, 60, 20), (10**9, 60, 20), (10**9, 40, 20), (10**9, 60, 20)]
    # blocks of 16 tokens: three whole ones of 60 tokens, the same for all but the last request
    names = np.array([1, 2, 3, 1, 2, 3, 1, 2, 7, 8, 9], dtype=np.int64)
    prefix = PrefixBlocks(np.array([0, 3, 6, 8]), np.array([3, 3, 2, 3]), names, BLOCK)
    traffic = dataclasses.replace(requests_of(rows), prefix=prefix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "Cluster", Kept)
        result = run(pools(plan, plan, kv_link=KvLink(10**8)), traffic, options)
    whole, found = kv_bytes(plan, 60), kv_bytes(plan, 12)
    assert result.kv_transfer is not None
    assert Kept.last.prefill is not None
    assert Kept.last.prefill.transfers.log.sizes == [whole, found, kv_bytes(plan, 8), whole]
    assert result.kv_transfer.bytes == 2 * whole + found + kv_bytes(plan, 8)
    for replica in Kept.last.replicas:
        free = replica.counters[fields.FREE_BLOCKS] + replica.counters[fields.EVICTABLE]
        assert replica.idle and free == replica.blocks
    requests = Kept.last.requests
    for field in (fields.BLOCKS, fields.HELD, fields.SHARED, fields.HELD_SHARED):
        assert not requests[:, field].any()


def test_a_request_is_lost_with_one_failure_too_many() -> None:
    plan = plan_for(500, OPTIONS)
    traffic = requests_of([(0, 30, 200)])
    alone = int(run(one_pool(plan, 1), traffic).table.completed_ps[0])
    times = [alone // 8 * (i + 1) for i in range(3)]
    faults = tuple(parse_fault(f"replica:0@{t} ps,repair 1 ps") for t in times)
    for most, lost in ((0, 1), (2, 1), (3, 0)):
        result = run(one_pool(plan, 1, faults=faults, max_retries=most), traffic)
        assert result.lost_requests == lost
        assert result.requests.completed == 1 - lost
    with pytest.raises(InputError, match="--max-retries"):
        one_pool(plan, 1, max_retries=-1)


def test_speculation_and_tiers_are_in_the_document() -> None:
    plan = plan_for(9, OPTIONS)
    plain = run_json(run(one_pool(plan, 1), requests_of([(0, 30, 20)])))
    assert plain["speculation"] is None and plain["kv_tiers"] is None
    tiers = KvTiers(10**6, 10**9)
    options = dataclasses.replace(OPTIONS, speculate=2, preemption="swap", tiers=tiers)
    # drafts need room for their logits
    plan = plan_for(9, dataclasses.replace(options, max_batch=3 * options.max_batch))
    both = run_json(run(one_pool(plan, 1), requests_of([(0, 30, 60), (0, 30, 60)]), options))
    assert both["speculation"]["drafts"] == 2
    verified, kept = (both["speculation"][f"{key}_tokens"] for key in ("verified", "emitted"))
    # the first token of each comes from its prompt
    assert kept == 2 * 59 and kept < verified <= 3 * kept
    found = both["kv_tiers"]
    assert found["host_bytes"] == 10**6 and found["swaps"] >= 1
    assert found["to_host_bytes"] == found["from_host_bytes"] > 0
    assert found["to_host_bytes"] % kv_bytes(plan, BLOCK) == 0


def test_routers_look_at_what_they_say() -> None:
    plan = plan_for(500, OPTIONS)
    # long and short in turn: round robin gives one replica all long ones
    rows = [(10**5, 50 if i % 2 else 1, 200 if i % 2 else 1) for i in range(24)]
    traffic = requests_of(rows)
    by_turn = run(one_pool(plan, 2), traffic)
    by_load = run(one_pool(plan, 2, router="least-loaded"), traffic)
    by_two = run(one_pool(plan, 2, router="power-of-two"), traffic)
    assert by_turn.table.replica.tolist() == [0, 1] * 12
    assert by_load.table.completed_ps.max() < by_turn.table.completed_ps.max()
    # two of two are both: power of two choices is least loaded
    assert (by_two.table.replica == by_load.table.replica).all()
    three = [
        run(
            one_pool(plan, 3, router="power-of-two"),
            traffic,
            dataclasses.replace(OPTIONS, seed=seed),
        )
        for seed in (1, 1, 2)
    ]
    assert to_json(run_json(three[0])) == to_json(run_json(three[1]))
    assert (three[0].table.replica != three[2].table.replica).any()


def test_pools_change_when_one_is_short() -> None:
    """Long answers to short prompts: a prefill replica becomes a decode replica."""
    plan = plan_for(500, OPTIONS)
    traffic = requests_of([(2 * 10**8, 2, 200)] * 120)
    members = (Pool("prefill", (Member(plan, 3),)), Pool("decode", (Member(plan, 1),)))
    fixed = Deployment(members, kv_link=UNLIMITED)
    still = run(fixed, traffic)
    moved = run(dataclasses.replace(fixed, rebalance_ps=10**9), traffic)
    assert still.pool_changes == 0 and moved.pool_changes >= 1
    assert moved.pools["prefill"].final_replicas == 3 - moved.pool_changes
    assert moved.pools["decode"].final_replicas == 1 + moved.pool_changes
    assert moved.table.completed_ps.max() < still.table.completed_ps.max()


def test_closed_loops_wait_for_the_decode_pool() -> None:
    plan = plan_for(40, OPTIONS)
    count = 12
    ones = np.ones(count, dtype=np.int64)
    traffic = ClosedLoop(2, ones * 1000, ones * 20, ones * 10)
    result = run(pools(plan, plan, kv_link=KvLink(10**8, 5)), traffic)
    assert result.requests.completed == count
    times = result.table
    inside = [
        ((times.arrival_ps <= t) & (times.completed_ps > t)).sum()
        for t in times.arrival_ps.tolist()
    ]
    assert max(inside) == 2


@FEW
@given(ROWS)
def test_never_disaggregating_is_the_decode_pool_alone(rows: list[tuple[int, int, int]]) -> None:
    plan = plan_for(500, OPTIONS)
    traffic = requests_of(rows)
    never = run(pools(plan, plan, 2, disaggregate="never"), traffic)
    alone = run(one_pool(plan, 2), traffic)
    for column in ("scheduled_ps", "first_token_ps", "completed_ps"):
        assert (getattr(never.table, column) == getattr(alone.table, column)).all()
    assert never.kv_transfer is not None and never.kv_transfer.bytes == 0


def test_the_sums_of_the_pools_are_those_of_the_run() -> None:
    plan = plan_for(40, OPTIONS)
    result: RunResult = run(pools(plan, plan, 2), requests_of([(10**6, 30, 20)] * 20))
    parts = result.pools.values()
    assert list(result.pools) == ["prefill", "decode"]
    assert sum(part.iterations for part in parts) == result.iterations
    assert sum(part.serving_s for part in parts) == pytest.approx(result.serving_s)
    assert sum(part.chips for part in parts) == result.chips == 3
    assert 0 < result.pools["prefill"].mfu <= 1
    assert result.cost_usd == pytest.approx(2.0 * 3 * result.simulated_s / 3600)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("replica:1", "expected replica:N@TIME"),
        ("replic:1@3s", "did you mean 'replica'"),
        ("replica:x@3s", "expected replica:N@TIME"),
        ("replica:1@3", "unit"),
        ("replica:1@3s,60s", "repair"),
        ("mtbf:0s", "above zero"),
        ("mtbf:nan", "finite"),
        ("chip:1@-1s", "negative"),
    ],
)
def test_bad_faults(text: str, message: str) -> None:
    with pytest.raises(InputError) as found:
        parse_fault(text)
    assert message in f"{found.value.message} {found.value.hint}"


def test_failure_times_are_exponential_and_seeded() -> None:
    fault = parse_fault("mtbf:100s,repair 7s")

    def gaps(seed: int, replica: int) -> list[float]:
        times = outages([fault], replica, range(1), seed)
        found, up = [], 0
        for _ in range(4000):
            start, end = next(times)
            assert end is not None and end - start == 7 * 10**12
            found.append((start - up) / 1e12)
            up = end
        return found

    sample = gaps(1, 0)
    assert sample == gaps(1, 0) != gaps(2, 0)
    assert gaps(1, 1) != sample
    # mean and spread within three standard errors
    assert np.mean(sample) == pytest.approx(100, abs=3 * 100 / 4000**0.5)
    assert np.std(sample) == pytest.approx(100, abs=3 * 2 * 100 / 4000**0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"router": "rnd-robin"}, "--router"),
        ({"faults": (parse_fault("replica:9@1s"),)}, "there are 2 replicas"),
        ({"faults": (parse_fault("chip:5@1s"),)}, "there are 2 chips"),
        ({"kv_link": None}, "no network"),
    ],
)
def test_bad_deployments(change: dict, message: str) -> None:
    plan = plan_for(40, OPTIONS)
    with pytest.raises(InputError) as found:
        run(pools(plan, plan, **change), requests_of([(0, 4, 3)]))
    assert message in found.value.message


def test_kernels_of_transfers_run_in_a_process_that_did_not_compile_them() -> None:
    """They allocate, and numba's allocator is not compiled where kernels are found compiled."""
    program = (
        "import numpy as np\n"
        "from simulator.kernels.layered_flows import forward\n"
        "flow = np.array([[1, 0, 10**9, 4]], dtype=np.int64)\n"
        "first, link = np.array([[0, 2], [0, 1]], dtype=np.int64)\n"
        "rates = (np.ones(2), np.full(2, 1e-3))\n"
        "print(forward(flow, np.array([10.0]), np.zeros(1), first, link, *rates, 0, 2**62))\n"
    )
    # the first one may compile, the second one finds what it has left
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "1000010000\n"), done.stderr
