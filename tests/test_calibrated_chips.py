"""Physics of every calibrated chip, operator by operator.

The property tests of the single operators draw chips that nobody built, or a few that somebody did;
here every chip whose file was fitted to measurements, or says how far off it is, prices the same
cases of every operator and format that it has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from strategies import RESOURCES, doubled

from simulator.config.config_files import load_chip_file
from simulator.config.loader import load_chip
from simulator.config.names import find_config, list_names
from simulator.hardware import Chip, TensorCore
from simulator.kernels.arrays import Float64Array
from simulator.mapping.attention_dtype import attention_dtype
from simulator.timing.attention_operator import AttentionCase, price_attentions
from simulator.timing.latent_operator import LatentCase, latent_seconds
from simulator.timing.moe_operator import MoeCase, price_moes
from simulator.timing.operator import matmul_seconds

GPUS = ("a100", "a40", "b200", "b300", "gb200", "gb300", "h100", "h200", "h800", "l40s", "mi300x")
TPUS = ("tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7x", "tpu-v7x-die")
ROUNDING_S = 2e-9
"""Prices are whole cycles, of a clock that may differ."""

Prices = Callable[[Chip], Float64Array]
"""Seconds of the same cases on a chip."""


def draw(count: int, seed: int, *choices: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Combinations of choices by chance, always the same."""
    rng = np.random.default_rng(seed)
    return [tuple(of[int(rng.integers(len(of)))] for of in choices) for _ in range(count)]


SIDES = (1, 7, 16, 64, 100, 129, 512, 1000, 1025, 4096, 6144, 8192, 16384)
SHAPES = np.array(draw(40, 1, SIDES, SIDES, SIDES), dtype=np.int64)
ATTENTION = [
    AttentionCase(batch, kv_heads * group, kv_heads, dim, context, phase, window=window)
    for batch, kv_heads, group, dim, context, phase, window in draw(
        40,
        2,
        (1, 2, 9, 33, 64),
        (1, 2, 4, 8),
        (1, 4, 5, 8),
        (64, 128, 192, 256),
        (1, 100, 128, 1000, 4096, 9000),
        ("prefill", "decode"),
        (None, None, 128, 1000),
    )
]
LATENT = [
    LatentCase(batch, heads, context, phase, phase == "decode")
    for batch, heads, context, phase in draw(
        30, 3, (1, 4, 32, 100), (8, 16, 128), (1, 128, 1000, 4096), ("prefill", "decode")
    )
]
LAYERS = [
    MoeCase(tokens, 2048, middle, experts, top_k, 1, load, moe=moe, exchange=False)
    for tokens, middle, (experts, top_k), load, moe in draw(
        25,
        4,
        (1, 7, 64, 129, 500, 4096, 10_000),
        (768, 1408),
        ((8, 2), (64, 6), (128, 8)),
        ("balanced", "random", "power:1.2"),
        ("sorted", "fused"),
    )
]


@lru_cache
def loaded(name: str) -> Chip:
    return load_chip(name)


def formats(chip: Chip) -> list[str]:
    return [dtype for dtype in ("bf16", "fp8", "int8") if dtype in chip.matrix.dtypes]


def matmuls(chip: Chip) -> Iterator[tuple[str, Prices]]:
    """Of every format, in which a GPU quantizes A before; in blocks and in 4 bits where it can."""
    gpu = isinstance(chip.matrix, TensorCore)
    ways = [(dtype, {"quantize": gpu and dtype != "bf16"}) for dtype in formats(chip)]
    if gpu and "fp8" in chip.matrix.dtypes:
        ways.append(("fp8", {"quantize": True, "blocks": True}))
    if gpu and "fp4" in chip.matrix.dtypes:
        ways.append(("nvfp4", {"quantize": True}))
    for dtype, way in ways:
        yield f"{dtype} {way}", lambda one, d=dtype, w=way: matmul_seconds(one, SHAPES, d, **w)


def attentions(chip: Chip) -> Iterator[tuple[str, Prices]]:
    def seconds(one: Chip, kv_dtype: str) -> Float64Array:
        cases = [dataclasses.replace(case, kv_dtype=kv_dtype) for case in ATTENTION]
        return np.array([each.time_s for each in price_attentions(one, cases)])

    for kv_dtype in formats(chip):
        yield f"{kv_dtype} cache", lambda one, kv=kv_dtype: seconds(one, kv)


def latents(chip: Chip) -> Iterator[tuple[str, Prices]]:
    if isinstance(chip.matrix, TensorCore):
        yield "bf16", lambda one: np.array(latent_seconds(one, LATENT))


