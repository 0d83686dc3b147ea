"""The hand calculations of docs/toy.md; the comments there derive each number."""

from __future__ import annotations

import numpy as np
import pytest
from reference_mapping import Bits, price_tile

from simulator.config.loader import load_chip, load_model, load_system
from simulator.serving.cluster import replay
from simulator.serving.options import ServingOptions
from simulator.timing.operator import price_matmul
from simulator.timing.plan import make_plan
from simulator.timing.step import price_step
from simulator.workload.request import Requests, Workload

TOY = load_chip("toy")
BF16 = Bits(16, 16, 16, 16, 16)


def test_8x8x8() -> None:
    p = price_matmul(TOY, 8, 8, 8)
    assert p.cycles == 104
    assert p.tile == (8, 4, 4)
    assert p.loop_order == "m, n, k; B held"
    assert (p.compute_cycles, p.stall_cycles) == (4 * 18, 10 + 12 + 2 + 8)
    assert (p.hbm_read_bytes, p.hbm_write_bytes) == (2 * 128 + 128, 128)
    assert p.sram_bytes == 4 * 224
    assert p.busy_cycles == {"matrix": 72, "vector": 0, "hbm": 64, "sram": 16, "fabric": 0}
    assert p.limits_cycles == {"peak": 32, "hbm": 64, "sram": 14}
    assert p.utilization == 512 / (16 * 104)
    assert p.bound_by == "matrix"
    assert p.time_s == pytest.approx(104e-9)


@pytest.mark.parametrize(
    ("tile", "cycles"),
    [
        ((8, 8, 8), 10 + 32 + 72 + 16),
        ((8, 4, 8), 10 + 16 + 72 + 16),
        ((8, 8, 4), 10 + 24 + 72 + 8),
        ((8, 4, 4), 104),
        ((4, 4, 4), 10 + 8 + 112 + 4),
    ],
)
def test_tiles_of_8x8x8(tile: tuple[int, int, int], cycles: int) -> None:
    assert price_tile(TOY, "bf16", (8, 8, 8), tile, False, BF16).cycles == cycles


def test_4x4x4() -> None:
    p = price_matmul(TOY, 4, 4, 4)
    assert (p.cycles, p.compute_cycles) == (10 + 8 + 14 + 4, 14)
    assert p.sram_bytes == 32 + 32 + 64
    assert p.bound_by == "latency"


@pytest.mark.parametrize("shape", [(4, 4, 16), (16, 4, 4)])
def test_4x4x16_and_its_transpose(shape: tuple[int, int, int]) -> None:
    p = price_matmul(TOY, *shape)
    assert (p.cycles, p.compute_cycles) == (10 + 56, 2 * 18)
    assert (p.hbm_read_bytes, p.hbm_write_bytes) == (32 + 128, 128)
    assert p.runner_up is not None
    assert p.runner_up[0] == 10 + 20 + 26 + 16


def test_int8_streams_at_twice_the_rate() -> None:
    # the same tiles: loads 4 + 2, a fold of ceil(8 / 2) + 10 = 14, a store of 32 bytes in 4.
    # load 0-6, 6-12, 20-26, 38-44 (behind store 34-38); compute 6-20, 20-34, 34-48, 48-62; 62-66
    p = price_matmul(TOY, 8, 8, 8, "int8")
    assert (p.cycles, p.compute_cycles) == (10 + 66, 4 * 14)


OPERATORS = {
    "attention_norm": 20,
    "qkv": 210,
    "rotary": 18,
    "attention": 104,
    "attention_output": 114,
    "ffn_norm": 20,
    "gate_up": 370,
    "gate": 40,
    "down": 234,
}


def test_decode_step() -> None:
    step = price_step(
        make_plan(load_system("toy"), load_model("llama-toy")), phase="decode", batch=1, context=7
    )
    found = [(span.name, span.duration_ps // 1000) for span in step.operators]
    layers = [(f"layer{i}.{name}", cycles) for i in range(2) for name, cycles in OPERATORS.items()]
    assert found == [("embedding", 14), *layers, ("final_norm", 20), ("logits", 370)]
    assert step.time_ps == 2_664_000
    assert step.flops == 12_288
    assert step.mfu == pytest.approx(12_288 / (32 * 2664))
    assert step.min_bytes == 11_712
    assert step.mbu == pytest.approx(11_712 / (8 * 2664))
    assert step.traffic_bytes == {"hbm_read": 11_712 + 32, "hbm_write": 64, "fabric": 0}

    by_name = {span.name: span for span in step.operators}
    attention = by_name["layer0.attention"]
    assert attention.busy_ps == (84_000, 48_000, 32_000, 5_000, 0)
    output = by_name["layer0.attention_output"]
    assert output.fetch_bytes == 512
    assert output.fetch_start_ps == attention.start_ps + 32_000
    assert output.fetch_ps == 64_000
    assert all(span.fetch_bytes == 0 for span in step.operators if "output" not in span.name)


def test_a_pair_of_chips_halves_the_layers_and_pays_for_the_link() -> None:
    # all-reduce of 32 bytes over 2 chips joined by one link of 1 GB/s and 100 ns: each sends
    # 2 x 16 bytes in 32 ns, behind two passes over one hop of 100 ns
    plan = make_plan(load_system("toy:2"), load_model("llama-toy"))
    step = price_step(plan, phase="decode", batch=1, context=7)
    reduces = [span for span in step.operators if span.kind == "all-reduce"]
    assert len(reduces) == 4
    assert {span.duration_ps for span in reduces} == {232_000}
    assert {span.fabric_bytes for span in reduces} == {32}


def test_a_run_is_its_steps() -> None:
    system, model = load_system("toy"), load_model("llama-toy")
    plan = make_plan(system, model)
    one = np.array([0]), np.array([7]), np.array([3])
    result = replay(plan, Workload("one", Requests(*one)), ServingOptions(token_budget=64))
    prefill = price_step(plan, phase="prefill", batch=1, context=7).time_ps
    decode = [price_step(plan, phase="decode", batch=1, context=c).time_ps for c in (7, 8)]
    assert decode[0] == 2_664_000
    assert result.table.first_token_ps.tolist() == [prefill]
    assert result.table.completed_ps.tolist() == [prefill + sum(decode)]
