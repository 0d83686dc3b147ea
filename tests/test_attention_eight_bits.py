"""Attention with 8-bit caches on GPUs: what is rounded into the cache, and heads that only a
generic kernel takes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import RESOURCES, doubled

from simulator.config.loader import load_chip, load_libraries
from simulator.hardware import Chip
from simulator.kernels.gpu_attention import GENERIC_KEYS, GENERIC_ROWS
from simulator.timing.attention_operator import AttentionCase, price_attentions

FEW = settings(deadline=None, derandomize=True, max_examples=60)
B200 = load_chip("b200")
LIBRARY = load_libraries().fused_attention
CASES = st.builds(
    lambda batch, kv, group, dim, context, phase, window: AttentionCase(
        batch, kv * group, kv, dim, context, phase, "fp8", None, window
    ),
    st.integers(1, 300),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1, 3, 8, 24]),
    st.sampled_from([64, 80, 96, 192]),
    st.integers(1, 5000),
    st.sampled_from(["prefill", "decode"]),
    st.one_of(st.none(), st.integers(1, 3000)),
)


def seconds(chip: Chip, case: AttentionCase) -> float:
    return price_attentions(chip, [case])[0].time_s


def keys_by_program(case: AttentionCase) -> int:
    """Keys that the programs of one key-value head of a prompt take, each counted in turn."""
    rows = GENERIC_ROWS
    while rows < case.heads // case.kv_heads:
        rows *= 2
    queries = rows // (case.heads // case.kv_heads)
    keys = 0
    for first in range(0, case.context, queries):
        last = min(first + queries, case.context)
        start = 0 if case.window is None else max(0, first + 1 - case.window)
        blocks = -(-last // GENERIC_KEYS) - start // GENERIC_KEYS
        keys += blocks * GENERIC_KEYS
    return keys


@pytest.mark.parametrize("name", ["h100", "b200"])
@pytest.mark.parametrize("kv_heads", [1, 8, 64])
def test_keys_are_rounded_into_the_cache(name: str, kv_heads: int) -> None:
    chip = load_chip(name)
    case = AttentionCase(64, kv_heads, kv_heads, 128, 512, "prefill", "fp8")
    rounded = 2 * kv_heads * 128 * 64 * 512 / (LIBRARY.rounded_elements * chip.matrix.count)
    assert seconds(chip, case) > rounded / chip.clock_hz


def test_a_block_of_512_threads_has_a_multiprocessor_for_itself() -> None:
    # 256 threads fit three times: beside what is rounded, a block of 512 takes three times as long
    half, whole, twice = (
        seconds(B200, AttentionCase(256, heads, heads, 128, 64, "prefill", "fp8"))
        for heads in (2, 4, 8)
    )
    assert whole - half > 1.2 * (twice - whole)


def test_results_leave_in_16_bits() -> None:
    case = AttentionCase(16, 32, 8, 128, 4096, "prefill", "fp8")
    tokens = 16 * 4096
    # the cache, the results, and the queries that another kernel rounds
    written = tokens * (2 * 8 * 128 + 2 * 32 * 128 + 32 * 128)
    assert price_attentions(B200, [case])[0].hbm_write_bytes == written


@pytest.mark.parametrize("window", [None, 128, 1000])
@pytest.mark.parametrize("heads", [(1, 1), (8, 1), (64, 4), (24, 1)])
def test_heads_that_only_the_generic_kernel_takes(
    window: int | None, heads: tuple[int, int]
) -> None:
    case = AttentionCase(8, *heads, 192, 3000, "prefill", "fp8", None, window)
    priced = price_attentions(B200, [case])[0]
    keys = 8 * heads[1] * keys_by_program(case)
    # every key and value, filled up to 256 elements
    least = keys * 2 * 256 / LIBRARY.generic_elements / B200.matrix.count / B200.clock_hz
    assert least * 0.95 < priced.time_s < 1.5 * least + 100e-6
    fed = keys * 2 * 192
    assert 0.95 * fed < priced.sram_bytes < 1.2 * fed + 8 * 3000 * 192 * 8 * sum(heads)


def test_the_generic_kernel_is_for_heads_of_8_bits_without_another() -> None:
    odd = AttentionCase(8, 64, 4, 192, 4096, "prefill", "fp8")
    wide = dataclasses.replace(odd, head_dim=256)
    assert seconds(B200, odd) > 5 * seconds(B200, wide)
    h100 = load_chip("h100")
    assert seconds(h100, odd) < seconds(h100, wide)
    plain = dataclasses.replace(odd, dtype="bf16")
    assert seconds(B200, plain) < seconds(B200, dataclasses.replace(wide, dtype="bf16"))
    # keys of 8 bits beside arithmetic of 16 are those of the cache, too
    mixed = dataclasses.replace(plain, kv_dtype="fp8")
    assert seconds(B200, mixed) > 3 * seconds(B200, plain)


@FEW
@given(CASES, st.sampled_from(RESOURCES))
def test_more_hardware_is_never_slower(case: AttentionCase, resource: str) -> None:
    more = doubled(B200, resource)
    slow, fast = price_attentions(B200, [case])[0], price_attentions(more, [case])[0]
    assert fast.cycles * slow.clock_hz <= (slow.cycles + 2) * fast.clock_hz


@FEW
@given(CASES)
def test_a_part_never_takes_longer(case: AttentionCase) -> None:
    whole = seconds(B200, dataclasses.replace(case, batch=2 * case.batch))
    assert seconds(B200, case) <= whole
    if case.window is None:
        longer = dataclasses.replace(case, context=2 * case.context)
        assert seconds(B200, case) <= seconds(B200, longer)
