"""Ablation: the matmul error of a chip without each of its parameters in turn.

    python benchmarks/ablation.py [CHIP]... [--dtype bf16] [--without PATH=VALUE]...

A parameter is set to the value at which its effect is gone: no latency, no limit, full efficiency.
The first figure is the mean absolute relative error of all rows with the other parameters as they
are, the second that of the held-out half with the others fitted again on 2,000 rows of the rest.
The row ``nothing`` is the chip file itself, and a fit of all of them; ``--without`` adds rows for
what is no parameter of a fit, such as ``chip.matrix.kernels.shared_feed=false``.
"""

from __future__ import annotations

import argparse

from simulator.errors import ChipsimError
from simulator.validation.compare import compare
from simulator.validation.fit import calibrate
from simulator.validation.machine import Machine
from simulator.validation.parameter_values import applicable
from simulator.validation.run import tables_of
from simulator.validation.table import Table

FAMILY = {
    "chip.matrix.kernels.step": "0 ns",
    "chip.matrix.kernels.feed": "1000 TB/s",
}
"""Parameters that hold for a family of chips, which ``calibrate`` leaves alone, without effect."""


def removals(chip: str) -> list[str]:
    """``PATH=VALUE`` for each parameter of a chip's matmuls without its effect."""
    found = [
        one.override(one.neutral)
        for one in applicable(chip, ["matmul"], ())
        if one.neutral is not None
    ]
    return [*found, *(f"{path}={value}" for path, value in FAMILY.items())]


def error_percent(chip: str, table: Table, overrides: tuple[str, ...]) -> float:
    """Mean absolute relative error of all rows of a table."""
    pair = compare(Machine(chip, overrides), table, baselines=False)
    assert pair is not None
    return pair.rows()[0].errors.mape_percent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chips", nargs="*", default=["h100", "b200"])
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--without", action="append", default=[])
    words = parser.parse_args()
    print("chip,dtype,without,error_percent,fitted_again_percent")
    for chip in words.chips:
        table = next(t for t in tables_of(Machine(chip), "matmul")[0] if t.dtype == words.dtype)
        for removed in [(), *((one,) for one in removals(chip) + words.without)]:
            name = removed[0].partition("=")[0].removeprefix("chip.") if removed else "nothing"
            bare = error_percent(chip, table, removed)
            try:
                again = f"{calibrate(chip, [table], overrides=removed).held_out_percent:.2f}"
            except ChipsimError as error:
                again = str(error)
            print(f"{chip},{words.dtype},{name},{bare:.2f},{again}", flush=True)


if __name__ == "__main__":
    main()
