"""``chipsim trace``: what is in a trace file, and a trace file from a workload."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import format_option, set_option
from simulator.cli.values import NameText, PathText, Whole

if TYPE_CHECKING:
    from simulator.workload.request import Workload
    from simulator.workload.summary import TraceSummary


@click.group("trace")
def trace() -> None:
    """Describe a trace file, or generate one from a workload.

    \b
    Examples:
      chipsim trace info requests.csv
      chipsim trace generate chat --count 1000 --seed 1 -o chat.csv
    """


@trace.command(
    "info", cls=OnceCommand, short_help="Describe a trace: format, duration, numbers of tokens."
)
@click.argument("file", type=PathText())
@format_option
def info_command(file: str, output_format: str) -> None:
    """Describe the trace FILE: its format, how long it lasts, and how many tokens it has."""
    import dataclasses

    from simulator.workload.summary import summarize
    from simulator.workload.traces import read_trace_file

    found = read_trace_file(file)
    summary = summarize(found.requests)
    if output_format == "json":
        from simulator.report.json_out import to_json

        document: dict[str, Any] = {"schema": "chipsim.trace/1", "file": file}
        document |= {"format": found.format, "failed_calls": found.failed_calls}
        click.echo(to_json(document | dataclasses.asdict(summary)))
        return
    _print_summary(file, found.format, found.failed_calls, summary)


@trace.command("generate", cls=OnceCommand)
@click.argument("workload", type=NameText())
@click.option("--count", type=Whole(), help="Number of requests (default: the workload's own).")
@click.option(
    "--seed", type=Whole(least=0), default="0", show_default=True, help="Seed of the generator."
)
@click.option(
    "-o",
    "--output",
    type=PathText(dash=True),
    metavar="FILE",
    required=True,
    help="CSV file to write; - is stdout.",
)
@set_option
def generate_command(
    workload: str, count: int | None, seed: int, output: str, overrides: tuple[str, ...]
) -> None:
    """Write requests drawn from WORKLOAD as a CSV trace.

    The columns are arrived_at (seconds), num_prefill_tokens and num_decode_tokens; the same
    workload, count and seed give the same file.
    """
    from simulator.atomic import atomic_write
    from simulator.cli.destinations import check_outputs
    from simulator.cli.options import check_override_roots
    from simulator.config.loader import load_workload
    from simulator.report.figures import count as number
    from simulator.workload.generate import generate
    from simulator.workload.trace_writer import write_trace

    check_override_roots(overrides, ("workload",))
    spec = load_workload(workload, overrides)
    if output != "-":
        check_outputs([Path(output)], {"workload": workload})
    requests = _open_loop(generate(spec, count, seed))
    if requests.session is not None:
        click.echo(
            f"{workload}: a CSV trace has no sessions: turns do not wait for answers in it and "
            "share no prefixes",
            err=True,
        )
    if output == "-":
        write_trace(requests, sys.stdout)
        return
    with atomic_write(output) as stream:
        write_trace(requests, stream)
    click.echo(f"wrote {number(len(requests), 'requests')} to {output}", err=True)


def _open_loop(workload: Workload) -> Any:
    """The workload's requests; an ``InputError`` for a closed loop, which has no arrival times."""
    from simulator.errors import InputError
    from simulator.workload.request import Requests

    if isinstance(workload.traffic, Requests):
        return workload.traffic
    raise InputError(
        f"workload '{workload.name}' is a closed loop: when a request arrives depends on when the"
        " last one was answered, so it cannot be written as a trace",
        hint="run it, or give it arrivals with a rate:"
        " --set 'workload.arrivals={process: poisson, rate: 5 req/s}'",
    )


def _print_summary(file: str, format: str, failed: int, summary: TraceSummary) -> None:
    from simulator.report.console import make_console, make_table, show
    from simulator.report.figures import count, duration, percent, rate

    console = make_console()
    lines = [
        f"{file}: {format}, {count(summary.requests, 'requests')} in {duration(summary.duration_s)}"
        f" ({rate(summary.requests_per_s, 'requests')})"
    ]
    if failed:
        lines.append(f"{count(failed, 'failed calls')} left out")
    if summary.sessions is not None:
        lines.append(f"{count(summary.sessions, 'sessions')}, whose turns wait for each other")
    if summary.classes:
        parts = ", ".join(f"{name} {count(n)}" for name, n in summary.classes.items())
        lines.append(f"requests by class: {parts}")
    if summary.prefix is not None:
        found = summary.prefix
        lines.append(
            f"{count(found.blocks, 'prefix blocks')} of {found.block_tokens} tokens, of which an "
            f"endless cache would hit {percent(found.reused_fraction)}"
        )
    rows = [
        [name, *(count(v) for v in (t.mean, t.p50, t.p90, t.p99, t.max, t.total)), "tokens"]
        for name, t in (("prompt", summary.prompt_tokens), ("output", summary.output_tokens))
    ]
    columns = ("tokens", "mean", "p50", "p90", "p99", "max", "total", "<unit")
    show(console, *lines, make_table(console, "tokens per request", columns, rows))
