"""``chipsim capacity``: the highest rate that a system serves as promised, or how many it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import format_option
from simulator.cli.search_options import load_search, name_inputs, search_options
from simulator.cli.serving_values import RateValue, Share
from simulator.cli.slo_option import apply_slos, slo_option
from simulator.cli.values import Whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.serving.results import RunResult
    from simulator.workload.request import Workload

DEFAULT_MOST = 64


@click.command("capacity", cls=OnceCommand)
@search_options
@slo_option
@click.option(
    "--attainment",
    type=Share(),
    default="90%",
    show_default=True,
    help="Share of the requests that have to meet the SLO.",
)
@click.option(
    "--rate",
    type=RateValue(),
    help="Find the fewest replicas of SYSTEM for this rate (requests/s) instead.",
)
@click.option(
    "--max-replicas",
    type=Whole(1, 65_536),
    help=f"Try no more of them (default: {DEFAULT_MOST}); without --rate, for WORKLOAD's own rate.",
)
@format_option
def capacity(words: tuple[str, ...], **options: Any) -> None:
    """Find the highest rate of WORKLOAD (default: chat) that SYSTEM serves within an SLO.

    The requests are replayed closer and closer together until fewer than the wanted share of them
    meet the SLO, or the queue grows without bound. With --rate it finds how many replicas of
    SYSTEM it takes.

    \b
    Examples:
      chipsim capacity tpu-v6e llama3-8b chat --slo ttft=500ms,tpot=50ms
      chipsim capacity h100:8 llama3-70b code --slo ttft=1s,tpot=40ms --attainment 99% --rate 30
      chipsim capacity llama3-70b code --prefill h100:8 --decode h100:8 --slo ttft=1s,tpot=40ms
    """
    from simulator.cli.output import emit
    from simulator.report.accuracy import rests_on
    from simulator.report.capacity_out import capacity_json, print_capacity
    from simulator.serving.capacity import Search

    name_inputs(options, words)
    serve, workload = load_search(options)
    workload = apply_slos(workload, options["slos"])
    search = Search(_announced(serve), workload, options["attainment"], _more(options))
    rate, most = options["rate"], options["max_replicas"]
    if rate is None and most is None:
        found = search.highest_rate()
    else:
        found = search.fewest_replicas(rate or search.own_rate, most or DEFAULT_MOST)
    document = capacity_json(found, workload, options["attainment"], options["seed"])
    line = rests_on(found.best.result)
    emit(options["output_format"], document, lambda screen: print_capacity(document, line, screen))


def _more(options: dict[str, Any]) -> Callable[[int], Workload] | None:
    """What generates the workload with so many requests; None for a trace or with ``--limit``."""
    from simulator.cli.search_options import load_workload_of
    from simulator.cli.traffic import is_trace_path

    name = options["workload"]
    if options["limit"] is not None or options["trace"] or (name and is_trace_path(name)):
        return None
    return lambda count: apply_slos(load_workload_of({**options, "limit": count}), options["slos"])


def _announced(
    serve: Callable[[Workload, int], RunResult],
) -> Callable[[Workload, int], RunResult]:
    """The same, with a line on stderr for each replay where a person is watching."""
    from simulator.cli.progress import wants_progress

    if not wants_progress():
        return serve

    def replay(workload: Workload, replicas: int) -> RunResult:
        result = serve(workload, replicas)
        goodput = result.goodput
        share = 0.0 if goodput is None else goodput.attainment or 0.0
        click.echo(
            f"capacity: {result.system}: {result.requests_per_s:.4g} requests/s, "
            f"{share:.1%} within the SLO",
            err=True,
        )
        return result

    return replay
