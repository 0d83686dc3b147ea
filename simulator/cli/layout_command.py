"""``chipsim layout``: the fastest ways to spread a model over a system."""

from __future__ import annotations

from typing import Any

import click

from simulator.cli.layout_options import chosen_layout, expert_options
from simulator.cli.once import OnceCommand
from simulator.cli.options import (
    check_override_roots,
    choice_option,
    chosen_engine,
    dtype_options,
    format_option,
    overrides_for,
    resolve_dtypes,
    set_option,
    step_options,
    with_engine,
)
from simulator.cli.values import Whole


@click.command("layout", cls=OnceCommand)
@step_options
@choice_option(
    "--objective",
    "latency",
    "throughput",
    default="latency",
    help="Least time of the step, or most tokens a second when such batches follow each other.",
)
@click.option("--top", type=Whole(), default=10, show_default=True, help="Rows of the table.")
@expert_options
@dtype_options
@set_option
@format_option
def layout(
    system_name: str,
    model_name: str,
    phase: str,
    batch: int,
    context: int,
    engine: str | None,
    objective: str,
    top: int,
    dtype: str | None,
    weight_dtype: str | None,
    activation_dtype: str | None,
    kv_dtype: str | None,
    overrides: tuple[str, ...],
    output_format: str,
    **options: Any,
) -> None:
    """Rank the layouts of MODEL on SYSTEM that fit, and say why the others lost.

    \b
    Examples:
      chipsim layout h100:8 llama3-70b --phase decode --batch 64 --context 4096
      chipsim layout gb200:72 deepseek-v3 --phase decode --batch 4096 --context 4096 --dtype fp8
    """
    from simulator.api import find_layouts
    from simulator.cli.output import emit
    from simulator.config.loader import load_model, load_system
    from simulator.report.accuracy import accuracy_line, evidence_json
    from simulator.report.layout_out import layout_json, print_layouts
    from simulator.timing.evidence import compared, uncompared

    check_override_roots(overrides, ("chip", "system", "model", "engine", "library"))
    host = chosen_engine(engine, overrides)
    system = with_engine(
        load_system(system_name, overrides_for(overrides, "system", "chip", "library")), host
    )
    model = load_model(model_name, overrides_for(overrides, "model"))
    dtypes = resolve_dtypes(dtype, weight_dtype, activation_dtype, kv_dtype)
    found = find_layouts(
        system,
        model,
        phase=phase,
        batch=batch,
        context=context,
        objective=objective,
        top=top,
        options=chosen_layout(options),
        **dtypes,
    )
    entries = compared(system, model)
    missing = [("", name) for name in uncompared(system, model, entries)]
    asked = {
        "system": system.name,
        "model": model.name,
        "phase": phase,
        "batch": batch,
        "context": context,
        "objective": objective,
        "dtypes": {name.removesuffix("_dtype"): kind for name, kind in dtypes.items()},
        **evidence_json(entries, missing, host),
    }
    document = layout_json(found, asked)
    changed = ("",) if system.chip.overridden else ()
    line = accuracy_line(entries, asked["dtypes"], host, missing, changed)
    emit(output_format, document, lambda console: print_layouts(found, asked, line, console), [])
