"""Timelines as trace-event JSON, which Perfetto and chrome://tracing open.

Times are microseconds written with all six digits down to the picosecond. No two slices of one
track overlap. Events are written in chunks of text, so a log of a million iterations needs no
more memory than its arrays. Format: "Trace Event Format", Google, 2016.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from simulator.atomic import atomic_write
from simulator.timing.results import UNITS

if TYPE_CHECKING:
    import numpy as np

    from simulator.serving.results import IterationLog, RunResult
    from simulator.timing.results import OperatorSpan, StepTiming

CHUNK = 8192
_OPERATORS_TRACK = 1
_FIRST_UNIT_TRACK = 2


def write_step_timeline(result: StepTiming, path: str | Path) -> None:
    """One track of operators and one of each unit, of one chip.

    Raises:
        InputError: the file cannot be written.
    """
    _write(step_events(result), path)


def write_run_timeline(result: RunResult, path: str | Path) -> None:
    """For each replica a track of iterations, one of each unit, and counters; KV caches that move.

    Raises:
        InputError: the file cannot be written.
        ValueError: the run kept no log of its iterations.
    """
    if result.log is None:
        raise ValueError("this run has no log of iterations; simulate with record_iterations=True")
    _write(run_events(result.log, f"{result.model} on {result.system}"), path)


def step_events(result: StepTiming) -> Iterator[str]:
    """The events of a step as JSON texts."""
    yield _name_event("process_name", 1, 0, f"{result.phase} of {result.model} on {result.system}")
    yield from _track_names(1, "operators")
    cursor = 0
    for span in result.operators:
        start = max(cursor, span.start_ps)
        cursor = max(start, span.end_ps)
        yield _slice(span.name, 1, _OPERATORS_TRACK, start, cursor - start, _arguments(span))
    if result.host_ps:
        start = max(cursor, result.time_ps - result.host_ps)
        yield _slice("host overhead", 1, _OPERATORS_TRACK, start, result.time_ps - start, "{}")
    for unit in range(len(UNITS)):
        for name, start, length in unit_slices(result.operators, unit):
            yield _slice(name, 1, _FIRST_UNIT_TRACK + unit, start, length, "{}")


def unit_slices(spans: Sequence[OperatorSpan], unit: int) -> list[tuple[str, int, int]]:
    """What a unit did and when: (name, start, length) in ps, in order and without overlaps.

    A unit's work on an operator is drawn from the operator's start on. Weights that were fetched
    ahead are a slice of their own on HBM, before the operator.
    """
    placed: list[tuple[str, int, int]] = []
    free = 0
    for span in spans:
        wanted = [(span.name, span.start_ps, min(int(span.busy_ps[unit]), span.duration_ps))]
        if UNITS[unit] == "hbm":
            wanted.insert(0, (f"{span.name} (fetch ahead)", span.fetch_start_ps, span.fetch_ps))
        for name, start, length in wanted:
            if length > 0:
                start = max(start, free)
                free = start + length
                placed.append((name, start, length))
    return placed


def run_events(log: IterationLog, title: str) -> Iterator[str]:
    """The events of a run as JSON texts (several, with commas, in one), replica by replica."""
    import numpy as np

    for replica in np.unique(log.replica).tolist():
        process = int(replica) + 1
        rows = np.flatnonzero(log.replica == replica)
        name = _replica_name(log, int(replica))
        yield _name_event("process_name", process, 0, f"{name}: {title}")
        yield from _track_names(process, "iterations")
        for first in range(0, len(rows), CHUNK):
            yield from _iteration_events(log, rows[first : first + CHUNK], process)
    if log.transfers:
        yield from _transfer_events(log)


def _replica_name(log: IterationLog, replica: int) -> str:
    """Its number, and its pool where there are several."""
    named = len(set(log.roles)) > 1
    return f"{log.roles[replica]} replica {replica}" if named else f"replica {replica}"


def _transfer_events(log: IterationLog) -> Iterator[str]:
    """Caches on their way overlap, so each is an asynchronous event of its own, in one process."""
    process = len(log.roles) + 1
    yield _name_event("process_name", process, 0, "KV transfers")
    for moved in log.transfers:
        name = f"{_replica_name(log, moved.source)} to {_replica_name(log, moved.target)}"
        arguments = f'{{"request":{moved.request},"bytes":{moved.size_bytes}}}'
        for phase, when in (("b", moved.start_ps), ("e", moved.end_ps)):
            yield (
                f'{{"ph":"{phase}","cat":"kv","id":{moved.request},"name":{json.dumps(name)},'
                f'"pid":{process},"tid":0,"ts":{_microseconds(when)},"args":{arguments}}}'
            )


def _iteration_events(
    log: IterationLog, rows: np.ndarray[tuple[int], np.dtype[np.int64]], process: int
) -> Iterator[str]:
    """All events of an iteration as one text; what does not change is laid out beforehand."""
    columns = (
        log.start_ps,
        log.end_ps,
        log.tokens,
        log.sequences,
        log.waiting,
        log.kv_blocks,
        log.busy_ps,
    )
    head = [f'{{"ph":"X","name":"iteration","pid":{process},"tid":{_OPERATORS_TRACK},"ts":']
    head += [
        f',\n{{"ph":"X","name":"busy","pid":{process},"tid":{_FIRST_UNIT_TRACK + unit},"ts":'
        for unit in range(len(UNITS))
    ]
    counters = [
        f',\n{{"ph":"C","name":"{name}","pid":{process},"ts":' for name in ("requests", "KV blocks")
    ]
    for row in zip(*(column[rows].tolist() for column in columns), strict=True):
        start, end, tokens, sequences, waiting, blocks, busy = row
        ts = _microseconds(start)
        length = end - start
        text = (
            f'{head[0]}{ts},"dur":{_microseconds(length)},"args":{{"tokens":{tokens},'
            f'"sequences":{sequences},"waiting":{waiting},"kv_blocks":{blocks}}}}}'
        )
        for unit, busy_ps in enumerate(busy, start=1):
            if busy_ps > 0:
                text += f'{head[unit]}{ts},"dur":{_microseconds(min(busy_ps, length))}}}'
        yield (
            f'{text}{counters[0]}{ts},"args":{{"running":{sequences},"waiting":{waiting}}}}}'
            f'{counters[1]}{ts},"args":{{"in use":{blocks}}}}}'
        )


def _track_names(process: int, first: str) -> Iterator[str]:
    for index, name in enumerate((first, *UNITS)):
        yield _name_event("thread_name", process, _OPERATORS_TRACK + index, name)
        yield (
            f'{{"ph":"M","name":"thread_sort_index","pid":{process},'
            f'"tid":{_OPERATORS_TRACK + index},"args":{{"sort_index":{index}}}}}'
        )


def _name_event(kind: str, process: int, track: int, name: str) -> str:
    return (
        f'{{"ph":"M","name":"{kind}","pid":{process},"tid":{track},'
        f'"args":{{"name":{json.dumps(name)}}}}}'
    )


def _slice(
    name: str, process: int, track: int, start_ps: int, length_ps: int, arguments: str
) -> str:
    return (
        f'{{"ph":"X","name":{json.dumps(name)},"pid":{process},"tid":{track},'
        f'"ts":{_microseconds(start_ps)},"dur":{_microseconds(length_ps)},"args":{arguments}}}'
    )


def _arguments(span: OperatorSpan) -> str:
    return json.dumps(
        {
            "kind": span.kind,
            "shape": span.detail,
            "bound_by": span.bound_by,
            "flops": int(span.flops),
            "hbm_read_bytes": int(span.hbm_read_bytes),
            "hbm_write_bytes": int(span.hbm_write_bytes),
            "fabric_bytes": int(span.fabric_bytes),
            "prefetched_bytes": int(span.fetch_bytes),
        },
        separators=(",", ":"),
    )


def _microseconds(ps: int) -> str:
    """Exact decimal text; picoseconds never go through a float."""
    return f"{ps // 10**6}.{ps % 10**6:06d}"


def _write(events: Iterator[str], path: str | Path) -> None:
    if str(path).endswith(".gz"):
        # no time stamp and no name in the header: the same result gives the same bytes
        with (
            atomic_write(path, binary=True) as raw,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
        ):
            _write_events(events, text)
        return
    with atomic_write(path) as plain_text:
        _write_events(events, plain_text)


def _write_events(events: Iterator[str], text: TextIO) -> None:
    write: Callable[[str], int] = text.write
    write('{"displayTimeUnit":"ns","traceEvents":[\n')
    chunk: list[str] = []
    separator = ""
    for event in events:
        chunk.append(event)
        if len(chunk) >= CHUNK:
            write(separator + ",\n".join(chunk))
            separator = ",\n"
            chunk.clear()
    if chunk:
        write(separator + ",\n".join(chunk))
    write("\n]}\n")
