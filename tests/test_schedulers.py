"""Every scheduler, preemption, speculation and prefix cache against the spelled-out reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_serving import BLOCK, Sequence, Server, open_loop
from test_serving_replay import plan_for

from simulator.api import LayoutOptions, load_model, load_system, plan_of
from simulator.errors import InputError
from simulator.serving import fields
from simulator.serving.batcher import Batcher
from simulator.serving.options import SCHEDULERS, KvTiers, ServingOptions
from simulator.serving.price_table import PriceTable
from simulator.timing.layout_room import Search
from simulator.timing.plan import Dtypes, Plan, make_plan

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
    assert batcher.load() == 0
    return batcher


def server_for(plan: Plan, blocks: int, options: ServingOptions, hash_blocks: int = 1) -> Server:
    tiers = options.tiers or KvTiers()
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
    assert (counters[fields.PREEMPTED] > 0) == (scheduler not in ("static", "no-evict"))
    assert swaps == (counters[fields.PREEMPTED] if preemption == "swap" else 0)
    assert counters[fields.MOVED_OUT] == counters[fields.MOVED_IN]
    computed = int(batcher.sums[fields.TOKEN_SUM])
    once = 12 * (40 + 50 - 1)
    if scheduler in ("static", "no-evict") or preemption == "swap":
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


def tokens_computed(batcher: Batcher) -> int:
    return int(batcher.sums[fields.TOKEN_SUM])


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@pytest.mark.parametrize(("prompt", "left"), [(64, 16), (65, 1), (79, 15), (16, 16), (5, 5)])
def test_a_prompt_that_is_cached_computes_its_last_block_only(
    scheduler: str, prompt: int, left: int
) -> None:
    """Whole blocks are found, and the last token is computed even where its block is cached."""
    options = ServingOptions(scheduler=scheduler, prefix_cache=True)
    content = tuple(range(prompt // BLOCK))
    rows = [Row(0, prompt, 1, content=content), Row(10**12, prompt, 1, content=content)]
    batcher = run(batcher_for(plan_for(500, options), 500, options, rows))
    assert tokens_computed(batcher) == prompt + left
    assert batcher.requests[:, fields.FOUND].tolist() == [0, prompt - left]
    assert batcher.counters[fields.FOUND_TOKENS] == prompt - left
    assert batcher.counters[fields.PROMPT_TOKENS] == 2 * prompt
    assert batcher.counters[fields.EVICTABLE] == prompt // BLOCK


def test_contents_that_differ_share_nothing() -> None:
    options = ServingOptions(prefix_cache=True)
    rows = [Row(10**12, 64, 3, content=(10 * i, 1, 2, 3)) for i in range(5)]
    batcher = run(batcher_for(plan_for(500, options), 500, options, rows))
    alone = [Row(10**12, 64, 3) for _ in range(5)]
    without = run(batcher_for(plan_for(500, options), 500, options, alone))
    assert batcher.counters[fields.FOUND_TOKENS] == 0
    assert tokens_computed(batcher) == tokens_computed(without)
    columns = [fields.SCHEDULED_AT, fields.FIRST_TOKEN_AT, fields.COMPLETED_AT]
    assert (batcher.requests[:, columns] == without.requests[:, columns]).all()


def test_sequences_that_run_together_share_their_prefix() -> None:
    """The second arrives while the first decodes: its prefix takes no blocks of its own."""
    options = ServingOptions(prefix_cache=True)
    content = (1, 2, 3, 4)
    one = run(batcher_for(plan_for(500, options), 500, options, [Row(0, 65, 40, content=content)]))
    rows = [Row(0, 65, 40, content=content), Row(10**7, 65, 2, content=content)]
    both = run(batcher_for(plan_for(500, options), 500, options, rows))
    assert both.requests[1, fields.FOUND] == 64
    assert both.counters[fields.PEAK_BLOCKS] <= one.counters[fields.PEAK_BLOCKS] + 1


def test_the_least_recently_used_prefix_goes_first_and_its_end_before_its_beginning() -> None:
    """Two prompts of four blocks in a cache of nine; a third of two takes the first one's end."""
    options = ServingOptions(prefix_cache=True)
    first, second, third = (1, 2, 3, 4), (11, 12, 13, 14), (21, 22)
    rows = [Row(10**12, 64, 1, content=first), Row(10**12, 64, 1, content=second)]
    rows += [Row(10**12, 33, 1, content=third)]
    rows += [Row(10**12, 65, 1, content=second), Row(10**12, 65, 1, content=first)]
    batcher = run(batcher_for(plan_for(9, options), 9, options, rows))
    # the third finds one block free and takes two of the first's four
    assert batcher.requests[:, fields.FOUND].tolist() == [0, 0, 0, 64, 32]


