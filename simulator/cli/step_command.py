"""``chipsim step``: the price of one prefill or decode iteration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simulator.cli.layout_options import chosen_layout, layout_options
from simulator.cli.once import OnceCommand
from simulator.cli.options import (
    assert_option,
    check_override_roots,
    chosen_engine,
    dtype_options,
    explain_option,
    format_option,
    overrides_for,
    resolve_dtypes,
    set_option,
    step_options,
    timeline_option,
    tp_option,
    with_engine,
)


@click.command("step", cls=OnceCommand)
@step_options
@tp_option
@layout_options
@dtype_options
@set_option
@timeline_option
@explain_option
@assert_option
@format_option
def step(
    system_name: str,
    model_name: str,
    phase: str,
    batch: int,
    context: int,
    engine: str | None,
    dtype: str | None,
    weight_dtype: str | None,
    activation_dtype: str | None,
    kv_dtype: str | None,
    overrides: tuple[str, ...],
    timeline: str | None,
    explain: bool,
    assertions: tuple[str, ...],
    output_format: str,
    **layout: Any,
) -> None:
    """Price one prefill or decode step of MODEL on SYSTEM, operator by operator.

    \b
    Examples:
      chipsim step tpu-v6e llama3-8b --phase decode --batch 32 --context 2048
      chipsim step h100:8 llama3-70b --phase prefill --batch 1 --context 4096 --timeline step.json
      chipsim step h100:8x8 mixtral-8x7b --phase decode --batch 64 --context 4096 --layout auto
    """
    from simulator.cli.assertions import judge, parse_requirements
    from simulator.report.metrics import STEP_METRICS, metric_values

    check_override_roots(overrides, ("chip", "system", "model", "engine", "library"))
    requirements = parse_requirements(assertions, STEP_METRICS)
    if timeline is not None:
        from simulator.cli.destinations import check_outputs

        inputs = {"system": system_name, "model": model_name, "engine": engine}
        check_outputs([Path(timeline)], inputs)
    from simulator.config.loader import load_any_model, load_system

    host = chosen_engine(engine, overrides)
    system = with_engine(
        load_system(system_name, overrides_for(overrides, "system", "chip", "library")), host
    )
    model = load_any_model(model_name, overrides_for(overrides, "model"))

    from simulator.api import price_step
    from simulator.cli.output import emit
    from simulator.report.explain_results import explain_step
    from simulator.report.json_out import step_json
    from simulator.report.step_table import print_step

    dtypes = resolve_dtypes(dtype, weight_dtype, activation_dtype, kv_dtype)
    result = price_step(
        system,
        model,
        phase=phase,
        batch=batch,
        context=context,
        layout=chosen_layout(layout),
        weight_dtype=dtypes["weight_dtype"],
        activation_dtype=dtypes["activation_dtype"],
        kv_dtype=dtypes["kv_dtype"],
    )
    document = step_json(result)
    if timeline is not None:
        from simulator.report.timeline import write_step_timeline

        write_step_timeline(result, timeline)
    reasons = explain_step(result, system) if explain else []
    emit(output_format, document, lambda console: print_step(result, console), reasons)
    judge(requirements, metric_values(document, STEP_METRICS), STEP_METRICS)
