"""Parameter types of the command line: a value that parses but is bad is an ``InputError``.

Click's own types end with status 2, which is kept for the grammar of the command line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.once import OnceCommand
from simulator.errors import InputError, nearest

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any, Any]
else:
    # generic only from click 8.5 on
    _ParamType = click.ParamType

MAX_COUNT = 2**40
"""No count on the command line may be larger: all arithmetic stays inside 64 bits."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

_NEGATIVE = re.compile(r"-\.?[0-9]")


def parse_whole(text: str, what: str, *, least: int = 1, most: int = MAX_COUNT) -> int:
    """A whole number of ASCII digits within ``least`` and ``most``; ``what`` names it in errors.

    Raises:
        InputError: anything else, such as ``1e3``, ``4.0``, ``nan`` or a number out of range.
    """
    stripped = text.strip()
    kind = "a positive whole number" if least == 1 else f"a whole number of at least {least}"
    if not _INTEGER.fullmatch(stripped) or len(stripped) > 40:
        raise InputError(f"{what}: found '{_shortened(text)}', expected {kind}")
    number = int(stripped)
    if number < least:
        raise InputError(f"{what}: found {number}, expected {kind}")
    if number > most:
        raise InputError(f"{what}: found {number}, expected at most {most}")
    return number


def parse_number(text: str, what: str, *, allow_zero: bool = False) -> float:
    """A finite positive number (or zero, where allowed).

    Raises:
        InputError: a word, NaN, an infinity or a number out of range.
    """
    kind = "a number of at least 0" if allow_zero else "a positive number"
    if not _NUMBER.fullmatch(text.strip()):
        raise InputError(f"{what}: found '{_shortened(text)}', expected {kind}")
    number = float(text)
    if not math.isfinite(number) or number < 0 or (number == 0 and not allow_zero):
        raise InputError(f"{what}: found {_shortened(text)}, expected {kind}")
    return number


def parse_seconds(text: str, what: str) -> float:
    """A duration: a plain number of seconds, or a number with a unit of time.

    Raises:
        InputError: no number, an unknown unit, or a negative duration.
    """
    if _NUMBER.fullmatch(text.strip()):
        return parse_number(text, what, allow_zero=True)
    from simulator.units import parse_quantity

    try:
        return float(parse_quantity(text, "time")) / 1e12
    except InputError as error:
        raise InputError(f"{what}: {error.message}", hint=error.hint) from None


def parse_size(text: str, what: str) -> int:
    """A number of bytes, plain or with a unit such as ``64MiB``.

    Raises:
        InputError: no number, an unknown unit, a part of a byte, or a number out of range.
    """
    from simulator.fabric.collectives import MAX_BYTES

    if text.strip().isascii() and text.strip().isdigit():
        return parse_whole(text, what, least=0, most=MAX_BYTES)
    from simulator.units import parse_quantity

    try:
        size = parse_quantity(text, "bytes")
    except InputError as error:
        raise InputError(f"{what}: {error.message}", hint=error.hint) from None
    if size > MAX_BYTES:
        raise InputError(f"{what}: found {text.strip()}, expected at most {MAX_BYTES} bytes")
    return size


def parse_choice(text: str, what: str, choices: Sequence[str]) -> str:
    """One of a few names.

    Raises:
        InputError: any other name; the nearest one is suggested.
    """
    if text in choices:
        return text
    close = nearest(text, choices)
    raise InputError(
        f"{what}: unknown value '{_shortened(text)}'; expected {', '.join(choices)}",
        hint=None if close is None else f"did you mean '{close}'?",
    )


def _shortened(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def option_name(param: click.Parameter | None) -> str:
    """A parameter as the command line has it: the option's longest name."""
    if param is None:
        return "value"
    return str(max(param.opts, key=len)) if param.param_type_name == "option" else str(param.name)


class Whole(_ParamType):
    """A whole number from ``least`` to ``most``."""

    name = "integer"

    def __init__(self, least: int = 1, most: int = MAX_COUNT) -> None:
        self.least = least
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See ``parse_whole``."""
        return parse_whole(str(value), option_name(param), least=self.least, most=self.most)


class Positive(_ParamType):
    """A finite number above zero."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See ``parse_number``."""
        return parse_number(str(value), option_name(param))


class Seconds(_ParamType):
    """A duration in seconds, written plain or with a unit."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See ``parse_seconds``."""
        return parse_seconds(str(value), option_name(param))


class OneOf(_ParamType):
    """One of a few names."""

    name = "name"

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The choices, as the help shows them."""
        return "[" + "|".join(self.choices) + "]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See ``parse_choice``."""
        return parse_choice(str(value), option_name(param), self.choices)


class PathText(_ParamType):
    """A path that is not empty; ``-`` only where it stands for stdin or stdout."""

    name = "path"

    def __init__(self, dash: bool = False) -> None:
        self.dash = dash

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path as it is.

        Raises:
            InputError: an empty path, or a ``-`` that means nothing here.
        """
        text = str(value)
        if not text:
            raise InputError(f"{_label(param)}: found an empty path")
        if text == "-" and not self.dash:
            raise InputError(
                f"{_label(param)}: found '-', expected a path, not standard input or output",
                hint="a file of that name is './-'",
            )
        return text


class NameText(_ParamType):
    """The name or path of something configured: any text but blanks."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is; an ``InputError`` where it is empty."""
        if not str(value).strip():
            raise InputError(f"{_label(param)} is empty, expected a name or a file")
        return str(value)


class SizeCommand(OnceCommand):
    """A command that takes ``-4x8x8`` or ``-1MiB`` for a bad size and not for an option ``-4``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in click.

        Raises:
            InputError: a shape or size that is negative.
        """
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption:
            for word in words:
                if _NEGATIVE.match(word):
                    raise InputError(
                        f"found '{_shortened(word)}', expected a positive size"
                    ) from None
            raise


def _label(param: click.Parameter | None) -> str:
    """An option's name; an argument's as the usage line has it."""
    if param is None or param.param_type_name == "option":
        return option_name(param)
    return (param.metavar or param.name or "value").strip("[]").upper()
