"""Rows of measurements that a chip of known parameters would give, for tests of calibrations."""

from __future__ import annotations

import numpy as np

from simulator.api import price_copies, price_matmuls
from simulator.config import load_chip

HEADER = "operator,m,k,n,bytes,dtype,measured_s"

TRUTH = {"chip.operator_overhead": 2, "chip.hbm.efficiency": 0.75, "chip.sustained_clock": 0.8}
"""What the TPU v6e of ``matmuls_and_copies`` has other than its file; the overhead in us."""


def matmuls_and_copies(scatter: float = 0.0, seed: int = 0) -> list[str]:
    """Lines under ``HEADER`` for that TPU v6e; the logarithms of the times are ``scatter``-ed."""
    units = {"chip.operator_overhead": " us"}
    chip = load_chip("tpu-v6e", [f"{k}={v}{units.get(k, '')}" for k, v in TRUTH.items()])
    sizes = (128, 512, 1024, 2048, 4096)
    shapes = [(m, k, n, "bf16") for m in sizes for k in sizes for n in sizes]
    copies = [2**power for power in range(12, 30)]
    times = [timing.time_s for timing in price_matmuls(chip, shapes)]
    times += [timing.time_s for timing in price_copies(chip, copies)]
    times *= np.exp(np.random.default_rng(seed).normal(0, scatter, len(times)))
    names = [f"matmul,{m},{k},{n},,bf16" for m, k, n, _ in shapes]
    names += [f"copy,,,,{size},bf16" for size in copies]
    return [f"{name},{time!r}" for name, time in zip(names, times.tolist(), strict=True)]
