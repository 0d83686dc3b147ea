"""Matmuls of 4-bit operands with a scale for each 16 elements: alone, and in steps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_gpu import matmul_s
from strategies import RESOURCES, doubled
from test_gpu_matmul import SIZES, gpus, not_slower

from simulator import api
from simulator.cli.entry import main
from simulator.config.loader import load_chip
from simulator.errors import InputError
from simulator.hardware import Chip, TensorCore
from simulator.timing.choices import Dtypes
from simulator.timing.operator import matmul_seconds, price_matmul
from simulator.timing.results import StepTiming
from simulator.validation.silicon_columns import matmuls
from simulator.validation.silicon_servers import DTYPES

BLACKWELL = ("b200", "b300", "gb200", "gb300")
SHIPPED = {name: load_chip(name) for name in BLACKWELL}
MANY = settings(deadline=None, derandomize=True, max_examples=100)


def with_fp4(chip: Chip) -> Chip:
    """A random GPU with a rate for floats of 4 bits."""
    unit = chip.matrix
    assert isinstance(unit, TensorCore)
    rates = {**unit.macs_per_sm, "fp4": 4 * unit.macs_per_sm["bf16"]}
    return dataclasses.replace(chip, matrix=dataclasses.replace(unit, macs_per_sm=rates))


def operand_bytes(elements: int) -> int:
    return -(-elements // 2) + -(-elements // 16)


@MANY
@given(gpus(), SIZES, SIZES, SIZES)
def test_bounds(chip: Chip, m: int, k: int, n: int) -> None:
    chip = with_fp4(chip)
    p = price_matmul(chip, m, k, n, "nvfp4")
    assert p.cycles * 2 * chip.matrix.macs_per_cycle("fp4") >= p.flops
    assert p.cycles * chip.hbm.sustained_bytes_per_s >= p.hbm_bytes * chip.sustained_clock_hz
    assert p.cycles * chip.sram.bandwidth_bytes_per_s >= p.sram_bytes * chip.sustained_clock_hz
    assert p.hbm_read_bytes == operand_bytes(m * k) + operand_bytes(k * n)
    assert p.hbm_write_bytes == 2 * m * n
    assert p.sram_bytes == p.hbm_bytes
    assert all(0 <= busy <= p.cycles for busy in p.busy_cycles.values())
    assert all(limit <= p.cycles for limit in p.limits_cycles.values())


@MANY
@given(gpus(), SIZES, SIZES, SIZES, st.sampled_from([0, 1, 6]))
def test_the_formula(chip: Chip, m: int, k: int, n: int, copies: int) -> None:
    got = price_matmul(with_fp4(chip), m, k, n, "nvfp4", rotating_buffers=copies).time_s
    assert got == pytest.approx(matmul_s(with_fp4(chip), m, k, n, 0.5, copies), rel=1e-5, abs=3e-9)


@MANY
@given(gpus(), SIZES, SIZES, SIZES, st.booleans())
def test_more_hardware_is_never_slower(chip: Chip, m: int, k: int, n: int, scaled: bool) -> None:
    chip = with_fp4(chip)
    base = price_matmul(chip, m, k, n, "nvfp4", quantize=scaled)
    for what in RESOURCES:
        more = price_matmul(doubled(chip, what), m, k, n, "nvfp4", quantize=scaled)
        assert not_slower(more, base), what
    unit = chip.matrix
    assert isinstance(unit, TensorCore)
    twice = dataclasses.replace(unit, count=2 * unit.count)
    more = price_matmul(dataclasses.replace(chip, matrix=twice), m, k, n, "nvfp4", quantize=scaled)
    assert not_slower(more, base)


@MANY
@given(
    st.sampled_from(BLACKWELL),
    SIZES,
    SIZES,
    SIZES,
    st.integers(0, 2),
    st.integers(1, 70),
    st.booleans(),
)
def test_a_part_never_takes_longer(
    name: str, m: int, k: int, n: int, axis: int, more: int, scaled: bool
) -> None:
    shapes = np.array([[m, k, n], [m, k, n]], dtype=np.int64)
    shapes[1, axis] += more
    part, whole = matmul_seconds(SHIPPED[name], shapes, "nvfp4", quantize=scaled)
    assert part <= whole


@pytest.mark.parametrize(
    ("chip", "shape", "measured_us"),
    [
        ("b200", (64, 8192, 8192), 12.9),
        ("b200", (64, 1024, 65536), 11.3),
        ("b200", (512, 16384, 1024), 19.3),
        ("b200", (4096, 4096, 4096), 47.7),
        ("b200", (8192, 8192, 8192), 257.6),
        ("b200", (2048, 16384, 65536), 880.9),
        ("b300", (1, 256, 256), 6.9),
        ("b300", (2048, 128, 4096), 10.9),
    ],
)
def test_what_was_measured(chip: str, shape: tuple[int, int, int], measured_us: float) -> None:
    """One copy of the weights, the activations quantized, each replayed by itself (vLLM 0.24.0)."""
    priced = price_matmul(
        SHIPPED[chip], *shape, "nvfp4", rotating_buffers=1, quantize=True, replay=True
    )
    assert priced.time_s * 1e6 == pytest.approx(measured_us, rel=0.25)


def test_scales_arrive_at_one_rate() -> None:
    """Measured: B300 can issue 1.56 times as many products as B200 and makes a tenth more."""
    shape = (4096, 16384, 16384)
    faster, slower = (
        price_matmul(SHIPPED[name], *shape, "nvfp4").time_s for name in ("b300", "b200")
    )
    peaks = [SHIPPED[name].peak_flops_per_s("nvfp4") for name in ("b300", "b200")]
    assert peaks[0] > 1.5 * peaks[1]
    assert 1.0 < slower / faster < 1.25


def test_few_rows_read_the_weights_in_half_the_time_of_eight_bits() -> None:
    chip = SHIPPED["b200"]
    four, eight = (price_matmul(chip, 16, 16384, 16384, dtype) for dtype in ("nvfp4", "fp8"))
    assert four.hbm_read_bytes / eight.hbm_read_bytes == pytest.approx(4.5 / 8, rel=1e-6)
    assert 1.6 < eight.time_s / four.time_s < 1.8


def test_fp4_is_a_shorter_name() -> None:
    chip = SHIPPED["gb300"]
    for shape in ((1, 4096, 4096), (4096, 4096, 4096)):
        names = [price_matmul(chip, *shape, dtype, quantize=True) for dtype in ("nvfp4", "fp4")]
        assert dataclasses.replace(names[1], dtype="nvfp4") == names[0]
    layer = api.MoeCase(64, 4096, 2048, 64, 8, dtype="fp4")
    other = dataclasses.replace(layer, dtype="nvfp4")
    assert api.price_moe(chip, layer).time_s == api.price_moe(chip, other).time_s


def test_the_quantization_kernel_and_the_replay() -> None:
    chip = SHIPPED["b200"]
    bare, scaled, alone = (
        price_matmul(chip, 512, 4096, 4096, "nvfp4", quantize=quantize, replay=replay)
        for quantize, replay in ((False, False), (True, False), (False, True))
    )
    assert scaled.hbm_bytes == bare.hbm_bytes + 2 * 512 * 4096 + operand_bytes(512 * 4096)
    launch = (chip.operator_overhead_ps + chip.hbm.latency_ps) * 1e-12
    assert scaled.time_s > bare.time_s + launch
    assert alone.time_s == pytest.approx(bare.time_s + 1.2e-6, abs=1e-9)
    with pytest.raises(InputError, match="GPUs only"):
        price_matmul(load_chip("toy"), 8, 8, 8, "int8", replay=True)


def step(
    weight: str, activation: str, kv: str, phase: str = "decode", batch: int = 64
) -> StepTiming:
    return api.price_step(
        "b200",
        "llama3-70b",
        phase=phase,
        batch=batch,
        context=2048,
        weight_dtype=weight,
        activation_dtype=activation,
        kv_dtype=kv,
    )


def attention_ps(timing: StepTiming) -> int:
    return sum(span.duration_ps for span in timing.operators if span.kind == "attention")


def test_attention_keeps_eight_or_sixteen_bits() -> None:
    """That of the cache where the kernels convert queries to it, else 16."""
    for kv, same in (("fp8", "fp8"), ("bf16", "bf16")):
        own = attention_ps(step("nvfp4", "nvfp4", kv, batch=16))
        assert own == attention_ps(step(same, same, kv, batch=16)) > 0


def test_weights_weigh_four_and_a_half_bits() -> None:
    four, eight = (step(dtype, dtype, "fp8") for dtype in ("nvfp4", "fp8"))
    assert four.memory_bytes["weights"] / eight.memory_bytes["weights"] == pytest.approx(4.5 / 8)
    assert four.min_bytes < eight.min_bytes
    assert (
        step("nvfp4", "bf16", "bf16", batch=16).memory_bytes["weights"]
        == four.memory_bytes["weights"]
    )


@pytest.mark.parametrize("phase", ["decode", "prefill"])
def test_steps_are_faster_and_grow_with_the_batch(phase: str) -> None:
    four, eight = (step(dtype, dtype, "fp8", phase, 8).time_ps for dtype in ("nvfp4", "fp8"))
    assert four < eight
    times = [step("nvfp4", "nvfp4", "fp8", phase, batch).time_ps for batch in (8, 9, 16, 17)]
    assert times == sorted(times)


def test_four_bits_need_four_bits() -> None:
    with pytest.raises(InputError, match="weights of 4 bits"):
        Dtypes("bf16", "nvfp4")
    with pytest.raises(InputError, match="floats, found weights in int4"):
        Dtypes("int4", "nvfp4")
    assert Dtypes("nvfp4", "nvfp4", "fp8").bits().tolist() == [4, 4, 8, 16]


@pytest.mark.parametrize(
    "line",
    [
        "op matmul 64x64x64 --chip h100 --dtype nvfp4",
        "op moe --chip h100 --tokens 4 --hidden 64 --intermediate 64 --experts 8 --top-k 2 "
        "--dtype nvfp4",
        "step tpu-v7x llama3-8b --phase decode --batch 1 --context 9 --dtype nvfp4",
        "step b200 llama3-8b --phase decode --batch 1 --context 9 --activation-dtype nvfp4",
        "layout h100:8 llama3-8b --phase decode --batch 1 --context 9 --dtype nvfp4",
        "op moe --chip b200 --tokens 4 --hidden 64 --intermediate 64 --experts 8 --top-k 2 "
        "--dtype nvfp4 --weight-dtype int4",
        "step b200 resnet-50 --phase prefill --batch 8 --context 1 --dtype nvfp4",
        "op attention --chip b200 --batch 1 --heads 8 --head-dim 64 --context 9 --phase decode "
        "--dtype nvfp4",
    ],
)
def test_what_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 3
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    assert "nvfp4" in error


def test_how_tables_were_measured() -> None:
    """vLLM's collector has one copy of the weights of nvfp4 layers, those of others six."""
    columns = {
        "m": np.array([1, 2]),
        "k": np.array([64, 64]),
        "n": np.array([64, 64]),
        "gemm_dtype": np.array(["nvfp4", "bfloat16"], dtype=object),
        "latency": np.array([0.01, 0.01]),
    }
    ways = {
        (table.dtype, stack): tuple(
            int(table.inputs[name][0]) for name in ("buffers", "quantize", "replay")
        )
        for stack in ("vllm", "sglang")
        for table in matmuls(columns, "b200", stack, stack)
    }
    assert ways["nvfp4", "vllm"] == (1, 1, 1)
    assert ways["nvfp4", "sglang"] == (6, 1, 0)
    assert ways["bf16", "vllm"] == ways["bf16", "sglang"] == (6, 0, 0)
    assert DTYPES["nvfp4"] == "nvfp4"
