"""Rich tables that stay plain ASCII wherever they are not shown on a terminal."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH = 100

WIDE_GAP, NARROW_GAP = 3, 2
"""Blanks between columns, and those of a table that is too wide."""

LONGEST_NAME = 40
NARROWEST_TEXT = 14
"""Characters of a row's name that are kept together, and of other texts, in such a table."""

_UNIT = re.compile(r"(?<=[0-9]) (?=[^\s0-9(])")
_KEPT = "\u00a0"


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
        return PipeConsole(file=target, highlight=False, emoji=False)
    return PipeConsole(
        file=target,
        width=PLAIN_WIDTH,
        highlight=False,
        emoji=False,
        force_terminal=False,
        color_system=None,
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
    cells = [tuple(row) for row in rows]
    gap, widths = _fit(columns, cells, console.width)
    blank = "    \n"
    frame = box.Box(blank * 2 + f" {rule}{rule} \n" + blank * 5, ascii=rule == "-")
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=frame,
        padding=(0, 1) if gap == WIDE_GAP else (0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for index, name in enumerate(columns):
        is_text = index == 0 or name.startswith("<")
        table.add_column(
            name.lstrip("<"),
            justify="left" if is_text else "right",
            overflow="fold",
            width=widths[index],
        )
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[int, list[int | None]]:
    """(blanks between columns, width of each column, None for what is left to it) of a table.

    Where something has to break, texts do first, then the names of rows between words, the heads
    of figures, and figures last.
    """
    free: list[int | None] = [None] * len(columns)
    texts = [index for index, name in enumerate(columns) if index == 0 or name.startswith("<")]
    whole, least = [], []
    for index, name in enumerate(columns):
        column = [name.lstrip("<"), *(row[index] for row in rows)]
        whole.append(max(map(len, column)))
        word = max(len(word) for text in column for word in (text.split() or [""]))
        least.append(max(word, min(NARROWEST_TEXT, whole[-1])) if index in texts else whole[-1])
    if sum(whole) + WIDE_GAP * (len(whole) - 1) <= width:
        return WIDE_GAP, free
    for gap in (WIDE_GAP, NARROW_GAP):
        if whole[0] + sum(least[1:]) + gap * (len(whole) - 1) <= width:
            return gap, [whole[0], *free[1:]]
    narrow = NARROW_GAP, [min(LONGEST_NAME, least[0]), *free[1:]]
    if sum(least) + NARROW_GAP * (len(whole) - 1) <= width:
        return narrow
    figures = [
        None if index in texts else max(len(row[index]) for row in rows) if rows else None
        for index in range(len(columns))
    ]
    rest = sum(least[index] if size is None else size for index, size in enumerate(figures))
    if rest + NARROW_GAP * (len(whole) - 1) <= width:
        widths, room = _with_words(figures, columns, width - NARROW_GAP * (len(whole) - 1) - rest)
        return NARROW_GAP, [min(whole[0], least[0] + room), *widths[1:]]
    return narrow


def _with_words(
    figures: Sequence[int | None], columns: Sequence[str], room: int
) -> tuple[list[int | None], int]:
    """Columns of figures as wide as the longest word of their heads, as far as there is ``room``;
    and the room that is left."""
    found: list[int | None] = []
    for size, name in zip(figures, columns, strict=True):
        if size is not None:
            more = min(room, max(0, max(map(len, name.split())) - size))
            size, room = size + more, room - more
        found.append(size)
    return found, room


def show(console: Console, *parts: object) -> None:
    """Print lines and tables; square brackets in them are not markup.

    What is printed first has no blank line above it.
    """
    for part in parts:
        if not getattr(console, "has_begun", False):
            console.has_begun = True  # type: ignore[attr-defined]
            title = getattr(part, "title", None)
            if isinstance(title, str):
                part.title = title.lstrip("\n")  # type: ignore[attr-defined]
        if isinstance(part, str):
            text = "\n".join(_wrapped(line, console.width) for line in part.split("\n"))
        elif console.is_terminal:
            title = getattr(part, "title", None)
            if isinstance(title, str) and not getattr(console, "has_begun", False):
                part.title = title.lstrip("\n")  # type: ignore[attr-defined]
            console.has_begun = True  # type: ignore[attr-defined]
            console.print(part, markup=False)
            continue
        else:
            with console.capture() as captured:
                console.print(part, markup=False)
            # without the blanks that fill the lines up
            text = "\n".join(line.rstrip() for line in captured.get().splitlines())
        console.print(text, markup=False, soft_wrap=True)


def _wrapped(line: str, width: int) -> str:
    """A line broken between words, but not between a number and its unit."""
    if len(line) <= width:
        return line
    kept = _UNIT.sub(_KEPT, line)
    indent = " " * (len(line) - len(line.lstrip()))
    lines = textwrap.wrap(
        kept,
        width,
        subsequent_indent=indent,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
    return "\n".join(lines).replace(_KEPT, " ")
