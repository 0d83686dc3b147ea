"""What attention multiplies in, and the libraries that read the caches of GPUs before Hopper."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import RESOURCES, doubled

from simulator.config.loader import load_chip, load_libraries, load_system
from simulator.hardware import Chip
from simulator.mapping.attention_dtype import attention_dtype
from simulator.steps import price_step
from simulator.timing.attention_operator import AttentionCase, price_attentions
from simulator.timing.latent_operator import LatentCase, latent_seconds

FEW = settings(deadline=None, derandomize=True, max_examples=60)
L40S, A100, H100 = load_chip("l40s"), load_chip("a100"), load_chip("h100")
"""FlashAttention-2 and FlashInfer, FlashAttention-2, FlashAttention-3."""

CASES = st.builds(
    lambda batch, kv, group, dim, context, phase, cache: AttentionCase(
        batch, kv * group, kv, dim, context, phase, kv_dtype=cache
    ),
    st.integers(1, 400),
    st.sampled_from([2, 8]),
    st.sampled_from([2, 5, 8, 24]),
    st.sampled_from([64, 128, 192, 256]),
    st.integers(1, 5000),
    st.sampled_from(["prefill", "decode"]),
    st.sampled_from(["bf16", "fp8"]),
)


def seconds(chip: Chip, case: AttentionCase) -> float:
    return price_attentions(chip, [case])[0].time_s


def without_field(chip: Chip, **fields: object) -> Chip:
    assert chip.fused is not None
    return dataclasses.replace(chip, fused=dataclasses.replace(chip.fused, **fields))


@pytest.mark.parametrize(
    ("chip", "activation", "cache", "found"),
    [
        ("h100", "bf16", "bf16", "bf16"),
        ("h100", "bf16", "fp8", "fp8"),
        ("h100", "fp8", "fp8", "fp8"),
        ("h100", "fp8", "bf16", "bf16"),
        ("h100", "bf16", "int8", "bf16"),
        ("b200", "fp4", "fp8", "fp8"),
        ("b200", "fp4", "bf16", "bf16"),
        ("l40s", "fp8", "fp8", "bf16"),
        ("a100", "bf16", "fp8", "bf16"),
        ("a100", "int8", "int8", "bf16"),
        ("tpu-v6e", "bf16", "int8", "bf16"),
        ("tpu-v6e", "int8", "int8", "int8"),
        ("tpu-v6e", "int8", "bf16", "bf16"),
        ("groq-lpu", "int8", "bf16", "bf16"),
    ],
)
def test_the_type_of_the_arithmetic(chip: str, activation: str, cache: str, found: str) -> None:
    assert attention_dtype(load_chip(chip), activation, cache) == found


def test_a_chip_file_decides() -> None:
    case = AttentionCase(4, 32, 8, 128, 8192, "prefill", kv_dtype="fp8")
    plain = without_field(H100, cache_arithmetic=())
    assert price_attentions(plain, [case])[0].given["arithmetic_dtype"] == "bf16"
    assert seconds(plain, case) > 1.2 * seconds(H100, case)


@pytest.mark.parametrize("chip", [H100, L40S, load_chip("b200"), load_chip("tpu-v6e")])
@pytest.mark.parametrize("cache", ["bf16", "fp8", "int8"])
def test_the_cache_and_not_the_activations_decides_on_a_gpu(chip: Chip, cache: str) -> None:
    cases = [AttentionCase(4, 32, 8, 128, 8192, "prefill", t, cache) for t in ("bf16", "int8")]
    plain, narrow = (seconds(chip, case) for case in cases)
    if chip.fused is not None or cache == "bf16":
        assert plain == narrow
    # no type of the activations makes a cache of 16 bits cheaper or dearer
    if cache == "bf16":
        assert narrow == seconds(chip, AttentionCase(4, 32, 8, 128, 8192, "prefill"))


@pytest.mark.parametrize("types", [("bf16", "fp8"), ("fp8", "bf16"), ("fp8", "fp8")])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("name", ["h100", "b200", "l40s"])
def test_a_step_prices_what_the_operator_does(
    name: str, phase: str, types: tuple[str, str]
) -> None:
    activation, cache = types
    batch, context = (1, 8192) if phase == "prefill" else (32, 2048)
    step = price_step(
        load_system(name), "llama3-8b", phase=phase, batch=batch, context=context,
        activation_dtype=activation, kv_dtype=cache,
    )  # fmt: skip
    span = next(span for span in step.operators if span.name == "layer0.attention")
    case = AttentionCase(batch, 32, 8, 128, context, phase, activation, cache)
    assert span.duration_ps == pytest.approx(seconds(load_chip(name), case) * 1e12, rel=1e-3)


def test_absorbed_latent_attention_multiplies_in_16_bits() -> None:
    cases = [
        LatentCase(256, 128, 1024, "decode", True, dtype=dtype, kv_dtype="fp8")
        for dtype in ("bf16", "fp8")
    ]
    plain, narrow = latent_seconds(H100, cases)
    assert plain == narrow


def test_heads_of_a_window_read_their_keys_one_after_the_other() -> None:
    # the keys of a head are 2 x 128 elements x 128 tokens x batch: 134 MB of 2,048 sequences, more
    # than L2 holds, so each head of a group fetches them anew; of 512 they stay
    group = 4
    for batch, passes in ((512, 1), (2048, group)):
        case = AttentionCase(batch, 8 * group, 8, 128, 8191, "decode", window=128)
        cache = passes * batch * 8 * 127 * 2 * 128 * 2
        priced = price_attentions(L40S, [case])[0]
        assert cache <= priced.time_s * L40S.hbm.sustained_bytes_per_s
        assert cache <= priced.hbm_read_bytes < 1.1 * cache
    # FlashInfer's tiles hold a group
    eight = dataclasses.replace(case, kv_dtype="fp8")
    assert seconds(L40S, eight) < 0.3 * seconds(L40S, case)


def test_a_head_of_a_window_has_a_tile_of_its_own() -> None:
    alone = AttentionCase(128, 32, 4, 128, 127, "decode", window=128)
    shared = dataclasses.replace(alone, window=None)
    assert seconds(A100, alone) > 2 * seconds(A100, shared)
    grouped = without_field(A100, regroups_windows=True)
    assert seconds(grouped, alone) < 1.1 * seconds(A100, shared)


def test_blocks_of_keys_have_as_many_as_fit_the_elements() -> None:
    # up to 256 keys of 64 elements are one block; of 128 elements 129 keys are two
    def decode(dim: int, context: int) -> float:
        return seconds(L40S, AttentionCase(32, 16, 16, dim, context - 1, "decode", buffers=1))

    assert decode(64, 256) == pytest.approx(decode(64, 129), rel=0.05)
    assert decode(64, 257) > 1.2 * decode(64, 256)
    assert decode(128, 129) > 1.2 * decode(128, 128)


def test_single_heads_are_split_by_flashinfer_only() -> None:
    one = AttentionCase(1, 8, 8, 128, 65535, "decode")
    eight = dataclasses.replace(one, kv_dtype="fp8")
    # half of the bytes, and all multiprocessors
    assert seconds(L40S, one) > 5 * seconds(L40S, eight)


def test_short_prompts_have_small_tiles() -> None:
    # 16 packed rows, 64, 128: a tile each, and less than a tile of 128 rows takes
    times = [
        seconds(L40S, AttentionCase(512, 64, 8, 128, n, "prefill", kv_dtype="fp8"))
        for n in (2, 8, 16)
    ]
    assert times == sorted(times)
    wide = without_field(L40S, eight_bit_cache=(("packs_groups", True), ("split_group", 1)))
    case = AttentionCase(512, 64, 8, 128, 2, "prefill", kv_dtype="fp8")
    assert times[0] < seconds(wide, case)


def test_converting_keys_takes_time() -> None:
    # 4 warps of each of the tiles of 128 rows convert every key and value that they see
    case = AttentionCase(1, 16, 16, 128, 8192, "prefill", kv_dtype="fp8")
    tiles = 16 * 8192 // 128
    keys = sum(min(8192, (i + 1) * 128) for i in range(8192 // 128)) * 16
    rate = load_libraries().fused_attention.converted_elements
    least = keys * 4 * 2 * 128 / rate / L40S.matrix.count / L40S.clock_hz
    products = keys * 128 * 256 / 512 / L40S.matrix.count / L40S.clock_hz
    assert tiles > L40S.matrix.count
    assert seconds(L40S, case) > least + products


@FEW
@given(CASES, st.sampled_from(RESOURCES))
def test_more_hardware_is_never_slower(case: AttentionCase, resource: str) -> None:
    more = doubled(L40S, resource)
    slow, fast = price_attentions(L40S, [case])[0], price_attentions(more, [case])[0]
    assert fast.cycles * slow.clock_hz <= (slow.cycles + 2) * fast.clock_hz


@FEW
@given(CASES, st.sampled_from([None, 128, 1000]), st.sampled_from([L40S, A100]))
def test_a_part_never_takes_longer(case: AttentionCase, window: int | None, chip: Chip) -> None:
    case = dataclasses.replace(case, window=window)
    whole = seconds(chip, dataclasses.replace(case, batch=2 * case.batch))
    assert seconds(chip, case) <= whole
    if window is None:
        longer = dataclasses.replace(case, context=2 * case.context)
        assert seconds(chip, case) <= seconds(chip, longer)


@FEW
@given(CASES, st.sampled_from([None, 128]))
def test_time_is_above_what_the_hardware_needs(case: AttentionCase, window: int | None) -> None:
    case = dataclasses.replace(case, window=window)
    priced = price_attentions(L40S, [case])[0]
    moved = priced.hbm_read_bytes + priced.hbm_write_bytes
    assert priced.time_s >= moved / L40S.hbm.bandwidth_bytes_per_s
    assert priced.time_s >= priced.flops / L40S.peak_flops_per_s("bf16")
