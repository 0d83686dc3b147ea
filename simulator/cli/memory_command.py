"""``chipsim memory``: the bandwidth of a DRAM channel under an access pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import cases_option, format_option
from simulator.cli.values import NameText, OneOf, PathText, Whole, parse_number
from simulator.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.hardware.dram import DramChannel
    from simulator.timing.memory import MemoryResult

_REFRESH = ("all", "per-bank", "off")
_MAX_REQUESTS = 50_000_000


@click.command("memory", cls=OnceCommand)
@click.argument("preset", required=False, type=NameText())
@click.option("--pattern", metavar="P", help="sequential, random, stride:BYTES or block:BYTES.")
@click.option("--requests", type=Whole(most=_MAX_REQUESTS), help="Bursts to move (default: 40000).")
@click.option("--queue", type=Whole(most=512), help="Places of the read queue.")
@click.option("--write-fraction", metavar="X", help="Share of the requests that are writes.")
@click.option("--refresh", type=OneOf(*_REFRESH), help="Kind of refresh (default: all).")
@click.option(
    "--address-map",
    metavar="NAME",
    help="Fields from the lowest bits, as pc.bg.col.sid.ba.row, or a name as RoBaRaCoCh.",
)
@click.option("--seed", type=Whole(least=0, most=2**32), help="Seed of the random patterns.")
@click.option(
    "--trace", "trace_file", type=PathText(), metavar="FILE", help="Replay a trace: .csv or .npz."
)
@click.option(
    "--trace-clock",
    metavar="FREQUENCY",
    help="Clock of the trace's cycles, as 1 GHz (default: the memory's own clock).",
)
@cases_option("preset,pattern,requests,queue,refresh,address_map")
@format_option
def memory(
    preset: str | None,
    pattern: str | None,
    trace_file: str | None,
    trace_clock: str | None,
    cases_file: str | None,
    output_format: str,
    write_fraction: str | None,
    **settings: Any,
) -> None:
    """Bandwidth, row hits and latency of one channel of a DRAM preset, at bank level.

    One request is one burst, and a block is whole bursts. With --cases, the rows of FILE come
    back as CSV with the results beside them.

    \b
    Examples:
      chipsim memory hbm3-6400 --pattern sequential
      chipsim memory hbm2-2000 --pattern block:1024 --refresh off
      chipsim memory hbm3-6400 --trace layer.npz --trace-clock '1.5 GHz'
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if (preset is None) == (cases_file is None):
        raise click.UsageError("give either a PRESET or --cases FILE")
    if cases_file is not None:
        if given or pattern or trace_file or trace_clock or write_fraction:
            raise click.UsageError("with --cases, everything but --format comes from the file")
        _run_cases(cases_file, output_format)
        return
    from simulator.config.loader import load_memory

    # a wrong name is said before what else is missing
    channel = load_memory(preset or "")
    if (pattern is None) == (trace_file is None):
        raise click.UsageError("give either --pattern or --trace FILE")
    if trace_clock is not None and trace_file is None:
        raise click.UsageError("--trace-clock belongs to --trace")
    if trace_file is not None and (write_fraction or "requests" in given or "seed" in given):
        raise click.UsageError("a trace has its own requests and writes")
    from simulator.cli.memory_cases import rounding_note
    from simulator.timing.memory import parse_pattern, simulate_memory

    note = None
    if trace_file is not None:
        result = _replay(channel, trace_file, trace_clock, given)
    else:
        parsed = _named("--pattern", lambda: parse_pattern(pattern or ""))
        share = 0.0
        if write_fraction is not None:
            share = parse_number(write_fraction, "--write-fraction", allow_zero=True)
        result = simulate_memory(channel, parsed, write_fraction=share, **given)
        note = rounding_note(channel, parsed)
    _print(channel, result, output_format, note)


def _named(option: str, action: Any) -> Any:
    try:
        return action()
    except InputError as error:
        raise InputError(f"{option}: {error.message}", hint=error.hint) from None


