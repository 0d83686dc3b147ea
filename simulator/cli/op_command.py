"""``chipsim op matmul``: the price of one operator, or of every row of a file."""

from __future__ import annotations

import click

from simulator.cli.copy_command import copy
from simulator.cli.op_attention import attention
from simulator.cli.op_moe import moe
from simulator.cli.options import (
    DTYPES,
    check_override_roots,
    explain_option,
    format_option,
    set_option,
)
from simulator.cli.values import NameText, OneOf, PathText, ShapeCommand
from simulator.errors import InputError


@click.group("op")
def op() -> None:
    """Price one operator on one chip, with operands and result in HBM."""


op.add_command(copy)
op.add_command(attention)
op.add_command(moe)


@op.command("matmul", cls=ShapeCommand)
@click.argument("shape", metavar="[MxKxN]", required=False)
@click.option(
    "--chip",
    "chip_name",
    type=NameText(),
    metavar="CHIP",
    required=True,
    help="Name or file of a chip.",
)
@click.option(
    "--cases",
    "cases_file",
    type=PathText(),
    metavar="FILE",
    help="CSV with columns m,k,n[,dtype].",
)
@click.option("--dtype", type=OneOf(*DTYPES), default="bf16", show_default=True)
@set_option
@explain_option
@format_option
def matmul(
    shape: str | None,
    chip_name: str,
    cases_file: str | None,
    dtype: str,
    overrides: tuple[str, ...],
    explain: bool,
    output_format: str,
) -> None:
    """Price C[m,n] = A[m,k] B[k,n].

    With --cases, the rows of FILE come back as CSV with the results beside them.

    \b
    Examples:
      chipsim op matmul 4096x4096x4096 --chip tpu-v6e
      chipsim op matmul --cases shapes.csv --chip h100 > priced.csv
    """
    if (shape is None) == (cases_file is None):
        raise click.UsageError("give either a shape MxKxN or --cases FILE")
    check_override_roots(overrides, ("chip",))
    if cases_file is not None:
        if explain:
            raise click.UsageError("--explain is for one shape, not for --cases")
        _price_cases(cases_file, chip_name, dtype, overrides, output_format)
    elif shape is not None:
        _price_one(shape, chip_name, dtype, overrides, explain, output_format)


def _price_one(
    text: str, chip_name: str, dtype: str, overrides: tuple[str, ...], explain: bool, form: str
) -> None:
    from simulator.cli.matmul_cases import parse_shape

    m, k, n = parse_shape(text)
    from simulator.config.loader import load_chip

    chip = load_chip(chip_name, overrides)
    _check_dtype(dtype, chip.matrix.dtypes, chip.name)

    from simulator.api import price_matmul
    from simulator.cli.output import emit
    from simulator.report.explain_results import explain_op
    from simulator.report.json_out import op_json
    from simulator.report.op_table import print_op

    result = price_matmul(chip, m, k, n, dtype)
    reasons = explain_op(result, chip) if explain else []
    emit(form, op_json(result), lambda console: print_op(result, console), reasons)


def _price_cases(
    path: str, chip_name: str, dtype: str, overrides: tuple[str, ...], form: str
) -> None:
    from simulator.cli.matmul_cases import read_matmuls, result_rows, to_csv
    from simulator.config.loader import load_chip

    chip = load_chip(chip_name, overrides)
    _check_dtype(dtype, chip.matrix.dtypes, chip.name)
    cases, shapes = read_matmuls(path, dtype, chip.matrix.dtypes)

    from simulator.api import price_matmuls
    from simulator.report.json_out import to_json

    rows = result_rows(cases, price_matmuls(chip, shapes))
    if form == "json":
        click.echo(to_json({"schema": "chipsim.op.cases/1", "chip": chip.name, "rows": rows}))
    else:
        click.echo(to_csv(rows), nl=False)


def _check_dtype(dtype: str, known: tuple[str, ...], chip_name: str) -> None:
    if dtype not in known:
        raise InputError(
            f"chip '{chip_name}' has no rate for data type '{dtype}'",
            hint=f"it has {', '.join(known)}",
        )
