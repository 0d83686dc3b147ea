"""``chipsim collective``: the price of one collective, or of a file of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.options import cases_option, format_option, set_option
from simulator.cli.values import SizeCommand, Whole, parse_size

if TYPE_CHECKING:
    from simulator.fabric.collective_timing import CollectiveTiming


@click.command("collective", cls=SizeCommand)
@click.argument("op", metavar="[OP]", required=False)
@click.argument("size", metavar="[BYTES]", required=False)
@click.option("--system", "system_name", metavar="SYSTEM", help="Such as tpu-v7x:4x4x4 or h100:8.")
@click.option("--group", metavar="SIZE|AXES", help="Ranks: a number of chips, or axes such as xy.")
@click.option(
    "--algorithm",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="ring, bidirectional-ring, multi-axis, halving-doubling, tree, direct, in-network, "
    "hierarchical, one-shot, two-shot; auto for the fastest of the collective library; engine for "
    "what the system's serving engine takes, as inside a step; or another engine, such as "
    "vllm-0.18 or tensorrt-llm-1.3.",
)
@click.option(
    "--concurrent",
    type=Whole(most=2**20),
    default=1,
    show_default=True,
    help="Equal collectives that share the links.",
)
@cases_option(
    "op,bytes,ranks,algorithm and either system, or topology,"
    "bandwidth_bytes_per_s,latency_s[,endpoint_delay_s,reduce_bytes_per_s]"
)
@click.option(
    "--traffic-matrix",
    "matrix_file",
    metavar="FILE",
    help="An all-to-all of unequal messages, instead of BYTES: a CSV file with a line for each "
    "sending and a column for each receiving chip, or with source,target,bytes.",
)
@set_option
@format_option
def collective(
    op: str | None,
    size: str | None,
    system_name: str | None,
    group: str | None,
    algorithm: str,
    concurrent: int,
    cases_file: str | None,
    matrix_file: str | None,
    overrides: tuple[str, ...],
    output_format: str,
) -> None:
    """Time, bandwidths and traffic of a collective on a system's fabric.

    OP is all-reduce, all-gather, reduce-scatter, all-to-all, broadcast, p2p or permute. BYTES is
    the full buffer of one rank (for all-gather: of the gathered result), with or without a unit.

    \b
    Examples:
      chipsim collective all-reduce 64MiB --system h100:8
      chipsim collective all-gather 1GiB --system tpu-v7x:4x4x8 --group xy
      chipsim collective all-to-all --system h100:8 --traffic-matrix experts.csv
      chipsim collective --cases collectives.csv > priced.csv
    """
    if cases_file is not None:
        if op is not None or group or algorithm != "auto" or concurrent != 1 or matrix_file:
            raise click.UsageError("with --cases, only --system, --set and --format may be given")
        _price_cases(cases_file, system_name, overrides, output_format)
        return
    if op is None or (size is None) == (matrix_file is None):
        raise click.UsageError("give OP and BYTES, OP and --traffic-matrix FILE, or --cases FILE")
    if system_name is None:
        raise click.UsageError("OP and BYTES need --system SYSTEM")
    if matrix_file is not None and op != "all-to-all":
        raise click.UsageError(f"--traffic-matrix is for all-to-all, found {op}")
    from simulator.cli.options import check_override_roots
    from simulator.config.loader import load_system
    from simulator.fabric.collectives import price_collective

    check_override_roots(overrides, ("system", "chip", "library"))
    count = 0 if size is None else parse_size(size, "BYTES")
    system = load_system(system_name, overrides)
    if matrix_file is not None:
        from simulator.cli.traffic_matrix import read_matrix
        from simulator.fabric.collectives import group_of
        from simulator.fabric.matrix import price_matrix

        ranks = group_of(system.fabric, group).chips
        timing = price_matrix(
            system.fabric,
            read_matrix(matrix_file, ranks),
            group=group,
            algorithm=algorithm,
            concurrent=concurrent,
        )
    else:
        timing = price_collective(
            system.fabric, op, count, group=group, algorithm=algorithm, concurrent=concurrent
        )
    _print(system.name, timing, output_format)


def _print(system: str, timing: CollectiveTiming, output_format: str) -> None:
    from simulator.cli.output import emit
    from simulator.report.collective_out import collective_json, print_collective

    emit(
        output_format,
        collective_json(system, timing),
        lambda console: print_collective(system, timing, console),
    )


def _price_cases(
    path: str, system_name: str | None, overrides: tuple[str, ...], output_format: str
) -> None:
    from simulator.cli.collective_cases import price_rows
    from simulator.cli.matmul_cases import to_csv

    rows: list[dict[str, Any]] = price_rows(path, system_name, overrides)
    if output_format == "json":
        from simulator.report.json_out import to_json

        click.echo(to_json({"schema": "chipsim.collective.cases/1", "rows": rows}))
    else:
        click.echo(to_csv(rows), nl=False)
