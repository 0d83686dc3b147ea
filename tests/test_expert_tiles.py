"""Tiles of grouped matmuls that follow from the mean load of an expert."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from simulator.config.loader import load_chip
from simulator.hardware import Chip
from simulator.timing.moe_case import MoeCase
from simulator.timing.moe_operator import price_moes

B200 = load_chip("b200")
LAYER = MoeCase(64, 4096, 2048, 64, 8, ep=8, exchange=False)
FORMATS = {
    "bf16": {},
    "fp8": {"dtype": "fp8"},
    "blocks": {"dtype": "fp8", "blocks": True},
    "nvfp4": {"dtype": "fp4"},
    "mxfp4": {"weight_dtype": "fp4"},
    "int4": {"weight_dtype": "int4"},
}


def changed(chip: Chip, **of_fused: object) -> Chip:
    assert chip.fused is not None
    return dataclasses.replace(chip, fused=dataclasses.replace(chip.fused, **of_fused))


def products_cycles(chip: Chip, case: MoeCase) -> int:
    return price_moes(chip, [case])[0].busy[0]


def untuned(mean: float, top: int) -> int:
    """FlashInfer's default: the size below the next power of two, which is at most ``top``."""
    center = 8
    while center < mean and center < top:
        center *= 2
    return max(8, center // 2)


def marlin(mean: float) -> int:
    """vLLM's loop over the sizes."""
    for rows in (8, 16, 32, 48, 64):
        if mean / rows < 0.9:
            break
    return rows


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_tokens_take_larger_tiles_where_ranks_share_the_experts(form: str) -> None:
    """Eight ranks see eight times the assignments; the tiles are as large, and mostly empty.

    Both have one token or so for each expert, so that the work of a tile is what differs.
    """
    top = {"nvfp4": 256, "mxfp4": 64}.get(form, 128)
    found = {}
    for tokens in (8, 32, 64, 100, 200, 400):
        shared = dataclasses.replace(LAYER, tokens=tokens, **FORMATS[form])
        mean = tokens * LAYER.top_k / 8
        rows = marlin(mean) if form == "int4" else untuned(mean, top)
        each = -(-tokens * LAYER.top_k // 64)
        found[(rows, -(-each // rows))] = products_cycles(B200, shared)
    for (rows, tiles), cycles in found.items():
        for (more, others), longer in found.items():
            if rows < more and tiles <= others:
                assert cycles < longer


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("ep", "mode"), [(1, "sorted"), (8, "sorted"), (1, "fused")])
def test_an_uneven_load_never_takes_less_with_more_tokens(
    form: str, ep: int, mode: str, tmp_path: Path
) -> None:
    loads = tmp_path / "loads.txt"
    counts = np.round(1000 * 0.9 ** np.arange(64) + 1).astype(int)
    loads.write_text("\n".join(str(count) for count in counts) + "\n")
    cases = [
        dataclasses.replace(
            LAYER, tokens=tokens, ep=ep, expert_load=str(loads), moe=mode, **FORMATS[form]
        )
        for tokens in (*range(1, 200, 3), *range(200, 3000, 37))
    ]
    times = np.array([found.time_s for found in price_moes(B200, cases)])
    # the largest batch with a smaller tile is known but for the rounding of its experts' tokens
    assert np.all(times >= 0.97 * np.maximum.accumulate(times))
    even = [dataclasses.replace(case, expert_load="balanced") for case in cases]
    times = np.array([found.time_s for found in price_moes(B200, even)])
    assert np.all(times[1:] >= times[:-1])


def test_a_tuned_engine_takes_what_is_fastest() -> None:
    tuned = changed(B200, tile_of_mean=False)
    for tokens in (64, 512):
        case = dataclasses.replace(LAYER, tokens=tokens)
        one, two = (price_moes(chip, [case])[0].time_s for chip in (B200, tuned))
        assert two <= one


def test_absent_rows_of_a_sum_take_their_time_but_move_no_bytes() -> None:
    case = dataclasses.replace(LAYER, tokens=16384, hidden=8192, intermediate=64)
    one, two = (price_moes(B200, [dataclasses.replace(case, top_k=k, ep=64)])[0] for k in (1, 8))
    rows = 7 * case.tokens * case.hidden * 2
    assert two.time_s - one.time_s > 0.6 * rows / B200.hbm.sustained_bytes_per_s
    assert two.hbm_bytes - one.hbm_bytes < rows
