"""Routed experts by themselves: which tokens go where, bytes, flops, and the two ways to run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import chips

from simulator.config.loader import load_chip, load_group
from simulator.errors import InputError
from simulator.hardware import Chip
from simulator.kernels.moe import expert_tokens
from simulator.timing.expert_load import balanced, histogram, parse_expert_load, power_law
from simulator.timing.moe_case import MoeCase
from simulator.timing.moe_operator import price_moes
from simulator.timing.operator_timing import OperatorTiming

FEW = settings(deadline=None, derandomize=True, max_examples=50)
LAYER = MoeCase(4096, 2048, 768, 128, 8)

CASES = st.builds(
    lambda tokens, hidden, inside, experts, top_k, load, mode: MoeCase(
        tokens, hidden, inside, experts, min(top_k, experts), 1, load, "bf16", None, mode
    ),
    st.integers(1, 500),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 24),
    st.integers(1, 8),
    st.sampled_from(["balanced", "power:1.2"]),
    st.sampled_from(["sorted", "fused"]),
)


def price(chip: Chip, case: MoeCase, **more: object) -> OperatorTiming:
    return price_moes(chip, [case], **more)[0]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda shares: sum(shares) > 0.01),
    st.integers(1, 400),
    st.integers(1, 8),
    st.floats(0.05, 1),
)
def test_no_token_is_lost_or_goes_twice(
    shares: list[float], tokens: int, top_k: int, part: float
) -> None:
    load = np.array(shares) / sum(shares) * part
    top_k = min(top_k, len(shares))
    counts = np.zeros(len(shares), dtype=np.int64)
    total = expert_tokens(load, tokens * top_k, tokens, counts)
    assert counts.sum() == total
    assert counts.min() >= 0
    assert counts.max() <= tokens
    # the rank's share, rounded up, as far as its experts have room for it
    wanted = min(tokens * top_k, int(load.sum() * tokens * top_k * (1 - 1e-12)) + 1)
    assert total == min(wanted, tokens * len(shares))


@FEW
@given(chips(), CASES)
def test_bounds(chip: Chip, case: MoeCase) -> None:
    p = price(chip, case)
    assigned = case.tokens * case.top_k
    assert p.given["busiest_chip_assignments"] == assigned
    assert p.flops == 6 * assigned * case.hidden * case.intermediate
    assert p.cycles * 2 * chip.matrix.macs_per_cycle("bf16") >= p.flops
    assert (p.cycles + 1) * chip.hbm.sustained_bytes_per_s >= p.hbm_bytes * chip.clock_hz
    assert all(0 <= busy <= p.cycles for busy in p.busy)
    expert = 3 * case.hidden * case.intermediate * 2
    assert expert <= p.hbm_read_bytes
    if case.expert_load == "balanced":
        # the weights of every expert with a token are read once
        active = min(case.experts, assigned)
        assert p.hbm_read_bytes >= active * expert


@FEW
@given(chips(), CASES)
def test_fusing_never_costs_and_moves_no_more(chip: Chip, case: MoeCase) -> None:
    one = price(chip, dataclasses.replace(case, moe="sorted"))
    other = price(chip, dataclasses.replace(case, moe="fused"))
    assert other.cycles <= one.cycles
    assert other.hbm_bytes <= one.hbm_bytes
    assert other.flops == one.flops


@FEW
@given(chips(), CASES)
def test_more_tokens_never_cost_less(chip: Chip, case: MoeCase) -> None:
    more = dataclasses.replace(case, tokens=2 * case.tokens, expert_load="balanced")
    assert (
        price(chip, more).cycles
        >= price(chip, dataclasses.replace(case, expert_load="balanced")).cycles
    )


@pytest.mark.parametrize("name", ["tpu-v7x", "h100"])
def test_expert_parallelism_moves_exactly_what_the_router_sends(name: str) -> None:
    fabric = load_group(name, 8)
    chip = load_chip(name)
    one = price(chip, LAYER)
    eight = price(chip, dataclasses.replace(LAYER, ep=8), fabric=fabric)
    assert 8 * eight.flops == one.flops
    copies = LAYER.tokens // 8 * LAYER.top_k
    assert eight.fabric_bytes == 2 * (copies * LAYER.hidden * 2) * 7 // 8
    skewed = price(chip, dataclasses.replace(LAYER, ep=8, expert_load="power:1.2"), fabric=fabric)
    assert skewed.flops > eight.flops
    assert skewed.time_s > eight.time_s
    alone = price(chip, dataclasses.replace(LAYER, ep=8, exchange=False))
    assert alone.flops == eight.flops
    assert alone.fabric_bytes == 0


def test_fused_hides_the_exchange_behind_the_matmuls() -> None:
    fabric = load_group("tpu-v7x", 8)
    chip = load_chip("tpu-v7x")
    case = dataclasses.replace(LAYER, ep=8)
    one = price(chip, case, fabric=fabric)
    other = price(chip, dataclasses.replace(case, moe="fused"), fabric=fabric)
    exchange = one.busy[4]
    assert other.busy[4] == pytest.approx(exchange, abs=4)
    # all but the first and the last expert's tokens travel while others are multiplied
    assert one.cycles - other.cycles > min(exchange, one.cycles - exchange) / 4
    assert other.cycles >= max(exchange, other.busy[0], other.busy[2])


def test_loads_are_shares_of_the_busiest_rank() -> None:
    assert balanced(64, 8).sum() == pytest.approx(1 / 8)
    for alpha in (0.5, 1.0, 1.2, 2.0):
        one = power_law(64, 1, alpha, 1000, 4)
        eight = power_law(64, 8, alpha, 1000, 4)
        assert one.sum() == pytest.approx(1)
        assert np.all(np.diff(one) <= 0)
        assert np.all(np.diff(eight) <= 0)
        assert 1 / 8 < eight.sum() < 1
    assert histogram([1, 1, 0, 6], 2, 100, 1) == pytest.approx([0.75, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("power:x", "expected power:ALPHA"),
        ("power:-1", "must be above 0"),
        ("power:nan", "must be above 0"),
        ("ballanced", "did you mean 'balanced'"),
    ],
)
def test_bad_loads_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_expert_load(text, 8, 2, 100, 2)
    assert message in f"{caught.value.message} {caught.value.hint}"


def test_a_histogram_file_is_checked_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "load.txt"
    path.write_text("# counted\n3\n1\n\n0\n6\n")
    assert parse_expert_load(str(path), 4, 2, 10, 1) == pytest.approx([0.6, 0])
    for text, message in (
        ("1\n2\n", "has 2 loads, expected one for each of 4"),
        ("1\n2\n-3\n4\n", "found '-3'"),
        ("1\n2\nx\n4\n", "found 'x'"),
        ("0\n0\n0\n0\n", "all expert loads are 0"),
        ("1\n2\n1e308\n4\n", "a number from 0 to 1e18"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            parse_expert_load(str(path), 4, 2, 10, 1)


def test_a_histogram_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "load.txt"
    case = MoeCase(1000, 512, 512, 4, 1, expert_load=str(path))
    path.write_text("1\n1\n1\n1\n")
    even = price(load_chip("h100"), case)
    path.write_text("100\n0\n0\n0\n")
    one = price(load_chip("h100"), case)
    assert one.hbm_read_bytes < even.hbm_read_bytes
    path.write_text("1,2\n")
    with pytest.raises(InputError, match="found '1,2'"):
        price(load_chip("h100"), case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_k": 129}, "top_k 129 is more than the 128 experts"),
        ({"ep": 3}, "do not divide over 3"),
        ({"ep": 4}, "needs a fabric"),
        ({"moe": "fussed"}, "expected sorted or fused"),
        ({"tokens": 0}, "tokens: found 0"),
    ],
)
def test_bad_cases_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        price(load_chip("h100"), dataclasses.replace(LAYER, **change))


H100 = load_chip("h100")
WIDE = MoeCase(8, 4096, 14336, 8, 2)
"""Mixtral 8x7B; 117 MB for each of an expert's matrices, more than the L2 holds."""


