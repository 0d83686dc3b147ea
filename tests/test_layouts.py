"""Layouts: what is legal, what each chip computes, holds and sends, and how steps follow."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import systems

from simulator.config.loader import load_layout, load_model, load_system
from simulator.errors import InfeasibleError, InputError
from simulator.fabric.collectives import price_collective
from simulator.fabric.groups import strided_group
from simulator.hardware import Chip, Fabric, System
from simulator.kernels import executor as ex
from simulator.mapping.layout import check_layout, choose_layout, parse_compact
from simulator.mapping.layout_space import layouts
from simulator.mapping.memory import memory_of
from simulator.mapping.overheads import overheads
from simulator.mapping.shard import shard
from simulator.model.layers import Dense, Experts, GroupedQuery, Latent, Layer, Stack
from simulator.model.layout import Layout, tensor_parallel
from simulator.model.operators import Collective, Matmul, MoE
from simulator.model.transformer import Transformer
from simulator.timing.choices import Dtypes, ExpertOptions, Speculation
from simulator.timing.layout_options import LayoutOptions, parse_speculation
from simulator.timing.layout_room import Search
from simulator.timing.layout_search import reason, search_layouts
from simulator.timing.plan import Plan, make_plan
from simulator.timing.spans import _flops
from simulator.timing.step import Batch, evaluate, price_batch, price_step, uniform_batch

FABRIC = Fabric("torus", (4, 4), (True, True), 50 * 10**9, 10**6, 2 * 10**6)
BITS = {"weight_bits": 8, "activation_bits": 8, "kv_bits": 16}


def system_of(chip: Chip, chips: int = 16) -> System:
    fabric = FABRIC if chips == 16 else Fabric("switch", (chips,), (False,), 10**11, 10**6)
    return System("grid", "grid", chip, fabric if chips > 1 else Fabric("none"), 10**6)


CHIP = load_system("tpu-v6e").chip
SYSTEM = system_of(CHIP)


def moe_model(shared: int = 64, layers: int = 4) -> Transformer:
    """A dense layer and some with latent attention, 16 experts and a shared one."""
    latent = Latent(heads=16, q_rank=96, kv_rank=64, nope_dim=16, rope_dim=8, v_dim=16)
    dense = Layer(latent, Dense(512))
    sparse = Layer(latent, Experts(16, 4, 64, shared_intermediate=shared))
    stacks = (Stack("dense", 1, (dense,)), Stack("layer", layers, (sparse,)))
    return Transformer("moe", 256, 1024, 100_000, stacks, mtp_layers=1)


def dense_model(layers: int = 8, parallel: bool = False) -> Transformer:
    layer = Layer(GroupedQuery(16, 4, 32), Dense(1024), parallel=parallel, norms=2 - parallel)
    return Transformer("dense", 512, 1024, 100_000, (Stack("layer", layers, (layer,)),))


MODELS = {"moe": moe_model(), "dense": dense_model()}
LEGAL = {name: list(layouts(SYSTEM, model, 64, 300_000)) for name, model in MODELS.items()}


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[Transformer, Layout]:
    name = draw(st.sampled_from(sorted(MODELS)))
    return MODELS[name], draw(st.sampled_from(LEGAL[name]))


def quick(examples: int) -> settings:
    return settings(deadline=None, derandomize=True, max_examples=examples)


def plan_of(model: Transformer, layout: Layout, system: System = SYSTEM, **more) -> Plan:
    dtypes = Dtypes("int8", "int8", "bf16")
    return make_plan(system, model, layout=layout, dtypes=dtypes, **more)


def chip_flops(plan: Plan, phase: str, batch: int, context: int) -> int:
    """Flops of one chip of the stage that computes most, all micro-batches."""
    each = -(-batch // plan.replicas)
    ways = plan.layout.dp * plan.layout.micro_batches
    share = uniform_batch(phase, -(-each // ways) * ways, context)
    totals = [
        sum(s.repeat * sum(_flops(plan, op, share) for op in s.operators) for s in stage.sections)
        for stage in plan.sharded.stages
    ]
    return max(totals) * plan.layout.micro_batches


# ---------------------------------------------------------------- names and legality


def test_the_canonical_text():
    assert Layout(8, 8, ep=64, ffn_tp=1).text == "attention tp 8 dp 8, experts ep 64, pp 1"
    assert tensor_parallel(4).text == "attention tp 4, ffn tp 4, pp 1"
    assert Layout().text == "attention tp 1, ffn tp 1, pp 1"
    text = Layout(4, ffn_tp=4, pp=2, micro_batches=4).text
    assert text == "attention tp 4, ffn tp 4, pp 2, micro-batches 4"
    grid = Layout(dp=64, ffn_tp=64, weights="stationary-2d", grid_x=4, pad_heads=True).text
    assert grid.endswith("weights stationary-2d 4x16, heads padded")


def test_without_options_all_chips_are_tensor_parallel():
    model = load_model("llama3-8b")
    assert choose_layout(load_system("h100:8"), model) == tensor_parallel(8)
    assert choose_layout(load_system("h100"), model) == Layout()


def test_compact_forms():
    assert parse_compact("tp4") == {"tp": 4}
    assert parse_compact("tp8-dp4-ep32") == {"tp": 8, "dp": 4, "ep": 32}
    assert parse_compact("layout.yaml") is None
    with pytest.raises(InputError, match="names tp twice"):
        parse_compact("tp4-tp2")


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"tp": 3}, "tensor parallelism 3 does not divide the 16 chips of grid", "1, 2, 4, 8, 16"),
        ({"dp": 3}, "= 3 does not divide the 16 chips", "1, 2, 4, 8, 16"),
        ({"tp": 4, "dp": 8}, "a replica of 32 chips", "--tp may be 1, 2"),
        ({"ep": 6}, "expert parallelism 6 does not divide the 16 chips of a stage", "1, 2, 4"),
        ({"pp": 16, "tp": 1}, "pipeline parallelism 16 exceeds the 5 layers", "1 to 5"),
        ({"tp": 0}, "--tp must be at least 1, found 0", None),
    ],
)
def test_illegal_degrees_are_refused_with_the_legal_ones(options, message, hint):
    with pytest.raises(InputError, match=message.replace("(", r"\(")) as caught:
        choose_layout(SYSTEM, MODELS["moe"], **options)
    if hint is not None:
        assert hint in caught.value.hint


def test_heads_and_experts_have_to_be_divided():
    many = system_of(CHIP, 48)
    with pytest.raises(InputError, match="does not divide the 16 attention heads of dense"):
        choose_layout(many, MODELS["dense"], tp=3)
    with pytest.raises(InputError, match="3 does not divide the 16 experts") as caught:
        choose_layout(many, MODELS["moe"], tp=1, dp=3, ep=3)
    assert "--ep may be 1, 2, 4, 8, 16" in caught.value.hint
    assert "redundant_experts: 2" in caught.value.hint
    with pytest.raises(InputError, match="has no experts"):
        choose_layout(SYSTEM, MODELS["dense"], ep=4)
    check_layout(many, MODELS["moe"], Layout(dp=3, ep=3, redundant_experts=2))


def test_a_layout_and_degrees_exclude_each_other():
    with pytest.raises(InputError, match="either --layout or --tp"):
        LayoutOptions(tp=2, layout="auto")
    with pytest.raises(InputError, match="dense has no experts"):
        LayoutOptions(moe="fused").check(MODELS["dense"])


@pytest.mark.parametrize("text", ["3", "a:0.5", "3:x", "-1:0.5", "3:1.5", "3:nan"])
def test_speculation_that_cannot_be_read(text):
    with pytest.raises(InputError):
        parse_speculation(text)


def test_a_layout_file(tmp_path):
    file = tmp_path / "layout.yaml"
    file.write_text(
        "kind: layout\nname: decode\nattention: {dp: 16}\nffn: {ep: 16}\nredundant_experts: 0\n"
    )
    assert load_layout(file) == Layout(dp=16, ep=16)
    file.write_text("kind: layout\nname: grid\nattention: {tp: 16}\nweights: stationary-2d\n")
    with pytest.raises(InputError, match="need a grid"):
        load_layout(file)
    file.write_text("kind: layout\nname: typo\nattention: {pt: 16}\n")
    with pytest.raises(InputError, match="unknown key 'pt'") as caught:
        load_layout(file)
    assert caught.value.location.line == 3


# ---------------------------------------------------------------- groups of ranks


def test_groups_a_stride_apart():
    cube = load_system("tpu-v4:4x4x4").fabric
    assert strided_group(cube, 16, 4).axes == (4, 4)
    assert strided_group(cube, 4, 16).axes == (4,)
    assert strided_group(cube, 4, 16).wrap == (True,)
    part = strided_group(cube, 2, 2)
    # every other chip of an axis: two hops apart, over links that two groups share
    assert part.axes == (2,)
    assert part.link_bandwidth_bytes_per_s == cube.link_bandwidth_bytes_per_s // 2
    assert part.hop_latency_ps == 2 * cube.hop_latency_ps
    nodes = load_system("h100:8x4").fabric
    outer = strided_group(nodes, 4, 8)
    assert outer == nodes.outer
    mixed = strided_group(nodes, 8, 4)
    assert mixed.inner.chips == 2
    assert mixed.outer.chips == 4


@quick(40)
@given(st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([1, 2, 4, 8, 16]))
def test_a_group_and_those_beside_it_make_the_whole(size: int, stride: int) -> None:
    assume(size * stride <= 16)
    group = strided_group(FABRIC, size, stride)
    assert group.chips == size
    if size > 1:
        near = price_collective(strided_group(FABRIC, size, 1), "all-gather", 10**6)
        assert price_collective(group, "all-gather", 10**6).time_ps >= near.time_ps


# ---------------------------------------------------------------- work


@quick(80)
@given(laid_out(), st.sampled_from(["prefill", "decode"]))
def test_all_chips_compute_the_model_and_what_is_listed(case, phase) -> None:
    model, layout = case
    batch = 64 * layout.dp * layout.micro_batches
    plan = plan_of(model, layout)
    listed = {each.name: each.factor for each in overheads(model, layout)}
    tokens = batch * 16
    work = 0.0
    for stage in plan.sharded.stages:
        for section in stage.sections:
            for op in section.operators:
                rows = tokens if getattr(op, "rows", "") == "tokens" else batch
                if isinstance(op, Matmul):
                    size = 2 * -(-rows // op.split) * op.k * op.n
                elif isinstance(op, MoE):
                    size = 6 * -(-rows // op.split) * op.top_k * op.hidden * op.intermediate
                else:
                    continue
                chips = layout.stage * layout.micro_batches * stage.count * section.repeat
                work += chips * size / listed.get(op.name, 1.0)
    alone = sum(
        s.repeat * 2 * (tokens if op.rows == "tokens" else batch) * op.k * op.n
        for s in shard(model, Layout()).sections
        for op in s.operators
        if isinstance(op, Matmul)
    )
    alone += sum(
        s.repeat * 6 * tokens * op.top_k * op.hidden * op.intermediate
        for s in shard(model, Layout()).sections
        for op in s.operators
        if isinstance(op, MoE)
    )
    assert work == pytest.approx(alone, rel=1e-9)


def test_what_is_replicated_and_padded_is_listed():
    model = MODELS["moe"]
    found = overheads(model, tensor_parallel(8))
    assert {each.name: (each.why, each.factor) for each in found} == {
        "qkv_down": ("replicated", 8.0),
        "router": ("replicated", 8.0),
    }
    dense = MODELS["dense"]
    assert overheads(dense, tensor_parallel(16)) == ()
    palm = load_model("palm-540b")
    padded = Layout(64, ffn_tp=64, weights="stationary-2d", grid_x=4, pad_heads=True)
    (one,) = [x for x in overheads(palm, padded) if x.name == "attention"]
    assert one.factor == pytest.approx(64 / 48)


def finer(name: str) -> list[tuple[Layout, Layout]]:
    """Pairs of layouts of which the second splits everything at least as far."""
    degrees = ("tp", "dp", "sp", "ffn_tp", "ep", "ffn_dp")
    flat = [x for x in LEGAL[name] if x.weights == "stationary-1d"]
    return [
        (coarse, fine)
        for coarse in flat
        for fine in flat
        if coarse.chips < fine.chips
        and (coarse.pp, coarse.micro_batches) == (fine.pp, fine.micro_batches)
        and all(getattr(fine, d) % getattr(coarse, d) == 0 for d in degrees)
    ]


PAIRS = {name: finer(name) for name in MODELS}


@quick(80)
@given(st.data(), st.sampled_from(sorted(MODELS)), st.sampled_from(["prefill", "decode"]))
def test_splitting_further_never_raises_a_chips_arithmetic(data, name, phase) -> None:
    model = MODELS[name]
    coarse, fine = data.draw(st.sampled_from(PAIRS[name]))
    # the same sequences for one replica
    batch = 64 * coarse.dp * coarse.micro_batches
    counts = []
    for layout in (coarse, fine):
        alone = system_of(CHIP, layout.chips)
        counts.append(chip_flops(plan_of(model, layout, alone), phase, batch, 32))
    assert counts[1] <= counts[0]


def test_expert_parallelism_moves_exactly_the_routed_tokens():
    model = MODELS["moe"]
    for ranks in (2, 4, 8, 16):
        plan = plan_of(model, Layout(dp=ranks, ep=ranks), system_of(CHIP, ranks))
        index = next(i for i, op in enumerate(plan.operators) if isinstance(op, MoE))
        prices = price_batch(plan, uniform_batch("decode", 32 * ranks, 100))
        each = 32 * 4 * 256  # tokens of a rank x top k x hidden, a byte an element
        # to the experts and back, but for those that stay on their rank
        assert prices[index, ex.COLD, ex.SENT] == 2 * math.ceil(each * (ranks - 1) / ranks)


def test_the_shards_of_a_dense_layer_reduce_and_gather():
    def moves(layout):
        section = shard(MODELS["dense"], layout).sections[1]
        return [
            (op.op, op.group, op.split) for op in section.operators if isinstance(op, Collective)
        ]

    assert moves(tensor_parallel(8)) == [
        ("all-reduce", "tensor", 1),
        ("all-reduce", "ffn-tensor", 1),
    ]
    # attention shares sequences, the network cuts its width over all: gather and scatter around it
    assert moves(Layout(2, 4, ffn_tp=8)) == [
        ("all-reduce", "tensor", 4),
        ("all-gather", "gather", 1),
        ("reduce-scatter", "gather", 1),
        ("all-reduce", "tensor", 4),
    ]
    sparse = shard(MODELS["moe"], Layout(4, 2, ep=8)).sections[2]
    assert [op.op for op in sparse.operators if isinstance(op, Collective)] == [
        "reduce-scatter",
        "all-gather",
    ]
    assert [op.group for op in sparse.operators if isinstance(op, Collective)] == ["tensor", "cut"]


def test_attention_with_data_parallelism_takes_the_fullest_rank():
    model = MODELS["dense"]
    new = np.ones(6, dtype=np.int64)
    past = np.array([10, 900, 20, 10, 10, 10])
    plan = plan_of(model, Layout(dp=2, ffn_tp=2), system_of(CHIP, 2))
    alone = plan_of(model, Layout(), system_of(CHIP, 1))
    index = next(i for i, op in enumerate(plan.operators) if op.name == "attention")
    price = price_batch(plan, Batch(new, past, 6))[index]
    single = next(i for i, op in enumerate(alone.operators) if op.name == "attention")
    own = price_batch(alone, Batch(new[1::2], past[1::2], 3))[single]
    assert (price[ex.COLD] == own[ex.COLD]).all()


# ---------------------------------------------------------------- steps


@quick(60)
@given(laid_out(), st.sampled_from(["prefill", "decode"]), st.sampled_from(["sorted", "fused"]))
def test_what_a_step_says(case, phase, mode) -> None:
    model, layout = case
    plan = plan_of(model, layout, experts=ExpertOptions(mode if model.experts else "sorted"))
    step = price_step(plan, phase=phase, batch=64, context=256)
    assert sum(step.bound_by.values()) == pytest.approx(1)
    assert all(0 <= share <= 1 for share in step.utilization.values())
    for each in step.collectives:
        assert 0 <= each.exposed_ps <= each.time_ps
    used = sum(step.memory_bytes.values())
    assert used == plan.system.chip.hbm.capacity_bytes
    assert step.memory_bytes["free"] >= 0
    # one micro-batch in the slowest stage
    stage = step.operators[-1].end_ps
    batches, depth = plan.layout.micro_batches, plan.layout.pp
    assert stage <= step.time_ps
    if depth > 1:
        batches = min(batches, max(1, 64 // plan.replicas // layout.dp))
        rounds = batches + depth - 1 if phase == "prefill" else max(batches, depth)
        assert step.time_ps == rounds * stage + step.host_ps
    # physics: the arithmetic of the model over all chips
    peak = plan.system.chips * plan.system.chip.peak_flops_per_s("int8")
    assert step.time_s >= step.flops / peak


def test_bubbles():
    model, system = dense_model(8), system_of(CHIP, 4)
    one = plan_of(model, tensor_parallel(1), system_of(CHIP, 1))
    piped = plan_of(model, Layout(pp=4, micro_batches=4), system)
    assert [s.count for s in piped.sharded.stages] == [1, 2, 1]
    priced = evaluate(piped, phase="decode", batch=64, context=256)
    bubble = priced.totals[ex.CAUSES + ex.CAUSE_BUBBLE]
    assert bubble == 0  # four micro-batches fill four stages
    prompt = evaluate(piped, phase="prefill", batch=64, context=256)
    causes = prompt.totals[ex.CAUSES :]
    assert causes[ex.CAUSE_BUBBLE] == prompt.totals[ex.TIME] // 7 * 3
    assert causes.sum() == prompt.totals[ex.TIME]
    # no faster than a fourth of one chip's time
    alone = evaluate(one, phase="prefill", batch=64, context=256)
    assert 4 * prompt.totals[ex.TIME] >= alone.totals[ex.TIME]


def test_gathered_weights_hide_behind_the_matmuls():
    model, system = dense_model(), SYSTEM
    layout = Layout(dp=16, ffn_dp=16, weights="gathered")
    plan = plan_of(model, layout, system)
    small = price_step(plan, phase="decode", batch=16, context=16)
    large = price_step(plan, phase="prefill", batch=64, context=4096)
    for step, hidden in ((small, 0.5), (large, 1.0)):
        rows = [each for each in step.collectives if each.name.endswith("_weights")]
        assert {each.op for each in rows} == {"all-gather"}
        whole = sum(each.time_ps for each in rows)
        exposed = sum(each.exposed_ps for each in rows)
        assert exposed <= whole
        if hidden == 1.0:
            assert exposed < 0.1 * whole
        else:
            assert exposed > hidden * whole
    memory = plan.memory(16, 16)
    assert memory.weights * 16 == pytest.approx(model.parameters, rel=0.01)


def test_a_gather_multiplied_out_equals_one_executed():
    plan = plan_of(dense_model(9), Layout(dp=16, ffn_dp=16, weights="gathered"))
    prices = price_batch(plan, uniform_batch("prefill", 32, 700))
    short = np.zeros(ex.TOTAL_FIELDS, dtype=np.int64)
    none = np.empty((0, ex.SPAN_FIELDS), dtype=np.int64)
    ex.execute(prices, plan.weighted, plan.sections, short, none)
    executed = int((plan.sections[:, 1] * plan.sections[:, 2]).sum())
    recorded = np.zeros_like(short)
    ex.execute(prices, plan.weighted, plan.sections, recorded, np.zeros((executed, 7), np.int64))
    assert (short == recorded).all()


def test_speculation():
    model = MODELS["moe"]
    layout = Layout(dp=4, ep=4)
    system = system_of(CHIP, 4)
    assert Speculation(3, 0.8).tokens == pytest.approx((1 - 0.8**4) / 0.2)
    assert Speculation(3, 1.0).tokens == 4
    assert Speculation(0, 0.5).tokens == 1
    plain = price_step(plan_of(model, layout, system), phase="decode", batch=64, context=512)
    wise = plan_of(model, layout, system, speculation=Speculation(1, 0.9))
    drafted = price_step(wise, phase="decode", batch=64, context=512)
    assert drafted.tokens == pytest.approx(64 * 1.9)
    assert drafted.time_ps > plain.time_ps
    assert any(span.name.startswith("draft") for span in drafted.operators)
    # prompts are not drafted
    assert price_step(wise, phase="prefill", batch=4, context=64).tokens == 256


def test_the_load_of_experts_slows_a_step():
    model, layout, system = MODELS["moe"], Layout(dp=8, ep=8), system_of(CHIP, 8)
    times = [
        price_step(
            plan_of(model, layout, system, experts=ExpertOptions("sorted", load)),
            phase="prefill",
            batch=64,
            context=512,
        ).time_ps
        for load in ("balanced", "power:1.2")
    ]
    assert times[0] < times[1]
    copies = dataclasses.replace(layout, redundant_experts=8)
    eased = price_step(
        plan_of(model, copies, system, experts=ExpertOptions("sorted", "power:1.2")),
        phase="prefill",
        batch=64,
        context=512,
    )
    assert eased.time_ps < times[1]


# ---------------------------------------------------------------- memory and search


@quick(80)
@given(laid_out())
def test_the_chips_of_a_replica_hold_the_model(case) -> None:
    model, layout = case
    memory = memory_of(SYSTEM, model, layout, tokens=64, logits=64, **BITS)
    assert memory.weights * layout.chips >= model.parameters * 0.999
    # a sequence's cache lies on tp x sp chips of each stage, latents on every one of tp
    own = memory.kv_of(1024) * layout.tp * layout.sp * layout.pp
    assert own >= 2 * model.kv_elements(1024)
    assert memory.kv_per_token * 1024 >= memory.kv_of(1024)


def test_experts_share_their_weights():
    model = MODELS["moe"]
    one, sixteen = (
        memory_of(SYSTEM, model, Layout(dp=n, ep=n), tokens=64, logits=64, **BITS) for n in (1, 16)
    )
    # all but the experts is replicated; embedding and head are cut
    less = model.expert_parameters * 15 // 16 + 2 * model.head_parameters * 15 // 16
    assert one.weights - sixteen.weights == pytest.approx(less, rel=1e-3)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_the_search_finds_what_pricing_all_finds(name, phase, objective):
    model = MODELS[name]
    system = system_of(CHIP, 8)
    search = Search(phase, 24, 512, objective, top=4)
    dtypes = Dtypes("int8", "int8", "bf16")
    found = search_layouts(system, model, search, dtypes=dtypes)
    everything = dataclasses.replace(search, top=10_000)
    all_of_them = search_layouts(system, model, everything, dtypes=dtypes)
    assert found.rows == all_of_them.rows[:4]
    assert len(all_of_them.rows) == all_of_them.fitting
    winner = found.rows[0]
    for row in all_of_them.rows:
        assert row.cache <= row.memory.kv
        step = price_step(
            make_plan(system, model, layout=row.layout, dtypes=dtypes),
            phase=phase,
            batch=24,
            context=512,
        )
        assert step.time_ps == row.time_ps
        assert reason(row, winner)


def test_what_fits_nowhere_says_how_many_chips_would_do():
    model = load_model("llama3-70b")
    search = Search("decode", 1, 100)
    with pytest.raises(InfeasibleError, match="in no layout") as caught:
        search_layouts(load_system("tpu-v6e"), model, search)
    # six chips would hold it, and there are slices of four and of eight
    assert caught.value.hint == (
        "the smallest number of such chips that would do is 8 (tpu-v6e:2x4)"
    )
    room = load_system("tpu-v6e").chip.hbm.capacity_bytes * 0.9
    assert 4 * room < 2 * model.parameters < 6 * room
    search_layouts(load_system("tpu-v6e:2x4"), model, search)


def test_a_number_of_chips_without_a_family_is_any():
    model = load_model("llama3-70b")
    alone = dataclasses.replace(load_system("tpu-v6e"), shapes=())
    with pytest.raises(InfeasibleError, match="in no layout") as caught:
        search_layouts(alone, model, Search("decode", 1, 100))
    assert caught.value.hint == "the smallest number of such chips that would do is 6"


def test_a_model_that_no_slice_of_the_family_holds_says_so():
    model = load_model("llama3-405b")
    few = dataclasses.replace(load_system("tpu-v6e"), shapes=((1, 1), (2, 2), (2, 4)))
    with pytest.raises(InfeasibleError, match="in no layout") as caught:
        search_layouts(few, model, Search("decode", 1, 100))
    assert caught.value.hint == "no number of chips of tpu-v6e would do"


@quick(30)
@given(systems(shapes=((4,), (2, 2))), st.sampled_from(["prefill", "decode"]))
def test_layouts_on_random_chips(system: System, phase: str) -> None:
    assume("int8" in system.chip.matrix.dtypes)
    model = dense_model(3)
    for layout in (tensor_parallel(4), Layout(2, 2, ffn_tp=4), Layout(2, ffn_tp=2, pp=2)):
        plan = make_plan(system, model, layout=layout)
        small = price_step(plan, phase=phase, batch=4, context=64)
        large = price_step(plan, phase=phase, batch=8, context=64)
        assert small.time_ps <= large.time_ps
