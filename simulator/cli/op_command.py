"""``chipsim op matmul``: the price of one operator, or of every row of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from simulator.cli.copy_command import copy
from simulator.cli.op_attention import attention
from simulator.cli.op_moe import moe
from simulator.cli.options import (
    MATMUL_DTYPES,
    cases_option,
    check_override_roots,
    chip_option,
    explain_option,
    format_option,
    set_option,
)
from simulator.cli.values import OneOf, SizeCommand, Whole
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.hardware import Chip
    from simulator.timing.matmul_ways import MatmulWays
    from simulator.timing.results import MatmulTiming


@click.group("op")
def op() -> None:
    """Price one operator on one chip, with operands and result in HBM."""


op.add_command(copy)
op.add_command(attention)
op.add_command(moe)


@op.command("matmul", cls=SizeCommand)
@click.argument("shape", metavar="[MxKxN]", required=False)
@chip_option
@cases_option("columns m,k,n[,dtype][,chip.PATH...]")
@click.option(
    "--dtype",
    type=OneOf(*MATMUL_DTYPES),
    default="bf16",
    show_default=True,
    help="Data type; with --cases of the rows that state none.",
)
@click.option(
    "--rotating-buffers",
    type=Whole(0, 1000),
    default=0,
    metavar="N",
    help="As a benchmark on a GPU that cycles through N copies of B; 0: B is cold.  [default: 0]",
)
@click.option(
    "--quantize",
    is_flag=True,
    help="With the kernel that scales A from 16 bits, before a matmul of 4 or 8 bits on a GPU.",
)
@click.option(
    "--replay",
    is_flag=True,
    help="As a benchmark on a GPU that replays a captured graph of this matmul alone.",
)
@click.option(
    "--blocks",
    is_flag=True,
    help="Operands of 8 bits have scales in blocks, as DeepSeek's, on a GPU.",
)
@set_option
@explain_option
@format_option
def matmul(
    shape: str | None,
    chip_name: str,
    cases_file: str | None,
    dtype: str,
    rotating_buffers: int,
    quantize: bool,
    replay: bool,
    blocks: bool,
    overrides: tuple[str, ...],
    explain: bool,
    output_format: str,
) -> None:
    """Price C[m,n] = A[m,k] B[k,n].

    With --cases, the rows of FILE come back as CSV with the results beside them. A row's own dtype
    goes before --dtype, and a column such as chip.hbm.bandwidth sets that value for its rows.

    \b
    Examples:
      chipsim op matmul 4096x4096x4096 --chip tpu-v6e
      chipsim op matmul --cases shapes.csv --chip h100 > priced.csv
      chipsim op matmul 16x4096x4096 --chip h100 --rotating-buffers 6
    """
    if (shape is None) == (cases_file is None):
        raise click.UsageError("give either a shape MxKxN or --cases FILE")
    check_override_roots(overrides, ("chip", "library"))
    options: MatmulWays = {
        "rotating_buffers": rotating_buffers,
        "quantize": quantize,
        "replay": replay,
        "blocks": blocks,
    }
    if cases_file is not None:
        if explain:
            raise click.UsageError("--explain is for one shape, not for --cases")
        _price_cases(cases_file, chip_name, dtype, overrides, output_format, options)
    elif shape is not None:
        _price_one(shape, chip_name, dtype, overrides, explain, output_format, options)


def _price_one(
    text: str,
    chip_name: str,
    dtype: str,
    overrides: tuple[str, ...],
    explain: bool,
    form: str,
    options: MatmulWays,
) -> None:
    from simulator.cli.matmul_cases import parse_shape

    m, k, n = parse_shape(text)
    from simulator.config.loader import load_chip

    chip = load_chip(chip_name, overrides)
    _check_dtype(dtype, chip.matrix.dtypes, chip.name)
    _check_options(options, chip)

    from simulator.api import price_matmul
    from simulator.cli.output import emit_operator
    from simulator.report.accuracy import Evidence
    from simulator.report.explain_results import explain_op
    from simulator.report.op_table import print_op
    from simulator.report.operator_json import op_json
    from simulator.timing.evidence import BLOCKS

    result = price_matmul(chip, m, k, n, dtype, **options)
    reasons = explain_op(result, chip) if explain else []
    evidence = Evidence(chip, "matmul", dtype, BLOCKS if options["blocks"] else "")
    emit_operator(form, op_json(result), lambda c: print_op(result, c), evidence, reasons)


def _price_cases(
    path: str,
    chip_name: str,
    dtype: str,
    overrides: tuple[str, ...],
    form: str,
    options: MatmulWays,
) -> None:
    from simulator.cli.matmul_cases import read_matmuls, result_rows
    from simulator.config.loader import load_chip

    chip = load_chip(chip_name, overrides)
    _check_dtype(dtype, chip.matrix.dtypes, chip.name)
    _check_options(options, chip)
    cases, shapes = read_matmuls(path, dtype, chip.matrix.dtypes)

    from simulator.api import price_matmuls
    from simulator.cli.operator_cases import print_cases
    from simulator.cli.variant_columns import Variants

    def price(own: tuple[str, ...], rows: list[int]) -> list[MatmulTiming]:
        variant = load_chip(chip_name, (*overrides, *own))
        return price_matmuls(variant, [shapes[row] for row in rows], **options)

    results = Variants(cases, ("chip", "library")).price(price)
    print_cases("op", chip, result_rows(cases, results), form)


def _check_options(options: MatmulWays, chip: Chip) -> None:
    """Refuse what only the kernels of a GPU have, where there are none."""
    if getattr(chip.matrix, "kernels", None) is not None:
        return
    for name, value in options.items():
        if value:
            option = name.replace("_", "-")
            raise InputError(f"--{option}: chip '{chip.name}' is no GPU with known kernels")


def _check_dtype(dtype: str, known: tuple[str, ...], chip_name: str) -> None:
    if dtype not in known:
        raise InputError(
            f"chip '{chip_name}' has no rate for data type '{dtype}'",
            hint=f"it has {', '.join(known)}",
        )
