"""Parameter types of the commands that search over loads: rates, shares, lists of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from simulator.cli.values import MAX_COUNT, option_name, parse_number, parse_whole
from simulator.errors import InputError

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any, Any]
else:
    _ParamType = click.ParamType


class RateValue(_ParamType):
    """Requests a second: a plain number, or one with a unit such as ``30 req/min``."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The rate in requests a second; an ``InputError`` for anything that is none above 0."""
        what, text = option_name(param), str(value).strip()
        if text[-1:].isdigit() or text[-1:] == "." or not text:
            return parse_number(text, what)
        from simulator.units import parse_quantity

        try:
            rate = parse_quantity(text, "rate")
        except InputError as error:
            raise InputError(f"{what}: {error.message}", hint=error.hint) from None
        if rate <= 0:
            raise InputError(f"{what}: found '{text}', expected more than 0")
        return rate


class Share(_ParamType):
    """A share above 0 and up to 1, plain or in per cent."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The share; an ``InputError`` for anything else."""
        what, text = option_name(param), str(value).strip()
        number = (
            parse_number(text[:-1], what) / 100 if text.endswith("%") else parse_number(text, what)
        )
        if number > 1:
            raise InputError(
                f"{what}: found '{text}', expected a share up to 1", hint="for example 0.99 or 99%"
            )
        return number


class WholeList(_ParamType):
    """Positive whole numbers with commas between them, each once."""

    name = "integers"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How the help shows it."""
        return "N,N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers in the order given."""
        what = option_name(param)
        numbers = tuple(parse_whole(part, what, most=MAX_COUNT) for part in str(value).split(","))
        for number in numbers:
            if numbers.count(number) > 1:
                raise InputError(f"{what}: {number} stands in '{value}' twice")
        return numbers