def _replay(
    channel: DramChannel, path: str, clock: str | None, given: dict[str, Any]
) -> MemoryResult:
    from simulator.timing.memory import replay_memory
    from simulator.timing.memory_trace import read_bursts

    per_cycle = float(channel.bus.ticks_per_clock)
    if clock is not None:
        from simulator.units import parse_quantity

        hertz = _named("--trace-clock", lambda: parse_quantity(clock, "frequency"))
        if not hertz:
            raise InputError(f"--trace-clock: found '{clock}', expected more than 0")
        per_cycle = 1.0 / hertz / channel.tick_s
    bursts, writes, arrivals = read_bursts(path, channel, per_cycle)
    return replay_memory(channel, bursts, writes, arrivals, **given)


def _fields(result: MemoryResult) -> dict[str, Any]:
    return {
        "preset": result.memory,
        "pattern": result.pattern,
        "requests": result.requests,
        "queue": result.queue,
        "refresh": result.refresh,
        "address_map": result.address_map,
        "write_fraction": result.write_fraction,
        "seed": result.seed,
        "time_s": result.time_s,
        "bandwidth_bytes_per_s": result.bandwidth_bytes_per_s,
        "fraction_of_peak": result.fraction_of_peak,
        "row_hits": result.row_hits,
        "row_misses": result.row_misses,
        "row_conflicts": result.row_conflicts,
        "mean_latency_s": result.mean_latency_s,
        "bound_by": result.bound_by,
    }


def _print(channel: DramChannel, result: MemoryResult, form: str, note: str | None) -> None:
    from simulator.cli.output import emit

    document = {
        "schema": "chipsim.memory/1",
        **_fields(result),
        "peak_bytes_per_s": channel.peak_bytes_per_s,
        "burst_bytes": channel.organisation.burst_bytes,
        "busy": dict(result.busy),
    }
    if note:
        document["note"] = note
        click.echo(f"chipsim: {note}", err=True)
    emit(form, document, lambda console: _print_table(console, channel, result))


def _print_table(console: Console, channel: DramChannel, result: MemoryResult) -> None:
    from simulator.report.console import make_table, show
    from simulator.report.figures import count, duration, percent, scaled
    from simulator.timing.memory import BOUNDS_MEAN

    show(
        console,
        f"{channel.name} ({channel.standard}, {channel.confidence}), one channel, "
        f"{result.pattern}, {result.address_map}, refresh {result.refresh}, "
        f"queue {result.queue}",
    )
    rows = [
        ("requests", count(result.requests)),
        ("time", duration(result.time_s)),
        ("bandwidth", scaled(result.bandwidth_bytes_per_s, "B/s")),
        ("peak", scaled(channel.peak_bytes_per_s, "B/s")),
        ("fraction of peak", percent(result.fraction_of_peak)),
        ("row hits (row open)", count(result.row_hits)),
        ("row misses (bank closed)", count(result.row_misses)),
        ("row conflicts (another row)", count(result.row_conflicts)),
        ("mean latency", duration(result.mean_latency_s)),
        ("bound by", result.bound_by),
    ]
    show(console, make_table(console, "Memory", ("figure", "value"), rows))
    busy = [(name, percent(share)) for name, share in result.busy.items()]
    show(console, make_table(console, "Busiest of each kind", ("resource", "busy"), busy))
    show(console, f"bound by {result.bound_by}: {BOUNDS_MEAN[result.bound_by]}")


def _run_cases(path: str, form: str) -> None:
    from simulator.cli.matmul_cases import to_csv
    from simulator.cli.memory_cases import read_memory_cases, rounding_note
    from simulator.timing.memory import simulate_memory

    table, cases = read_memory_cases(path)
    for case, cells in zip(cases, table.rows, strict=True):
        note = rounding_note(case.channel, case.pattern)
        if note:
            click.echo(f"chipsim: {note}\n  --> {cells[0].location}", err=True)
    results = [
        _fields(simulate_memory(case.channel, case.pattern, **case.settings)) for case in cases
    ]
    rows = []
    for cells, fields in zip(table.rows, results, strict=True):
        row: dict[str, Any] = {}
        for name, cell in zip(table.columns, cells, strict=True):
            known = name in ("preset", "pattern") or name not in fields
            row[name] = cell.text if known else fields[name]
        rows.append(row | {name: value for name, value in fields.items() if name not in row})
    if form == "json":
        from simulator.report.json_out import to_json

        click.echo(to_json({"schema": "chipsim.memory.cases/1", "rows": rows}))
    else:
        click.echo(to_csv(rows), nl=False)
