"""The attention kernel of latent attention by itself, against bounds and against its two forms."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.api import LatentCase, load_chip, price_latents
from simulator.errors import InputError

FEW = settings(deadline=None, derandomize=True, max_examples=40)
DECODE = LatentCase(32, 128, 4096, "decode", absorbed=True)
PROMPT = LatentCase(4, 128, 2048, "prefill", absorbed=False)
CASES = st.builds(
    lambda batch, heads, context, decode: LatentCase(
        batch, heads, context, "decode" if decode else "prefill", absorbed=decode
    ),
    st.integers(1, 64),
    st.sampled_from([1, 8, 16, 128]),
    st.integers(1, 3000),
    st.booleans(),
)


def seconds(name: str, case: LatentCase) -> float:
    return price_latents(name, [case])[0]


@FEW
@given(st.sampled_from(["h100", "b200", "a100"]), CASES)
def test_no_kernel_beats_the_hardware(name: str, case: LatentCase) -> None:
    chip = load_chip(name)
    time = seconds(name, case)
    pairs = case.context + 1
    width = 2 * case.rank + case.rope
    moved = case.batch * (case.rank + case.rope) * 2 * case.context
    if case.phase == "prefill":
        pairs = case.context * (case.context + 1) // 2
        width = case.nope + case.rope + case.value
        moved = 0
    flops = 2 * case.batch * case.heads * pairs * width
    assert time >= flops / chip.peak_flops_per_s("bf16")
    assert time >= moved / chip.hbm.bandwidth_bytes_per_s


@FEW
@given(st.sampled_from(["h100", "b200"]), CASES, st.sampled_from(["batch", "context", "heads"]))
def test_more_of_it_never_costs_less(name: str, case: LatentCase, size: str) -> None:
    more = dataclasses.replace(case, **{size: 2 * getattr(case, size)})
    assert seconds(name, more) >= seconds(name, case)


def test_the_forms_are_cheap_where_they_should_be() -> None:
    absorbed = dataclasses.replace(PROMPT, absorbed=True)
    assert seconds("h100", PROMPT) < seconds("h100", absorbed)
    # one token a head of 128: the latent is read once, expanded keys and values would be 40 times
    expanded = dataclasses.replace(DECODE, absorbed=False)
    assert seconds("h100", DECODE) < seconds("h100", expanded)


def test_a_narrow_cache_is_faster_where_memory_counts() -> None:
    long = dataclasses.replace(DECODE, heads=8, context=65536)
    narrow = dataclasses.replace(long, kv_dtype="fp8")
    assert seconds("b200", narrow) < 0.8 * seconds("b200", long)


def test_bad_cases_are_named() -> None:
    for change, message in (
        ({"phase": "chunk"}, "expected prefill or decode"),
        ({"heads": 0}, "heads: found 0"),
        ({"dtype": "bf61"}, "unknown dtype"),
        ({"context": 2**40}, "above 2\\^56"),
    ):
        with pytest.raises(InputError, match=message):
            price_latents("h100", [dataclasses.replace(PROMPT, **change)])
    with pytest.raises(InputError, match="no multiprocessors"):
        price_latents("tpu-v7x", [DECODE])
