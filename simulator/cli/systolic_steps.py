"""``chipsim systolic --show``: a plain listing, or one cycle a key on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from simulator.report.systolic_cells import CellView
    from simulator.timing.systolic import SystolicTiming

_BACK = ("b", "p", "\x1b[D", "\x1b[A", "\x7f")
_QUIT = ("q", "\x1b", "\x04")


def show_cells(timing: SystolicTiming, plain: bool) -> None:
    """Print all cycles of a small array; step through them where a person sits at a terminal.

    Arrays or runs that are too large for that get a timeline of their folds.

    Raises:
        InputError: more tiles than can be listed.
    """
    from simulator.report.systolic_cells import CellView, fits_screen, timeline
    from simulator.timing.systolic_schedule import systolic_schedule

    case = timing.case
    schedule = systolic_schedule(case)
    click.echo(
        f"{case.m} x {case.k} x {case.n} on {case.rows} x {case.cols} cells, {case.dataflow}, "
        f"{case.load} load: {timing.cycles} cycles"
    )
    if not fits_screen(case, timing.cycles):
        for line in timeline(case, schedule, timing.cycles):
            click.echo(line)
        return
    view = CellView(case, schedule, timing.cycles)
    if not plain and sys.stdin.isatty() and sys.stdout.isatty():
        _step(view)
        return
    from simulator.report.systolic_cells import LEGEND, frame

    click.echo(LEGEND)
    for cycle in range(timing.cycles):
        click.echo(frame(view, cycle))


def _step(view: CellView) -> None:
    from simulator.report.systolic_cells import LEGEND, frame

    cycle = 0
    while True:
        click.clear()
        click.echo(LEGEND + "\n")
        click.echo(frame(view, cycle))
        click.echo("\nany key: next   b: back   q: quit")
        key = click.getchar()
        if key in _QUIT:
            return
        cycle = max(0, cycle - 1) if key in _BACK else cycle + 1
        if cycle >= view.cycles:
            return
