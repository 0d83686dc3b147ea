"""More sequences, keys, heads, tokens or bytes never take less time, and where they do, why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config.loader import load_chip, load_system
from simulator.fabric.collectives import price_collective
from simulator.timing.attention_operator import AttentionCase, price_attentions
from simulator.timing.moe_operator import MoeCase, price_moes

CHIPS = ("h100", "h200", "b200", "tpu-v5e", "tpu-v6e", "tpu-v7x")
SLACK = 1 + 1e-9


@st.composite
def grown(draw: st.DrawFn, size: int) -> int:
    return draw(st.sampled_from([size + 1, size + draw(st.integers(1, 64)), 2 * size]))


@st.composite
def lengths(draw: st.DrawFn, most: int) -> int:
    powers = [1 << i for i in range(most.bit_length())]
    return draw(st.one_of(st.integers(1, 300), st.sampled_from(powers), st.integers(1, most)))


def seconds(chip: str, *cases: AttentionCase) -> list[float]:
    return [each.time_s for each in price_attentions(load_chip(chip), cases)]


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.data(), st.sampled_from(CHIPS), st.sampled_from(["prefill", "decode"]))
def test_attention(data: st.DataObject, chip: str, phase: str) -> None:
    decode = phase == "decode"
    kv_heads = data.draw(st.sampled_from([1, 2, 4, 8]))
    group = data.draw(st.sampled_from([1, 4, 5, 8]))
    dim = data.draw(st.sampled_from([64, 128, 192, 256]))
    batch = data.draw(st.integers(1, 200 if decode else 12))
    context = data.draw(lengths(40_000 if decode else 8_000))
    dtype = data.draw(st.sampled_from(["bf16", *(["fp8"] if chip != "tpu-v5e" else [])]))
    small = AttentionCase(batch, kv_heads * group, kv_heads, dim, context, phase, dtype)
    axis = data.draw(st.sampled_from(["batch", "context", "kv_heads"]))
    size = data.draw(grown(getattr(small, axis)))
    large = dataclasses.replace(small, **{axis: size})
    if axis == "kv_heads":
        large = dataclasses.replace(large, heads=size * group)
    first, second = seconds(chip, small, large)
    assert first <= second * SLACK


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ((1, 32, 4, 256, 512), (1, 36, 4, 256, 512)),  # was 22 % faster
        ((1, 64, 8, 192, 158), (2, 64, 8, 192, 158)),
        ((3, 16, 2, 128, 256), (3, 24, 3, 128, 256)),
    ],
)
def test_keys_of_prompts_are_split_only_where_that_pays(
    small: tuple[int, int, int, int, int], large: tuple[int, int, int, int, int]
) -> None:
    """128 tiles on 132 multiprocessors: a thirtieth saved does not pay for another kernel."""
    first, second = seconds(
        "h100", AttentionCase(*small, "prefill"), AttentionCase(*large, "prefill")
    )
    assert first <= second


@pytest.mark.parametrize("chip", ["a100", "l40s"])
def test_libraries_that_do_not_split_the_keys_of_single_heads(chip: str) -> None:
    """FlashAttention-2 splits keys where it swaps queries and groups: a known gap, as measured."""
    single = AttentionCase(8, 1, 1, 64, 45_514, "decode")
    pair = dataclasses.replace(single, heads=2)
    first, second = seconds(chip, single, pair)
    assert first > second


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.data(), st.sampled_from(CHIPS), st.sampled_from(["sorted", "fused"]))
def test_experts(data: st.DataObject, chip: str, moe: str) -> None:
    experts, top_k = data.draw(st.sampled_from([(8, 2), (64, 6), (128, 8), (32, 4)]))
    tokens = data.draw(lengths(8_000))
    small = MoeCase(tokens, 2048, data.draw(st.sampled_from([768, 1408])), experts, top_k, moe=moe)
    large = dataclasses.replace(small, tokens=data.draw(grown(tokens)))
    first, second = (each.time_s for each in price_moes(load_chip(chip), [small, large]))
    assert first <= second * SLACK


@pytest.mark.parametrize("system", ["h100:8", "l40s:4", "tpu-v6e:2x4"])
@pytest.mark.parametrize("op", ["all-reduce", "all-gather", "all-to-all"])
def test_collectives(system: str, op: str) -> None:
    fabric = load_system(system).fabric
    sizes = np.unique(np.geomspace(1, 1 << 30, 150).astype(np.int64)).tolist()
    times = [price_collective(fabric, op, size).time_ps for size in sizes]
    assert times == sorted(times)
