"""Every energy that a chip file states is counted."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import load_model, load_system, simulate
from simulator.api import price_step
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
