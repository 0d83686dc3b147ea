"""Types of single values in a configuration file, and the base class of its sections.

A value arrives as the text of a YAML scalar. ``Quantity`` is the pydantic validator that reads it
in a dimension of ``simulator.units``; it stays visible in the field's metadata, from which
``config show`` takes the unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from simulator.errors import InputError
from simulator.hardware.fused_kernels import DECODE_ROWS
from simulator.units import Dimension, base_unit, parse_quantity

USER_ERROR = "chipsim"
"""The pydantic error type whose context carries a message and a hint for the user."""


def user_error(message: str, hint: str | None = None) -> PydanticCustomError:
    """An error to raise in a validator: its message and hint reach the user unchanged."""
    return PydanticCustomError(USER_ERROR, "{message}", {"message": message, "hint": hint or ""})


class Section(BaseModel):
    """A mapping with a fixed set of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Validates text as a quantity; zero is refused unless ``zero`` says that it has a meaning."""

    dimension: Dimension
    zero: bool = False
    at_most: float | None = None
    at_least: float | None = None
    range_text: str = ""

    @property
    def unit(self) -> str:
        """The unit of the validated number."""
        return base_unit(self.dimension)

    def __call__(self, value: Any) -> int | float:
        """The number in base units; a located error of the user otherwise."""
        if not isinstance(value, str):
            raise user_error(f"expected one value, found {_kind(value)}")
        try:
            number = parse_quantity(value, self.dimension)
        except InputError as error:
            raise user_error(error.message, error.hint) from None
        if number == 0 and not self.zero:
            raise user_error(f"'{value}' is zero", "expected more than 0")
        if self.at_most is not None and number > self.at_most:
            if not self.range_text:
                raise user_error(f"'{value}' is more than {self.at_most:g}", "expected no more")
            raise user_error(f"'{value}' is too large", f"expected {self.range_text}")
        if self.at_least is not None and number < self.at_least:
            raise user_error(f"'{value}' is too small", f"expected {self.range_text}")
        return number


def _kind(value: Any) -> str:
    return "a mapping" if isinstance(value, dict) else "a list"


def _flag(value: Any) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    shown = f"'{value}'" if isinstance(value, str) else _kind(value)
    raise user_error(f"expected true or false, found {shown}")


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise user_error(f"expected a name, found {_kind(value)}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}", value):
        raise user_error(
            f"'{value[:80]}' is not a name", "letters, digits, and any of . _ + - after the first"
        )
    return value


def _note(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= 200:
        raise user_error("expected a text of up to 200 characters")
    return value.strip()


def _percent(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e6:
        raise user_error(f"expected a percentage as a plain number, found '{value}'")
    return number


def _row_tile(value: Any) -> int:
    rows = int(Quantity("count")(value))
    if DECODE_ROWS % rows:
        known = ", ".join(str(n) for n in range(1, DECODE_ROWS + 1) if DECODE_ROWS % n == 0)
        raise user_error(
            f"a decode tile of {DECODE_ROWS} rows is no multiple of {rows}", f"expected {known}"
        )
    return rows


def _shape(value: Any) -> tuple[int, ...]:
    """``2x2x1`` as (2, 2, 1)."""
    if not isinstance(value, str) or not re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5}){0,3}", value):
        shown = f"'{value}'" if isinstance(value, str) else _kind(value)
        raise user_error(f"expected a shape such as 2x2, found {shown}")
    return tuple(int(axis) for axis in value.split("x"))


Bytes = Annotated[int, BeforeValidator(Quantity("bytes"))]
# Times are whole picoseconds in 64 bits, 106 days in all: rates and delays far from any machine
# would leave them.
Bandwidth = Annotated[
    int,
    BeforeValidator(
        Quantity("bandwidth", at_least=10**6, at_most=10**18, range_text="1 MB/s to 1 EB/s")
    ),
]
Frequency = Annotated[
    int,
    BeforeValidator(
        Quantity("frequency", at_least=10**6, at_most=10**12, range_text="1 MHz to 1 THz")
    ),
]
Delay = Annotated[
    int,
    BeforeValidator(Quantity("time", zero=True, at_most=10**12, range_text="at most 1 s")),
]
Latency = Annotated[int, BeforeValidator(Quantity("time", zero=True))]
Duration = Annotated[int, BeforeValidator(Quantity("time"))]
Count = Annotated[int, BeforeValidator(Quantity("count", at_most=2**40))]
CountOrZero = Annotated[int, BeforeValidator(Quantity("count", zero=True, at_most=2**40))]
RowTile = Annotated[int, BeforeValidator(_row_tile)]
Fraction = Annotated[float, BeforeValidator(Quantity("fraction", at_most=1))]
Ratio = Annotated[float, BeforeValidator(Quantity("fraction", zero=True, at_most=1000))]
FractionOrZero = Annotated[float, BeforeValidator(Quantity("fraction", zero=True, at_most=1))]
# Energies and prices far from any chip are slips of a unit, and powers would leave 64 bits.
EnergyPj = Annotated[
    float,
    BeforeValidator(Quantity("energy", zero=True, at_most=1e9, range_text="at most 1000 uJ")),
]
Watts = Annotated[float, BeforeValidator(Quantity("power", at_most=1e6, range_text="at most 1 MW"))]
WattsOrZero = Annotated[
    float, BeforeValidator(Quantity("power", zero=True, at_most=1e6, range_text="at most 1 MW"))
]
Price = Annotated[
    float,
    BeforeValidator(Quantity("price", zero=True, at_most=1e5, range_text="at most 100000 $/h")),
]
Rate = Annotated[float, BeforeValidator(Quantity("rate"))]
Flag = Annotated[bool, BeforeValidator(_flag)]
Name = Annotated[str, BeforeValidator(_name)]
Note = Annotated[str, BeforeValidator(_note)]
Percent = Annotated[float, BeforeValidator(_percent)]
Shape = Annotated[tuple[int, ...], BeforeValidator(_shape)]
Dtype = Literal["bf16", "fp8", "int8", "fp4"]
Scheduler = Literal["chunked", "prefill-first", "decode-first", "static", "no-evict"]
"""Names of ``simulator.serving.options.SCHEDULERS``."""
Confidence = Literal[
    "official",
    "paper",
    "third-party",
    "derived",
    "fitted",
    "estimate",
    "to be verified",
    "analyst",
    "seed",
]
"""How far a number can be trusted; ``fitted`` marks what was chosen by looking at measured times,
by an optimizer or by hand; ``seed`` figures taken over from the articles that the
project began with."""
