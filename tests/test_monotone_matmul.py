"""A larger matmul is never faster: whoever has the smaller one can pad it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import chips

from simulator.config.loader import load_chip
from simulator.hardware import Chip, SystolicArray
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_packing import pack_chip
from simulator.mapping import matmul as mapper
from simulator.mapping import tiles
from simulator.mapping.memory import BITS
from simulator.timing.hbm import resolve_memory
from simulator.timing.operator import matmul_seconds

TILED = ("tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7x", "groq-lpu", "wse3-core")
GPUS = ("h100", "a100", "b200", "l40s", "mi300x", "a40")

Shape = tuple[int, int, int]


@lru_cache
def loaded(name: str) -> Chip:
    return resolve_memory(load_chip(name))


@lru_cache
def packed(name: str, dtype: str) -> Int64Array:
    return pack_chip(loaded(name), dtype)


def cycles(chip: Int64Array, shape: Shape, bits: tuple[int, ...], prefetched: int) -> int:
    out = np.empty(tiles.MAP_FIELDS, dtype=np.int64)
    mapper.search(chip, shape, bits, prefetched, False, out)
    return int(out[tiles.CYCLES])


@st.composite
def pairs(draw: st.DrawFn, largest: int) -> tuple[Shape, Shape]:
    """A matmul, and one with a longer side: by a little, up to a round number, or twice as long."""
    powers = [1 << i for i in range(largest.bit_length())]
    side = st.one_of(
        st.integers(1, min(largest, 300)), st.sampled_from(powers), st.integers(1, largest)
    )
    shape = [draw(side), draw(side), draw(side)]
    axis = draw(st.integers(0, 2))
    longer = list(shape)
    grown = [shape[axis] + 1, shape[axis] + draw(st.integers(1, 70)), 2 * shape[axis]]
    longer[axis] = draw(st.sampled_from([*grown, 1 << shape[axis].bit_length()]))
    return (shape[0], shape[1], shape[2]), (longer[0], longer[1], longer[2])


@st.composite
def layouts(draw: st.DrawFn, width: int) -> tuple[int, int, int, int, int]:
    """Bits of (A, B, C) in HBM and (A, B) on chip: activations that stay there, narrow weights."""
    weights = draw(st.sampled_from([width, width, 4]))
    a = draw(st.sampled_from([width, width, 0]))
    c = draw(st.sampled_from([width, width, width // 2, 0]))
    return a, weights, c, width, weights


@settings(deadline=None, derandomize=True, max_examples=600)
@given(st.data(), st.sampled_from(TILED))
def test_tiled_matmuls(data: st.DataObject, name: str) -> None:
    dtype = data.draw(st.sampled_from(sorted(loaded(name).matrix.dtypes)))
    small, large = data.draw(pairs(64 if name == "wse3-core" else 20_000))
    bits = data.draw(layouts(BITS[dtype]))
    chip = packed(name, dtype)
    first, second = (cycles(chip, shape, bits, 0) for shape in (small, large))
    assert first <= second or second < 0


@pytest.mark.parametrize(
    ("name", "small", "large"),
    [
        # a narrow last tile hid the drain of the one before it: 12 % faster
        ("tpu-v6e", (226, 1, 1024), (226, 1, 1025)),
        ("tpu-v6e", (2048, 4, 223), (2049, 4, 223)),
        ("tpu-v4", (148, 4, 4096), (148, 4, 4097)),
        ("tpu-v5e", (512, 1, 236), (513, 1, 236)),
    ],
)
def test_a_small_last_tile_hides_nothing(name: str, small: Shape, large: Shape) -> None:
    bits = (16, 16, 16, 16, 16)
    chip = packed(name, "bf16")
    assert cycles(chip, small, bits, 0) <= cycles(chip, large, bits, 0)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(chips(), pairs(26), layouts(16), st.integers(0, 400))
def test_random_chips(
    chip: Chip, shapes: tuple[Shape, Shape], bits: tuple[int, ...], fetched: int
) -> None:
    # tensor cores cut in steps of 16 x tile_k: make some of their inner dimensions that deep
    deep = 1 if isinstance(chip.matrix, SystolicArray) else 9
    vector = pack_chip(chip, "bf16")
    first, second = (cycles(vector, (m, deep * k, n), bits, fetched) for m, k, n in shapes)
    assert first <= second or second < 0


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data(), st.sampled_from(GPUS))
def test_gpu_matmuls(data: st.DataObject, name: str) -> None:
    chip = loaded(name)
    dtype = data.draw(st.sampled_from(sorted(chip.matrix.dtypes)))
    shapes = np.array(data.draw(pairs(20_000)), dtype=np.int64)
    quantize = data.draw(st.booleans())
    first, second = matmul_seconds(chip, shapes, dtype, quantize=quantize)
    assert first <= second
