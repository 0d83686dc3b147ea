"""Every energy that a chip file states is counted."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import load_chip, load_model, load_system, price_matmul, simulate
from simulator.api import price_step
from simulator.errors import InputError
from simulator.timing.energy import energies, energy_j
from simulator.workload.request import Requests, Workload


def joules(*overrides: str) -> tuple[float, float]:
    """Of a step and of a run on one toy chip."""
    system, model = load_system("toy", overrides), load_model("llama-toy")
    step = price_step(system, model, phase="prefill", batch=1, context=8)
    requests = Requests(np.array([0]), np.array([8]), np.array([3]))
    run = simulate(system, model, Workload("one", requests))
    assert step.energy_j is not None and run.energy_j is not None
    return step.energy_j, run.energy_j


@pytest.mark.parametrize("which", ["vector_op", "sram_byte", "hbm_byte", "idle"])
def test_twice_an_energy_costs_more(which: str) -> None:
    plain = load_system("toy").chip.power.energy
    assert plain is not None
    name, unit = (which, "W") if which == "idle" else (which, "pJ")
    value = getattr(plain, "idle_w" if which == "idle" else f"{which}_pj")
    more = joules(f"chip.power.energy.{name}={2 * value}{unit}")
    assert all(m > p for m, p in zip(more, joules(), strict=True))


def test_energy_of_the_sram_is_that_of_the_bytes_it_moved() -> None:
    system, model = load_system("toy"), load_model("llama-toy")
    step = price_step(system, model, phase="prefill", batch=1, context=8)
    energy = system.chip.power.energy
    assert energy is not None and step.energy_j is not None
    moved = step.utilization["sram"] * step.time_s * system.chip.sram.bandwidth_bytes_per_s
    without, _ = joules("chip.power.energy.sram_byte=0 pJ")
    assert step.energy_j - without == pytest.approx(moved * energy.sram_byte_pj * 1e-12)


ESTIMATED = ("tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-v7x", "tpu-v7x-die")


@pytest.mark.parametrize("name", ESTIMATED)
def test_an_estimated_chip_draws_its_limit_at_full_rate(name: str) -> None:
    chip = load_chip(name)
    energy = energies(chip)
    assert energy is not None and energy.basis is not None and chip.power.tdp_w is not None
    bytes_per_s = chip.hbm.sustained_bytes_per_s
    for dtype, pj in energy.mac_pj.items():
        macs_per_s = chip.peak_flops_per_s(dtype) / 2 * chip.sustained_clock
        watts = (macs_per_s * pj + bytes_per_s * energy.hbm_byte_pj) * 1e-12 + energy.idle_w
        assert watts == pytest.approx(chip.power.tdp_w, rel=0.005)


@pytest.mark.parametrize("name", ["a100", "h100", "b200", "l40s"])
@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_a_gpu_draws_between_idle_and_its_limit(name: str, dtype: str) -> None:
    """The energies are those that set the clock, so long work draws the limit at most."""
    chip = load_chip(name)
    energy = energies(chip)
    assert energy is not None and chip.power.tdp_w is not None
    price = price_matmul(chip, 16384, 16384, 16384, dtype)
    joule = energy_j(
        chip,
        dtype,
        flops=price.flops,
        vector_ops=0,
        sram_bytes=price.sram_bytes,
        traffic={"hbm_read": price.hbm_bytes, "hbm_write": 0, "fabric": 0},
        chip_seconds=price.time_s,
    )
    assert joule is not None
    assert 2 * energy.idle_w < joule / price.time_s < 1.05 * chip.power.tdp_w


def test_a_chip_without_energies_has_none() -> None:
    assert energies(load_chip("groq-lpu")) is None


def test_single_energies_of_a_gpu_take_the_place_of_its_power_model() -> None:
    plain = energies(load_chip("h100"))
    texts = ["chip.power.energy.hbm_byte=60 pJ", "chip.power.energy.mac.bf16=2 pJ"]
    changed = energies(load_chip("h100", texts))
    assert plain is not None and changed is not None and changed.basis is not None
    assert changed.hbm_byte_pj == 60.0 and changed.mac_pj["bf16"] == 2.0
    assert changed.mac_pj["fp8"] == plain.mac_pj["fp8"] and changed.idle_w == plain.idle_w
    assert "but for mac_pj.bf16, hbm_byte_pj" in changed.basis
    # the clock under load is a figure of the kernels: prices stay as they were
    fast = price_matmul(load_chip("h100", texts), 8192, 8192, 8192)
    assert fast.time_s == price_matmul("h100", 8192, 8192, 8192).time_s


def test_single_energies_of_a_chip_without_a_power_model_are_refused() -> None:
    with pytest.raises(InputError, match=r"missing key 'mac' in 'energy' \(and 4 more errors\)"):
        load_chip("groq-lpu", ["chip.power.energy.idle=20 W"])
