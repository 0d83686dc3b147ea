"""``chipsim run``: replay request traffic on a simulated system."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import (
    assert_option,
    check_override_roots,
    explain_option,
    format_option,
    overrides_for,
    timeline_option,
)
from simulator.cli.serving_options import replay_options, serving_options
from simulator.cli.slo_option import apply_slos, slo_option
from simulator.cli.values import PathText, Positive, Seconds

if TYPE_CHECKING:
    from simulator.model.transformer import Transformer
    from simulator.serving.pools import Deployment
    from simulator.serving.results import RunResult
    from simulator.workload.request import Workload


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run is made of, loaded and with every override in place."""

    deployment: Deployment
    model: Transformer
    workload: Workload
    file: str | None


@click.command("run", cls=OnceCommand)
@click.argument("words", metavar="SYSTEM MODEL [WORKLOAD]", nargs=-1)
@serving_options
@replay_options
@click.option("--rate-scale", type=Positive(), help="Let requests arrive X times as fast.")
@click.option(
    "--warmup", type=Seconds(), default=0.0, help="Leave this long a start out of the latencies."
)
@slo_option
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
@click.pass_context
def run(context: click.Context, /, words: tuple[str, ...], **options: Any) -> None:
    """Replay the requests of WORKLOAD (default: chat) or of a trace on SYSTEM with MODEL.

    WORKLOAD is a shipped workload's name, a workload file (YAML) or a trace file. With --prefill
    and --decode SYSTEM is left out.

    \b
    Examples:
      chipsim run tpu-v6e llama3-8b chat
      chipsim run h100:8 llama3-70b --trace requests.csv --limit 1000 -o results
      chipsim run tpu-v7x:2x2x1 llama3-70b code --dtype fp8 --assert 'tpot_p99<40ms'
      chipsim run tpu-v6e llama3-8b --replicas 4 --router least-loaded --fail replica:0@30s
      chipsim run llama3-70b code --prefill tpu-v7x:2x2x1 --decode h100:8 --decode-replicas 2
    """
    from simulator.cli.assertions import judge, parse_requirements
    from simulator.cli.deployment import check_complete, name_arguments
    from simulator.cli.destinations import check_outputs, output_directory
    from simulator.cli.scenario import apply_scenario
    from simulator.serving import compile_ahead

    name_arguments(options, words)
    if options["workload"] is not None and options["trace"] is not None:
        raise click.UsageError("give either WORKLOAD or --trace FILE, not both")
    apply_scenario(options, context)
    check_complete(options)
    compile_ahead.start()
    from simulator.report.metrics import RUN_METRICS, metric_values

    roots = ("chip", "system", "model", "workload", "prefill", "decode", "engine", "library")
    check_override_roots(options["overrides"], roots)
    requirements = parse_requirements(options["assertions"], RUN_METRICS)
    with output_directory(options["directory"]) as directory:
        written = []
        if directory is not None:
            from simulator.report.files import FILES

            written = [directory / name for name in FILES]
        if options["timeline"] is not None:
            written.append(Path(options["timeline"]))
        for inputs in (*_inputs(options), {"scenario": options["scenario"]}):
            check_outputs(written, inputs)
        loaded = _load(options)
        result = _simulate(loaded, options)
        document = _report(result, loaded, options, directory)
    judge(requirements, metric_values(document, RUN_METRICS), RUN_METRICS)


def _inputs(options: dict[str, Any]) -> list[dict[str, str | None]]:
    """What the command reads, once for each system."""
    from simulator.cli.deployment import wanted_pools

    others = {name: options[name] for name in ("model", "workload", "trace", "engine")}
    systems = [member.system for members in wanted_pools(options).values() for member in members]
    return [{"system": system, **others} for system in systems]


def _load(options: dict[str, Any]) -> RunInputs:
    from simulator.cli.deployment import make_deployment
    from simulator.cli.traffic import load_traffic
    from simulator.config.loader import load_model

    overrides = options["overrides"]
    model = load_model(options["model"], overrides_for(overrides, "model"))
    workload, file = load_traffic(
        options["workload"],
        options["trace"],
        limit=options["limit"],
        rate_scale=options["rate_scale"],
        seed=options["seed"],
        overrides=overrides_for(overrides, "workload"),
    )
    workload = apply_slos(workload, options["slos"])
    return RunInputs(make_deployment(options, model, workload), model, workload, file)


def _simulate(inputs: RunInputs, options: dict[str, Any]) -> RunResult:
    from simulator.api import serve
    from simulator.cli.deployment import make_options
    from simulator.cli.progress import ProgressBar, wants_progress

    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(ProgressBar("simulating")) if wants_progress() else None
        return serve(inputs.deployment, inputs.workload, make_options(options), bar)


def _report(
    result: RunResult, inputs: RunInputs, options: dict[str, Any], directory: Any
) -> dict[str, Any]:
    from simulator.cli.output import emit
    from simulator.report.explain_results import explain_run
    from simulator.report.json_out import run_json
    from simulator.report.run_table import print_run

    # the last pool is the one that decodes
    system = inputs.deployment.pools[-1].members[0].plan.system
    document = run_json(result)
    if options["timeline"] is not None:
        from simulator.report.timeline import write_run_timeline

        write_run_timeline(result, options["timeline"])
    if directory is not None:
        from simulator.cli.deployment import recorded_options
        from simulator.report.files import manifest_json, write_directory

        manifest = manifest_json(
            system,
            inputs.model,
            inputs.workload,
            seed=options["seed"],
            options=recorded_options(options),
            trace_file=inputs.file,
        )
        write_directory(directory, document, result.table, manifest)
    explain = options["explain"]
    pools = {
        pool.role: [member.plan.system for member in pool.members]
        for pool in inputs.deployment.pools
    }
    kinds = {kind.name for found in pools.values() for kind in found}
    several = pools if len(pools) > 1 or len(kinds) > 1 else None
    reasons = explain_run(result, system, several) if explain else []
    emit(
        options["output_format"],
        document,
        lambda console: print_run(result, console, over_time=explain),
        reasons,
    )
    return document