@pytest.mark.parametrize("name", ["h100", "b200", "a100", "l40s"])
def test_a_gpu_with_more_of_anything_is_never_slower(name: str) -> None:
    chip = load_chip(name)
    fused = chip.fused
    assert fused is not None
    better = [
        dataclasses.replace(
            chip,
            hbm=dataclasses.replace(
                chip.hbm, bandwidth_bytes_per_s=2 * chip.hbm.bandwidth_bytes_per_s
            ),
        ),
        dataclasses.replace(
            chip, sram=dataclasses.replace(chip.sram, capacity_bytes=4 * chip.sram.capacity_bytes)
        ),
        dataclasses.replace(
            chip,
            fused=dataclasses.replace(
                fused, sm_bandwidth_bytes_per_s=2 * fused.sm_bandwidth_bytes_per_s
            ),
        ),
        dataclasses.replace(chip, fused=dataclasses.replace(fused, expert_row_tile=256)),
    ]
    for tokens in (1, 7, 64, 500, 4096):
        for load in ("balanced", "power:1.2"):
            case = dataclasses.replace(LAYER, tokens=tokens, expert_load=load)
            own = price(chip, case).cycles
            assert all(price(other, case).cycles <= own for other in better)


@pytest.mark.parametrize("name", ["h100", "b200", "mi300x"])
def test_bandwidths_of_chips_to_come_do_not_overflow(name: str) -> None:
    chip = load_chip(name)
    rates = [k * 10**12 for k in (4, 12, 16, 20, 40, 1000, 10**5)]
    chips = [
        dataclasses.replace(chip, hbm=dataclasses.replace(chip.hbm, bandwidth_bytes_per_s=rate))
        for rate in rates
    ]
    times = [price(each, dataclasses.replace(LAYER, tokens=341)).cycles for each in chips]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("name", ["b200", "h100"])
