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
_SHAPE = re.compile(r"(?<=[0-9]x)(?=[0-9])")
_PARTS = re.compile(r"(?<=/)|(?<=[0-9]x)(?=[0-9])")
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
            _in_words(name.lstrip("<"), widths[index]),
            justify="left" if is_text else "right",
            overflow="fold",
            width=widths[index],
        )
    for row in cells:
        pairs = zip(row, widths, strict=True)
        table.add_row(*(Text(_in_words(cell, size)) for cell, size in pairs))
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
        word = _longest_word(column)
        least.append(max(word, min(NARROWEST_TEXT, whole[-1])) if index in texts else whole[-1])
    if sum(whole) + WIDE_GAP * (len(whole) - 1) <= width:
        return WIDE_GAP, free
    for gap in (WIDE_GAP, NARROW_GAP):
        if whole[0] + sum(least[1:]) + gap * (len(whole) - 1) <= width:
            return gap, [whole[0], *free[1:]]
    narrow = NARROW_GAP, [min(LONGEST_NAME, least[0]), *free[1:]]
    if sum(least) + NARROW_GAP * (len(whole) - 1) <= width:
        return narrow
    if not rows:
        return narrow
    figures = [
        None if index in texts else max(len(row[index]) for row in rows)
        for index in range(len(columns))
    ]
    least[0] = max(
        _longest_word([columns[0], *(row[0] for row in rows)]),
        min(NARROWEST_TEXT, max(len(row[0]) for row in rows)),
    )
    sizes = [least[index] if size is None else size for index, size in enumerate(figures)]
    room = width - NARROW_GAP * (len(whole) - 1) - sum(sizes)
    if room >= 0:
        widths, room = _with_words(figures, columns, room)
        return NARROW_GAP, [min(whole[0], least[0] + room), *widths[1:]]
    smaller = _broken(sizes, texts, rows, -room)
    return narrow if smaller is None else (NARROW_GAP, smaller)


def _longest_word(texts: Iterable[str]) -> int:
    return max(len(word) for text in texts for word in (text.split() or [""]))


def _broken(
    sizes: Sequence[int], texts: Sequence[int], rows: Sequence[Sequence[str]], excess: int
) -> list[int | None] | None:
    """Widths of columns that are smaller by ``excess`` together, None where there are none: the
    widest figures break before their units, then shapes after an x, then other figures."""
    found: list[int | None] = list(sizes)
    figures = sorted(set(range(len(sizes))) - set(texts), key=lambda index: -sizes[index])
    for index in (*figures[:1], *texts[1:], *figures[1:]):
        column = [row[index] for row in rows]
        if index in texts:
            column = [_SHAPE.sub(" ", text) for text in column]
        less = min(excess, max(0, sizes[index] - _longest_word(column)))
        found[index], excess = sizes[index] - less, excess - less
    return None if excess else found


def _in_words(text: str, width: int | None) -> str:
    """A text whose words break after a stroke or an x of a shape where they are wider than
    ``width``."""
    if width is None or _longest_word([text]) <= width:
        return text
    words = []
    for word in text.split():
        line = ""
        for part in _PARTS.split(word) if len(word) > width else [word]:
            if line and len(line + part) > width:
                words.append(line)
                line = ""
            line += part
        words.append(line)
    return " ".join(words)


def _with_words(
    figures: Sequence[int | None], columns: Sequence[str], room: int
) -> tuple[list[int | None], int]:
    """Columns of figures as wide as the longest part of their heads, then as the longest word, as
    far as there is ``room``; and the room that is left."""
    found = list(figures)
    for parts in (_PARTS.split, lambda word: [word]):
        for index, size in enumerate(found):
            if size is not None:
                wanted = max(len(part) for word in columns[index].split() for part in parts(word))
                more = min(room, max(0, wanted - size))
                found[index], room = size + more, room - more
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
