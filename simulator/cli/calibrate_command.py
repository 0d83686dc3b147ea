"""``chipsim calibrate``: physical parameters of a chip from measurements, and a file with them."""

from __future__ import annotations

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import MATMUL_DTYPES, format_option
from simulator.cli.validate_command import OPERATORS
from simulator.cli.values import NameText, OneOf, PathText, Positive, Whole
from simulator.errors import InputError


@click.command("calibrate", cls=OnceCommand)
@click.argument("chip", type=NameText(), metavar="CHIP")
@click.option(
    "--measurements",
    type=PathText(),
    metavar="FILE.csv|aiconfigurator|published",
    required=True,
    help="Measured rows: a file, as scripts/measure_gpu.py writes it, the installed tables of "
    "aiconfigurator-core, or the points that the maker published.",
)
@click.option(
    "--operator",
    "operators",
    type=OneOf(*OPERATORS),
    multiple=True,
    help="Only this operator (repeatable; default: all operators of the chip's own file).",
)
@click.option("--dtype", type=OneOf(*MATMUL_DTYPES), help="Only this data type.")
@click.option(
    "--parameter",
    "parameters",
    type=NameText(),
    multiple=True,
    metavar="PATH",
    help="Fit only this parameter, such as chip.operator_overhead (repeatable; default: all that "
    "the operators depend on).",
)
@click.option(
    "--hold-out",
    type=Positive(),
    default=0.5,
    show_default=True,
    help="Share of the rows that the fit does not see and that the error is reported on.",
)
@click.option("--seed", type=Whole(least=0, most=2**31), default=0, show_default=True)
@click.option(
    "-o",
    "--output",
    type=PathText(),
    metavar="CHIP.yaml",
    required=True,
    help="The file to write: a chip's, or for collective and server a system's.",
)
@format_option
def calibrate(
    chip: str,
    measurements: str,
    operators: tuple[str, ...],
    dtype: str | None,
    parameters: tuple[str, ...],
    hold_out: float,
    seed: int,
    output: str,
    output_format: str,
) -> None:
    """Fit the named physical parameters of CHIP to measurements and write its file anew.

    The fit sees one part of the rows, the error is that of the other. Every fitted value stands in
    the file with its source.

    \b
    Examples:
      chipsim calibrate h100 --measurements mine.csv -o my-h100.yaml
      chipsim calibrate tpu-v7x-die --measurements published -o die.yaml
    """
    if not 0.05 <= hold_out <= 0.95:
        raise InputError(f"--hold-out: found {hold_out:g}, expected 0.05 to 0.95")
    from dataclasses import replace
    from pathlib import Path

    from simulator.cli.destinations import check_outputs

    check_outputs([Path(output)], {"table": measurements})

    from simulator.cli.output import emit
    from simulator.report.calibration_out import (
        calibration_json,
        print_calibration,
        write_calibrated,
    )
    from simulator.validation.fit import calibrate as fit
    from simulator.validation.sources import measured_tables

    tables, unread = measured_tables(chip, measurements, tuple(dict.fromkeys(operators)), dtype)
    result = fit(
        chip,
        tables,
        hold_out=hold_out,
        seed=seed,
        only=parameters,
        progress=lambda line: click.echo(f"chipsim: {line}", err=True),
    )
    result = replace(result, omissions=(*result.omissions, *unread))
    write_calibrated(result, chip, output)
    emit(
        output_format,
        calibration_json(result),
        lambda console: print_calibration(result, output, console),
    )
