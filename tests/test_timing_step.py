"""Bounds and monotonicity of whole steps over random systems, models and batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import RESOURCES, doubled, models, systems, with_chip

from simulator.config.loader import load_model, load_system
from simulator.errors import InfeasibleError, InputError
from simulator.fabric.collectives import price_collective
from simulator.fabric.groups import sized_group
from simulator.hardware import Chip, Dram, Fabric, Sram, System, SystolicArray, VectorUnit
from simulator.kernels import executor as ex
from simulator.model.operators import Attention, Collective, Matmul
from simulator.model.transformer import Transformer, llama
from simulator.timing.choices import Dtypes
from simulator.timing.plan import Plan, make_plan
from simulator.timing.results import CAUSES, UNITS
from simulator.timing.step import Batch, execute, price_batch, price_step, uniform_batch

SEQUENCES = st.lists(
    st.tuples(st.one_of(st.just(1), st.integers(1, 50)), st.integers(0, 300)),
    min_size=1,
    max_size=6,
)


def quick(examples: int) -> settings:
    return settings(deadline=None, derandomize=True, max_examples=examples)


def batch_of(sequences: list[tuple[int, int]], logits: int | None = None) -> Batch:
    new, past = (np.array(column, dtype=np.int64) for column in zip(*sequences, strict=True))
    return Batch(new, past, len(sequences) if logits is None else logits)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    system = draw(systems())
    tp = draw(st.sampled_from([t for t in (1, 2, 4) if system.chips % t == 0]))
    model = draw(models())
    assume(model.heads % tp == 0)
    weight, activation, kv = (draw(st.sampled_from(["bf16", "int8"])) for _ in range(3))
    return make_plan(system, model, tp=tp, dtypes=Dtypes(weight, activation, kv))


def time_of(plan: Plan, batch: Batch) -> int:
    totals, _ = execute(plan, price_batch(plan, batch))
    return int(totals[ex.TIME])


def on_chip(plan: Plan, what: str) -> Plan:
    """The same plan on chips with twice of one thing."""
    system = with_chip(plan.system, doubled(plan.system.chip, what))
    return make_plan(system, plan.model, tp=plan.tp, dtypes=plan.dtypes)


def repeated_operators(plan: Plan) -> list:
    return [
        op for section in plan.shards for _ in range(section.repeat) for op in section.operators
    ]


def chip_flops(plan: Plan, batch: Batch) -> int:
    """Flops of one chip's share, counted from the shapes of its operators."""
    total = 0
    for op in repeated_operators(plan):
        if isinstance(op, Matmul):
            rows = batch.logits if op.rows == "logits" else batch.tokens
            total += 2 * rows * op.k * op.n
        elif isinstance(op, Attention):
            pairs = sum(
                int(past) + i + 1
                for new, past in zip(batch.new, batch.past, strict=True)
                for i in range(int(new))
            )
            total += 4 * op.heads * op.head_dim * pairs
    return total


@quick(120)
@given(plans(), SEQUENCES)
def test_bounds_of_a_step(plan: Plan, sequences: list[tuple[int, int]]) -> None:
    batch = batch_of(sequences)
    totals, _ = execute(plan, price_batch(plan, batch))
    time_ps = int(totals[ex.TIME])
    chip = plan.system.chip
    moved = int(totals[ex.BYTES] + totals[ex.BYTES + 1])

    peak = chip.peak_flops_per_s(plan.dtypes.activation)
    assert time_ps * peak >= chip_flops(plan, batch) * 10**12
    assert time_ps * chip.hbm.sustained_bytes_per_s >= moved * 10**12
    if plan.tp > 1:
        group = sized_group(plan.system.fabric, plan.tp)
        links = 2 * len(group.axes) if group.is_grid else 1
        rate = links * group.link_bandwidth_bytes_per_s
        assert time_ps * rate >= int(totals[ex.BYTES + 2]) * 10**12
    for unit in range(len(UNITS)):
        assert 0 <= totals[ex.BUSY + unit] <= time_ps, UNITS[unit]
    causes = totals[ex.CAUSES : ex.CAUSES + len(CAUSES)]
    assert (causes >= 0).all()
    assert causes.sum() == time_ps

    # this chip's weights and the cache come from HBM at least once
    weight_bits, _, kv_bits = (int(b) for b in plan.bits[:3])
    weights = sum(op.k * op.n for op in repeated_operators(plan) if isinstance(op, Matmul))
    heads = next(op.kv_heads for op in plan.operators if isinstance(op, Attention))
    cache = 2 * plan.model.layers * heads * plan.model.head_dim * int(batch.past.sum())
    assert totals[ex.BYTES] * 8 >= weights * weight_bits + cache * kv_bits


