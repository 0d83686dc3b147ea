"""``chipsim memory --cases``: every row of the file is checked before the first one runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from simulator.cases import Cases, Cell, known_name, read_cases
from simulator.cli.values import parse_number, parse_whole
from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.hardware.dram import DramChannel
    from simulator.timing.memory import Pattern

REQUIRED = ("preset", "pattern", "requests", "queue", "refresh", "address_map")
RESULTS = (
    "time_s",
    "bandwidth_bytes_per_s",
    "fraction_of_peak",
    "row_hits",
    "row_misses",
    "row_conflicts",
    "mean_latency_s",
    "bound_by",
)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """A row: the channel, the pattern, and keyword arguments of ``simulate_memory``."""

    channel: DramChannel
    pattern: Pattern
    settings: dict[str, Any] = field(default_factory=dict)


def read_memory_cases(path: str) -> tuple[Cases, list[MemoryCase]]:
    """The table and its cases. An empty queue or address map means that of the preset,
    an empty refresh ``all``.

    Optional columns are ``write_fraction`` and ``seed``; others come back unchanged. Raises
    ``InputError`` at the first cell that is wrong.
    """
    table = read_cases(path, REQUIRED)
    for name, cell in zip(table.columns, table.rows[0], strict=True):
        if name in RESULTS:
            raise InputError(f"column '{name}' is one of the results", location=cell.location)
    return table, [_case(dict(zip(table.columns, row, strict=True))) for row in table.rows]


def _case(cells: dict[str, Cell]) -> MemoryCase:
    from simulator.config.loader import load_memory
    from simulator.hardware.dram import MAX_QUEUE, REFRESH_MODES
    from simulator.kernels.dram_address import address_map
    from simulator.timing.memory import (
        MAX_REQUESTS,
        burst_numbers,
        parse_pattern,
    )

    channel = _at(cells["preset"], "preset", load_memory)
    pattern = _at(cells["pattern"], "pattern", parse_pattern)
    _at(cells["pattern"], "pattern", lambda _: burst_numbers(channel, pattern, 1, 0))
    settings: dict[str, Any] = {
        "requests": _at(
            cells["requests"],
            "requests",
            lambda text: parse_whole(text, "requests", most=MAX_REQUESTS),
        ),
    }
    if cells["refresh"].text:
        settings["refresh"] = known_name(cells["refresh"], "refresh", REFRESH_MODES)
    if cells["queue"].text:
        settings["queue"] = _at(
            cells["queue"], "queue", lambda text: parse_whole(text, "queue", most=MAX_QUEUE)
        )
    if cells["address_map"].text:
        _at(
            cells["address_map"],
            "address_map",
            lambda text: address_map(text, channel.organisation),
        )
        settings["address_map"] = cells["address_map"].text
    if "seed" in cells and cells["seed"].text:
        settings["seed"] = _at(
            cells["seed"], "seed", lambda text: parse_whole(text, "seed", least=0, most=2**32)
        )
    if "write_fraction" in cells and cells["write_fraction"].text:
        settings["write_fraction"] = _at(cells["write_fraction"], "write_fraction", _fraction)
    return MemoryCase(channel, pattern, settings)


def rounding_note(channel: DramChannel, pattern: Pattern) -> str | None:
    """What the channel makes of a block or stride that is not whole bursts inside it."""
    burst, room = channel.organisation.burst_bytes, channel.organisation.capacity_bytes
    size = pattern.size_bytes
    if pattern.kind == "block" and size % burst:
        return (
            f"block:{size} reads whole bursts of {burst} bytes, {-(-size // burst) * burst} a block"
        )
    if pattern.kind != "stride":
        return None
    if size >= room:
        return f"stride:{size} is a stride of {size % room} within the channel's {room} bytes"
    if size % burst:
        return (
            f"stride:{size}: each access moves the whole burst of {burst} bytes that it falls into"
        )
    return None


def _fraction(text: str) -> float:
    share = parse_number(text, "write_fraction", allow_zero=True)
    if share > 1:
        raise InputError(f"write_fraction: found {text}, expected 0 to 1")
    return share


def _at(cell: Cell, column: str, convert: Callable[[str], Value]) -> Value:
    """The converted cell; an error stands at the cell unless it has a place of its own."""
    try:
        return convert(cell.text)
    except InputError as error:
        message = error.message
        if not message.startswith(column):
            message = f"column '{column}': {message}"
        hint = error.hint
        if error.location is not None:
            message += f" ({error.location})"
        raise InputError(message, location=cell.location, hint=hint) from None
