"""``chipsim step``: the price of one prefill or decode iteration, or of every row of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simulator.cli.layout_options import layout_options
from simulator.cli.once import OnceCommand
from simulator.cli.options import (
    assert_option,
    cases_option,
    check_override_roots,
    dtype_options,
    explain_option,
    format_option,
    row_step_options,
    set_option,
    timeline_option,
    tp_option,
)


@click.command("step", cls=OnceCommand)
@row_step_options
@tp_option
@layout_options
@dtype_options
@cases_option("columns such as batch, context, tp, chip.hbm.bandwidth")
@set_option
@timeline_option
@explain_option
@assert_option
@format_option
@click.pass_context
def step(
    ctx: click.Context,
    /,
    cases_file: str | None,
    overrides: tuple[str, ...],
    timeline: str | None,
    explain: bool,
    assertions: tuple[str, ...],
    output_format: str,
    **options: Any,
) -> None:
    """Price one prefill or decode step of MODEL on SYSTEM, operator by operator.

    With --cases, each row of FILE is a step: a column is one of the options, or a value such as
    chip.hbm.bandwidth; the rest is as on the command line, and the rows come back as CSV with the
    results beside them.

    \b
    Examples:
      chipsim step tpu-v6e llama3-8b --phase decode --batch 32 --context 2048
      chipsim step h100:8 llama3-70b --phase prefill --batch 1 --context 4096 --timeline step.json
      chipsim step h100:8x8 mixtral-8x7b --phase decode --batch 64 --context 4096 --layout auto
      chipsim step h100:8 llama3-70b --phase decode --context 4096 --cases variants.csv > out.csv
    """
    from simulator.cli.step_cases import NEEDED, ROOTS

    check_override_roots(overrides, ROOTS)
    if cases_file is not None:
        if timeline or explain or assertions:
            raise click.UsageError("--timeline, --explain and --assert are for one step")
        _price_cases(cases_file, options, overrides, output_format, ctx)
        return
    for param in ctx.command.params:
        if param.name in NEEDED and options[param.name] is None:
            raise click.MissingParameter(ctx=ctx, param=param)
    _price_one(options, overrides, timeline, explain, assertions, output_format)


def _price_one(
    options: dict[str, Any],
    overrides: tuple[str, ...],
    timeline: str | None,
    explain: bool,
    assertions: tuple[str, ...],
    output_format: str,
) -> None:
    from simulator.cli.assertions import judge, parse_requirements
    from simulator.report.metrics import STEP_METRICS, metric_values

    requirements = parse_requirements(assertions, STEP_METRICS)
    if timeline is not None:
        from simulator.cli.destinations import check_outputs

        inputs = {name: options[f"{name}_name"] for name in ("system", "model")}
        check_outputs([Path(timeline)], {**inputs, "engine": options["engine"]})
    from simulator.cli.output import emit
    from simulator.cli.step_cases import load_inputs, price_one

    system, model = load_inputs(options, overrides)
    from simulator.report.explain_results import explain_step
    from simulator.report.json_out import step_json
    from simulator.report.step_table import print_step

    result = price_one(options, system, model)
    document = step_json(result)
    if timeline is not None:
        from simulator.report.timeline import write_step_timeline

        write_step_timeline(result, timeline)
    reasons = explain_step(result, system) if explain else []
    emit(output_format, document, lambda console: print_step(result, console), reasons)
    judge(requirements, metric_values(document, STEP_METRICS), STEP_METRICS)


def _price_cases(
    path: str,
    options: dict[str, Any],
    overrides: tuple[str, ...],
    output_format: str,
    context: click.Context,
) -> None:
    from simulator.cli.matmul_cases import to_csv
    from simulator.cli.step_cases import price_rows

    rows = price_rows(path, options, overrides, context)
    if output_format == "json":
        from simulator.report.json_out import to_json

        click.echo(to_json({"schema": "chipsim.step.cases/1", "rows": rows}))
    else:
        click.echo(to_csv(rows), nl=False)