@quick(100)
@given(plans(), SEQUENCES)
def test_spans_tile_the_step(plan: Plan, sequences: list[tuple[int, int]]) -> None:
    batch = batch_of(sequences)
    prices = price_batch(plan, batch)
    totals, spans = execute(plan, prices)
    assert len(spans) == len(repeated_operators(plan))
    now = 0
    busy = np.zeros(5, dtype=np.int64)
    moved = np.zeros(3, dtype=np.int64)
    hbm_until = 0
    for row in spans:
        price = prices[row[ex.SPAN_OPERATOR], row[ex.SPAN_VARIANT]]
        start, end = row[ex.SPAN_START], row[ex.SPAN_END]
        fetched = row[ex.SPAN_FETCH]
        cold, warm = prices[row[ex.SPAN_OPERATOR], :, ex.DURATION]
        assert start == now
        assert 0 <= fetched <= prices[row[ex.SPAN_OPERATOR], ex.WARM, ex.FETCH]
        if row[ex.SPAN_VARIANT] == ex.WARM:
            assert end - start == warm
        else:
            assert end - start == max(min(warm, cold), cold - fetched)
        if fetched:
            # the fetch lies between HBM's earlier work and the operator that uses it
            assert row[ex.SPAN_FETCH_START] >= hbm_until
            assert row[ex.SPAN_FETCH_START] + fetched <= start
        inside = price[ex.MATRIX : ex.MATRIX + 5].copy()
        inside[2] -= fetched
        assert inside[2] <= end - start
        if plan.weighted[row[ex.SPAN_OPERATOR]]:
            hbm_until = end
        else:
            assert (inside <= end - start).all()
            hbm_until = max(hbm_until, start) + price[ex.HBM]
        assert hbm_until <= end
        limit = np.full(5, end - start)
        limit[2] += fetched
        busy += np.minimum(price[ex.MATRIX : ex.MATRIX + 5], limit)
        moved += price[ex.READ : ex.READ + 3]
        now = end
    assert now == totals[ex.TIME]
    assert (busy == totals[ex.BUSY : ex.BUSY + 5]).all()
    assert (moved == totals[ex.BYTES : ex.BYTES + 3]).all()


@quick(60)
@given(plans(), SEQUENCES, st.integers(1, 40))
def test_repeats_multiplied_out_equal_repeats_executed(
    plan: Plan, sequences: list[tuple[int, int]], layers: int
) -> None:
    stack = dataclasses.replace(plan.model.stacks[0], repeat=layers)
    model = dataclasses.replace(plan.model, stacks=(stack,))
    plan = make_plan(plan.system, model, tp=plan.tp, dtypes=plan.dtypes)
    prices = price_batch(plan, batch_of(sequences))
    recorded, _ = execute(plan, prices)
    short = np.zeros(ex.TOTAL_FIELDS, dtype=np.int64)
    none = np.empty((0, ex.SPAN_FIELDS), dtype=np.int64)
    ex.execute(prices, plan.weighted, plan.sections, short, none)
    assert (short == recorded).all()


@quick(120)
@given(plans(), SEQUENCES)
def test_more_hardware_is_never_slower(plan: Plan, sequences: list[tuple[int, int]]) -> None:
    batch = batch_of(sequences)
    base = time_of(plan, batch)
    for what in RESOURCES:
        assert time_of(on_chip(plan, what), batch) <= base, what


