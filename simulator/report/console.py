"""Rich tables that stay plain ASCII wherever they are not shown on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH = 100


def make_console(stream: TextIO | None = None) -> Console:
    """A console on ``stream`` (stdout where None): as wide as the terminal, else 100 columns.

    Printing into a pipe that nobody reads any more raises ``BrokenPipeError``.
    """
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            # rich would end the process with status 1, which is kept for a failed assertion
            raise BrokenPipeError

    target = sys.stdout if stream is None else stream
    if target.isatty():
        return PipeConsole(file=target, highlight=False)
    return PipeConsole(
        file=target, width=PLAIN_WIDTH, highlight=False, force_terminal=False, color_system=None
    )


def make_table(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> Table:
    """A table whose first column is text and whose others are figures, set flush right.

    A column's name that starts with ``<`` is text as well.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rule = "─" if console.is_terminal and not console.options.ascii_only else "-"
    blank = "    \n"
    frame = box.Box(blank * 2 + f" {rule}{rule} \n" + blank * 5, ascii=rule == "-")
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=frame,
        pad_edge=False,
        show_edge=False,
    )
    for index, name in enumerate(columns):
        is_text = index == 0 or name.startswith("<")
        table.add_column(name.lstrip("<"), justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def show(console: Console, *parts: object) -> None:
    """Print lines and tables; square brackets in them are not markup."""
    for part in parts:
        console.print(part, markup=False, soft_wrap=False)