def layers(chip: Chip) -> Iterator[tuple[str, Prices]]:
    def seconds(one: Chip, dtype: str, weights: str, blocks: bool) -> Float64Array:
        cases = [
            dataclasses.replace(case, dtype=dtype, weight_dtype=weights, blocks=blocks)
            for case in LAYERS
        ]
        return np.array([each.time_s for each in price_moes(one, cases)])

    kinds = [(dtype, dtype, False) for dtype in formats(chip)]
    kinds += [("bf16", "int4", False), ("bf16", "fp4", False)]
    if "fp8" in chip.matrix.dtypes:
        kinds.append(("fp8", "fp8", isinstance(chip.matrix, TensorCore)))
    if "fp4" in chip.matrix.dtypes:
        kinds.append(("fp4", "fp4", False))
    for kind in dict.fromkeys(kinds):
        yield str(kind), lambda one, kind=kind: seconds(one, *kind)


OPERATORS = {"matmul": matmuls, "attention": attentions, "latent": latents, "moe": layers}


def better(chip: Chip) -> Iterator[tuple[str, Chip]]:
    """The chip with twice of one thing."""
    for what in RESOURCES:
        yield what, doubled(chip, what)
    if chip.power.tdp_w is not None:
        stronger = dataclasses.replace(chip.power, tdp_w=2 * chip.power.tdp_w)
        yield "tdp", dataclasses.replace(chip, power=stronger)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", (*GPUS, *TPUS))
def test_more_of_anything_is_never_slower(name: str, operator: str) -> None:
    chip = loaded(name)
    for kind, prices in OPERATORS[operator](chip):
        own = prices(chip)
        assert (own > 0).all()
        for what, more in better(chip):
            slower = prices(more) > own * (1 + 1e-9) + ROUNDING_S
            assert not slower.any(), (kind, what, np.flatnonzero(slower))


@pytest.mark.parametrize("name", (*GPUS, *TPUS))
def test_no_matmul_beats_the_peak_or_the_bandwidth(name: str) -> None:
    chip = loaded(name)
    m, k, n = SHAPES.T.astype(float)
    for kind, prices in matmuls(chip):
        dtype = kind.partition(" ")[0].replace("nvfp4", "fp4")
        bits = {"bf16": 16, "fp4": 4}.get(dtype, 8)
        moved = (m * k + k * n) * bits / 8 + 2 * m * n * (bits == 16)
        least = np.maximum(
            2 * m * k * n / chip.peak_flops_per_s(dtype), moved / chip.hbm.bandwidth_bytes_per_s
        )
        assert (prices(chip) >= least).all(), kind


@pytest.mark.parametrize("name", (*GPUS, *TPUS))
def test_no_attention_beats_the_peak_or_the_bandwidth(name: str) -> None:
    chip = loaded(name)
    for kv_dtype in formats(chip):
        cases = [dataclasses.replace(case, kv_dtype=kv_dtype) for case in ATTENTION]
        peak = chip.peak_flops_per_s(attention_dtype(chip, "bf16", kv_dtype))
        for case, price in zip(cases, price_attentions(chip, cases), strict=True):
            assert price.time_s >= price.flops / peak, case
            assert price.time_s >= price.hbm_bytes / chip.hbm.bandwidth_bytes_per_s, case
            if case.phase == "decode":
                seen = min(case.context, (case.window or case.context + 1) - 1)
                cached = 2 * case.batch * case.kv_heads * case.head_dim * seen
                assert price.hbm_read_bytes >= cached * (2 if kv_dtype == "bf16" else 1), case


@pytest.mark.parametrize("name", (*GPUS, *TPUS))
def test_no_layer_of_experts_beats_the_peak_or_the_bandwidth(name: str) -> None:
    chip = loaded(name)
    for dtype in formats(chip):
        cases = [dataclasses.replace(case, dtype=dtype) for case in LAYERS]
        for case, price in zip(cases, price_moes(chip, cases), strict=True):
            assert price.flops == 6 * case.tokens * case.top_k * case.hidden * case.intermediate
            assert price.time_s >= price.flops / chip.peak_flops_per_s(dtype), case
            assert price.time_s >= price.hbm_bytes / chip.hbm.bandwidth_bytes_per_s, case


@pytest.mark.parametrize("name", (*GPUS, *TPUS))
def test_a_part_of_a_matmul_never_takes_longer(name: str) -> None:
    """One less, and half, of each side in turn."""
    chip = loaded(name)
    sides = np.eye(3, dtype=np.int64)
    parts = [np.maximum(SHAPES - side, 1) for side in sides]
    parts += [np.maximum(SHAPES // (1 + side), 1) for side in sides]
    for dtype in formats(chip):
        quantize = name in GPUS and dtype != "bf16"
        whole = matmul_seconds(chip, SHAPES, dtype, quantize=quantize)
        for part in parts:
            assert (matmul_seconds(chip, part, dtype, quantize=quantize) <= whole).all(), dtype


def test_all_calibrated_chips_are_here() -> None:
    """Those with fitted values or measured errors in their files."""
    for name in list_names("chips"):
        if name not in (*GPUS, *TPUS):
            chip = load_chip_file(find_config("chips", name))
            assert not chip.sourced.fitted, name
            assert not chip.config.validation, name
