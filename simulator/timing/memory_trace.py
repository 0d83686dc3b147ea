"""Traces of memory accesses as bursts: the DRAM records of ``chipsim systolic --trace``.

Two forms are read, as CSV or ``.npz``: single accesses (``cycle,address,write``), and runs as
``chipsim systolic`` writes them (``cycle,memory,operand,access,address,stride,words``), of which
only the DRAM ones count; a cold start, which lies before cycle 0, is moved to begin there.
Addresses are bytes inside the channel; accesses that follow one another within a burst are one
burst.
"""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Location
from simulator.hardware.dram import DramChannel

Ints = NDArray[np.int64]

SINGLE = ("cycle", "address", "write")
RUNS = ("cycle", "memory", "operand", "access", "address", "stride", "words")
MAX_BURSTS = 50_000_000
_LARGEST = 2**53


def read_bursts(path: str, channel: DramChannel, ticks_per_cycle: float) -> tuple[Ints, Ints, Ints]:
    """Burst numbers, writes (0 or 1) and arrival ticks of a trace file.

    Raises ``InputError`` with file and line for a broken file, cycles that go backwards, negative
    numbers, or a trace without DRAM accesses.
    """
    if Path(path).is_dir():
        raise InputError(f"'{path}' is a directory, expected a trace file")
    try:
        cycle, address, stride, words, write = (
            _read_npz(path) if path.lower().endswith(".npz") else _read_csv(path)
        )
    except FileNotFoundError:
        raise InputError(f"there is no file '{path}'") from None
    except UnicodeDecodeError:
        raise InputError("the file is not UTF-8 text", location=Location(path)) from None
    except csv.Error as error:
        raise InputError(f"not a CSV file: {error}", location=Location(path)) from None
    except OSError as error:
        raise InputError(f"cannot read the trace '{path}': {error.strerror or error}") from None
    if cycle.size == 0:
        raise InputError("the trace has no DRAM accesses", location=Location(path))
    bad = (cycle < 0) | (address < 0) | (words < 1) | (cycle > _LARGEST) | (address > _LARGEST)
    bad |= np.abs(stride.astype(np.float64)) * words > _LARGEST
    if bad.any() or (np.diff(cycle) < 0).any():
        what = "a negative or too large number" if bad.any() else "a cycle before the one above it"
        raise InputError(f"the trace has {what}", location=Location(path))
    size = channel.organisation.burst_bytes
    bursts, which = _expand(address, stride, words, size)
    keep = np.ones(bursts.size, dtype=bool)
    same = (bursts[1:] == bursts[:-1]) & (write[which[1:]] == write[which[:-1]])
    keep[1:] = ~same
    bursts, which = bursts[keep], which[keep]
    arrivals = np.floor(cycle[which] * ticks_per_cycle).astype(np.int64)
    return bursts % channel.organisation.bursts, write[which], arrivals


def _expand(address: Ints, stride: Ints, words: Ints, size: int) -> tuple[Ints, Ints]:
    """Each run as its bursts: all that it spans where its words lie closer than a burst."""
    close = np.abs(stride) <= size
    last = address + stride * (words - 1)
    first_burst = np.minimum(address, last) // size
    spans = np.maximum(address, last) // size - first_burst + 1
    counts = np.where(close, spans, words)
    if int(counts.sum()) > MAX_BURSTS:
        raise InputError(f"the trace has more than {MAX_BURSTS} bursts")
    which = np.repeat(np.arange(counts.size), counts)
    index = np.arange(which.size) - np.repeat(np.cumsum(counts) - counts, counts)
    run = first_burst[which] + index
    word = (address[which] + stride[which] * index) // size
    return np.where(close[which], run, word), which


def _read_npz(path: str) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _from_archive(path, archive)
    except (ValueError, TypeError, KeyError, EOFError, AttributeError, zipfile.BadZipFile):
        raise InputError(
            "not an archive of arrays of numbers, as numpy.savez writes it", location=Location(path)
        ) from None


