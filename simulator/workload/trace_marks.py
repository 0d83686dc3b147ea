"""What a trace says of a request besides arrival and lengths: class, priority, blocks, session.

A block of lines gives ``Marks``; ``Collected`` joins those of all blocks into the optional columns
of ``Requests``, and finds the turn that each turn of a chat follows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.workload.request import NO_PARENT, Int64Array, PrefixBlocks
from simulator.workload.slo import SloClass
from simulator.workload.trace_cells import CellError

NO_CHAT = -1
"""The parent of a chat's first turn."""

MAX_CLASSES = 64
MAX_PRIORITY = 2**31 - 1
_CLASS = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,79}")


@dataclass(slots=True)
class Marks:
    """The optional columns of some rows; a list is empty where the format has no such column.

    ``sessions`` are names of conversations, empty for requests of none; ``chats`` are (chat, parent
    chat, turn or None); ``counts`` say how many of ``ids`` each row has, blocks of ``block_tokens``
    tokens.
    """

    classes: list[str] = field(default_factory=list)
    priorities: list[int] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    chats: list[tuple[int, int, int | None]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    block_tokens: int = 0

    def add_blocks(self, ids: list[int]) -> None:
        """The blocks of the next row."""
        self.counts.append(len(ids))
        self.ids += ids


def check_class(value: Any) -> str:
    """The name of a class, ``CellError`` for anything else."""
    text = value.strip() if isinstance(value, str) else None
    if text is None or not _CLASS.fullmatch(text):
        raise CellError(f"found {str(value)[:40]!r}, expected a name of letters and digits")
    return text


def parse_priority(text: str) -> int:
    """A priority, from 0 (the most urgent) on."""
    cell = text.strip()
    if not re.fullmatch(r"[0-9]{1,10}", cell) or int(cell) > MAX_PRIORITY:
        raise CellError(f"found {cell[:40]!r}, expected a whole number, 0 being the most urgent")
    return int(cell)


class ChatError(InputError):
    """A turn that does not follow from the turns before it; ``row`` of its block, and the key."""

    def __init__(self, row: int, key: str, message: str) -> None:
        super().__init__(message)
        self.row = row
        self.key = key


class Collected:
    """The marks of a whole trace; rows that are left out of it must be left out of the marks."""

    def __init__(self) -> None:
        self._classes: list[str] = []
        self._priorities: list[int] = []
        self._counts: list[Int64Array] = []
        self._ids: list[Int64Array] = []
        self._block_tokens = 0
        self._row_of: dict[int, int] = {}
        self._last_of: dict[str, int] = {}
        self._parents: list[int] = []
        self._sessions: list[int] = []
        self._turns: list[int] = []
        self._numbers: list[int | None] = []
        self._count = 0

    def add(self, marks: Marks, kept: list[bool] | None = None) -> None:
        """The marks of the next rows; ``kept`` says which of them stay.

        Raises ChatError for a turn whose parent is not above it.
        """

        def of_kept(values: list[Any]) -> list[Any]:
            if kept is None or not values:
                return values
            return [value for value, stays in zip(values, kept, strict=True) if stays]

        self._classes += of_kept(marks.classes)
        self._priorities += of_kept(marks.priorities)
        if marks.counts:
            self._counts.append(np.array(marks.counts, dtype=np.int64))
            self._ids.append(np.array(marks.ids, dtype=np.int64))
            self._block_tokens = marks.block_tokens
        for session in of_kept(marks.sessions):
            self._continue(session)
        for row, (chat, parent, turn) in enumerate(marks.chats):
            self._follow(row, chat, parent, turn)

    def _follow(self, row: int, chat: int, parent: int, turn: int | None) -> None:
        here = len(self._parents)
        if chat in self._row_of:
            raise ChatError(row, "chat_id", f"chat {chat} stands in the trace twice")
        if turn is not None and turn < 1:
            raise ChatError(row, "turn", f"turn {turn} of chat {chat}, expected 1 or more")
        if parent == NO_CHAT:
            self._place(None)
        else:
            before = self._row_of.get(parent)
            if before is None:
                raise ChatError(
                    row,
                    "parent_chat_id",
                    f"chat {chat} continues chat {parent}, and there is no such turn before it",
                )
            last = self._numbers[before]
            if turn is not None and last is not None and turn != last + 1:
                raise ChatError(
                    row,
                    "turn",
                    f"turn {turn} of chat {chat} continues turn {last} of chat {parent}, "
                    f"expected turn {last + 1}",
                )
            self._place(before)
        self._row_of[chat] = here
        self._numbers.append(turn)

    def _continue(self, session: str) -> None:
        """The next row is a turn of a session, after the last one of it that has been kept."""
        here = len(self._parents)
        self._place(self._last_of.get(session) if session else None)
        if session:
            self._last_of[session] = here

    def _place(self, before: int | None) -> None:
        """The next row follows the turn in row ``before``, or begins a session."""
        if before is None:
            self._parents.append(NO_PARENT)
            self._sessions.append(self._count)
            self._turns.append(0)
            self._count += 1
        else:
            self._parents.append(before)
            self._sessions.append(self._sessions[before])
            self._turns.append(self._turns[before] + 1)

    def columns(self, count: int) -> dict[str, Any]:
        """The optional columns of ``Requests`` for the first ``count`` rows."""
        found: dict[str, Any] = {}
        if self._classes:
            names = sorted(set(self._classes[:count]))
            if len(names) > MAX_CLASSES:
                raise InputError(
                    f"the trace has {len(names)} classes, expected at most {MAX_CLASSES}"
                )
            index = {name: i for i, name in enumerate(names)}
            chosen = [index[name] for name in self._classes[:count]]
            found["slo_class"] = np.array(chosen, dtype=np.int64)
            found["classes"] = tuple(SloClass(name) for name in names)
        if self._priorities:
            found["priority"] = np.array(self._priorities[:count], dtype=np.int64)
        if any(len(ids) for ids in self._ids):
            counts = np.concatenate(self._counts)[:count]
            ends = np.cumsum(counts)
            ids = np.concatenate(self._ids)[: ends[-1]]
            found["prefix"] = PrefixBlocks(ends - counts, counts, ids, self._block_tokens)
        if any(parent != NO_PARENT for parent in self._parents[:count]):
            found["session"] = np.array(self._sessions[:count], dtype=np.int64)
            found["turn"] = np.array(self._turns[:count], dtype=np.int64)
            found["parent"] = np.array(self._parents[:count], dtype=np.int64)
            found["think_ps"] = np.zeros(count, dtype=np.int64)
        return found
