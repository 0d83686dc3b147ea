"""The bank-level model is what prices HBM traffic, and its figures in the files are true."""

from dataclasses import replace

import pytest

from simulator.api import load_chip, price_matmul
from simulator.config.dram_schema import list_memories
from simulator.config.loader import load_memory
from simulator.hardware import RUN_CLASSES
from simulator.timing.hbm import resolve_memory, simulate_run_efficiency


@pytest.mark.parametrize("preset", list_memories())
def test_shipped_figures_are_what_the_kernel_simulates(preset: str) -> None:
    assert load_memory(preset).run_efficiency == simulate_run_efficiency(preset)


def test_short_runs_cost_more_than_streams() -> None:
    """B in tiles narrower than the matrix is read in short runs and takes longer."""
    chip = resolve_memory(load_chip("h100"))
    # the kernels of a GPU stream whole operands; a unit that is tiled for its SRAM does not
    tiled = replace(chip.matrix, kernels=None, tiles=((64, 64), (128, 256)))
    chip = replace(chip, matrix=tiled)
    assert len(chip.hbm.run_efficiency) == RUN_CLASSES
    share = chip.hbm.run_efficiency[-1]
    flat = replace(chip.hbm, preset=None, run_efficiency=(), efficiency=share)
    streamed = price_matmul(replace(chip, hbm=flat), 64, 4096, 28672)
    real = price_matmul(chip, 64, 4096, 28672)
    assert real.cycles > streamed.cycles
    assert real.hbm_bytes >= 2 * (64 * 4096 + 4096 * 28672 + 64 * 28672)


def test_refresh_is_paid() -> None:
    """A stream never reaches the peak: refresh alone takes tRFC of every tREFI."""
    for preset in ("hbm2e-3600", "hbm3-6400"):
        timing = load_memory(preset).timing
        assert load_memory(preset).run_efficiency[-1] <= 1 - timing.rfc / timing.refi


def test_twice_the_bandwidth_is_never_slower_with_a_preset() -> None:
    chip = load_chip("tpu-v5e")
    twice = replace(
        chip, hbm=replace(chip.hbm, bandwidth_bytes_per_s=2 * chip.hbm.bandwidth_bytes_per_s)
    )
    for shape in ((1, 4096, 4096), (512, 4096, 6144), (37, 11008, 4096)):
        assert price_matmul(twice, *shape).time_s <= price_matmul(chip, *shape).time_s
