"""Matmuls of 8-bit operands with a scale for each 128 of a row of A and each 128 x 128 of B."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import RESOURCES, doubled
from test_gpu_matmul import SIZES, gpus, not_slower

from simulator.config.loader import load_chip
from simulator.errors import InputError
from simulator.hardware import Chip
from simulator.timing.operator import matmul_seconds, price_matmul
from simulator.validation.silicon import kind_of
from simulator.validation.silicon_columns import matmuls

MANY = settings(deadline=None, derandomize=True, max_examples=80)


@MANY
@given(gpus(), SIZES, SIZES, SIZES, st.booleans())
def test_bounds_and_more_hardware(chip: Chip, m: int, k: int, n: int, scaled: bool) -> None:
    base = price_matmul(chip, m, k, n, "int8", quantize=scaled, blocks=True)
    assert base.cycles * 2 * chip.matrix.macs_per_cycle("int8") >= base.flops
    assert base.cycles * chip.hbm.sustained_bytes_per_s >= base.hbm_bytes * chip.sustained_clock_hz
    assert all(limit <= base.cycles for limit in base.limits_cycles.values())
    for what in RESOURCES:
        more = price_matmul(doubled(chip, what), m, k, n, "int8", quantize=scaled, blocks=True)
        assert not_slower(more, base), what


@MANY
@given(
    st.sampled_from(["h100", "h200", "b200", "gb300", "l40s"]),
    *([SIZES] * 3),
    st.integers(0, 2),
    st.integers(1, 70),
    st.booleans(),
)
def test_a_part_never_takes_longer(
    name: str, m: int, k: int, n: int, axis: int, more: int, scaled: bool
) -> None:
    shapes = np.array([[m, k, n], [m, k, n]], dtype=np.int64)
    shapes[1, axis] += more
    part, whole = matmul_seconds(load_chip(name), shapes, "fp8", quantize=scaled, blocks=True)
    assert part <= whole


@pytest.mark.parametrize(
    ("chip", "shape", "measured_us"),
    [
        ("h100", (8192, 8192, 1024), 163.5),
        ("h100", (64, 16384, 16384), 97.9),
        ("h100", (32768, 16384, 16384), 15350),
        ("b200", (64, 16384, 16384), 48.8),
        ("b200", (4096, 4096, 4096), 59.2),
        ("b200", (2048, 16384, 16384), 387.4),
    ],
)
def test_what_was_measured(chip: str, shape: tuple[int, int, int], measured_us: float) -> None:
    """DeepGEMM under SGLang 0.5.14, six copies of the weights, activations scaled in groups."""
    priced = price_matmul(
        load_chip(chip), *shape, "fp8", rotating_buffers=6, quantize=True, blocks=True
    )
    assert priced.time_s * 1e6 == pytest.approx(measured_us, rel=0.25)


def test_only_tensor_cores_that_take_scales_save_the_promotion() -> None:
    """Hopper's results are scaled and added up by the vector units after each 128 of k."""
    shape = (8192, 8192, 8192)
    spared = load_chip("h100", ["library.triton-experts.promotion_ops=0.01"])
    times = [
        price_matmul(chip, *shape, "fp8", blocks=True).time_s
        for chip in (load_chip("h100"), spared)
    ]
    assert 1.1 < times[0] / times[1] < 1.35
    spared = load_chip("b200", ["library.triton-experts.promotion_ops=0.01"])
    times = [
        price_matmul(chip, *shape, "fp8", blocks=True).time_s
        for chip in (load_chip("b200"), spared)
    ]
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("chip", "blocks", "waits"), [("h100", True, 0), ("h100", False, 1), ("b200", True, 1)]
)
def test_deepgemm_on_hopper_does_not_wait_for_its_scales(
    chip: str, blocks: bool, waits: int
) -> None:
    """Measured on H100: 3.6 us for 8 x 128 x 512, 4.4 with k = 1024, its scales included."""
    shape = (8, 1024, 512)
    times = [
        price_matmul(
            load_chip(chip, [f"library.quantization.gap={gap} us"]),
            *shape,
            "fp8",
            quantize=True,
            blocks=blocks,
        ).time_s
        for gap in (1, 2)
    ]
    assert times[1] - times[0] == pytest.approx(waits * 1e-6, abs=2e-9)


def test_blocks_are_of_eight_bits() -> None:
    for dtype in ("bf16", "nvfp4"):
        with pytest.raises(InputError, match="8 bits"):
            price_matmul(load_chip("b200"), 8, 128, 128, dtype, blocks=True)
    with pytest.raises(InputError, match="GPUs only"):
        price_matmul(load_chip("tpu-v6e"), 8, 128, 128, "int8", blocks=True)


def test_rows_that_were_run_eagerly_are_left_out() -> None:
    columns = {
        "m": np.array([1, 2, 4]),
        "k": np.array([128, 128, 128]),
        "n": np.array([128, 128, 128]),
        "gemm_dtype": np.array(["fp8_block", "fp8", "bfloat16"], dtype=object),
        "latency": np.array([0.01, 0.01, 0.01]),
    }
    eager = matmuls(columns, "b200", "vllm 0.24.0", "vllm")
    assert [table.dtype for table in eager] == ["bf16", "fp8"]
    assert any("eagerly" in left.reason and left.count == 1 for left in eager[0].left_out)
    captured = matmuls(columns, "b200", "sglang 0.5.14", "sglang")
    assert [table.source for table in captured[2:]] == ["sglang 0.5.14 fp8 blocks"]
    assert captured[2].inputs["blocks"].tolist() == captured[2].inputs["quantize"].tolist() == [1]
    assert kind_of(captured[2]) != kind_of(captured[1])