def _from_archive(path: str, archive: Any) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    if all(name in archive.files for name in SINGLE):
        cycle, address, write = _equally_long(path, archive, SINGLE)
        if ((write < 0) | (write > 1)).any():
            raise InputError("array 'write' has other values than 0 and 1", location=Location(path))
        return cycle, address, np.zeros_like(cycle), np.ones_like(cycle), write
    from simulator.kernels import systolic_trace as kinds

    pieces = []
    for name in sorted(n for n in archive.files if n.startswith("cycle_")):
        tail = name.removeprefix("cycle")
        parts = ("cycle", "address", "stride", "words", "kind")
        *columns, kind = _equally_long(path, archive, tuple(part + tail for part in parts))
        dram = (kind & kinds.DRAM) != 0
        writes = ((kind[dram] & kinds.WRITE) != 0).astype(np.int64)
        pieces.append((*(column[dram] for column in columns), writes))
    if not pieces:
        raise InputError(
            "expected arrays cycle, address, write or a trace of chipsim systolic",
            location=Location(path),
        )
    joined = [np.concatenate(column) for column in zip(*pieces, strict=True)]
    return _from_zero(joined[0]), joined[1], joined[2], joined[3], joined[4]


def _equally_long(path: str, archive: Any, names: tuple[str, ...]) -> list[Ints]:
    """Arrays of whole numbers of an archive, one number an access in each."""
    columns = []
    for name in names:
        column = archive[name]
        if column.ndim != 1 or column.dtype.kind not in "iub":
            raise InputError(
                f"array '{name}' is of {column.dtype} in {column.ndim} dimensions, expected whole "
                "numbers in one",
                location=Location(path),
            )
        if len(column) != len(archive[names[0]]):
            raise InputError(
                f"array '{name}' has {len(column)} numbers and '{names[0]}' "
                f"{len(archive[names[0]])}, expected as many",
                location=Location(path),
            )
        columns.append(column.astype(np.int64))
    return columns


def _read_csv(path: str) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    rows: list[tuple[int, int, int, int, int]] = []
    with Path(path).open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        header = tuple(name.strip() for name in next(reader, []))
        if not any(header):
            raise InputError("the trace is empty", location=Location(path))
        if header not in (SINGLE, RUNS):
            raise InputError(
                f"found the columns {','.join(header)[:120]}",
                location=Location(path, 1),
                hint=f"expected {','.join(SINGLE)} or {','.join(RUNS)}",
            )
        for row in reader:
            if not row:
                continue
            place = Location(path, reader.line_num)
            if len(row) != len(header):
                raise InputError(f"found {len(row)} cells, expected {len(header)}", location=place)
            record = _record(header, row, place)
            if record is None:
                continue
            if rows and record[0] < rows[-1][0]:
                raise InputError(
                    f"cycle {record[0]} comes after cycle {rows[-1][0]}", location=place
                )
            rows.append(record)
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    return _from_zero(table[:, 0]), table[:, 1], table[:, 2], table[:, 3], table[:, 4]


def _record(
    header: tuple[str, ...], row: list[str], place: Location
) -> tuple[int, int, int, int, int] | None:
    cell = dict(zip(header, row, strict=True))
    if header == SINGLE:
        write = _whole(cell["write"], "write", place, most=1)
        return (
            _whole(cell["cycle"], "cycle", place),
            _whole(cell["address"], "address", place),
            0,
            1,
            write,
        )
    if cell["memory"].strip() != "dram":
        return None
    return (
        _whole(cell["cycle"], "cycle", place, least=-_LARGEST),
        _whole(cell["address"], "address", place),
        _whole(cell["stride"], "stride", place),
        _whole(cell["words"], "words", place),
        int(cell["access"].strip() == "write"),
    )


def _whole(text: str, column: str, place: Location, least: int = 0, most: int = _LARGEST) -> int:
    text = text.strip()
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= 16 and least <= int(text) <= most:
        return int(text)
    expected = "a whole number" + (f" of at least {least}" if least == 0 else "")
    raise InputError(
        f"column '{column}': found '{text[:40]}', expected {expected}"
        + (f" and at most {most}" if most < _LARGEST else ""),
        location=place,
    )


def _from_zero(cycle: Ints) -> Ints:
    """Cycles of a systolic trace from its first access on: a cold start lies before cycle 0."""
    return cycle - min(0, int(cycle.min())) if cycle.size else cycle
