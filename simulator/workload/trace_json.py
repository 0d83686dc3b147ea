"""JSON-lines traces: Mooncake (times in milliseconds) and Bailian (in seconds).

Each line is one object. Both name the blocks that a prompt begins with (``hash_ids``); a line of
Bailian also says which chat it continues (``parent_chat_id``, -1 for none) and of what ``type`` it
is, which is taken for its class.
"""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from simulator.errors import InputError, Location, did_you_mean
from simulator.workload import trace_cells
from simulator.workload.trace_blocks import Block
from simulator.workload.trace_csv import Columns, columns_of
from simulator.workload.trace_formats import BAILIAN, MOONCAKE, TraceFormat
from simulator.workload.trace_marks import NO_CHAT, Marks, check_class


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not finite, expected a number")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key '{next(n for n in names if names.count(n) > 1)[:40]}'")
    return entry


_DECODER = json.JSONDecoder(
    parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twice
)


def detect_json(block: Block) -> TraceFormat:
    """Mooncake or Bailian, which has a ``chat_id`` in each object."""
    return BAILIAN if "chat_id" in _decode(block, 0, block.line(0)) else MOONCAKE


def parse_block(block: Block, format: TraceFormat) -> Columns:
    """The rows of a block; ``InputError`` with file, line and column for the first bad line."""
    marks = Marks(block_tokens=format.block_tokens)
    rows = [_row(block, index, line, format, marks) for index, line in enumerate(block.lines())]
    return replace(columns_of(rows), marks=marks)


def _row(
    block: Block, index: int, line: str, format: TraceFormat, marks: Marks
) -> tuple[int, int, int, int]:
    """(seconds, picoseconds, prompt, output) of a line; the rest is added to ``marks``."""
    entry = _decode(block, index, line)
    key = format.time
    try:
        seconds, fraction = _time(entry[key], format)
        key = format.prompt
        prompt = _tokens(entry[key])
        key = format.output
        output = _tokens(entry[key])
        key = "hash_ids"
        marks.add_blocks(_hash_ids(entry.get(key, []), prompt, format.block_tokens))
        if format is BAILIAN:
            key = "chat_id"
            chat = _whole(entry[key])
            key = "parent_chat_id"
            parent = _whole(entry.get(key, NO_CHAT))
            key = "turn"
            turn = _whole(entry[key]) if key in entry else None
            key = "type"
            marks.classes.append(check_class(entry.get(key, "text")))
            marks.chats.append((chat, parent, turn))
    except KeyError:
        raise _missing_key(block, index, line, entry, key) from None
    except trace_cells.CellError as error:
        raise InputError(f"key '{key}': {error}", location=key_place(block, index, key)) from None
    return seconds, fraction, prompt, output


def key_place(block: Block, index: int, key: str) -> Location:
    """Where a key stands in a line of a block."""
    place = block.line(index).find(f'"{key}"') + 1
    return block.location(index, max(1, place), len(key) + 2)


def _hash_ids(value: Any, prompt: int, block_tokens: int) -> list[int]:
    if not isinstance(value, list):
        raise trace_cells.CellError("expected a list of block ids")
    most = -(-prompt // block_tokens)
    if len(value) > most:
        raise trace_cells.CellError(
            f"{len(value)} blocks of {block_tokens} tokens, expected at most {most} for a prompt"
            f" of {prompt} tokens"
        )
    if any(type(item) is not int or not -(2**63) <= item < 2**63 for item in value):
        bad = next(i for i in value if type(i) is not int or not -(2**63) <= i < 2**63)
        raise trace_cells.CellError(f"found {_show(bad)}, expected block ids of 64 bits")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise trace_cells.CellError(f"found {_show(value)}, expected a whole number")
    return value


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
