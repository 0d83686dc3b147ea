"""``chipsim validate``: prices of every measured row, and how far they are off."""

from __future__ import annotations

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import MATMUL_DTYPES, check_override_roots, format_option, set_option
from simulator.cli.values import OneOf, PathText, Whole

OPERATORS = (
    "matmul",
    "attention-decode",
    "attention-prefill",
    "moe",
    "collective",
    "server",
    "copy",
)


@click.command("validate", cls=OnceCommand)
@click.argument("chips", metavar="[CHIP]...", nargs=-1)
@click.option(
    "--operator",
    "operators",
    type=OneOf(*OPERATORS),
    multiple=True,
    help="Only this operator (repeatable; default: all that have tables).",
)
@click.option("--dtype", type=OneOf(*MATMUL_DTYPES), help="Only this data type.")
@click.option(
    "--table",
    "table_file",
    type=PathText(),
    metavar="FILE.csv",
    help="Measured rows: the operator's columns, such as m,k,n,dtype, and measured_s.",
)
@click.option(
    "--all-stacks",
    is_flag=True,
    help="Compare with the tables of every software stack, not only with the first.",
)
@click.option(
    "--no-baselines",
    is_flag=True,
    help="Only the prices: leave out the simple methods beside them, which take as long.",
)
@click.option(
    "--seed",
    type=Whole(least=0, most=2**31),
    default=0,
    show_default=True,
    help="Of the halves that the simple methods learn from.",
)
@click.option(
    "--html",
    "html_file",
    type=PathText(),
    metavar="FILE",
    help="Write a page: predicted against measured, and the worst rows.",
)
@click.option(
    "--markdown",
    "markdown_file",
    type=PathText(),
    metavar="FILE",
    help="Write the report as Markdown, as docs/validation.md is.",
)
@click.option("--date", metavar="DATE", help="The date that the Markdown report shall bear.")
@set_option
@format_option
def validate(
    chips: tuple[str, ...],
    operators: tuple[str, ...],
    dtype: str | None,
    table_file: str | None,
    all_stacks: bool,
    no_baselines: bool,
    seed: int,
    html_file: str | None,
    markdown_file: str | None,
    date: str | None,
    overrides: tuple[str, ...],
    output_format: str,
) -> None:
    """Price measured operators and report the errors by chip, operator, data type and regime.

    Without --table the rows are the points that makers published and, where the extra
    chipsim[validate] is installed, the tables of aiconfigurator-core. Rows that cannot be
    (no latency, faster than the data sheet, seen twice) are left out and counted.

    \b
    Examples:
      chipsim validate tpu-v7x-die
      chipsim validate h100 --operator matmul --dtype bf16 --html h100.html
      chipsim validate h100 --table mine.csv --operator matmul --format json
    """
    if table_file is not None and (len(chips) != 1 or len(operators) != 1):
        raise click.UsageError("--table needs one CHIP and one --operator")
    if date is not None and markdown_file is None:
        raise click.UsageError("--date is for --markdown")
    check_override_roots(overrides, ("chip", "system", "library"))

    _check_date(date)

    from pathlib import Path

    from simulator.cli.destinations import check_outputs

    written = [Path(path) for path in (html_file, markdown_file) if path is not None]
    check_outputs(written, {"table": table_file})

    from simulator.cli.output import emit
    from simulator.report.validation_out import print_validation, validation_json
    from simulator.validation.run import validate as run

    result = run(
        chips,
        operators=operators,
        dtype=dtype,
        file=table_file,
        overrides=overrides,
        every_stack=all_stacks,
        seed=seed,
        baselines=not no_baselines,
        progress=lambda line: click.echo(f"chipsim: {line}", err=True),
    )
    if html_file is not None:
        from simulator.report.validation_page import write_page

        write_page(result, html_file)
    if markdown_file is not None:
        from simulator.report.validation_doc import write_report

        write_report(result, markdown_file, date)
    emit(
        output_format,
        validation_json(result),
        lambda console: print_validation(result, console),
    )


def _check_date(text: str | None) -> None:
    """Raises InputError where it is no date."""
    from datetime import date

    from simulator.errors import InputError

    if text is None:
        return
    try:
        date.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"--date: '{text[:40]}' is not a date", hint="expected YYYY-MM-DD"
        ) from None
