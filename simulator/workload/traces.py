"""Request traces of real services, read from files that tell their format by their first line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from simulator.errors import InputError, Location
from simulator.workload import trace_csv, trace_json
from simulator.workload.request import (
    MAX_SPAN_S,
    PS_PER_S,
    Int64Array,
    Requests,
    Workload,
)
from simulator.workload.trace_blocks import Block, read_blocks
from simulator.workload.trace_csv import Columns
from simulator.workload.trace_formats import (
    CsvLayout,
    TraceFormat,
    describe_formats,
    detect_csv,
)
from simulator.workload.trace_marks import ChatError, Collected


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace as it stands in the file: its format, its requests, and the failed calls left out."""

    format: str
    requests: Requests
    failed_calls: int = 0


def read_trace(path: str | Path, *, limit: int | None = None, rate_scale: float = 1.0) -> Workload:
    """Read a trace file as a workload whose first request arrives at 0.

    ``limit`` keeps only the first requests and stops reading after them; ``rate_scale`` X makes
    requests come X times as often (every gap divided by X, rounded to a picosecond). Known are the
    Azure, Vidur/Splitwise and BurstGPT CSV files and the Mooncake and Bailian JSON lines.

    Raises ``InputError`` with file, line and column for whatever is wrong in the file: an unknown
    header, a missing column, a broken line, times that go backwards, no requests at all.
    """
    trace = read_trace_file(path, limit=limit)
    requests = scale_rate(trace.requests, rate_scale)
    notes = [f"format {trace.format}"]
    if trace.failed_calls:
        notes.append(f"{trace.failed_calls} failed calls left out")
    if limit is not None:
        notes.append(f"the first {len(requests)} requests")
    if rate_scale != 1.0:
        notes.append(f"arrival rate scaled by {rate_scale:g}")
    return Workload(
        Path(path).name,
        requests,
        source=trace.format,
        notes=tuple(notes),
        failed_calls=trace.failed_calls,
    )


def read_trace_file(path: str | Path, *, limit: int | None = None) -> Trace:
    """Read a trace file; see ``read_trace``."""
    if limit is not None and limit < 1:
        raise InputError(f"the limit is {limit}, expected at least 1 request")
    blocks = read_blocks(path)
    first = next(blocks, None)
    if first is None:
        raise InputError(
            "the trace is empty", location=Location(str(path)), hint=describe_formats()
        )
    layout, body = _detect(first, blocks)
    merge = _Merge(limit)
    for block in body:
        if merge.full:
            break
        merge.take(block, layout)
    name = layout.format.name if isinstance(layout, CsvLayout) else layout.name
    if merge.rows == 0:
        raise InputError(
            "the trace has a header and no requests"
            if merge.failed == 0
            else "the trace has no request that succeeded",
            location=Location(str(path), 1),
        )
    return Trace(name, merge.requests(), merge.failed)


def scale_rate(requests: Requests, rate_scale: float) -> Requests:
    """The same requests, ``rate_scale`` times as often; users think as long as before."""
    if not math.isfinite(rate_scale) or rate_scale <= 0:
        raise InputError(f"the rate scale is {rate_scale:g}, expected a finite number above 0")
    if rate_scale == 1.0 or len(requests) == 0:
        return requests
    if int(requests.arrival_ps[-1]) / rate_scale > MAX_SPAN_S * PS_PER_S:
        raise InputError(
            f"with the rate scaled by {rate_scale:g} the trace lasts longer than"
            f" {MAX_SPAN_S // 86_400} days, which is more than the clock holds"
        )
    if requests.parent is None:
        return replace(requests, arrival_ps=_scaled(requests.arrival_ps, rate_scale))
    thought = _thought(requests)
    arrival = _scaled(requests.arrival_ps - thought, rate_scale) + thought
    by_time = np.argsort(arrival, kind="stable")
    return replace(requests, arrival_ps=arrival).take(by_time)


def _scaled(times_ps: Int64Array, rate_scale: float) -> Int64Array:
    return np.rint(times_ps / rate_scale).astype(np.int64)


def _thought(requests: Requests) -> Int64Array:
    """How long the user of each session has thought by each turn; no scale changes that."""
    parent, think, turn = requests.parent, requests.think_ps, requests.turn
    assert parent is not None and think is not None and turn is not None
    total = np.zeros(len(requests), dtype=np.int64)
    if not think.any():
        return total
    for number in range(1, int(turn.max()) + 1):
        rows = np.flatnonzero(turn == number)
        total[rows] = total[parent[rows]] + think[rows]
    return total


def _detect(
    first: Block, blocks: Iterator[Block]
) -> tuple[CsvLayout | TraceFormat, Iterator[Block]]:
    """The format, and the blocks that hold requests."""
    head = first.line(0)
    if head.lstrip().startswith("{"):
        return trace_json.detect_json(first), _chain(first, blocks)
    layout = detect_csv(head, first.file)
    _, rest = first.split(1)
    return layout, _chain(rest, blocks)


