"""``chipsim run``: replay request traffic on a simulated system."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.layout_options import LAYOUT_NAMES, chosen_layout, layout_options
from simulator.cli.options import (
    assert_option,
    check_override_roots,
    dtype_options,
    explain_option,
    format_option,
    overrides_for,
    resolve_dtypes,
    set_option,
    timeline_option,
    tp_option,
)
from simulator.cli.slo_option import apply_slos, slo_option
from simulator.cli.values import NameText, PathText, Positive, Seconds, Whole

if TYPE_CHECKING:
    from simulator.hardware import System
    from simulator.model.transformer import Transformer
    from simulator.serving.results import RunResult
    from simulator.workload.request import Workload


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run is made of, loaded and with every override in place."""

    system: System
    model: Transformer
    workload: Workload
    file: str | None


@click.command("run")
@click.argument("system", metavar="SYSTEM", type=NameText())
@click.argument("model", metavar="MODEL", type=NameText())
@click.argument("workload", metavar="[WORKLOAD]", required=False, type=NameText())
@click.option(
    "--trace",
    type=PathText(),
    metavar="FILE",
    help="Replay the requests of a trace file instead.",
)
@click.option("--limit", type=Whole(), help="Replay only the first so many requests.")
@click.option("--rate-scale", type=Positive(), help="Let requests arrive X times as fast.")
@click.option(
    "--warmup", type=Seconds(), default=0.0, help="Leave this long a start out of the latencies."
)
@slo_option
@tp_option
@layout_options
@dtype_options
@click.option("--max-batch", type=Whole(), default=256, show_default=True, help="Most sequences.")
@click.option(
    "--token-budget",
    type=Whole(),
    default=8192,
    show_default=True,
    help="Most tokens of an iteration (chunked prefill).",
)
@set_option
@click.option("--seed", type=Whole(0, 2**63 - 1), default=0, show_default=True)
@format_option
@click.option(
    "-o",
    "--output",
    "directory",
    type=PathText(),
    metavar="DIR",
    help="Write result.json, requests.csv and manifest.json.",
)
@timeline_option
@explain_option
@assert_option
def run(**options: Any) -> None:
    """Replay the requests of WORKLOAD (default: chat) or of a trace on SYSTEM with MODEL.

    WORKLOAD is a shipped workload's name, a workload file (YAML) or a trace file.

    \b
    Examples:
      chipsim run tpu-v6e llama3-8b chat
      chipsim run h100:8 llama3-70b --trace requests.csv --limit 1000 -o results
      chipsim run tpu-v7x:2x2x1 llama3-70b code --dtype fp8 --assert 'tpot_p99<40ms'
    """
    from simulator.cli.assertions import judge, parse_requirements
    from simulator.cli.destinations import INPUTS, check_outputs, output_directory
    from simulator.report.files import FILES
    from simulator.report.metrics import RUN_METRICS, metric_values

    if options["workload"] is not None and options["trace"] is not None:
        raise click.UsageError("give either WORKLOAD or --trace FILE, not both")
    check_override_roots(options["overrides"], ("chip", "system", "model", "workload"))
    requirements = parse_requirements(options["assertions"], RUN_METRICS)
    with output_directory(options["directory"]) as directory:
        written = [] if directory is None else [directory / name for name in FILES]
        if options["timeline"] is not None:
            written.append(Path(options["timeline"]))
        check_outputs(written, {name: options[name] for name in INPUTS})
        inputs = _load(options)
        result = _simulate(inputs, options)
        document = _report(result, inputs, options, directory)
    judge(requirements, metric_values(document, RUN_METRICS), RUN_METRICS)


def _load(options: dict[str, Any]) -> RunInputs:
    from simulator.cli.traffic import load_traffic
    from simulator.config.loader import load_model, load_system

    overrides = options["overrides"]
    system = load_system(options["system"], overrides_for(overrides, "system", "chip"))
    model = load_model(options["model"], overrides_for(overrides, "model"))
    workload, file = load_traffic(
        options["workload"],
        options["trace"],
        limit=options["limit"],
        rate_scale=options["rate_scale"],
        seed=options["seed"],
        overrides=overrides_for(overrides, "workload"),
    )
    return RunInputs(system, model, apply_slos(workload, options["slos"]), file)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of ``simulate`` that say how, not what."""
    kinds = ("dtype", "weight_dtype", "activation_dtype", "kv_dtype")
    dtypes = resolve_dtypes(*(options[kind] for kind in kinds))
    names = ("max_batch", "token_budget", "seed")
    chosen = {name: options[name] for name in names}
    return {**chosen, **dtypes, "warmup_s": options["warmup"]}


def _simulate(inputs: RunInputs, options: dict[str, Any]) -> RunResult:
    from simulator.api import simulate
    from simulator.cli.progress import ProgressBar, wants_progress

    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(ProgressBar("simulating")) if wants_progress() else None
        return simulate(
            inputs.system,
            inputs.model,
            inputs.workload,
            record_iterations=options["timeline"] is not None,
            progress=bar,
            layout=chosen_layout(options),
            **_settings(options),
        )


def _report(
    result: RunResult, inputs: RunInputs, options: dict[str, Any], directory: Any
) -> dict[str, Any]:
    from simulator.cli.output import emit
    from simulator.report.explain_results import explain_run
    from simulator.report.json_out import run_json
    from simulator.report.run_table import print_run

    document = run_json(result)
    if options["timeline"] is not None:
        from simulator.report.timeline import write_run_timeline

        write_run_timeline(result, options["timeline"])
    if directory is not None:
        from simulator.report.files import manifest_json, write_directory

        chosen = {name: options[name] for name in LAYOUT_NAMES}
        chosen |= {**_settings(options), "limit": options["limit"]}
        chosen |= {"rate_scale": options["rate_scale"], "set": list(options["overrides"])}
        chosen |= {"slo": list(options["slos"])}
        manifest = manifest_json(
            inputs.system,
            inputs.model,
            inputs.workload,
            seed=options["seed"],
            options=chosen,
            trace_file=inputs.file,
        )
        write_directory(directory, document, result.table, manifest)
    reasons = explain_run(result, inputs.system) if options["explain"] else []
    emit(options["output_format"], document, lambda console: print_run(result, console), reasons)
    return document