def test_a_prefix_comes_back_from_the_host_at_its_bandwidth() -> None:
    rows = [Row(0, 65, 1, content=(1, 2, 3, 4)), Row(10**12, 80, 1, content=(5, 6, 7, 8, 9))]
    rows += [Row(10**12, 65, 1, content=(1, 2, 3, 4))]
    rate = 10**7
    found = {}
    for name, tiers in (("none", KvTiers()), ("host", KvTiers(100 * BLOCK_BYTES, rate))):
        options = ServingOptions(prefix_cache=True, tiers=tiers)
        batcher = run(batcher_for(plan_for(6, options), 6, options, rows))
        found[name] = batcher
    ttft = {
        name: batcher.requests[:, fields.FIRST_TOKEN_AT] - batcher.requests[:, fields.ARRIVAL]
        for name, batcher in found.items()
    }
    host = found["host"]
    # the second evicted three blocks of the first; the third fetches them and evicts four
    fetched = int(host.counters[fields.MOVED_IN])
    assert host.requests[2, fields.FOUND] == 64
    assert found["none"].requests[2, fields.FOUND] == 16
    assert fetched == 3
    copied = 4 * BLOCK_BYTES * 10**12 // rate
    alone = run(
        batcher_for(
            plan_for(6, ServingOptions()),
            6,
            ServingOptions(prefix_cache=True),
            [Row(0, 65, 1, content=(1, 2, 3, 4)), Row(10**12, 65, 1, content=(1, 2, 3, 4))],
        )
    )
    hit = int(alone.requests[1, fields.FIRST_TOKEN_AT] - alone.requests[1, fields.ARRIVAL])
    assert ttft["host"][2] == hit + copied


@pytest.mark.parametrize(("drafts", "acceptance"), [(1, 0.5), (3, 0.7), (5, 0.9), (4, 1.0)])
def test_speculation_emits_what_is_expected(drafts: int, acceptance: float) -> None:
    """(1 - a**(K + 1)) / (1 - a) tokens a step on average, K + 1 where everything is accepted."""
    options = ServingOptions(speculate=drafts, acceptance=acceptance, max_batch=4)
    rows = [Row(0, 10, 400) for _ in range(40)]
    batcher = run(batcher_for(plan_for(500, options), 500, options, rows))
    counters = batcher.counters
    emitted = int(counters[fields.DECODED])
    assert emitted == 40 * 399
    steps = (int(counters[fields.VERIFIED])) / (drafts + 1)
    powers = [acceptance**i for i in range(drafts + 1)]
    # the last steps of a request verify less
    assert emitted / steps == pytest.approx(sum(powers), rel=0.03)


