"""``chipsim serve-curve``: throughput of a chip against speed for a user, by number of users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from simulator.cli.once import OnceCommand
from simulator.cli.search_options import load_search, name_inputs, search_options
from simulator.cli.serving_values import WholeList
from simulator.cli.values import OneOf, PathText


@click.command("serve-curve", cls=OnceCommand)
@search_options
@click.option(
    "--concurrency",
    type=WholeList(),
    default="1,2,4,8,16,32,64",
    show_default=True,
    help="Users who ask again at once.",
)
@click.option(
    "--format",
    "output_format",
    type=OneOf("table", "json", "csv"),
    default="table",
    show_default=True,
    help="What to print on stdout.",
)
@click.option("--svg", type=PathText(), metavar="FILE", help="Draw the curve.")
def serve_curve(words: tuple[str, ...], **options: Any) -> None:
    """Measure MODEL on SYSTEM with the lengths of WORKLOAD (default: chat) at each concurrency.

    Each user sends the next request when the last one has been answered. Points that no other
    point beats in both tokens/s of a chip and tokens/s of a user are the Pareto front.

    \b
    Examples:
      chipsim serve-curve tpu-v6e llama3-8b chat --concurrency 1,4,16,64
      chipsim serve-curve h100:8 llama3-70b chat --format csv --svg curve.svg
    """
    from simulator.cli.destinations import check_outputs
    from simulator.cli.output import emit
    from simulator.report.accuracy import rests_on
    from simulator.report.curve_out import curve_csv, curve_json, print_curve
    from simulator.serving.curve import serve_curve as measure

    inputs = name_inputs(options, words)
    if options["svg"] is not None:
        check_outputs([Path(options["svg"])], inputs)
    serve, workload = load_search(options)
    seen: list[Any] = []

    def once(users: Any) -> Any:
        seen[:] = [serve(users, 1)]
        return seen[0]

    points = measure(once, workload, options["concurrency"])
    document = curve_json(points, seen[0], workload.name, options["seed"])
    if options["svg"] is not None:
        from simulator.report.curve_svg import write_svg

        write_svg(document, options["svg"])
    if options["output_format"] == "csv":
        click.echo(curve_csv(document), nl=False)
        return
    line = rests_on(seen[0])
    emit(options["output_format"], document, lambda console: print_curve(document, line, console))
