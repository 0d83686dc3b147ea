"""The trace formats that are known, and how a file's first line tells them apart.

A new CSV dialect is one row of ``CSV_FORMATS``; a new JSON-lines dialect one of ``JSON_FORMATS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from simulator.errors import InputError, Location, nearest

TimeKind = Literal["wall clock", "seconds", "milliseconds"]


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """Where a format keeps arrival, prompt and output tokens of a request.

    ``failed_is_zero`` says that zero output tokens mark a failed call, which is left out;
    ``block_tokens`` how many tokens each of a request's ``hash_ids`` stands for; ``session`` is an
    optional column whose equal values are turns of one conversation (none where it is empty).
    """

    name: str
    time: str
    time_kind: TimeKind
    prompt: str
    output: str
    failed_is_zero: bool = False
    block_tokens: int = 0
    session: str = ""

    @property
    def columns(self) -> tuple[str, str, str]:
        """The columns or keys that a request needs: arrival, prompt tokens, output tokens."""
        return (self.time, self.prompt, self.output)


CSV_FORMATS = (
    # github.com/Azure/AzurePublicDataset (Splitwise, ISCA 2024; DynamoLLM, HPCA 2025)
    TraceFormat("azure-csv", "TIMESTAMP", "wall clock", "ContextTokens", "GeneratedTokens"),
    # the simulators Vidur (MLSys 2024) and SplitwiseSim
    TraceFormat(
        "arrived-at-csv", "arrived_at", "seconds", "num_prefill_tokens", "num_decode_tokens"
    ),
    # github.com/HPMLL/BurstGPT
    TraceFormat(
        "burstgpt-csv",
        "Timestamp",
        "seconds",
        "Request tokens",
        "Response tokens",
        failed_is_zero=True,
        session="Session ID",
    ),
)

MARK_COLUMNS = ("class", "priority")
"""Columns that a CSV trace of any format may have besides."""

# github.com/kvcache-ai/Mooncake (FAST 2025), and Alibaba's Bailian traces, which have a chat_id
# (github.com/alibaba-edu/qwen-bailian-usagetraces-anon) and count their time in seconds
MOONCAKE = TraceFormat(
    "mooncake-jsonl",
    "timestamp",
    "milliseconds",
    "input_length",
    "output_length",
    block_tokens=512,
)
BAILIAN = TraceFormat(
    "bailian-jsonl", "timestamp", "seconds", "input_length", "output_length", block_tokens=16
)


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """A CSV format and the places of its columns in this file's header.

    ``fields`` are the indices of arrival, prompt and output tokens; ``width`` the number of fields;
    ``class_field`` and ``priority_field`` those of columns that any format may have beside its own,
    ``session_field`` that of the format's own optional column.
    """

    format: TraceFormat
    fields: tuple[int, int, int]
    width: int
    class_field: int | None = None
    priority_field: int | None = None
    session_field: int | None = None

    @property
    def marked(self) -> bool:
        """Whether there is an optional column."""
        fields = (self.class_field, self.priority_field, self.session_field)
        return any(field is not None for field in fields)


def describe_formats() -> str:
    """The known first lines, for an error message."""
    headers = [",".join(f.columns) for f in CSV_FORMATS]
    keys = ", ".join(f'"{key}"' for key in MOONCAKE.columns)
    return f"known: {'; '.join(headers)}; or JSON lines with {keys}"


def detect_csv(header: str, file: str) -> CsvLayout:
    """The CSV format that a header line belongs to, or an ``InputError`` at its place.

    The columns may stand in any order and beside others. A header that has some of a format's
    columns is taken as that format with the rest missing.
    """
    names = [name.strip().strip('"').strip() for name in header.split(",")]
    best = max(CSV_FORMATS, key=lambda f: sum(column in names for column in f.columns))
    missing = [column for column in best.columns if column not in names]
    if len(missing) == len(best.columns):
        close = [(name, nearest_column(name)) for name in names]
        hint = next((f"did you mean '{c}' for '{n}'? " for n, c in close if c), "")
        raise InputError(
            "unknown trace format: expected a known header or JSON lines, found "
            + (f"'{header[:80]}'" if header.strip() else "an empty line"),
            location=Location(file, 1, 1, header, max(1, len(header))),
            hint=hint + describe_formats(),
        )
    if missing:
        raise _missing_column(best, missing[0], names, header, file)
    optional = (*MARK_COLUMNS, best.session)
    for column in (*best.columns, *optional):
        if column and names.count(column) > 1:
            second = header.index(column, header.index(column) + 1)
            raise InputError(
                f"column '{column}' stands in the header twice",
                location=Location(file, 1, second + 1, header, len(column)),
            )
    arrival, prompt, output = (names.index(column) for column in best.columns)
    marks = (names.index(column) if column and column in names else None for column in optional)
    return CsvLayout(best, (arrival, prompt, output), len(names), *marks)


def nearest_column(name: str) -> str | None:
    """The known column most like ``name``, upper and lower case aside."""
    return _nearest_of(name, [column for f in CSV_FORMATS for column in f.columns])


def _nearest_of(name: str, candidates: Sequence[str]) -> str | None:
    lowered = {candidate.lower(): candidate for candidate in candidates}
    close = nearest(name, lowered)
    return lowered[close] if close else None


def _missing_column(
    format: TraceFormat, column: str, names: list[str], header: str, file: str
) -> InputError:
    spare = [name for name in names if name and name not in format.columns]
    close = _nearest_of(column, spare)
    start = header.index(close) if close else 0
    length = len(close) if close else len(header)
    hint = f"did you mean '{column}'?" if close else f"expected {','.join(format.columns)}"
    found = f", found '{close}'" if close else ""
    return InputError(
        f"missing column '{column}' of the {format.name} format{found}",
        location=Location(file, 1, start + 1, header, length),
        hint=hint,
    )
