"""Attention by itself: closed forms, brute force, bounds, and what more hardware may not do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import RESOURCES, chips, doubled

from simulator import api
from simulator.config.loader import load_chip
from simulator.errors import InputError
from simulator.hardware import Chip, Dram, FusedKernels, Sram, TensorCore, VectorUnit
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.executor import DURATION, MATRIX, PRICE_FIELDS, READ, WRITE
from simulator.kernels.latent_attention import absorbed_flops, expanded_flops
from simulator.timing import prices
from simulator.timing.attention_operator import AttentionCase, price_attentions
from simulator.timing.hbm import resolve_memory
from simulator.timing.latent_prices import price_latent
from simulator.timing.operator_timing import OperatorTiming

TOY = load_chip("toy")
FEW = settings(deadline=None, derandomize=True, max_examples=60)

KERNELS = st.sampled_from(
    [
        None,
        FusedKernels(9_000_000, 1_500_000, 2_000_000, 40 * 10**9, 0.9, 0.7, 0.5),
        FusedKernels(
            0, 100_000, 50_000, 10**9, 0.5, 0.5, 0.9, 16, 64, 128, 2, 2, 0.5, False, True, True
        ),
    ]
)
CASES = st.builds(
    lambda batch, kv, group, dim, context, phase, window, buffers: AttentionCase(
        batch, kv * group, kv, dim, context, phase, "bf16", None, window, buffers
    ),
    st.integers(1, 40),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1, 3, 8, 80]),
    st.sampled_from([1, 16, 64, 128]),
    st.integers(1, 3000),
    st.sampled_from(["prefill", "decode"]),
    st.one_of(st.none(), st.integers(1, 3000)),
    st.sampled_from([0, 1, 3]),
)


SLOW_SRAM = Chip(
    name="on-chip memory a tenth as fast as HBM",
    clock_hz=10**9,
    matrix=TensorCore(count=1, macs_per_sm={"bf16": 1, "int8": 2}, tiles=((8, 8),), tile_k=4),
    vector=VectorUnit(ops_per_cycle=1),
    sram=Sram(capacity_bytes=1 << 20, bandwidth_bytes_per_s=10**8),
    hbm=Dram(capacity_bytes=10**12, bandwidth_bytes_per_s=10**9, latency_ps=0, efficiency=1.0),
    link=None,
    operator_overhead_ps=0,
)


def price(chip: Chip, case: AttentionCase) -> OperatorTiming:
    return price_attentions(chip, [case])[0]


def with_kernels(chip: Chip, kernels: FusedKernels | None) -> Chip:
    return dataclasses.replace(chip, fused=kernels if isinstance(chip.matrix, TensorCore) else None)


def pairs(case: AttentionCase) -> int:
    """Unmasked query-key pairs of a sequence, counted one by one."""
    window = case.window or 10**9
    if case.phase == "decode":
        return min(case.context + 1, window)
    return sum(min(position, window) for position in range(1, case.context + 1))


@FEW
@given(chips(), KERNELS, CASES)
def test_bounds(chip: Chip, kernels: FusedKernels | None, case: AttentionCase) -> None:
    p = price(with_kernels(chip, kernels), case)
    peak = 2 * chip.matrix.macs_per_cycle("bf16")
    assert p.flops == 4 * case.batch * case.heads * case.head_dim * pairs(case)
    assert p.cycles * peak >= p.flops
    assert p.cycles * chip.hbm.sustained_bytes_per_s >= p.hbm_bytes * chip.clock_hz
    assert p.cycles * chip.sram.bandwidth_bytes_per_s >= p.sram_bytes * chip.clock_hz
    assert all(0 <= busy <= p.cycles for busy in p.busy)
    assert p.cycles == p.compute_cycles + p.stall_cycles
    if case.buffers == 0 and case.phase == "decode":
        seen = min(case.context, (case.window or 10**9) - 1)
        token = 2 * case.kv_heads * case.head_dim * 2
        assert p.hbm_read_bytes >= case.batch * seen * token
        assert p.hbm_write_bytes >= case.batch * token


@FEW
@given(chips(), KERNELS, CASES, st.sampled_from(RESOURCES))
@example(SLOW_SRAM, None, AttentionCase(1, 80, 1, 128, 5, "prefill", buffers=3), "sram_capacity")
def test_more_hardware_is_never_slower(
    chip: Chip, kernels: FusedKernels | None, case: AttentionCase, resource: str
) -> None:
    machine = with_kernels(chip, kernels)
    more = doubled(machine, resource)
    # a faster clock leaves the cycles of latencies longer: compare seconds
    slow, fast = price(machine, case), price(more, case)
    assert fast.cycles * slow.clock_hz <= (slow.cycles + 2) * fast.clock_hz


@FEW
@given(chips(), KERNELS, CASES)
def test_a_part_never_takes_longer_than_the_whole(
    chip: Chip, kernels: FusedKernels | None, case: AttentionCase
) -> None:
    machine = with_kernels(chip, kernels)
    whole = price(machine, case).cycles
    if case.batch > 1:
        assert price(machine, dataclasses.replace(case, batch=case.batch // 2)).cycles <= whole
    if case.window is not None:
        assert (
            price(machine, dataclasses.replace(case, window=None)).flops
            >= price(machine, case).flops
        )


@FEW
@given(chips(), KERNELS, CASES)
def test_attention_alone_is_less_by_what_goes_to_the_cache(
    chip: Chip, kernels: FusedKernels | None, case: AttentionCase
) -> None:
    machine = with_kernels(chip, kernels)
    whole = price(machine, case)
    alone = price(machine, dataclasses.replace(case, update=False))
    assert alone.flops == whole.flops
    assert alone.cycles <= whole.cycles
    assert alone.hbm_read_bytes <= whole.hbm_read_bytes
    tokens = case.batch * (case.context if case.phase == "prefill" else 1)
    if case.buffers == 0 and case.dtype == "bf16" and case.kv_dtype in (None, "bf16"):
        written = tokens * 2 * case.kv_heads * case.head_dim * 2
        assert whole.hbm_write_bytes - alone.hbm_write_bytes == written
    for unit, busy in alone.busy_cycles.items():
        assert busy <= alone.cycles, unit


@FEW
@given(chips(), CASES)
def test_a_window_of_the_whole_context_changes_nothing(chip: Chip, case: AttentionCase) -> None:
    wide = dataclasses.replace(case, window=case.context + 1)
    none = dataclasses.replace(case, window=None)
    assert price(chip, wide).cycles == price(chip, none).cycles


@FEW
@given(chips(), CASES)
def test_prefetch_is_what_overlap_gains(chip: Chip, case: AttentionCase) -> None:
    ahead = price(chip, case)
    late = price(chip, dataclasses.replace(case, prefetch=False))
    assert late.hbm_bytes == ahead.hbm_bytes
    assert late.cycles >= ahead.cycles
    if not isinstance(chip.matrix, TensorCore):
        on_chip = max(ahead.busy[0], ahead.busy[1], ahead.busy[3])
        hidden = ahead.busy[2] + on_chip - max(ahead.busy[2], on_chip)
        assert late.cycles - ahead.cycles >= hidden


def test_a_warm_cache_is_faster_only_where_the_operands_fit() -> None:
    h100 = load_chip("h100")
    small = AttentionCase(16, 32, 8, 128, 256, "decode", buffers=1)
    large = dataclasses.replace(small, batch=256, context=4096)
    for case, gains in ((small, True), (large, False)):
        cold = price(h100, dataclasses.replace(case, buffers=0))
        assert (price(h100, case).hbm_bytes < cold.hbm_bytes) is gains


@pytest.mark.parametrize("name", ["h100", "b200", "a100"])
def test_the_cache_is_updated_by_a_block_of_threads_a_token(name: str) -> None:
    chip = load_chip(name)
    tokens = 256 * 128
    for kv_heads in (1, 4, 32):
        case = AttentionCase(256, kv_heads, kv_heads, 128, 128, "prefill")
        rounds = tokens * min(512, kv_heads * 128) / (2048 * chip.matrix.count)
        assert price(chip, case).time_s > rounds * 2.5e-6


@pytest.mark.parametrize("name", ["h100", "h200", "b200"])
@pytest.mark.parametrize("dim", [64, 128, 512])
def test_a_larger_batch_never_costs_less(name: str, dim: int) -> None:
    chip = load_chip(name)
    sizes = (1, 31, 32, 512, 991, 992, 993, 1024, 2048)
    times = [price(chip, AttentionCase(b, 8, 1, dim, 512, "decode")).cycles for b in sizes]
    assert times == sorted(times)


def test_wide_heads_have_small_tiles() -> None:
    # twice the width means half the rows, so keys and values are fetched twice as often
    half, whole = (
        price(load_chip("h100"), AttentionCase(8, 8, 1, dim, 8192, "prefill")) for dim in (256, 512)
    )
    assert whole.time_s > 3 * half.time_s


def latent(chip: Chip, new: list[int], past: list[int], heads: int = 16) -> np.ndarray:
    row = np.zeros(prices.PLAN_FIELDS, dtype=np.int64)
    row[prices.PLAN_HEADS] = heads
    row[prices.PLAN_KV_RANK], row[prices.PLAN_ROPE_DIM] = 512, 64
    row[prices.PLAN_NOPE_DIM], row[prices.PLAN_VALUE_DIM] = 128, 128
    out = np.zeros(PRICE_FIELDS, dtype=np.int64)
    bits = np.array([16, 16, 16], dtype=np.int64)
    vector = pack_chip(resolve_memory(chip), "bf16")
    price_latent(
        vector, bits, row, np.array(new, dtype=np.int64), np.array(past, dtype=np.int64), out
    )
    return out


@pytest.mark.parametrize("name", ["tpu-v6e", "h100"])
def test_latent_decode_reads_one_vector_a_token_for_all_heads(name: str) -> None:
    chip = load_chip(name)
    few, many = (latent(chip, [1] * 8, [4000] * 8, heads) for heads in (16, 128))
    cache = 8 * 4000 * (512 + 64) * 2
    for heads, out in ((16, few), (128, many)):
        weights = heads * 512 * (128 + 128) * 2
        assert cache + weights <= out[READ] <= 1.01 * (cache + weights) + 2**20
        assert out[WRITE] >= 8 * (512 + 64) * 2
    assert many[DURATION] >= few[DURATION]


@pytest.mark.parametrize("name", ["tpu-v6e", "h100"])
def test_latent_prompts_expand_and_cost_less_than_absorbed(name: str) -> None:
    chip = load_chip(name)
    out = latent(chip, [2048], [0])
    peak = chip.peak_flops_per_s("bf16")
    dims = (16, 512, 64, 128, 128)
    assert int(out[MATRIX]) * peak >= expanded_flops(2048, 0, dims) * 10**12
    assert expanded_flops(2048, 0, dims) < absorbed_flops(2048, 0, dims)
    assert int(out[DURATION]) * peak >= expanded_flops(2048, 0, dims) * 10**12


def test_latent_flops_are_the_closed_forms_of_both_forms() -> None:
    dims = (128, 512, 64, 128, 128)
    up = 2 * 128 * 512 * (128 + 128)
    seen = sum(1000 + i for i in range(1, 6))
    assert absorbed_flops(5, 1000, dims) == 5 * up + 2 * seen * 128 * (512 + 64 + 512)
    assert expanded_flops(5, 1000, dims) == 1005 * up + 2 * seen * 128 * (128 + 64 + 128)
    # one query: both see the same keys, and the expanded form pays for the whole context
    assert absorbed_flops(1, 1000, dims) < expanded_flops(1, 1000, dims) / 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "decoding"}, "phase: found 'decoding'"),
        ({"kv_heads": 3}, "3 kv_heads do not divide 8 heads"),
        ({"batch": 0}, "batch: found 0"),
        ({"dtype": "fp4"}, "no rate for dtype 'fp4'"),
        ({"window": 0}, "window: found 0"),
        ({"batch": 2**20, "context": 2**24, "phase": "prefill"}, "above 2^56"),
    ],
)
def test_bad_cases_are_named(change: dict[str, object], message: str) -> None:
    case = dataclasses.replace(AttentionCase(1, 8, 2, 64, 128, "decode"), **change)
    with pytest.raises(InputError, match=message.replace("^", r"\^")):
        price(TOY, case)


@pytest.mark.parametrize("name", ["mi300x", "a100", "h100", "b200"])
def test_a_decoding_batch_never_takes_less_than_its_half(name: str) -> None:
    """Splitting keys among idle multiprocessors, and joining the parts, ends somewhere between."""
    rng = np.random.default_rng(5)
    cases = []
    for _ in range(150):
        kv_heads, group = int(rng.choice([1, 2, 4, 8])), int(rng.choice([1, 2, 4, 8]))
        common = {
            "heads": kv_heads * group,
            "kv_heads": kv_heads,
            "head_dim": int(rng.choice([64, 80, 128])),
            "context": int(rng.choice([256, 1024, 4096, 32768])),
            "phase": "decode",
            "window": rng.choice([None, 128, 1000]),
        }
        batch = int(rng.integers(1, 400))
        cases += [AttentionCase(batch=times * batch, **common) for times in (1, 2)]
    times = [price.time_s for price in api.price_attentions(name, cases)]
    assert all(half <= whole for half, whole in zip(times[::2], times[1::2], strict=True))


def test_twice_the_cache_of_a_gpu_is_never_slower_for_a_prompt() -> None:
    """Results that stay on chip are written to L2, which on A100 takes longer than HBM."""
    asked = {"phase": "prefill", "batch": 2, "context": 777}
    plain = api.price_step(api.load_system("a100:8"), "llama3-70b", **asked)
    larger = api.load_system("a100:8", ["chip.sram.capacity=80MB"])
    assert api.price_step(larger, "llama3-70b", **asked).time_ps <= plain.time_ps