@SOME
@given(st.data(), options_of(), st.sampled_from([6, 9, 40]))
def test_the_load_is_the_tokens_of_all_requests_here(
    data: st.DataObject, options: ServingOptions, blocks: int
) -> None:
    """Prompt and emitted tokens of running, waiting and posted requests, at any time."""
    rows = data.draw(requests_of(1))
    batcher = batcher_for(plan_for(blocks, options), blocks, options, rows)
    batcher.post_all(np.arange(len(rows)))
    last = int(batcher.requests[:, fields.ARRIVAL].max())
    for part in range(1, 9):
        batcher.catch_up(last * part // 4)
        here = batcher.requests[batcher.requests_here()]
        assert batcher.load() == here[:, [fields.PROMPT, fields.EMITTED]].sum()
    batcher.fail()
    assert batcher.load() == 0


@SOME
@given(st.data(), options_of(), st.sampled_from([6, 9, 40]))
def test_remembered_prices_change_nothing(
    data: st.DataObject, options: ServingOptions, blocks: int
) -> None:
    """Jumping over decode iterations, and pricing them by their sums, leaves every number."""
    rows = data.draw(requests_of(1))
    plan = plan_for(blocks, options)
    quick = run(batcher_for(plan, blocks, options, rows))
    slow = batcher_for(plan, blocks, options, rows)
    slow.prices = PriceTable(plan, options.token_budget)  # knows nothing of decode iterations
    run(slow)
    for name in ("requests", "totals", "sums", "counters"):
        assert (getattr(quick, name) == getattr(slow, name)).all(), name
    assert (quick.prices.gaps == slow.prices.gaps).all()


def test_remembered_prices_change_nothing_on_a_gpu() -> None:
    """There a price depends on the longest sequence, too."""
    compare_long_run(make_plan(load_system("h100"), load_model("llama-toy")))


@pytest.mark.parametrize(
    ("system", "model", "degrees"),
    [
        ("tpu-v6e:2x2", "llama3-8b", "tp2-pp2"),
        ("tpu-v6e:2x2", "llama3-8b", "tp2-dp2"),
        ("tpu-v7x:2x2x1", "gemma3-27b", "tp4"),
        ("h100:8", "gpt-oss-120b", "tp8-ep8"),
        ("tpu-v7x:2x2x4", "deepseek-v3", "tp16-ep16"),
    ],
)
def test_remembered_prices_change_nothing_under_any_layout(
    system: str, model: str, degrees: str
) -> None:
    """Stages, ranks that share the sequences, windows, latent attention, experts."""
    options = LayoutOptions(layout=degrees)
    search = Search("decode", 8, 256)
    plan = plan_of(load_system(system), load_model(model), options, Dtypes("fp8"), search)
    compare_long_run(plan)


def compare_long_run(plan: Plan) -> None:
    rows = [Row(10**7 * (i % 5), 5 + 37 * i % 300, 1 + 13 * i % 60) for i in range(40)]
    rows += [Row(10**12, 30, 60), Row(10**12, 30, 60)]
    options = ServingOptions(max_batch=8, token_budget=256)
    quick = run(batcher_for(plan, 400, options, rows))
    slow = batcher_for(plan, 400, options, rows)
    slow.prices = PriceTable(plan, options.token_budget)
    run(slow)
    for name in ("requests", "totals", "sums", "counters"):
        assert (getattr(quick, name) == getattr(slow, name)).all(), name
    assert (quick.prices.gaps == slow.prices.gaps).all()


def test_urgent_requests_overtake_and_are_not_preempted() -> None:
    options = ServingOptions(max_batch=2, token_budget=64)
    rows = [Row(1000, 40, 50, priority=1) for _ in range(6)] + [Row(1000, 40, 50, priority=-1)]
    batcher = run(batcher_for(plan_for(9, options), 9, options, rows))
    assert batcher.requests[6, fields.PREEMPTIONS] == 0
    done = batcher.requests[:, fields.COMPLETED_AT]
    assert (done[6] < np.sort(done[:6])[2:]).all()


def test_swap_without_a_host_is_refused() -> None:
    options = ServingOptions(preemption="swap")
    with pytest.raises(InputError, match="no host link"):
        batcher_for(plan_for(9, options), 9, options, [Row(0, 4, 4)])


def test_a_sequence_that_gives_up_its_own_blocks_does_not_stop_the_others() -> None:
    """The first to be served is the least urgent, and needs a block that nobody else gives up."""
    rows = [
        Row(gap=0, prompt=53, output=13, priority=2, content=()),
        Row(gap=1, prompt=1, output=1, priority=0, content=()),
        Row(gap=0, prompt=1, output=1, priority=0, content=()),
        Row(gap=0, prompt=1, output=13, priority=0, content=()),
        Row(gap=0, prompt=38, output=13, priority=0, content=()),
    ]
    options = ServingOptions(max_batch=5, token_budget=4, scheduler="prefill-first")
    batcher = run(batcher_for(plan_for(9, options), 9, options, rows))
    assert (batcher.requests[:, fields.EMITTED] == [row.output for row in rows]).all()
