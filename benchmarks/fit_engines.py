"""Fit the host times of the serving engines to half of the measured servers.

    python benchmarks/fit_engines.py [SEED]

Each engine has two parameters, the host's time an iteration and a sequence (`configs/engines`);
everything else of a token's time is the chip's, priced as `chipsim step` prices it. Printed are the
values of least soft absolute relative error on half of the rows, and the mean error of both halves.
The rows of one source (H200, vLLM 0.12.0, Llama 3.1 8B) do not have the batch that they state
(docs/accuracy.md) and say nothing about a host; they are left out of the fit, not of the report.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from scipy.optimize import least_squares

from simulator.api import load_engine
from simulator.validation.compare import usable
from simulator.validation.machine import Machine
from simulator.validation.serving_rows import chip_seconds
from simulator.validation.silicon import load_tables

CHIPS = ("h100", "h200", "b200")
MOST_MS = (20.0, 0.5)
"""Bounds of the time an iteration, and of that for a sequence."""
SOFT = 0.05
"""Relative errors beyond this count less than their square."""


def rows_of(chip: str):
    """(engine, batch, decode, prompts between two tokens, measured) of each row, seconds."""
    machine = Machine(chip)
    for table in load_tables(chip, "server"):
        table = usable(machine, replace(table, chip=chip))
        decode, refill = chip_seconds(machine, table.dtype, table.inputs)
        planned = (table.inputs["model"] == "llama3-8b") & (table.inputs["kv_dtype"] == "fp8")
        kept = np.isfinite(decode) & ~planned
        columns = (table.inputs["engine"], table.inputs["batch"], decode, refill, table.measured_s)
        yield from zip(*(column[kept] for column in columns), strict=True)


def fit_host(name, chip, batch, measured, most, seed):
    """Fit the host's time an iteration and a sequence to half of the rows; print both errors.

    ``chip`` and ``measured`` are seconds a token by row, ``batch`` sequences; ``most`` bounds both
    times, in milliseconds.
    """
    learned = np.random.default_rng(seed).permutation(len(batch)) < len(batch) // 2

    def errors(x):
        return (chip + 1e-3 * (x[0] + x[1] * batch)) / measured - 1

    fitted = least_squares(
        lambda x: errors(x)[learned],
        (1.0, most[1] / 10),
        bounds=((0.0, 0.0), most),
        loss="soft_l1",
        f_scale=SOFT,
    ).x
    off = 100 * np.abs(errors(fitted))
    print(
        f"{name}: {len(batch)} rows, iteration {fitted[0]:.3f} ms, sequence "
        f"{1e3 * fitted[1]:.1f} us; error {off[learned].mean():.1f} % on the half, "
        f"{off[~learned].mean():.1f} % on the other"
    )


def main(seed: int) -> None:
    every = [row for chip in CHIPS for row in rows_of(chip)]
    for name in sorted({row[0] for row in every}):
        engine = load_engine(str(name))
        # what an engine does for its sequences beside the chip has no time of its own
        most = (MOST_MS[0], MOST_MS[1] if engine.sequence_ps else 1e-9)
        batch, decode, refill, measured = np.array([r[1:] for r in every if r[0] == name], float).T
        fit_host(name, decode + engine.prompt_wait * refill, batch, measured, most, seed)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
