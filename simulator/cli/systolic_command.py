"""``chipsim systolic``: a matmul on a bare systolic array, exact to the cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.options import cases_option
from simulator.cli.systolic_cases import DATAFLOWS, LOADS, MAX_BYTES, parse_bandwidth
from simulator.cli.values import OneOf, PathText, SizeCommand, Whole, parse_whole
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.timing.systolic import SystolicCase, SystolicTiming

_OPTION_OF = {
    "m": "shape",
    "k": "shape",
    "n": "shape",
    "rows": "--array",
    "cols": "--array",
    "bandwidth_words_per_cycle": "--bandwidth-words-per-cycle",
}
_BUFFER = Whole(most=MAX_BYTES)


@click.command("systolic", cls=SizeCommand)
@click.argument("shape", metavar="[MxKxN]", required=False)
@click.option("--array", "array", metavar="RxC", help="Rows and columns of cells.")
@click.option("--dataflow", type=OneOf(*DATAFLOWS), help="Which operand stays in the cells.")
@click.option(
    "--load",
    type=OneOf(*LOADS),
    help="Load the stationary operand before (single, the default) or behind (double) the stream.",
)
@click.option("--macs", type=Whole(most=2), help="Multiply-accumulates per cell and cycle: 1 or 2.")
@click.option("--arrays", type=Whole(most=2**20), help="Equal arrays that share the folds.")
@click.option("--sram-ifmap-bytes", type=_BUFFER, help="Buffer of A (M x K).")
@click.option("--sram-filter-bytes", type=_BUFFER, help="Buffer of B (K x N).")
@click.option("--sram-ofmap-bytes", type=_BUFFER, help="Buffer of C (M x N).")
@click.option(
    "--bandwidth-words-per-cycle",
    "bandwidth",
    metavar="X",
    help="Words per cycle of each operand's own port to DRAM; ideal where left out.",
)
@click.option("--word-bytes", type=Whole(most=16), help="Bytes of a word, 1 where left out.")
@cases_option(
    "m,k,n,rows,cols,dataflow and perhaps load,macs,arrays,word_bytes,"
    "sram_*_bytes,bandwidth_words_per_cycle"
)
@click.option("--show", "shown", is_flag=True, help="Small arrays cell by cell, others by fold.")
@click.option(
    "--trace", "trace_file", type=PathText(), metavar="FILE", help="Write what moves: .npz or .csv."
)
@click.option(
    "--format",
    "output_format",
    type=OneOf("table", "json", "text"),
    default="table",
    show_default=True,
    help="What to print on stdout; text is for --show without keys.",
)
def systolic(
    shape: str | None,
    array: str | None,
    dataflow: str | None,
    cases_file: str | None,
    shown: bool,
    trace_file: str | None,
    output_format: str,
    bandwidth: str | None,
    **settings: Any,
) -> None:
    """Cycles, stalls and traffic of C[m,n] = A[m,k] B[k,n] on a systolic array.

    Memory is ideal unless buffers and a bandwidth are given. With --cases, the rows of FILE come
    back as CSV with the results beside them.

    \b
    Examples:
      chipsim systolic 1x4096x4096 --array 128x128 --dataflow ws
      chipsim systolic 6x4x8 --array 4x4 --dataflow ws --show
      chipsim systolic --cases layers.csv > cycles.csv
    """
    if (shape is None) == (cases_file is None):
        raise click.UsageError("give either a shape MxKxN or --cases FILE")
    if shown and output_format == "json":
        raise click.UsageError("--show prints text; leave out --format json")
    if cases_file is not None:
        extra = [name for name, value in settings.items() if value is not None]
        if array or dataflow or bandwidth or extra or shown or trace_file:
            raise click.UsageError("with --cases, everything but --format comes from the file")
        _price_cases(cases_file, output_format)
        return
    if array is None or dataflow is None:
        raise click.UsageError("a shape needs --array RxC and --dataflow ws|os|is")
    from simulator.timing.systolic import SystolicCase, check_case

    m, k, n = _sizes(shape or "", "MxKxN", 2**31)
    rows, cols = _sizes(array, "RxC", 1024)
    given = {name: value for name, value in settings.items() if value is not None}
    case = SystolicCase(m, k, n, rows, cols, dataflow, **given)
    if bandwidth is not None:
        from dataclasses import replace

        case = replace(case, bandwidth=parse_bandwidth(bandwidth, "--bandwidth-words-per-cycle"))
    wrong = check_case(case)
    if wrong is not None:
        field, message = wrong
        name = _OPTION_OF.get(field, "--" + field.replace("_", "-"))
        raise InputError(f"{name}: {message}")
    _run_one(case, shown, trace_file, output_format)


def _sizes(text: str, form: str, most: int) -> tuple[int, ...]:
    names = form.split("x")
    parts = text.lower().split("x")
    if len(parts) != len(names):
        what = "--array: " if form == "RxC" else ""
        raise InputError(
            f"{what}found '{text[:60]}', expected {form}, whole numbers with x between them"
        )
    return tuple(
        parse_whole(part, f"{name} of '{text[:60]}'", most=most)
        for name, part in zip(names, parts, strict=True)
    )


def _run_one(case: SystolicCase, shown: bool, trace_file: str | None, form: str) -> None:
    from simulator.timing.systolic import systolic_timing

    timing = systolic_timing(case)
    if trace_file is not None:
        from simulator.report.systolic_trace import write_trace

        records = write_trace(case, trace_file)
        click.echo(f"wrote {records:,} records to {trace_file}", err=True)
    if shown:
        from simulator.cli.systolic_steps import show_cells

        show_cells(timing, plain=form == "text")
        return
    _print(timing, form)


def _print(timing: SystolicTiming, form: str) -> None:
    from simulator.cli.output import emit
    from simulator.report.systolic_out import print_systolic, systolic_json

    emit(form, systolic_json(timing), lambda console: print_systolic(timing, console))


def _price_cases(path: str, form: str) -> None:
    from simulator.cli.matmul_cases import to_csv
    from simulator.cli.systolic_cases import result_rows

    with_results = _results(path)
    from simulator.report.systolic_out import GIVEN

    rows = result_rows(*with_results, GIVEN)
    if form == "json":
        from simulator.report.json_out import to_json

        click.echo(to_json({"schema": "chipsim.systolic.cases/1", "rows": rows}))
    else:
        click.echo(to_csv(rows), nl=False)


def _results(path: str) -> tuple[Any, list[Any]]:
    from simulator.cli.systolic_cases import read_systolic_cases

    table, cases = read_systolic_cases(path)
    from simulator.report.systolic_out import systolic_fields
    from simulator.timing.systolic import systolic_timing

    results = []
    for row, case in zip(table.rows, cases, strict=True):
        try:
            results.append(systolic_fields(systolic_timing(case)))
        except InputError as error:
            raise InputError(error.message, location=row[0].location) from None
    return table, results
