"""Links and pipelines of TPUs against what others measured, and arrays that load several rows."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator import api
from simulator.config.loader import load_chip, load_system
from simulator.errors import InputError
from simulator.hardware import SystolicArray

ROOT = Path(__file__).resolve().parent.parent
OFFICIAL = {"tpu-v4": 50, "tpu-v5e": 50, "tpu-v5p": 100, "tpu-v6e": 100, "tpu-v7x": 100}
"""GB/s of a link and direction: a chip's in docs.cloud.google.com by its links and directions."""


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_link_is_discounted_once(name: str) -> None:
    """Data-sheet links in the chip file, what programs reach of them in the system's protocol."""
    shape = "2x2" if name in ("tpu-v5e", "tpu-v6e") else "2x2x1"
    fabric = load_system(f"{name}:{shape}").fabric
    assert fabric.link_bandwidth_bytes_per_s == OFFICIAL[name] * 10**9
    large = api.price_collective(fabric, "permute", 2**30).time_s
    reached = 2**30 / large / fabric.link_bandwidth_bytes_per_s
    assert 0.84 < reached < 0.92


def test_a_ring_of_v5e_gathers_at_what_was_measured() -> None:
    """95 % of 45 GB/s a link and direction on the closed axis of 8x16 (jax-ml/scaling-book)."""
    fabric = load_system("tpu-v5e:8x16").fabric
    size = 2**28
    priced = api.price_collective(fabric, "all-gather", size, group="y")
    per_link = size * 15 / 16 / 2 / priced.time_s
    assert per_link == pytest.approx(0.95 * 45e9, rel=0.02)


def test_an_all_reduce_adds_up_what_it_receives() -> None:
    """0.606 GB on 16x16 of TPU v6e: 5.12 ms measured, 3.5 ms of them on the links."""
    fabric = load_system("tpu-v6e:16x16").fabric
    size = 606_076_928
    both = api.price_collective(fabric, "all-reduce", size).time_s
    one = api.price_collective(fabric, "all-gather", size).time_s
    assert both > 2 * one + 0.9 * size / fabric.reduce_bytes_per_s
    assert both == pytest.approx(5.12e-3, rel=0.08)


def test_parameters_of_tpu7x_predict_v6e() -> None:
    """None of these rows was fitted; with the peak alone they come out 12 % too fast."""
    with (ROOT / "configs" / "measurements" / "tpu-v6e.matmul.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["dtype"] == "bf16"]
    shapes = np.array([[int(row[name]) for name in ("m", "k", "n")] for row in rows])
    measured = np.array([float(row["measured_s"]) for row in rows])
    flops = 2.0 * shapes.prod(axis=1)
    assert (flops / measured < load_chip("tpu-v6e").peak_flops_per_s("bf16")).all()
    bare = ("chip.sustained_clock=1", "chip.tile_overhead=0 us")
    taken, without = (
        api.matmul_seconds(load_chip("tpu-v6e", sets), shapes, "bf16") / measured - 1
        for sets in ((), bare)
    )
    assert abs(taken).mean() < 0.05
    assert without.mean() < -0.1


def held_in(chip: str, load_rows: int, shape: tuple[int, int, int]) -> float:
    """Seconds of a matmul with so many rows a cycle entering the array."""
    card = load_chip(chip, (f"chip.matrix.load_rows={load_rows}",))
    return float(api.matmul_seconds(card, np.array([shape]), "bf16")[0])


@pytest.mark.parametrize("shape", [(1, 4096, 1536), (64, 1024, 1024), (2048, 512, 640)])
@pytest.mark.parametrize("chip", ["groq-lpu", "tpu-v5e"])
def test_a_wider_load_is_never_slower(chip: str, shape: tuple[int, int, int]) -> None:
    times = [held_in(chip, rows, shape) for rows in (1, 2, 16, 128)]
    assert times == sorted(times, reverse=True)
    card = load_chip(chip)
    m, k, n = shape
    moved = 2 * k * n / card.sram.bandwidth_bytes_per_s
    assert times[-1] >= max(2 * m * k * n / card.peak_flops_per_s("bf16"), moved)


def test_a_vector_times_a_matrix_takes_the_loads_of_its_folds() -> None:
    """One vector streams for one cycle, so a ``double`` array loads all the time."""
    plain = load_chip("groq-lpu")
    array = plain.matrix
    assert isinstance(array, SystolicArray)
    assert (array.weight_load, array.load_cycles) == ("double", 20)
    folds = 13 * 5
    least = folds * array.load_cycles / plain.clock_hz
    filled = (array.load_cycles + array.rows + array.cols) / plain.clock_hz
    priced = held_in("groq-lpu", array.load_rows, (1, 13 * 320, 5 * 320))
    assert least < priced < least + filled + 1e-6


def test_four_planes_are_loaded_in_less_than_forty_cycles() -> None:
    """409,600 weights of 8 bits (Abts et al., ISCA 2020): 10,240 bytes a cycle."""
    array = load_chip("groq-lpu").matrix
    assert isinstance(array, SystolicArray)
    assert array.load_rows * array.cols * 2 * 40 == 409_600


def test_an_array_cannot_load_more_rows_than_it_has() -> None:
    with pytest.raises(InputError, match="load_rows is 129"):
        load_chip("tpu-v5e", ("chip.matrix.load_rows=129",))
    shifted = replace(load_chip("tpu-v5e").matrix, load_rows=3)  # type: ignore[type-var]
    assert shifted.load_cycles == 43
