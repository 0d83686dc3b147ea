"""``chipsim fabric``: what a slice is made of, what a failure costs, and its link loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import format_option, set_option
from simulator.cli.values import parse_size

if TYPE_CHECKING:
    from simulator.fabric.dcn import Transfer
    from simulator.hardware.fabric import Fabric


@click.command("fabric", cls=OnceCommand)
@click.argument("system_name", metavar="SYSTEM")
@click.option(
    "--fail",
    "failures",
    metavar="WHAT",
    multiple=True,
    help="chip:X, host:X, cube:X, link:X-Y or uplink:X (repeatable); X is a number, or "
    "coordinates 0,0,1.",
)
@click.option(
    "--traffic",
    default="all-to-all",
    show_default=True,
    metavar="OP",
    help="The collective that is timed; a picture has the loads of an all-to-all.",
)
@click.option(
    "--bytes",
    "size",
    metavar="BYTES",
    default="1GiB",
    show_default=True,
    help="The full buffer of one chip.",
)
@click.option(
    "--transfer",
    "transfers",
    metavar="FROM-TO:BYTES",
    multiple=True,
    help="Bytes from one group of a hierarchy to another (repeatable): all start together and "
    "share the uplinks of their groups.",
)
@click.option("--svg", "svg_file", metavar="FILE", help="Draw the chips and the loads of links.")
@set_option
@format_option
def fabric(
    system_name: str,
    failures: tuple[str, ...],
    traffic: str,
    size: str,
    transfers: tuple[str, ...],
    svg_file: str | None,
    overrides: tuple[str, ...],
    output_format: str,
) -> None:
    """Cubes, circuits, links and bisection of a slice, before and after failures.

    Behind optical switches a failed chip, host, cube or copper link is replaced with its cube by a
    spare one, and a failed optical link is re-plugged. Elsewhere traffic goes around the failure.

    \b
    Examples:
      chipsim fabric tpu-v7x:8x8x8 --fail chip:17
      chipsim fabric tpu-v5e:4x4 --fail link:0-1 --svg loads.svg
      chipsim fabric tpu-v4:4x4x8_twisted --format json
      chipsim fabric h100:8x2 --fail uplink:9 --traffic all-reduce
      chipsim fabric tpu-v7x:16x24x24x16 --set system.fabric.outer.uplinks.3=12.5GB/s
      chipsim fabric tpu-v7x:16x24x24x16 --transfer 0-3:10TB --transfer 1-3:5TB
    """
    from simulator.cli.options import check_override_roots
    from simulator.cli.output import emit
    from simulator.config.loader import load_system
    from simulator.fabric.dcn import transfers_ps
    from simulator.fabric.failures import parse_failure
    from simulator.fabric.inspect import inspect

    check_override_roots(overrides, ("system", "chip", "library"))
    count = parse_size(size, "--bytes")
    system = load_system(system_name, overrides)
    broken = [parse_failure(system.fabric, text) for text in failures]
    moves = [_transfer(system.fabric, text) for text in transfers]
    found = inspect(system.fabric, broken, traffic, count)
    ends = transfers_ps(system.fabric, moves, found.ports) if moves else []
    moved = list(zip(moves, ends, strict=True))
    if svg_file is not None:
        from simulator.report.fabric_svg import write_svg

        write_svg(found, system.name, svg_file)
        click.echo(f"wrote {svg_file}", err=True)
    from simulator.report.fabric_out import fabric_json, print_fabric

    emit(
        output_format,
        fabric_json(system.name, found, failures, moved),
        lambda console: print_fabric(system.name, found, bool(failures), moved, console),
    )


def _transfer(fabric: Fabric, text: str) -> Transfer:
    from simulator.errors import InputError
    from simulator.fabric.dcn import parse_transfer

    groups, colon, size = text.partition(":")
    if not colon:
        raise InputError(f"--transfer: found '{text[:40]}', expected FROM-TO:BYTES, as 0-1:10GB")
    return parse_transfer(fabric, groups, parse_size(size, "--transfer"))
