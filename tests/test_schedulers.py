"""Every scheduler, preemption, speculation and prefix cache against the spelled-out reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_serving import BLOCK, Sequence, Server, open_loop
from test_serving_replay import plan_for

from simulator.errors import InputError
from simulator.serving import fields
from simulator.serving.batcher import Batcher
from simulator.serving.options import SCHEDULERS, KvTiers, ServingOptions
from simulator.serving.price_table import PriceTable
from simulator.timing.plan import Plan

BLOCK_BYTES = 1000
SOME = settings(deadline=None, derandomize=True, max_examples=150)


@dataclass(frozen=True)
class Row:
    """A request: gap since the last arrival, lengths, priority, content of its hash blocks."""

    gap: int
    prompt: int
    output: int
    priority: int = 0
    content: tuple[int, ...] = ()


def table_of(rows: list[Row]) -> tuple[np.ndarray, np.ndarray]:
    """(requests, content ids) as the kernels take them."""
    requests = np.zeros((len(rows), fields.REQUEST_FIELDS), dtype=np.int64)
    requests[:, fields.ARRIVAL] = np.cumsum([row.gap for row in rows])
    requests[:, fields.PROMPT] = [row.prompt for row in rows]
    requests[:, fields.OUTPUT] = [row.output for row in rows]
    requests[:, fields.PRIORITY] = [row.priority for row in rows]
    counts = np.array([len(row.content) for row in rows], dtype=np.int64)
    requests[:, fields.HASH_COUNT] = counts
    requests[:, fields.HASH_FIRST] = np.cumsum(counts) - counts
    for column in (fields.SCHEDULED_AT, fields.FIRST_TOKEN_AT, fields.COMPLETED_AT):
        requests[:, column] = fields.NEVER
    ids = np.array([c for row in rows for c in row.content], dtype=np.int64)
    return requests, ids


def batcher_for(
    plan: Plan, blocks: int, options: ServingOptions, rows: list[Row], hash_blocks: int = 1
) -> Batcher:
    requests, ids = table_of(rows)
    return Batcher(
        PriceTable(plan, options.token_budget),
        requests,
        options,
        blocks=blocks,
        block_bytes=BLOCK_BYTES,
        ids=ids,
        hash_tokens=hash_blocks * BLOCK,
    )


def run(batcher: Batcher) -> Batcher:
    batcher.post_all(np.arange(len(batcher.requests)))
    batcher.advance(fields.NO_HORIZON)
    assert batcher.idle
    return batcher


def server_for(plan: Plan, blocks: int, options: ServingOptions, hash_blocks: int = 1) -> Server:
    tiers = options.tiers
    return Server(
        plan,
        blocks,
        options.token_budget,
        options.max_batch,
        scheduler=options.scheduler,
        swap=options.preemption == "swap",
        headroom=int(options.watermark * blocks),
        drafts=options.speculate,
        acceptance=options.acceptance,
        seed=options.seed,
        hash_blocks=hash_blocks,
        host_blocks=tiers.host_bytes // BLOCK_BYTES,
        pool_blocks=tiers.pool_bytes // BLOCK_BYTES,
        block_bytes=BLOCK_BYTES,
        host_rate=tiers.host_bytes_per_s,
        pool_rate=tiers.pool_bytes_per_s,
    )


def sequences_of(rows: list[Row]) -> list[Sequence]:
    out = []
    now = 0
    for number, row in enumerate(rows):
        now += row.gap
        out.append(
            Sequence(
                number,
                row.prompt,
                row.output,
                arrival=now,
                priority=row.priority,
                content=list(row.content),
            )
        )
    return out


def compare(batcher: Batcher, server: Server, expected: list[Sequence]) -> None:
    """Every time and count of every request, and what is left in the cache."""
    rows = batcher.requests
    for column, name in (
        (fields.SCHEDULED_AT, "scheduled"),
        (fields.FIRST_TOKEN_AT, "first"),
        (fields.COMPLETED_AT, "completed"),
        (fields.PREEMPTIONS, "preempted"),
        (fields.EMITTED, "output"),
        (fields.FOUND, "found"),
    ):
        assert rows[:, column].tolist() == [getattr(s, name) for s in expected], name
    counters = batcher.counters
    assert counters[fields.ITERATIONS] == server.iterations
    assert counters[fields.PEAK_BLOCKS] == server.peak
    assert counters[fields.FREE_BLOCKS] == server.free
    assert counters[fields.EVICTABLE] == len(server.unused) * server.hash_blocks
    assert counters[fields.FREE_BLOCKS] + counters[fields.EVICTABLE] == server.blocks
    assert counters[fields.HOST_USED] == len(server.host) * server.hash_blocks
    assert counters[fields.POOL_USED] == len(server.pool) * server.hash_blocks
    assert counters[fields.COMPLETED] == len(expected)
    for column in (fields.BLOCKS, fields.SHARED, fields.SWAPPED, fields.RUNS):
        assert (rows[:, column] == 0).all()


@st.composite
def options_of(draw: st.DrawFn) -> ServingOptions:
    tiers = KvTiers()
    if draw(st.booleans()):
        pool = draw(st.sampled_from([0, 0, 3, 20])) * BLOCK_BYTES
        tiers = KvTiers(
            draw(st.sampled_from([2, 5, 30])) * BLOCK_BYTES, 10**9, pool, 10**8 if pool else 0
        )
    budget = draw(st.sampled_from([4, 16, 50, 512]))
    return ServingOptions(
        max_batch=draw(st.sampled_from([1, 2, 5, 64])),
        token_budget=budget,
        seed=draw(st.integers(0, 3)),
        scheduler=draw(st.sampled_from(sorted(SCHEDULERS))),
        preemption=draw(st.sampled_from(["recompute", "swap"])),
        watermark=draw(st.sampled_from([0.0, 0.0, 0.1, 0.5])),
        speculate=draw(st.sampled_from([0, 0, 1, 3])),
        acceptance=draw(st.sampled_from([0.0, 0.6, 1.0])),
        prefix_cache=True,
        tiers=tiers,
    )


@st.composite
def requests_of(draw: st.DrawFn, hash_blocks: int) -> list[Row]:
    """Requests whose contents are branches of a tree, as those of conversations."""
    rows = []
    for _ in range(draw(st.integers(1, 14))):
        prompt = draw(st.one_of(st.integers(1, 8), st.integers(1, 60)))
        output = draw(st.integers(1, 36))
        known = draw(st.sampled_from([0, prompt, prompt, prompt + output]))
        branch = draw(st.integers(0, 2))
        split = draw(st.integers(0, 3))
        whole = known // (hash_blocks * BLOCK)
        content = [100 * branch * (i >= split) + i for i in range(whole)]
        rows.append(
            Row(
                draw(st.one_of(st.just(0), st.integers(0, 10**7), st.integers(0, 10**9))),
                prompt,
                output,
                draw(st.sampled_from([0, 0, 0, -1, 2])),
                tuple(content),
            )
        )
    return rows


@SOME
@given(st.data(), options_of(), st.sampled_from([6, 7, 9, 12, 40, 500]), st.integers(1, 2))
def test_every_scheduler_equals_the_reference(
    data: st.DataObject, options: ServingOptions, blocks: int, hash_blocks: int
) -> None:
    rows = data.draw(requests_of(hash_blocks))
    plan = plan_for(blocks, options)
    batcher = run(batcher_for(plan, blocks, options, rows, hash_blocks))
    server = server_for(plan, blocks, options, hash_blocks)
    expected = sequences_of(rows)
    open_loop([server], expected)
    compare(batcher, server, expected)


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@pytest.mark.parametrize("preemption", ["recompute", "swap"])
def test_pressure_preempts(scheduler: str, preemption: str) -> None:
    """Twelve sequences that grow to six blocks each in a cache of nine."""
    options = ServingOptions(
        max_batch=8,
        token_budget=64,
        scheduler=scheduler,
        preemption=preemption,
        tiers=KvTiers(40 * BLOCK_BYTES, 10**9),
    )
    rows = [Row(1000, 40, 50, priority=i % 3) for i in range(12)]
    plan = plan_for(9, options)
    batcher = run(batcher_for(plan, 9, options, rows))
    server = server_for(plan, 9, options)
    expected = sequences_of(rows)
    open_loop([server], expected)
    compare(batcher, server, expected)
    counters = batcher.counters
    swaps = int(counters[fields.SWAPS])
    assert (counters[fields.PREEMPTED] > 0) == (scheduler != "static")
    assert swaps == (counters[fields.PREEMPTED] if preemption == "swap" else 0)
    assert counters[fields.MOVED_OUT] == counters[fields.MOVED_IN]
    computed = int(batcher.sums[fields.TOKEN_SUM])
    once = 12 * (40 + 50 - 1)
    if scheduler == "static" or preemption == "swap":
        assert computed == once
    else:
        assert computed > once


@pytest.mark.parametrize("users", [1])
def test_with_one_user_all_schedulers_agree(users: int) -> None:
    rows = [Row(10**12, prompt, output) for prompt, output in ((30, 7), (500, 11), (1, 1), (64, 3))]
    found = []
    for scheduler in SCHEDULERS:
        options = ServingOptions(scheduler=scheduler, token_budget=512)
        batcher = run(batcher_for(plan_for(500, options), 500, options, rows))
        found.append(batcher.requests[:, : fields.PREEMPTIONS + 1].tolist())
    assert all(other == found[0] for other in found)


@pytest.mark.parametrize(
    "bad",
    [
        {"scheduler": "chunky"},
        {"preemption": "swop"},
        {"watermark": 1.0},
        {"watermark": float("nan")},
        {"acceptance": 1.5},
        {"speculate": -1},
        {"speculate": 65},
        {"speculate": 4, "token_budget": 4},
    ],
)
def test_bad_options(bad: dict) -> None:
    with pytest.raises(InputError):
        ServingOptions(**bad)


def test_a_near_name_is_offered() -> None:
    with pytest.raises(InputError) as found:
        ServingOptions(scheduler="decodefirst")
    assert "decode-first" in str(found.value.hint)


@pytest.mark.parametrize(
    "bad", [(10, 0, 0, 0), (0, 0, 10, 10), (-1, 10, 0, 0), (10, 10, 10, 0), (10, -1, 0, 0)]
)
def test_bad_tiers(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError):
        KvTiers(*bad)
