"""Ranks that share the sequences wait for the fullest; decode batches run in captured graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cli import main
from simulator.config.loader import load_engine, load_system
from simulator.hardware import Fabric, ServingEngine
from simulator.kernels import executor as ex
from simulator.model.layers import Dense, Experts, GroupedQuery, Layer, Stack
from simulator.model.layout import Layout
from simulator.model.operators import Attention, MoE
from simulator.model.transformer import Transformer
from simulator.serving import fields
from simulator.serving.batcher import Batcher
from simulator.serving.options import ServingOptions
from simulator.serving.price_table import PriceTable, most_rows
from simulator.timing.choices import Dtypes, Speculation
from simulator.timing.plan import Plan, make_plan
from simulator.timing.step import Batch, execute, price_batch, price_step

MS = 10**9
ENGINE = ServingEngine("padding", MS, 10**6, graph_batches=(1, 2, 4, 8, 16, 32))
BARE = replace(ENGINE, graph_batches=())


def sparse_model() -> Transformer:
    attention = GroupedQuery(16, 4, 32)
    layers = (Layer(attention, Dense(1024)), Layer(attention, Experts(16, 4, 256)))
    return Transformer("sparse", 512, 2048, 100_000, (Stack("layer", 2, layers),))


def plan_for(layout: Layout, engine: ServingEngine | None = None, **more) -> Plan:
    chip = load_system("h100").chip
    fabric = Fabric("switch", (layout.chips,), (False,), 4 * 10**11, 10**6)
    fabric = fabric if layout.chips > 1 else Fabric("none")
    system = replace(load_system("h100"), chip=chip, fabric=fabric, host_overhead_ps=MS)
    system = system if engine is None else system.under(engine)
    return make_plan(system, sparse_model(), layout=layout, dtypes=Dtypes(), **more)


SHARED = {ranks: plan_for(Layout(dp=ranks, ep=ranks)) for ranks in (2, 4)}
GATHERED = plan_for(Layout(dp=4, ffn_tp=4))


def batch_of(sequences: list[tuple[int, int, int]]) -> Batch:
    """Of (rank, new tokens, cached tokens)."""
    ranks, new, past = (np.array(column, dtype=np.int64) for column in zip(*sequences, strict=True))
    decoding = int((past > 0).sum())
    return Batch(new, past, decoding + int((past == 0).sum()), ranks)


def time_ps(plan: Plan, batch: Batch) -> int:
    return int(execute(plan, price_batch(plan, batch))[0][ex.TIME])


def serve(plan: Plan, rows: list[tuple[int, int, int]], options: ServingOptions) -> Batcher:
    """Serve requests of (arrival, prompt, output) to their end, with a log of the iterations."""
    requests = np.zeros((len(rows), fields.REQUEST_FIELDS), dtype=np.int64)
    named = (fields.ARRIVAL, fields.PROMPT, fields.OUTPUT)
    for index, row in enumerate(rows):
        requests[index, named] = row
        requests[index, fields.READY_AT] = row[0]
    for name in (fields.SCHEDULED_AT, fields.FIRST_TOKEN_AT, fields.COMPLETED_AT):
        requests[:, name] = fields.NEVER
    prices = PriceTable(plan, most_rows(plan, options))
    batcher = Batcher(prices, requests, options, blocks=10_000)
    batcher.post_all(np.arange(len(rows)))
    batcher.advance(fields.NO_HORIZON)
    assert batcher.idle
    return batcher


# --- ranks


@pytest.mark.parametrize("ranks", [2, 4])
def test_what_ranks_do_for_their_own_sequences_takes_as_long_as_on_the_fullest(ranks):
    """A prompt of 600 on one, two decodes on each other: as if all had the prompt, but experts
    compute what there is."""
    plan = SHARED[ranks]
    others = [(rank, 1, 50) for rank in range(1, ranks) for _ in range(2)]
    uneven = price_batch(plan, batch_of([(0, 600, 0), *others]))
    full = price_batch(plan, batch_of([(rank, 600, 0) for rank in range(ranks)]))
    total = 600 + len(others)
    even = np.zeros_like(full)
    plan.price_rows(total, False, even)
    for index, op in enumerate(plan.operators):
        times = [price[index, ex.COLD, ex.DURATION] for price in (even, uneven, full)]
        if isinstance(op, MoE):
            assert times[0] < times[1] < times[2]
            # every rank has its share of all assignments; the exchange is that of the fullest
            flows = [price[index, ex.COLD, ex.SENT] for price in (uneven, full)]
            assert flows[0] == flows[1]
            assert uneven[index, ex.COLD, ex.MATRIX] < full[index, ex.COLD, ex.MATRIX]
        elif getattr(op, "rows", "tokens") == "tokens":
            assert times[1] == times[2], op.name
            assert isinstance(op, Attention) or times[0] <= times[1]


def test_what_gathers_the_tokens_of_all_ranks_has_no_more_than_there_are():
    uneven = price_batch(GATHERED, batch_of([(0, 600, 0), (1, 1, 50), (2, 1, 50), (3, 1, 50)]))
    even = np.zeros_like(uneven)
    GATHERED.price_rows(603, False, even)
    names = [op.name for op in GATHERED.operators]
    for index, op in enumerate(GATHERED.operators):
        if op.split == 1 and getattr(op, "rows", "") == "tokens":
            assert (uneven[index] == even[index]).all(), op.name
    own = names.index("qkv")
    assert uneven[own, ex.COLD, ex.DURATION] > even[own, ex.COLD, ex.DURATION]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.sampled_from([2, 4]),
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 300), st.integers(0, 500)),
        min_size=1,
        max_size=4,
    ),
    st.tuples(st.integers(0, 3), st.integers(1, 300), st.integers(0, 500)),
)
def test_a_batch_takes_no_less_than_its_part_on_any_ranks(ranks, sequences, more):
    plan = SHARED[ranks]
    placed = [(rank % ranks, new, past) for rank, new, past in sequences]
    larger = [*placed, (more[0] % ranks, *more[1:])]
    assert time_ps(plan, batch_of(placed)) <= time_ps(plan, batch_of(larger))


def test_a_replay_waits_for_the_rank_with_the_longer_prompt():
    """Two requests on two ranks: the iterations by hand."""
    plan = SHARED[2]
    served = serve(plan, [(0, 400, 3), (0, 8, 3)], ServingOptions(token_budget=2048))
    host = plan.system.host_ps(1)
    steps = [
        batch_of([(0, 400, 0), (1, 8, 0)]),
        batch_of([(0, 1, 400), (1, 1, 8)]),
        batch_of([(0, 1, 401), (1, 1, 9)]),
    ]
    assert served.now_ps == sum(time_ps(plan, step) + host for step in steps)
    assert time_ps(plan, steps[0]) > time_ps(plan, batch_of([(0, 204, 0), (1, 204, 0)]))


def test_sequences_stay_on_the_rank_with_the_fewest():
    served = serve(SHARED[4], [(0, 20, 5)] * 8, ServingOptions(token_budget=4096))
    assert served.requests[:, fields.RANK].tolist() == [0, 1, 2, 3] * 2
    # the first two have ended when the next ones come: these take their places
    rows = [(0, 20, 2), (0, 20, 2), (0, 20, 60), (0, 20, 60)]
    rows += [(20 * MS, 20, 2), (20 * MS, 20, 2)]
    served = serve(SHARED[4], rows, ServingOptions(token_budget=4096))
    assert served.requests[:, fields.RANK].tolist() == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("scheduler", ["chunked", "prefill-first", "decode-first", "no-evict"])
def test_each_rank_has_its_part_of_the_budget(scheduler):
    """A prompt of 256 tokens under a budget of 4 x 64 needs four iterations of one rank."""
    options = ServingOptions(token_budget=256, scheduler=scheduler)
    assert serve(SHARED[4], [(0, 256, 1)], options).counters[fields.ITERATIONS] == 4
    assert serve(SHARED[4], [(0, 256, 1)] * 4, options).counters[fields.ITERATIONS] == 4
    assert serve(SHARED[4], [(0, 256, 1)] * 5, options).counters[fields.ITERATIONS] == 8


@pytest.mark.parametrize("scheduler", ["chunked", "prefill-first", "decode-first", "no-evict"])
def test_everybody_is_served_on_ranks_under_every_scheduler(scheduler):
    rows = [(i * MS // 7, 1 + 37 * i % 200, 1 + 11 * i % 30) for i in range(60)]
    for plan in (SHARED[4], GATHERED):
        options = ServingOptions(max_batch=10, token_budget=130, scheduler=scheduler)
        served = serve(plan, rows, options)
        assert (served.requests[:, fields.COMPLETED_AT] > 0).all()
        assert (served.requests[:, fields.EMITTED] == served.requests[:, fields.OUTPUT]).all()


# --- graphs


def test_a_batch_between_two_graphs_computes_the_rows_of_the_larger():
    plan, bare = (plan_for(Layout(), engine) for engine in (ENGINE, BARE))
    step, full = (price_step(plan, phase="decode", batch=b, context=300) for b in (9, 16))
    alone = price_step(bare, phase="decode", batch=9, context=300)
    for ours, padded, own in zip(step.operators, full.operators, alone.operators, strict=True):
        same = own if ours.kind == "attention" else padded
        assert ours.duration_ps == same.duration_ps, ours.name
        assert ours.flops == same.flops
    assert step.tokens == 9
    assert step.flops == alone.flops
    assert step.host_ps == ENGINE.iteration_ps + 9 * ENGINE.sequence_ps
    assert "padding pads 9 sequences to 16, the next batch that it has a graph of" in step.notes
    assert not full.notes
    # neither prompts nor what is beyond the largest graph
    for phase, batch in (("prefill", 9), ("decode", 33)):
        pair = [price_step(p, phase=phase, batch=batch, context=300) for p in (plan, bare)]
        assert pair[0].time_ps == pair[1].time_ps
        assert not pair[0].notes


def test_more_sequences_are_never_faster_and_padding_never_saves():
    plan, bare = (plan_for(Layout(), engine) for engine in (ENGINE, BARE))
    times, plain = (
        [price_step(p, phase="decode", batch=b, context=64).time_ps for b in range(1, 41)]
        for p in (plan, bare)
    )
    assert times == sorted(times)
    assert all(padded >= own for padded, own in zip(times, plain, strict=True))
    unpadded = {b for b in range(1, 41) if times[b - 1] == plain[b - 1]}
    assert unpadded >= {*ENGINE.graph_batches, *range(33, 41)}
    assert unpadded.isdisjoint({3, 9, 17})


@pytest.mark.parametrize(
    ("layout", "batch"),
    [(Layout(), 11), (Layout(dp=2, ep=2), 22), (Layout(pp=2, micro_batches=2), 10)],
)
def test_a_replay_pads_as_a_step_does(layout, batch):
    plan = plan_for(layout, ENGINE)
    step = price_step(plan, phase="decode", batch=batch, context=50)
    assert step.notes
    options = ServingOptions(max_batch=batch, token_budget=50 * batch)
    served = serve(plan, [(0, 50, 2)] * batch, options)
    start, end = served.last_iteration()
    assert end - start == step.time_ps
    assert served.counters[fields.ITERATIONS] == 2


def test_drafts_are_padded_with_their_sequences():
    drafts = {"speculation": Speculation(3, 0.7)}
    plan, bare = (plan_for(Layout(), engine, **drafts) for engine in (ENGINE, BARE))
    words = {"phase": "decode", "context": 300}
    found = [op.detail for op in price_step(plan, batch=9, **words).operators]
    assert found[0] == price_step(bare, batch=16, **words).operators[0].detail


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 4, 2]", "found 2 after 4, expected ascending numbers"),
        ("[1, 2, 2]", "found 2 after 2"),
        ("[0, 1]", "'0' is no number of sequences, expected 1 to 65536"),
        ("[1, 2.5]", "'2.5' is no number"),
        ("[1, many, none]", "'many' is no number"),
        ("[1, -2]", "'-2' is no number"),
        ("[1, nan]", "'nan' is no number"),
        ("[1, [2]]", "found a list in the list, expected numbers of sequences"),
        ("[1, 99999999]", "'99999999' is no number"),
        ("8", "expected a list of numbers of sequences"),
        (str([*range(1, 1026)]), "found 1025 batches, expected at most 1024"),
        ("{a: 1}", "expected a list"),
    ],
)
def test_faults_of_graph_batches_have_their_place(tmp_path, capsys, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(f"kind: engine\nname: mine\niteration: 1 ms\ngraph_batches: {text}\n")
    assert main(["config", "check", str(path)]) == 3
    err = capsys.readouterr().err
    assert message in err
    assert "mine.yaml:4:" in err
    assert err.count("error: graph_batches:") == 1
    assert "more error" not in err


def test_graphs_of_the_shipped_engines_and_of_overrides():
    for name in ("vllm", "vllm-async", "sglang", "trtllm"):
        sizes = load_engine(name).graph_batches
        assert {1, 2, 4, 8, 16, 32, 64, 128, 256, 512} <= set(sizes)
        assert list(sizes) == sorted(set(sizes))
    assert load_engine("vllm", ["engine.graph_batches=[3, 5]"]).graph_batches == (3, 5)
    assert load_engine("vllm", ["engine.graph_batches=[]"]).graph_batches == ()


# --- a budget that ranks share


@pytest.mark.parametrize(("more", "least"), [([], 4), (["--speculate", "3:0.5"], 16)])
def test_a_budget_that_leaves_a_rank_less_than_a_sequence_needs_is_refused(capsys, more, least):
    words = ["run", "h100:4", "llama3-8b", "chat", "--limit", "2", "--layout", "dp4", *more]
    assert main([*words, "--token-budget", str(least - 1)]) == 3
    err = capsys.readouterr().err
    assert f"--token-budget {least - 1} is shared by 4 ranks" in err
    assert f"expected at least {least}" in err
    assert main([*words, "--token-budget", str(least)]) == 0


# --- chips that an engine names

KERNELS = "attention: {fp8: {chips: [h200, %s], row_tile: 8}}\n"
COMPARED = (
    "validation: [{chip: %s, operator: server, dtype: fp8, table: mine, count: 1,"
    " mape_percent: 1}]\n"
)


@pytest.mark.parametrize("text", [KERNELS, COMPARED])
def test_an_unknown_chip_in_an_engine_is_named_with_the_nearest(
    tmp_path, capsys, monkeypatch, text
):
    path = tmp_path / "mine.yaml"
    path.write_text("kind: engine\nname: mine\niteration: 1 ms\n" + text % "h10O")
    assert main(["config", "check", str(path)]) == 3
    err = capsys.readouterr().err
    assert "unknown chip 'h10O'" in err
    assert "did you mean 'h100'?" in err
    assert "mine.yaml:4:" in err
    # a chip of one's own, in a file beside the engine's
    (tmp_path / "h10O.yaml").write_text("kind: chip\n")
    assert main(["config", "check", str(path)]) == 0
