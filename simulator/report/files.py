"""``-o DIR``: the result, one row a request, and what the run was made of."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from simulator.atomic import atomic_write
from simulator.report.json_out import plain, to_json
from simulator.report.versions import versions

if TYPE_CHECKING:
    from simulator.hardware import System
    from simulator.model.transformer import Transformer
    from simulator.serving.results import RequestTable
    from simulator.workload.request import Workload

FILES = ("requests.csv", "manifest.json", "result.json")
"""In the order in which they appear."""

COLUMNS = (
    "request",
    "status",
    "replica",
    "prompt_tokens",
    "output_tokens",
    "preemptions",
    "arrival_s",
    "scheduled_s",
    "first_token_s",
    "completed_s",
    "queue_s",
    "ttft_s",
    "tpot_s",
    "e2e_s",
)
STATUSES = ("completed", "rejected_kv_capacity", "rejected_context_length", "lost")
_CHUNK = 4096


def write_directory(
    directory: Path, document: Mapping[str, Any], table: RequestTable, manifest: Mapping[str, Any]
) -> None:
    """Write ``requests.csv``, ``manifest.json`` and, last of all, ``result.json``.

    Each is written aside and renamed, so a file that is there is whole, and a ``result.json``
    says that the others are there too.

    Raises:
        InputError: a file cannot be written.
    """
    requests, manifest_name, result = FILES
    with contextlib.ExitStack() as stack:
        # all three are complete before the first is renamed; the stack renames the last one first
        for name, content in ((result, document), (manifest_name, manifest)):
            stream = stack.enter_context(atomic_write(directory / name))
            stream.write(to_json(content) + "\n")
            stream.flush()
        stream = stack.enter_context(atomic_write(directory / requests))
        write_requests(table, stream)
        stream.flush()


def write_requests(table: RequestTable, stream: TextIO) -> None:
    """One row a request in order of arrival; times in seconds, exact to the picosecond.

    A time that was never reached is an empty cell, as is the TPOT of a one-token output.
    """
    stream.write(",".join(COLUMNS) + "\n")
    for first in range(0, len(table.arrival_ps), _CHUNK):
        stream.write(_rows(table, first, first + _CHUNK))


def manifest_json(
    system: System,
    model: Transformer,
    workload: Workload,
    *,
    seed: int,
    options: Mapping[str, Any],
    trace_file: str | None,
) -> dict[str, Any]:
    """What to run again: the resolved configuration, its hashes, options, seed and versions.

    ``trace_file`` is the workload's file, whose bytes are hashed, or None for generated traffic.
    Nothing in it depends on the time of day.

    Raises:
        InputError: the trace file cannot be read any more.
    """
    configuration = {
        "chip": resolved(system.chip),
        "system": {
            **{name: value for name, value in resolved(system).items() if name != "shapes"},
            "chip": system.chip.name,
            "chips": system.chips,
        },
        "model": resolved(model),
    }
    return {
        "schema": "chipsim.manifest/1",
        "configuration": configuration,
        "sha256": {
            **{name: sha256_of(values) for name, values in configuration.items()},
            "requests": _hash_traffic(workload),
            "trace_file": None if trace_file is None else hash_file(trace_file),
        },
        "workload": {
            "name": workload.name,
            "source": workload.source,
            "notes": list(workload.notes),
            "file": trace_file,
            "requests": len(workload.traffic),
        },
        "seed": seed,
        "options": dict(options),
        "versions": versions(),
    }


def resolved(specification: Any) -> Any:
    """A frozen specification as plain values; a nested one says which kind it is."""
    if dataclasses.is_dataclass(specification) and not isinstance(specification, type):
        fields = dataclasses.fields(specification)
        values = {field.name: resolved(getattr(specification, field.name)) for field in fields}
        return {"type": type(specification).__name__, **values}
    if isinstance(specification, Mapping):
        return {str(key): resolved(value) for key, value in specification.items()}
    if isinstance(specification, list | tuple):
        return [resolved(value) for value in specification]
    return plain(specification)


def sha256_of(values: Any) -> str:
    """Hash of a value's JSON with sorted keys and no spaces."""
    text = json.dumps(plain(values), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: str) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        InputError: the file cannot be read.
    """
    from simulator.errors import InputError

    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}") from None


def _hash_traffic(workload: Workload) -> str:
    """Hash of every array of the traffic, little-endian, in the order of its fields.

    What the traffic does not have is left out, so that a new optional column changes no hash.
    """
    digest = hashlib.sha256(type(workload.traffic).__name__.encode())
    _hash_fields(digest, workload.traffic)
    return digest.hexdigest()


def _hash_fields(digest: Any, values: Any) -> None:
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        if value is None or (isinstance(value, tuple) and not value):
            continue
        digest.update(field.name.encode())
        if hasattr(value, "astype"):
            digest.update(value.astype("<i8").tobytes())
        elif dataclasses.is_dataclass(value):
            _hash_fields(digest, value)
        else:
            digest.update(str(value).encode())


def _rows(table: RequestTable, first: int, last: int) -> str:
    columns = [
        column[first:last].tolist()
        for column in (
            table.status,
            table.replica,
            table.prompt_tokens,
            table.output_tokens,
            table.preemptions,
            table.arrival_ps,
            table.scheduled_ps,
            table.first_token_ps,
            table.completed_ps,
        )
    ]
    lines = []
    for index, row in enumerate(zip(*columns, strict=True), start=first):
        status, replica, prompt, output, preemptions, *times = row
        arrival, scheduled, first_token, completed = times
        cells = [
            str(index),
            STATUSES[status],
            str(replica) if replica >= 0 else "",
            str(prompt),
            str(output),
            str(preemptions),
            *(_seconds(time) for time in times),
            _between(arrival, scheduled),
            _between(arrival, first_token),
            _tpot(first_token, completed, output),
            _between(arrival, completed),
        ]
        lines.append(",".join(cells) + "\n")
    return "".join(lines)


def _seconds(ps: int) -> str:
    """Exact decimal text of a time, empty where it was never reached."""
    return "" if ps < 0 else f"{ps // 10**12}.{ps % 10**12:012d}"


def _between(start: int, end: int) -> str:
    return "" if start < 0 or end < 0 else _seconds(end - start)


def _tpot(first_token: int, completed: int, output_tokens: int) -> str:
    if first_token < 0 or completed < 0 or output_tokens < 2:
        return ""
    return repr((completed - first_token) / (output_tokens - 1) / 10**12)