def test_a_larger_fetch_ahead_never_makes_an_operator_wait() -> None:
    """Attention leaves time for half of the weights: room for all of them is no worse than half."""
    chip = Chip(
        name="slow memory",
        clock_hz=10**9,
        matrix=SystolicArray(2, 8, 4, {"bf16": 2}),
        vector=VectorUnit(1),
        sram=Sram(20_844, 10**10),
        hbm=Dram(10**12, 600_768_929, latency_ps=0),
        link=None,
    )
    model = llama("one layer", 1, 72, 4, 4, 8, 64, 64, 100_000)
    system = System("pair", "pair", chip, Fabric("torus", (2,), (False,), 481_083_154, 100_000))
    batch = batch_of([(1, 0), (1, 0)])
    sram = dataclasses.replace(chip.sram, capacity_bytes=2 * chip.sram.capacity_bytes)
    larger = dataclasses.replace(chip, sram=sram)
    base = time_of(make_plan(system, model), batch)
    assert time_of(make_plan(with_chip(system, larger), model), batch) <= base


@quick(100)
@given(plans(), SEQUENCES, st.data())
def test_a_part_of_a_batch_never_takes_longer(
    plan: Plan, sequences: list[tuple[int, int]], data: st.DataObject
) -> None:
    whole = time_of(plan, batch_of(sequences))
    count = data.draw(st.integers(1, len(sequences)))
    part = [(data.draw(st.integers(1, new)), past) for new, past in sequences[:count]]
    logits = data.draw(st.integers(0, count))
    assert time_of(plan, batch_of(part, logits)) <= whole


@quick(100)
@given(plans(), SEQUENCES, st.data())
def test_more_context_is_never_faster(
    plan: Plan, sequences: list[tuple[int, int]], data: st.DataObject
) -> None:
    more = [(new, past + data.draw(st.integers(0, 100))) for new, past in sequences]
    assert time_of(plan, batch_of(sequences)) <= time_of(plan, batch_of(more))