def _chain(first: Block | None, blocks: Iterator[Block]) -> Iterator[Block]:
    if first is not None:
        yield first
    yield from blocks


@dataclass(slots=True)
class _Merge:
    """Collects the columns of blocks, measured from the first arrival."""

    limit: int | None
    rows: int = 0
    failed: int = 0
    origin: tuple[int, int] | None = None
    last_ps: int = 0
    last_text: str = ""
    parts: list[tuple[Int64Array, Int64Array, Int64Array]] = field(default_factory=list)
    marks: Collected = field(default_factory=Collected)

    @property
    def full(self) -> bool:
        return self.limit is not None and self.rows >= self.limit

    def take(self, block: Block, layout: CsvLayout | TraceFormat) -> None:
        """Parse a block, or as much of it as the limit leaves."""
        rest: Block | None = block
        while rest is not None and not self.full:
            head, rest = (rest, None) if self.limit is None else rest.split(self.limit - self.rows)
            self._append(head, layout)

    def _append(self, block: Block, layout: CsvLayout | TraceFormat) -> None:
        if isinstance(layout, CsvLayout):
            columns, format = trace_csv.parse_block(block, layout), layout.format
        else:
            columns, format = trace_json.parse_block(block, layout), layout
        arrival = self._relative(block, columns, layout)
        kept = columns.output > 0
        stays: list[bool] | None = None
        if format.failed_is_zero and not kept.all():
            self.failed += int(len(kept) - kept.sum())
            self.parts.append((arrival[kept], columns.prompt[kept], columns.output[kept]))
            stays = kept.tolist()
        else:
            self.parts.append((arrival, columns.prompt, columns.output))
        self.rows += len(self.parts[-1][0])
        if columns.marks is not None:
            try:
                self.marks.add(columns.marks, stays)
            except ChatError as error:
                place = trace_json.key_place(block, error.row, error.key)
                raise InputError(error.message, location=place) from None

    def _relative(
        self, block: Block, columns: Columns, layout: CsvLayout | TraceFormat
    ) -> Int64Array:
        """Arrivals in picoseconds after the trace's first row, checked to never decrease."""
        seconds, fraction = columns.seconds, columns.fraction_ps
        if self.origin is None:
            self.origin = (int(seconds[0]), int(fraction[0]))
            self.last_text = _time_text(block, 0, layout)[0]
        since = seconds - self.origin[0]
        # Compare before multiplying: a mistyped year would overflow the picoseconds.
        clipped = np.clip(since, -MAX_SPAN_S, MAX_SPAN_S)
        arrival: Int64Array = clipped * PS_PER_S + (fraction - self.origin[1])
        before = np.concatenate((np.array([self.last_ps], dtype=np.int64), arrival[:-1]))
        backwards = np.flatnonzero(arrival < before)
        too_long = np.flatnonzero(since > MAX_SPAN_S - 2)
        if len(too_long) and not (len(backwards) and backwards[0] < too_long[0]):
            raise self._too_long(block, int(too_long[0]), layout)
        if len(backwards):
            raise self._backwards(block, int(backwards[0]), layout)
        self.last_ps = int(arrival[-1])
        self.last_text = _time_text(block, len(arrival) - 1, layout)[0]
        return arrival

    def _backwards(self, block: Block, index: int, layout: CsvLayout | TraceFormat) -> InputError:
        text, column = _time_text(block, index, layout)
        previous = _time_text(block, index - 1, layout)[0] if index else self.last_text
        return InputError(
            f"time goes backwards: {text} follows {previous}",
            location=block.location(index, column, len(text)),
            hint="expected requests in the order of their arrival",
        )

    def _too_long(self, block: Block, index: int, layout: CsvLayout | TraceFormat) -> InputError:
        text, column = _time_text(block, index, layout)
        return InputError(
            f"{text} is more than {MAX_SPAN_S // 86_400} days after the first request",
            location=block.location(index, column, len(text)),
            hint="read a part of the trace with a limit",
        )

    def requests(self) -> Requests:
        """What was collected, from the first request that was kept."""
        arrival, prompt, output = (
            np.concatenate([part[i] for part in self.parts]) for i in range(3)
        )
        if self.limit is not None:
            arrival, prompt, output = (a[: self.limit] for a in (arrival, prompt, output))
        columns = self.marks.columns(len(arrival))
        return Requests(arrival - arrival[0], prompt, output, **columns)


def _time_text(block: Block, index: int, layout: CsvLayout | TraceFormat) -> tuple[str, int]:
    """The time of a row as written, and its column."""
    line = block.line(index)
    if isinstance(layout, CsvLayout):
        cells = line.split(",")
        column, length = trace_csv.cell_place(line, cells, layout.fields[0])
    else:
        column = line.find(f'"{layout.time}"') + 1
        column = line.find(":", column) + 2
        column += len(line[column - 1 :]) - len(line[column - 1 :].lstrip())
        length = len(line[column - 1 :].split(",")[0].split("}")[0])
    return line[column - 1 : column - 1 + length], column
