"""Ablation: the errors of a chip without each of its fitted values in turn, operator by operator.

    python benchmarks/ablation.py [CHIP]... [--operator matmul]... [--rows 4000] [--refit]
                                  [--without PATH=VALUE]...

The rows are the values that the chip's file calls ``fitted``; each is set to where its effect is
gone: no latency, no limit, full efficiency, or what the model has without it. The columns are the
tables of the operators, latent attention's apart: mean absolute relative errors in percent, of a
sample of ``--rows`` rows of each (0: all), the other values as they are. With ``--refit`` there is
one more column an operator: the error of the held-out halves of its tables with the others fitted
again. The row ``nothing`` is the file itself; ``--without`` adds rows for what is no fitted value.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from simulator.config.config_files import load_chip_file
from simulator.config.names import find_config
from simulator.errors import ChipsimError
from simulator.validation.compare import compare
from simulator.validation.fit import calibrate
from simulator.validation.machine import Machine
from simulator.validation.parameters import PARAMETERS
from simulator.validation.run import tables_of
from simulator.validation.table import Table

OPERATORS = ("matmul", "attention-decode", "attention-prefill", "moe")

NEUTRAL = {
    **{
        parameter.path: parameter.override(parameter.neutral).partition("=")[2]
        for parameter in PARAMETERS
        if parameter.neutral is not None
    },
    "chip.matrix.kernels.step": "0 ns",
    "chip.matrix.kernels.feed": "1000 TB/s",
    "chip.matrix.kernels.in_step": "false",
    "chip.fused_kernels.sm_bandwidth": "1000 TB/s",
}
"""Where the effect of a value is gone."""


def removals(chip: str) -> list[str]:
    """``PATH=VALUE`` for each fitted value of a chip's file without its effect."""
    paths = (f"chip.{path}" for path in load_chip_file(find_config("chips", chip)).sourced.fitted)
    return [f"{path}={NEUTRAL[path]}" for path in paths]


def concerns(path: str, operator: str) -> bool:
    """Whether a value can make a difference to an operator."""
    for parameter in PARAMETERS:
        if parameter.path == path:
            return operator in parameter.operators
    return path.startswith("chip.matrix.kernels") == (operator == "matmul")


def sample(table: Table, rows: int) -> Table:
    """That many rows of a table, chosen by chance but always the same; all of them for 0."""
    if not 0 < rows < len(table):
        return table
    return table.take(np.sort(np.random.default_rng(0).permutation(len(table))[:rows]))


def error_percent(chip: str, table: Table, overrides: Sequence[str]) -> float:
    """Mean absolute relative error of the rows of a table."""
    pair = compare(Machine(chip, overrides), table, baselines=False)
    assert pair is not None
    return pair.rows()[0].errors.mape_percent


def fitted_again(chip: str, tables: Sequence[Table], overrides: Sequence[str]) -> str:
    """Error of the held-out halves of an operator's tables, the other parameters fitted again."""
    try:
        return f"{calibrate(chip, tables, overrides=overrides).held_out_percent:.2f}"
    except ChipsimError as error:
        return str(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chips", nargs="*", default=["h100", "b200", "a100", "l40s"])
    parser.add_argument("--operator", action="append", choices=OPERATORS)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--refit", action="store_true")
    parser.add_argument("--without", action="append", default=[])
    words = parser.parse_args()
    for chip in words.chips:
        found = {
            operator: [
                sample(table, words.rows)
                for table in tables_of(Machine(chip), operator)[0]
                if "MLA" not in table.source and compare(Machine(chip), table, baselines=False)
            ]
            for operator in words.operator or OPERATORS
        }
        again = [f"{operator} fitted again" for operator in found if words.refit]
        names = [
            f"{table.operator} {table.dtype} {table.source}"
            for each in found.values()
            for table in each
        ]
        print(",".join((f"{chip} without", *names, *again)), flush=True)
        for removed in [(), *((one,) for one in removals(chip) + words.without)]:
            name = removed[0].partition("=")[0].removeprefix("chip.") if removed else "nothing"
            path = f"chip.{name}"
            errors = [
                f"{error_percent(chip, table, removed):.2f}"
                if not removed or removed[0] in words.without or concerns(path, operator)
                else "-"
                for operator, each in found.items()
                for table in each
            ]
            if words.refit:
                errors += [fitted_again(chip, each, removed) for each in found.values()]
            print(",".join((name, *errors)), flush=True)


if __name__ == "__main__":
    main()
