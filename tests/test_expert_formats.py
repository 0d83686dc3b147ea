"""Narrow formats of experts on GPUs: scales in blocks, 4-bit arithmetic, integers by Marlin."""

from __future__ import annotations

import dataclasses

import pytest

from simulator.config.loader import load_chip, load_libraries
from simulator.errors import InputError
from simulator.hardware import Chip
from simulator.kernels.quantization import SCALED
from simulator.timing.moe_case import MoeCase
from simulator.timing.moe_operator import price_moes
from simulator.timing.operator_timing import OperatorTiming

LAYER = MoeCase(4096, 4096, 2048, 64, 8, dtype="fp8")
FORMATS = {
    "fp8": {},
    "blocks": {"blocks": True},
    "int4": {"dtype": "bf16", "weight_dtype": "int4"},
    "mxfp4": {"weight_dtype": "fp4"},
}
TOKENS = (1, 16, 300, 4096)


def price(chip: Chip, case: MoeCase, **changes: object) -> OperatorTiming:
    return price_moes(chip, [dataclasses.replace(case, **changes)])[0]


def changed(chip: Chip, **of_fused: object) -> Chip:
    assert chip.fused is not None
    return dataclasses.replace(chip, fused=dataclasses.replace(chip.fused, **of_fused))


@pytest.mark.parametrize("mode", ["sorted", "fused"])
@pytest.mark.parametrize("name", ["h100", "b200"])
@pytest.mark.parametrize("form", FORMATS)
def test_no_format_beats_its_units(form: str, name: str, mode: str) -> None:
    chip = load_chip(name)
    hbm = dataclasses.replace(chip.hbm, bandwidth_bytes_per_s=2 * chip.hbm.bandwidth_bytes_per_s)
    wider = dataclasses.replace(chip, hbm=hbm)
    faster = dataclasses.replace(chip, clock_hz=2 * chip.clock_hz)
    last = 0
    for tokens in TOKENS:
        found = price(chip, LAYER, tokens=tokens, moe=mode, **FORMATS[form])
        case = dataclasses.replace(LAYER, **FORMATS[form])
        peak = 2 * chip.matrix.macs_per_cycle(case.dtype)
        assert found.cycles * peak >= found.flops
        assert (found.cycles + 1) * chip.hbm.sustained_bytes_per_s >= (
            found.hbm_bytes * chip.clock_hz
        )
        assert all(0 <= busy <= found.cycles for busy in found.busy)
        active = min(LAYER.experts, tokens * LAYER.top_k)
        bits = {"fp4": 4, "int4": 4}.get(case.weight_dtype or "", 8)
        least = active * 3 * LAYER.hidden * LAYER.intermediate * bits // 8
        assert least <= found.hbm_read_bytes
        for better in (wider, faster):
            own = price(better, LAYER, tokens=tokens, moe=mode, **FORMATS[form])
            assert own.time_s <= found.time_s
        assert found.time_s >= last
        last = found.time_s


@pytest.mark.parametrize("name", ["h100", "b200"])
def test_scales_in_blocks_cost_their_kernels_and_the_promotion(name: str) -> None:
    # with the same library, whether the activations are narrow or not
    chip = changed(load_chip(name), narrow_expert_launch_ps=None)
    for tokens in TOKENS:
        whole, blocks = (price(chip, LAYER, tokens=tokens, blocks=flag) for flag in (False, True))
        assert blocks.time_s > whole.time_s
        assert blocks.flops == whole.flops
    # one row after the other on each multiprocessor, of the tokens and of what was gated
    groups = (4096 * LAYER.hidden + 4096 * LAYER.top_k * LAYER.intermediate) // SCALED
    least = groups * load_libraries().quantization.group_ps / chip.matrix.count
    assert price(chip, LAYER, blocks=True).time_s >= least / 1e12
    # sums are promoted by the vector units, which the tensor cores wait for
    slow = dataclasses.replace(chip.vector, ops_per_cycle=chip.vector.ops_per_cycle // 4)
    behind = dataclasses.replace(chip, vector=slow)
    assert price(behind, LAYER, blocks=True).busy[0] > price(chip, LAYER, blocks=True).busy[0]
    assert price(behind, LAYER).busy[0] == price(chip, LAYER).busy[0]


def test_four_bit_arithmetic_is_twice_as_fast_where_it_is() -> None:
    chip = load_chip("b200")
    assert chip.peak_flops_per_s("fp4") == 2 * chip.peak_flops_per_s("fp8")
    large = dataclasses.replace(LAYER, tokens=65536, intermediate=8192)
    ratio = price(chip, large).time_s / price(chip, large, dtype="fp4").time_s
    assert 1.2 < ratio < 2
    # with a scale of 8 bits for each 16 weights
    few = price(chip, LAYER, tokens=64, dtype="fp4").hbm_read_bytes
    weights = 64 * 3 * LAYER.hidden * LAYER.intermediate
    assert weights * 4.5 / 8 <= few < weights * 4.6 / 8
    with pytest.raises(InputError, match="no rate for dtype 'fp4'"):
        price(load_chip("h100"), LAYER, dtype="fp4")


def test_marlin_is_as_fast_on_every_newer_chip() -> None:
    large = MoeCase(65536, 4096, 2048, 64, 8, weight_dtype="int4")
    for name in ("h100", "b200"):
        chip = load_chip(name)
        found = price(chip, large)
        rate = found.flops / (found.busy[0] * chip.matrix.count)
        assert rate <= 2 * load_libraries().marlin.macs
        assert found.time_s > price(chip, large, weight_dtype="bf16").time_s
        # but it wins where weights have to be read
        few = dataclasses.replace(large, tokens=32)
        assert price(chip, few).time_s < price(chip, few, weight_dtype="bf16").time_s


def test_matmuls_that_gather_move_less() -> None:
    own = load_chip("b200")
    other = changed(own, gathers_rows=False)
    for tokens in TOKENS:
        for dtype in ("bf16", "fp8"):
            one, two = (price(chip, LAYER, tokens=tokens, dtype=dtype) for chip in (own, other))
            assert one.time_s < two.time_s
            assert one.hbm_bytes <= two.hbm_bytes


def test_another_library_has_launches_of_its_own() -> None:
    own = load_chip("h100")
    assert own.fused is not None
    usual, apart = own.fused.expert_launch, own.fused.narrow_expert_launch_ps
    assert apart is not None
    same = changed(own, narrow_expert_launch_ps=None)
    one, two = price(own, LAYER, tokens=1), price(same, LAYER, tokens=1)
    # its tiles are scheduled otherwise, too
    assert two.time_s - one.time_s == pytest.approx((usual - apart) / 1e12, rel=0.5)
    launched = changed(own, narrow_expert_launch_ps=2 * apart)
    later = price(launched, LAYER, tokens=1)
    assert later.time_s - one.time_s == pytest.approx(apart / 1e12, rel=1e-3)
    # vLLM runs blocks on it where ranks share the experts; copies are scaled after they are sorted
    assert price(own, LAYER, blocks=True).time_s == price(same, LAYER, blocks=True).time_s
    shared = dataclasses.replace(LAYER, blocks=True, ep=8, exchange=False, tokens=1)
    assert price(own, shared).time_s < price(same, shared).time_s


@pytest.mark.parametrize("change", [{"dtype": "bf16"}, {"weight_dtype": "fp4"}])
def test_blocks_are_of_eight_bits(change: dict[str, str]) -> None:
    with pytest.raises(InputError, match="blocks: found dtype"):
        price(load_chip("h100"), dataclasses.replace(LAYER, blocks=True), **change)