def test_more_tokens_are_not_faster_where_the_exchange_changes_its_protocol(name: str) -> None:
    chip, fabric = load_chip(name), load_group(name, 8)
    cases = [
        MoeCase(tokens, 1024, 1408, 8, 2, ep=8, moe="fused")
        for tokens in (64, 256, 512, 585, 637, 674, 700, 900, 1024, 2048, 4096)
    ]
    times = [price(chip, case, fabric=fabric).cycles for case in cases]
    assert times == sorted(times)


def test_weights_are_read_again_where_the_cache_cannot_hold_an_expert() -> None:
    once = price(H100, WIDE).hbm_read_bytes
    weights = 3 * 8 * 4096 * 14336 * 2
    assert once == pytest.approx(weights, rel=0.01)
    # 1,024 rows of each expert make eight tiles; 224 columns of tiles leave none side by side
    again = price(H100, dataclasses.replace(WIDE, tokens=4096)).hbm_read_bytes
    assert again > 3 * weights
    sram = dataclasses.replace(H100.sram, capacity_bytes=2**30)
    large = dataclasses.replace(H100, sram=sram)
    kept = price(large, dataclasses.replace(WIDE, tokens=4096)).hbm_read_bytes
    assert kept < 1.2 * weights


def test_narrow_weights_move_fewer_bytes_and_never_cost_more() -> None:
    for tokens in (1, 64, 4096):
        case = dataclasses.replace(LAYER, tokens=tokens)
        found = [
            price(H100, dataclasses.replace(case, weight_dtype=dtype))
            for dtype in ("bf16", "fp8", "fp4")
        ]
        assert found[0].hbm_read_bytes > found[1].hbm_read_bytes > found[2].hbm_read_bytes
        assert found[0].time_s >= found[1].time_s >= found[2].time_s
        assert found[2].flops == found[0].flops


def test_engines_that_quantize_pay_for_it() -> None:
    fused = H100.fused
    assert fused is not None
    without = dataclasses.replace(H100, fused=dataclasses.replace(fused, quantizes_queries=False))
    case = dataclasses.replace(LAYER, dtype="fp8")
    read = price(H100, case).hbm_read_bytes - price(without, case).hbm_read_bytes
    assert read in (0, case.tokens * case.hidden * 2)
    assert price(H100, case).time_s > price(without, case).time_s
    assert price(H100, LAYER).time_s == price(without, LAYER).time_s
