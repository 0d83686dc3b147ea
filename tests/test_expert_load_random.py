"""Tokens that choose their experts by chance, and the servers that see them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.api import (
    LayoutOptions,
    MoeCase,
    find_layouts,
    load_engine,
    load_model,
    load_system,
    price_moe,
    price_step,
)
from simulator.cli import main
from simulator.errors import InputError
from simulator.kernels.moe import expert_tokens
from simulator.timing.expert_load import parse_expert_load, random_choice


def counted(experts: int, tokens: int, top_k: int) -> list[int]:
    load = random_choice(experts, 1, tokens, top_k)
    counts = np.zeros(experts, dtype=np.int64)
    total = expert_tokens(load, tokens * top_k, tokens, counts)
    assert total == counts.sum()
    return [int(n) for n in counts]


def chance_of(count: int, tokens: int, share: float) -> float:
    """Of exactly so many tokens at one expert, the slow way."""
    return math.comb(tokens, count) * share**count * (1 - share) ** (tokens - count)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(2, 300), st.integers(1, 200), st.integers(1, 12))
def test_as_many_experts_have_so_many_tokens_as_are_expected(
    experts: int, tokens: int, top_k: int
) -> None:
    top_k = min(top_k, experts)
    found = counted(experts, tokens, top_k)
    assert sum(found) == tokens * top_k
    assert max(found) <= tokens
    assert sorted(found, reverse=True) == found
    share = top_k / experts
    for least in {1, 2, 1 + tokens // 2}:
        expected = experts * sum(chance_of(n, tokens, share) for n in range(least, tokens + 1))
        # whole experts, as many as a few tokens less have or more
        assert sum(n >= least for n in found) == pytest.approx(expected, abs=3.0)


def test_one_assignment_an_expert_leaves_37_percent_without() -> None:
    found = counted(256, 32, 8)
    assert sum(n == 0 for n in found) / 256 == pytest.approx(math.exp(-1), abs=0.01)
    assert counted(256, 1, 8) == [1] * 8 + [0] * 248


def test_many_tokens_spread_by_the_root_of_their_number() -> None:
    found = np.array(counted(128, 100_000, 4))
    mean = 100_000 * 4 / 128
    assert found.mean() == mean
    assert found.std() == pytest.approx(math.sqrt(mean * (1 - 4 / 128)), rel=0.05)


def test_a_spread_of_popularity_leaves_more_experts_without_tokens() -> None:
    met = [np.count_nonzero(random_choice(256, 1, 32, 8, spread)) for spread in (0, 0.5, 1, 2)]
    assert met == sorted(met, reverse=True)
    assert met[-1] < 0.6 * met[0]
    # a token goes to an expert at most once, however popular that is
    load = random_choice(8, 1, 50, 2, 5.0) * 100
    assert load.sum() == pytest.approx(100)
    assert load.max() == pytest.approx(50, abs=1)
    assert np.count_nonzero(random_choice(128, 1, 1, 4, 1.0)) == 4


def test_a_spread_out_of_its_bounds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["step", "h200:8", "deepseek-v3", "--phase", "decode", "--batch", "8"]
    for text in ("random:-1", "random:nan", "random:6", "random:many", "randm"):
        status = main([*words, "--context", "64", "--dtype", "fp8", "--expert-load", text])
        error = capsys.readouterr().err
        assert status == 3
        assert "expert" in error and "Traceback" not in error
    setting = ["--set", "engine.expert_load=random:9", "--engine", "vllm"]
    assert main([*words, "--context", "64", "--dtype", "fp8", *setting]) == 3
    assert "expected 0 to 5" in capsys.readouterr().err


@pytest.mark.parametrize("load", ["random", "random:1"])
def test_a_batch_never_takes_less_than_its_part(load: str) -> None:
    times = []
    for tokens in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 400, 1000, 3000):
        case = MoeCase(tokens, 7168, 2048, 256, 8, dtype="fp8", blocks=True, expert_load=load)
        times.append(price_moe("h200", case).time_s)
    assert times == sorted(times)


@pytest.mark.parametrize("load", ["random", "random:1"])
@pytest.mark.parametrize("layout", ["tp8-ep8", "dp8-ep8"])
def test_more_sequences_never_take_a_step_less_time(load: str, layout: str) -> None:
    system = load_system("h200:8").under(load_engine("vllm-async"))
    times = []
    for batch in (8, 16, 24, 32, 40, 56, 64, 96, 120, 200, 256, 400, 512):
        timing = price_step(
            system,
            "deepseek-v3",
            phase="decode",
            batch=batch,
            context=128,
            weight_dtype="fp8",
            activation_dtype="fp8",
            kv_dtype="fp8",
            layout=LayoutOptions(layout=layout, expert_load=load),
        )
        times.append(timing.time_ps)
    assert times == sorted(times)


def test_more_tokens_meet_no_fewer_experts() -> None:
    met = [sum(n > 0 for n in counted(64, tokens, 4)) for tokens in range(1, 120)]
    assert met == sorted(met)


def test_the_busiest_rank_has_more_than_its_part() -> None:
    shares = parse_expert_load("random", 256, 8, 64, 8)
    assert len(shares) == 32
    assert 1 / 8 < shares.sum() < 1.5 / 8
    assert parse_expert_load("random", 256, 8, 10**6, 8).sum() == pytest.approx(1 / 8, rel=0.01)


def test_few_tokens_read_fewer_experts_than_balanced_ones_could() -> None:
    even = MoeCase(32, 7168, 2048, 256, 8)
    chance = replace(even, expert_load="random")
    balanced, random = price_moe("h200", even), price_moe("h200", chance)
    assert random.hbm_bytes < 0.68 * balanced.hbm_bytes
    assert random.time_s < 0.75 * balanced.time_s


def chip_ps(name: str | None, load: str | None) -> int:
    """Picoseconds of a step on the chips, the host left out."""
    system = load_system("h200:8")
    if name is not None:
        system = system.under(load_engine(name))
    timing = price_step(
        system,
        "mixtral-8x7b",
        phase="decode",
        batch=8,
        context=512,
        layout=LayoutOptions(tp=8, expert_load=load),
    )
    return timing.time_ps - timing.host_ps


def test_an_engine_says_how_experts_are_loaded_unless_the_user_does() -> None:
    assert chip_ps("trtllm", None) == chip_ps("trtllm", "random:1")
    assert chip_ps("trtllm", None) < chip_ps("trtllm", "balanced")
    assert chip_ps(None, None) == chip_ps(None, "balanced")


def test_what_expert_ranks_exchange_has_the_type_of_the_residual() -> None:
    system = load_system("h200:8")
    engine = replace(load_engine("trtllm"), expert_load="balanced")
    narrow = replace(engine, residual=None)

    def sent(which: object) -> int:
        timing = price_step(
            system.under(which),  # type: ignore[arg-type]
            "deepseek-v3",
            phase="prefill",
            batch=8,
            context=1024,
            weight_dtype="fp8",
            activation_dtype="fp8",
            kv_dtype="fp8",
            layout=LayoutOptions(layout="dp8-ep8"),
        )
        return sum(span.fabric_bytes for span in timing.operators if span.kind == "moe")

    assert sent(engine) == 2 * sent(narrow)


def test_the_best_layout_under_an_engine_is_that_of_pricing_them_all() -> None:
    system = load_system("h100:4").under(load_engine("vllm"))
    model = load_model("mixtral-8x7b")
    asked = {"phase": "decode", "batch": 4, "context": 512}
    every = find_layouts(system, model, top=10_000, **asked)  # type: ignore[arg-type]
    best = find_layouts(system, model, top=1, **asked)  # type: ignore[arg-type]
    assert best.rows[0].time_ps == every.rows[0].time_ps


@pytest.mark.parametrize("text", ["random:", "random:x", "random:nan", "random:-1", "random:1e400"])
def test_a_spread_is_a_number_from_0_to_5(text: str) -> None:
    with pytest.raises(InputError, match=r"random:SPREAD|0 to 5"):
        parse_expert_load(text, 8, 1, 4, 2)
