"""Numbers as a reader of results wants them: four significant digits and always a unit.

Specifications are shown by the formats of ``simulator.units``, which keep three digits and binary
prefixes as data sheets do; results are compared with each other and need one digit more.
"""

from __future__ import annotations

from collections.abc import Mapping

_LARGE = ("", "k", "M", "G", "T", "P", "E", "Z")
_SMALL = ("", "m", "u", "n", "p")
MISSING = "-"

HUGE = 1e9
"""From here on nobody counts digits: powers of ten."""


def scaled(value: float | None, unit: str) -> str:
    """``value`` with a decimal prefix: ``scaled(1.2e15, 'FLOP')`` is ``1.200 PFLOP``.

    Prefixes below one are for joules; of what is counted there are no parts.
    """
    if value is None:
        return MISSING
    if value == 0:
        return f"0 {unit}"
    magnitude = abs(value)
    if magnitude < 0.99995 and unit == "J":
        return f"{_small(value)}{unit}"
    step = 0
    while magnitude >= 999.95 and step < len(_LARGE) - 1:
        magnitude /= 1000
        step += 1
    if step == 0 and float(value).is_integer():
        return f"{int(value)} {unit}"
    sign = "-" if value < 0 else ""
    return f"{sign}{_digits(magnitude)} {_LARGE[step]}{unit}"


def duration(value: float | None) -> str:
    """Seconds as ps, ns, us, ms or s (hours are left in seconds, to stay comparable)."""
    if value is None:
        return MISSING
    return "0 s" if value == 0 else f"{_small(value)}s"


def _small(value: float) -> str:
    """A figure and the decimal prefix, from pico up, that the unit gets."""
    magnitude, step = value, 0
    while abs(magnitude) < 0.99995 and step < len(_SMALL) - 1:
        magnitude *= 1000
        step += 1
    return f"{_digits(magnitude)} {_SMALL[step]}"


def bytes_text(value: float | None) -> str:
    """Bytes with a decimal prefix."""
    return scaled(value, "B")


def percent(value: float | None) -> str:
    """A fraction as per cent."""
    return MISSING if value is None else f"{100 * value:.1f} %"


def count(value: float, unit: str = "") -> str:
    """A whole number with thousands separated, and its unit, given in the plural."""
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
    return f"{text} {unit.removesuffix('s') if value == 1 else unit}".rstrip()


def mean(value: float, unit: str) -> str:
    """How many on average: a decimal, and more of them where it is less than one."""
    return f"{value:,.1f} {unit}" if value == 0 or value >= 1 else f"{_digits(value)} {unit}"


def rate(value: float | None, unit: str) -> str:
    """Events per second: ``1,234 tokens/s``, and small ones with four digits."""
    return MISSING if value is None else f"{_digits(value)} {unit}/s"


def usd(value: float | None) -> str:
    """An amount of money."""
    return MISSING if value is None else f"{_digits(value)} USD"


def _digits(value: float) -> str:
    """Four significant digits without an exponent where that is short."""
    magnitude = abs(value)
    # the limits lie where rounding to four digits goes over to the next power of ten
    if magnitude >= HUGE:
        return _powers(value)
    if magnitude >= 999.95:
        return f"{value:,.0f}"
    for limit, places in ((99.995, 1), (9.9995, 2), (0.99995, 3)):
        if magnitude >= limit:
            return f"{value:.{places}f}"
    if value == 0:
        return "0"
    # also 0.3000 beside 0.3125, so that the points of a column stand below each other
    return f"{value:#.4g}" if magnitude >= 1e-4 else _powers(value)


def price_basis(by_chip: Mapping[str, str | None]) -> str:
    """What the prices of chips are: ``rent``, or chip by chip where they differ; may be empty."""
    kinds = set(by_chip.values())
    if len(kinds) <= 1:
        return next(iter(kinds), None) or ""
    return ", ".join(f"{chip} {basis or 'unsaid'}" for chip, basis in by_chip.items())


def _powers(value: float) -> str:
    """1.234e-5 and not 1.234e-05."""
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def groups(replicas: int, tp: int, layout: str) -> str:
    """``2 replicas x tp 4``, or the whole layout where there is more to it than that."""
    plain = f"attention tp {tp}, ffn tp {tp}, pp 1"
    what = f"tp {tp}" if layout in ("", plain) else layout
    return f"{count(replicas, 'replicas')} x {what}"
