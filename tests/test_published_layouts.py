"""Layouts against published measurements: PaLM-540B on TPU v4, DeepSeek-V3 on H800."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import deepseek_compare
import pope_compare

from simulator.config.loader import load_chip


@pytest.mark.parametrize("case", pope_compare.CASES, ids=lambda c: f"{c.phase}-{c.batch}")
def test_pope_et_al(case):
    seconds, _ = pope_compare.simulated(case)
    assert seconds == pytest.approx(case.published_s, rel=0.15)


def test_deepseek_lies_within_plausible_batches():
    for case, price in (
        (deepseek_compare.PREFILL, deepseek_compare.prefill),
        (deepseek_compare.DECODE, deepseek_compare.decode),
    ):
        own = price is deepseek_compare.decode
        low = deepseek_compare.plan_for(case["nodes"], "sorted", "power:1.2")
        high = deepseek_compare.plan_for(case["nodes"], "fused", "balanced", own=own)
        assert price(low, case["batches"][0]) < case["published"]
        assert case["published"] < price(high, case["batches"][-1])


def test_an_h800_is_an_h100_but_for_its_links():
    one, other = load_chip("h100"), load_chip("h800")
    for part in ("clock_hz", "matrix", "vector", "sram", "hbm", "operator_overhead_ps"):
        assert getattr(one, part) == getattr(other, part), part
    assert other.link.bandwidth_bytes_per_s * other.link.count == 200 * 10**9
