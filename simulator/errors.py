"""Errors that a user can act on: what is wrong, where, and what was probably meant.

The command line turns each class into one message on stderr and one exit status; nothing in the
package raises a bare ``ValueError`` for something that a user typed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a text file.

    ``line`` and ``column`` count from 1; ``text`` is the whole line and ``length`` the number of
    characters that are underlined.
    """

    file: str
    line: int | None = None
    column: int | None = None
    text: str | None = None
    length: int = 1

    def __str__(self) -> str:
        parts = [self.file]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)


class ChipsimError(Exception):
    """Base of every error that the command line prints without a traceback."""

    exit_code = 3

    def __init__(
        self, message: str, *, location: Location | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        """The message, its place and an underlined excerpt, as the terminal shows it."""
        lines = [printable(self.message)]
        loc = self.location
        if loc is not None:
            lines.append(f"  --> {loc}")
        if loc is not None and loc.text is not None and loc.column is not None:
            shown, column = _excerpt(loc.text, loc.column)
            lines.append(f"   | {shown}")
            mark = "^" * max(1, min(loc.length, len(shown) - column + 1))
            tail = f"  {printable(self.hint)}" if self.hint else ""
            lines.append(f"   | {' ' * (column - 1)}{mark}{tail}")
        elif self.hint:
            lines.append(f"   = {printable(self.hint)}")
        return "\n".join(lines)


class InputError(ChipsimError):
    """An unknown name, a bad value, a bad file, or an unwritable path (exit status 3)."""


class InfeasibleError(ChipsimError):
    """A valid request that the machine cannot satisfy, such as a model that does not fit (4)."""

    exit_code = 4


class AssertionFailedError(ChipsimError):
    """A ``--assert`` or a check that did not hold (exit status 1)."""

    exit_code = 1


def printable(text: str) -> str:
    """What a user typed or a file holds, with a point for what would move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == "\n" else "." for c in text)


def article(word: str) -> str:
    """``a`` or ``an``, as the word wants it."""
    return "an" if word[:1] in "aeiou" else "a"


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like ``name``, or None where nothing comes close."""
    found = difflib.get_close_matches(name.lower(), list(candidates), n=1, cutoff=0.55)
    return found[0] if found else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint for an unknown name: its nearest relative, or else the whole list."""
    options = sorted(candidates)
    close = nearest(name, options)
    if close is not None:
        return f"did you mean '{close}'?"
    return f"known: {', '.join(options)}" if options else "none is known"


def _excerpt(text: str, column: int, width: int = 100) -> tuple[str, int]:
    """The part of a line around a column, and the column's new place in it."""
    text = printable(text.rstrip("\r\n").replace("\t", " ").replace("\n", "."))
    if len(text) <= width:
        return text, min(column, len(text) + 1)
    start = max(0, min(column - 1 - width // 2, len(text) - width))
    return text[start : start + width], column - start
