"""SRAM as banks, separate buffers, a write port of its own, and accumulators that spill."""

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.api import load_chip, price_matmul
from simulator.errors import InputError
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.matrix_unit import spilled_passes, tile_price

TOY = Path(__file__).parents[1] / "configs" / "chips" / "toy.yaml"


def edited(tmp_path: Path, old: str, new: str) -> str:
    """A copy of the toy chip with one piece of text exchanged."""
    text = TOY.read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_banks_give_count_times_ports_times_width_a_cycle(tmp_path: Path) -> None:
    path = edited(tmp_path, "  bandwidth: 64 GB/s\n", "  banks: {count: 4, ports: 2, width: 8 B}\n")
    assert load_chip(path).sram.bandwidth_bytes_per_s == 4 * 2 * 8 * 10**9


def test_bandwidth_and_banks_exclude_each_other(tmp_path: Path) -> None:
    path = edited(
        tmp_path,
        "  bandwidth: 64 GB/s\n",
        "  bandwidth: 64 GB/s\n  banks: {count: 4, width: 8 B}\n",
    )
    with pytest.raises(InputError, match="either 'bandwidth' or 'banks'"):
        load_chip(path)


def test_buffers_must_fit_the_tile_share(tmp_path: Path) -> None:
    path = edited(
        tmp_path,
        "  capacity: 4 KiB\n",
        "  capacity: 4 KiB\n  buffers: {input: 1 KiB, weights: 1 KiB, result: 1 KiB}\n",
    )
    with pytest.raises(InputError, match="the buffers take 3072 B"):
        load_chip(path)


def test_a_separate_buffer_bounds_its_operand_alone() -> None:
    """128 B of weights are two 4x8 bf16 tiles: k and n may not grow as far as in unified SRAM."""
    toy = load_chip("toy")
    split = replace(toy, sram=replace(toy.sram, buffers=(512, 128, 1024)))
    m, k, n = price_matmul(split, 16, 32, 32).tile or (0, 0, 0)
    assert 2 * k * n * 2 <= 128
    assert 2 * m * k * 2 <= 512
    assert price_matmul(split, 16, 32, 32).cycles >= price_matmul(toy, 16, 32, 32).cycles


def test_a_write_port_of_its_own_is_never_slower_than_sharing() -> None:
    toy = load_chip("toy")
    slow = replace(toy, sram=replace(toy.sram, bandwidth_bytes_per_s=4 * 10**9))
    port = replace(slow, sram=replace(slow.sram, write_bandwidth_bytes_per_s=4 * 10**9))
    assert price_matmul(port, 16, 16, 16).cycles < price_matmul(slow, 16, 16, 16).cycles


def test_partial_sums_spill_where_the_accumulators_are_full() -> None:
    """16x8x4 in one tile: 16 x 4 sums of 4 B; half as many accumulators spill them once.

    Two folds of the inner dimension: the first writes 256 B out, the second reads them back.
    """
    toy = load_chip("toy")
    prices = [
        tile_price(
            pack_chip(replace(toy, matrix=replace(toy.matrix, accumulator_bytes=size)), "bf16"),
            16,
            8,
            4,
            16,
            16,
        )
        for size in (256, 255)
    ]
    (cycles, read, written, held), spilling = prices
    assert (read, written, held) == (16 * 8 * 2 + 8 * 4 * 2, 16 * 4 * 4, 0)
    # B held spills; A held keeps 4 columns x 4 rows of sums at a time but reads B four times
    assert spilling[1] + spilling[2] > read + written or spilling[0] > cycles


def test_spilled_passes_count_the_folds_but_one() -> None:
    toy = load_chip("toy")
    chip = pack_chip(replace(toy, matrix=replace(toy.matrix, accumulator_bytes=255)), "bf16")
    assert spilled_passes(chip, 16, 8, 4) == 1
    assert spilled_passes(chip, 16, 24, 4) == 5
    assert spilled_passes(chip, 15, 24, 4) == 0
