"""JSON-lines traces: Mooncake (times in milliseconds) and Bailian (in seconds).

Each line is one object. ``iter_rows`` also gives the ids of the prompt's prefix blocks, which
``parse_block`` drops today; a prefix cache will want them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from simulator.errors import InputError, did_you_mean
from simulator.workload import trace_cells
from simulator.workload.trace_blocks import Block
from simulator.workload.trace_csv import Columns, columns_of
from simulator.workload.trace_formats import BAILIAN, MOONCAKE, TraceFormat


@dataclass(frozen=True, slots=True)
class JsonRow:
    """One request; ``hash_ids`` name the blocks of its prompt, equal ids being equal text."""

    seconds: int
    fraction_ps: int
    prompt: int
    output: int
    hash_ids: list[int]


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not finite, expected a number")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)


def detect_json(block: Block) -> TraceFormat:
    """Mooncake or Bailian, which has a ``chat_id`` in each object."""
    return BAILIAN if "chat_id" in _decode(block, 0, block.line(0)) else MOONCAKE


def parse_block(block: Block, format: TraceFormat) -> Columns:
    """The rows of a block; ``InputError`` with file, line and column for the first bad line."""
    return columns_of(
        [(row.seconds, row.fraction_ps, row.prompt, row.output) for row in iter_rows(block, format)]
    )


def iter_rows(block: Block, format: TraceFormat) -> Iterator[JsonRow]:
    """The requests of a block, with the ids of their prefix blocks."""
    for index, line in enumerate(block.lines()):
        entry = _decode(block, index, line)
        key = format.time
        try:
            seconds, fraction = _time(entry[key], format)
            key = format.prompt
            prompt = _tokens(entry[key])
            key = format.output
            output = _tokens(entry[key])
            key = "hash_ids"
            hash_ids = entry.get(key, [])
            if not isinstance(hash_ids, list):
                raise trace_cells.CellError("expected a list of block ids")
        except KeyError:
            raise _missing_key(block, index, line, entry, key) from None
        except trace_cells.CellError as error:
            place = line.find(f'"{key}"') + 1
            raise InputError(
                f"key '{key}': {error}",
                location=block.location(index, max(1, place), len(key) + 2),
            ) from None
        yield JsonRow(seconds, fraction, prompt, output, hash_ids)


def _decode(block: Block, index: int, line: str) -> dict[str, Any]:
    """One line as an object; its place where it is none."""
    column = 1
    try:
        entry = _DECODER.decode(line)
        if isinstance(entry, dict):
            return entry
        reason = "expected a JSON object"
    except json.JSONDecodeError as error:
        reason = f"not valid JSON: {error.msg}" if line.strip() else "the line is empty"
        column = error.colno
    except RecursionError:
        reason = "nested too deeply, expected a flat JSON object"
    except ValueError as error:
        reason = f"not a usable JSON line: {error}"
    raise InputError(reason, location=block.location(index, column))


def _time(value: Any, format: TraceFormat) -> tuple[int, int]:
    unit = "milliseconds" if format.time_kind == "milliseconds" else "seconds"
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise trace_cells.CellError(f"found {_show(value)}, expected a time in {unit}")
    if type(value) is int and unit == "milliseconds" and 0 <= value < 10**15:
        return value // 1000, value % 1000 * 10**9
    if isinstance(value, Decimal) and value and abs(value.adjusted()) > 30:
        raise trace_cells.CellError(f"{value} is out of range, expected a time in {unit}")
    seconds = Decimal(value)
    if unit == "milliseconds":
        seconds = seconds.scaleb(-3)
    return trace_cells.split_seconds(seconds, str(value))


def _tokens(value: Any) -> int:
    if isinstance(value, Decimal):
        return trace_cells.parse_tokens(str(value))
    if isinstance(value, bool) or not isinstance(value, int):
        raise trace_cells.CellError(f"found {_show(value)}, expected a whole number of tokens")
    return trace_cells.check_tokens(value, str(value))


def _show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


def _missing_key(
    block: Block, index: int, line: str, entry: dict[str, Any], key: str
) -> InputError:
    spare = [name for name in entry if name not in MOONCAKE.columns and name != "hash_ids"]
    close = did_you_mean(key, spare)
    return InputError(
        f"missing key '{key}'",
        location=block.location(index, 1, len(line)),
        hint=close.replace("did you mean", "found") if "mean" in close else None,
    )