@quick(60)
@given(plans(), SEQUENCES)
def test_collectives(plan: Plan, sequences: list[tuple[int, int]]) -> None:
    batch = batch_of(sequences)
    prices = price_batch(plan, batch)
    totals, _ = execute(plan, prices)
    collectives = [op for op in repeated_operators(plan) if isinstance(op, Collective)]
    if plan.tp == 1:
        assert not collectives
        assert totals[ex.BUSY + UNITS.index("fabric")] == 0
        assert totals[ex.BYTES + 2] == 0
        return
    # two all-reduces a layer, of (n-1)/n of the bytes in each direction, and a gather of logits
    assert len(collectives) == 2 * plan.model.layers + 1
    ranks = plan.tp
    element = int(plan.bits[1]) // 8
    reduced = 2 * (ranks - 1) * batch.tokens * plan.model.hidden * element / ranks
    width = -(-plan.model.vocabulary // ranks) * ranks
    gathered = (ranks - 1) * batch.logits * width * element / ranks
    expected = 2 * plan.model.layers * reduced + gathered
    # the same price as the fabric gives by itself
    size = batch.tokens * plan.model.hidden * int(plan.bits[1]) // 8
    alone = price_collective(sized_group(plan.system.fabric, ranks), "all-reduce", size)
    first = prices[next(i for i, op in enumerate(plan.operators) if isinstance(op, Collective))]
    assert first[ex.COLD, ex.DURATION] == alone.time_ps
    slack = 4 * plan.model.layers + ranks * batch.logits * element
    assert abs(int(totals[ex.BYTES + 2]) - expected) <= slack


@quick(40)
@given(plans(), st.sampled_from(["prefill", "decode"]), st.integers(1, 9), st.integers(1, 90))
def test_figures_of_a_step(plan: Plan, phase: str, batch: int, context: int) -> None:
    timing = price_step(plan, phase=phase, batch=batch, context=context)
    assert 0 < timing.mfu <= 1
    assert 0 < timing.mbu <= 1
    assert all(0 <= share <= 1 for share in timing.utilization.values())
    assert sum(timing.bound_by.values()) == pytest.approx(1)
    assert timing.time_ps == timing.operators[-1].end_ps + plan.system.host_overhead_ps
    assert timing.flops == hand_flops(plan.model, phase, batch, context)
    assert timing.tokens == (batch * context if phase == "prefill" else batch)
    if plan.replicas == 1 and plan.tp == 1:
        assert timing.flops == sum(span.flops for span in timing.operators)
        assert timing.traffic_bytes["hbm_read"] == sum(
            span.hbm_read_bytes for span in timing.operators
        )
    before = 0
    for span in timing.operators:
        assert before <= span.start_ps <= span.end_ps
        assert all(0 <= busy <= span.duration_ps for busy in span.busy_ps)
        before = span.end_ps
    assert timing.traffic_bytes["hbm_read"] >= timing.min_bytes * _read_share(plan, batch)


def _read_share(plan: Plan, batch: int) -> float:
    """Replicas with no sequence read nothing; rounding of the scaled traffic aside."""
    return 0.999 * min(1.0, batch / (-(-batch // plan.replicas) * plan.replicas))


def hand_flops(model: Transformer, phase: str, batch: int, context: int) -> int:
    """The definition: 2 x parameters x tokens, 2 x head x positions, 4 x heads x dim x pairs."""
    q, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    layer = model.hidden * (q + 2 * kv) + q * model.hidden + 3 * model.hidden * model.intermediate
    tokens = batch * context if phase == "prefill" else batch
    pairs = batch * (context * (context + 1) // 2 if phase == "prefill" else context + 1)
    return (
        2 * model.layers * layer * tokens
        + 2 * model.vocabulary * model.hidden * batch
        + 4 * model.heads * model.head_dim * pairs * model.layers
    )


def test_flops_of_a_known_model() -> None:
    # 32 layers of four 4096 x 4096 and three 4096 x 11008 matrices
    model = load_model("llama2-7b")
    assert model.matmul_parameters == 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert model.flops(1, 1, 1) == 2 * 6_476_005_376 + 2 * 32_000 * 4096 + 4 * 32 * 4096


@quick(40)
@given(systems(shapes=((1,),)), models(), st.integers(1, 40), st.integers(1, 60))
def test_chunks_of_a_prompt_do_all_of_its_work(
    system: System, model: Transformer, first: int, second: int
) -> None:
    plan = make_plan(system, model)
    one = uniform_batch("prefill", 1, first + second)
    parts = [batch_of([(first, 0)], 0), batch_of([(second, first)])]
    assert sum(p.pairs for p in parts) == one.pairs
    assert sum(p.tokens for p in parts) == one.tokens
    # the second chunk reads the first one's keys from HBM, which the whole prompt had on chip
    assert time_of(plan, parts[0]) <= time_of(plan, one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phase": "decoding"}, "phase"),
        ({"batch": 0}, "--batch"),
        ({"context": 0}, "--context"),
        ({"context": 4096}, "4096"),
    ],
)
def test_bad_sizes(changes: dict, message: str) -> None:
    plan = make_plan(load_system("toy"), load_model("llama-toy"))
    arguments = {"phase": "decode", "batch": 1, "context": 7, **changes}
    with pytest.raises(InputError, match=message):
        price_step(plan, **arguments)


def test_a_batch_beyond_hbm() -> None:
    plan = make_plan(load_system("tpu-v5e"), load_model("llama2-7b"), dtypes=Dtypes("int8"))
    with pytest.raises(InfeasibleError, match="KV cache"):
        price_step(plan, phase="decode", batch=64, context=4000)
    with pytest.raises(InfeasibleError, match="does not fit"):
        price_step(
            make_plan(load_system("tpu-v5e"), load_model("llama3-8b")),
            phase="decode",
            batch=1,
            context=10,
        )
