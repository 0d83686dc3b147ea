"""``chipsim systolic --trace``: what moves, cycle by cycle, to a compressed NumPy or CSV file.

Records are runs of words (see ``simulator.kernels.systolic_trace``) in the order of their cycles.
A CSV file has the columns ``cycle,memory,operand,access,address,stride,words``. An ``.npz`` file
has the same in arrays of some 260,000 records, ``cycle_00000``, ``address_00000``,
``stride_00000``, ``words_00000``, ``kind_00000``, ``cycle_00001`` ..., and ``word_bytes``.
Addresses and strides are bytes. The matrices lie one behind the other, each starting at a
multiple of 4096.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulator.atomic import atomic_write
from simulator.errors import InputError, Location
from simulator.kernels import systolic_trace as kernel
from simulator.kernels.systolic_trace_csv import csv_lines

if TYPE_CHECKING:
    from simulator.timing.systolic import SystolicCase
    from simulator.timing.systolic_schedule import Schedule

CHUNK = 1 << 18
COLUMNS = ("cycle", "address", "stride", "words", "kind")
HEADER = "cycle,memory,operand,access,address,stride,words\n"

Ints = NDArray[np.int64]
Kinds = NDArray[np.uint8]
Records = tuple[Ints, Kinds]
"""A table with a row each for cycle, address, stride and words, and the kinds."""


def kind_names(kind: int) -> tuple[str, str, str]:
    """Memory, operand and access of a record's kind."""
    operand = ("ifmap", "filter", "ofmap")[(kind >> 1) & 3]
    return (
        "dram" if kind & kernel.DRAM else "sram",
        operand,
        "write" if kind & kernel.WRITE else "read",
    )


def write_trace(case: SystolicCase, path: str) -> int:
    """Write the trace of a case and return the number of records.

    Memory stays bounded: records are made, sorted and written in pieces.

    Raises:
        InputError: an ending other than .npz or .csv, an unwritable path, or more tiles than a
            schedule may have.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".npz", ".csv"):
        raise InputError(
            f"cannot write a trace as '{ending or path}'",
            location=Location(path),
            hint="end its name with .npz or .csv",
        )
    from simulator.timing.systolic_schedule import systolic_schedule

    schedule = systolic_schedule(case)
    geometry = _geometry(case, schedule)
    pieces = _in_pieces(_merge(_sram(geometry, schedule), _dram(geometry, schedule)))
    with atomic_write(path, binary=True) as stream:
        if ending == ".csv":
            return _write_csv(stream, pieces)
        return _write_npz(stream, pieces, case.word_bytes)


def read_trace(path: str) -> Iterator[dict[str, NDArray[np.int64] | NDArray[np.uint8]]]:
    """The arrays of an ``.npz`` trace, a piece at a time, under the names in ``COLUMNS``.

    Raises:
        InputError: the file is missing or is no such trace.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = [name for name in archive.files if name.startswith("cycle_")]
            if not names:
                raise InputError("no trace of chipsim systolic", location=Location(path))
            for name in sorted(names):
                tail = name.removeprefix("cycle")
                yield {column: archive[column + tail] for column in COLUMNS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read the trace '{path}': {error}") from None


def _geometry(case: SystolicCase, schedule: Schedule) -> Ints:
    from simulator.timing.systolic import DATAFLOWS, LOADS

    page = 4096
    base_b = -(-case.m * case.k * case.word_bytes // page) * page
    base_c = base_b - (-case.k * case.n * case.word_bytes // page) * page
    sizes = [DATAFLOWS[case.dataflow], LOADS[case.load], case.m, case.k, case.n]
    sizes += [case.rows, case.cols, case.macs, schedule.stream, schedule.chunks, case.word_bytes]
    return np.array([*sizes, 0, base_b, base_c], np.int64)


def _sorted(table: Ints, kinds: Kinds) -> Records:
    order = np.argsort(table[0], kind="stable")
    return np.ascontiguousarray(table[:, order]), kinds[order]


def _sram(geometry: Ints, schedule: Schedule) -> Iterator[Records]:
    """Records of the array's demands in the order of their cycles."""
    room = int(kernel.sram_room(geometry))
    tiles = schedule.feeds.shape[0] * schedule.chunks
    batch = max(1, CHUNK // room)
    held: Records = _nothing()
    for first in range(0, tiles, batch):
        last = min(tiles, first + batch)
        table = np.empty((4, room * (last - first)), np.int64)
        kinds = np.empty(table.shape[1], np.uint8)
        count = kernel.emit_sram(geometry, schedule.feeds, first, last, table, kinds)
        until = None
        if last < tiles:
            fold, chunk = divmod(last, schedule.chunks)
            until = schedule.feeds[fold, 1 + chunk]
            if chunk == 0 and geometry[kernel.DATAFLOW] != 1 and not geometry[kernel.LOAD]:
                until = schedule.feeds[fold, 0]
        ready, held = _split(held, (table[:, :count], kinds[:count]), until)
        yield ready


def _dram(geometry: Ints, schedule: Schedule) -> Iterator[Records]:
    """Records of the ports in the order of their cycles."""
    p, q = schedule.ticks, schedule.word_ticks
    starts, tiles, tile_kinds = kernel.list_transfers(
        geometry, schedule.feeds, schedule.arrivals, schedule.writes, p, q
    )
    order = np.argsort(starts, kind="stable")
    starts, tiles, tile_kinds = starts[order], tiles[order], tile_kinds[order]
    held: Records = _nothing()
    first = 0
    while first < len(starts):
        last, room = kernel.transfer_rows(geometry, tile_kinds, tiles, first, CHUNK)
        table = np.empty((4, room), np.int64)
        kinds = np.empty(room, np.uint8)
        kernel.emit_dram(geometry, starts, tiles, tile_kinds, first, last, p, q, table, kinds)
        until = starts[last] // p if last < len(starts) else None
        ready, held = _split(held, (table, kinds), until)
        yield ready
        first = last


def _nothing() -> Records:
    return np.empty((4, 0), np.int64), np.empty(0, np.uint8)


def _join(one: Records, other: Records) -> Records:
    if not one[0].shape[1]:
        return other
    return np.concatenate((one[0], other[0]), axis=1), np.concatenate((one[1], other[1]))


def _split(held: Records, new: Records, until: int | None) -> tuple[Records, Records]:
    """Sort what there is; what is not before ``until`` waits, because more may come before it."""
    table, kinds = _sorted(*_join(held, new))
    if until is None:
        return (table, kinds), _nothing()
    at = int(np.searchsorted(table[0], until))
    return (table[:, :at], kinds[:at]), (table[:, at:], kinds[at:])


def _merge(one: Iterator[Records], other: Iterator[Records]) -> Iterator[Records]:
    """Two sorted streams as one; at the same cycle the first stream comes first."""
    left, right = next(one, None), next(other, None)
    while left is not None and right is not None:
        if not left[0].shape[1]:
            left = next(one, None)
        elif not right[0].shape[1]:
            right = next(other, None)
        else:
            until = min(left[0][0, -1], right[0][0, -1])
            ready_left, left = _cut(left, until)
            ready_right, right = _cut(right, until)
            yield _sorted(*_join(ready_left, ready_right))
    while left is not None:
        yield left
        left = next(one, None)
    while right is not None:
        yield right
        right = next(other, None)


def _cut(records: Records, until: int) -> tuple[Records, Records]:
    """Those up to and with a cycle, and the rest."""
    table, kinds = records
    at = int(np.searchsorted(table[0], until, side="right"))
    return (table[:, :at], kinds[:at]), (table[:, at:], kinds[at:])


def _in_pieces(batches: Iterator[Records]) -> Iterator[Records]:
    """The same records in pieces of about CHUNK."""
    held: list[Records] = []
    size = 0
    for batch in batches:
        if batch[0].shape[1]:
            held.append(batch)
            size += batch[0].shape[1]
        if size >= CHUNK:
            yield _all(held)
            held, size = [], 0
    if held:
        yield _all(held)


def _all(held: list[Records]) -> Records:
    return np.concatenate([t for t, _ in held], axis=1), np.concatenate([k for _, k in held])


def _write_npz(stream: IO[bytes], pieces: Iterator[Records], word_bytes: int) -> int:
    total = 0
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _member(archive, "word_bytes", np.array(word_bytes))
        for index, (table, kinds) in enumerate(pieces):
            columns = (table[0], table[1], table[2], table[3].astype(np.int32), kinds)
            for name, column in zip(COLUMNS, columns, strict=True):
                _member(archive, f"{name}_{index:05d}", column)
            total += len(kinds)
    return total


def _member(archive: zipfile.ZipFile, name: str, array: NDArray[np.generic]) -> None:
    """One array; a fixed date, so that the same trace is the same bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, buffer.getvalue(), compresslevel=1)


def _write_csv(stream: IO[bytes], pieces: Iterator[Records]) -> int:
    names = np.zeros((16, 24), np.uint8)
    for kind in range(16):
        if (kind >> 1) & 3 < 3:
            text = ("," + ",".join(kind_names(kind)) + ",").encode()
            names[kind, : len(text)] = np.frombuffer(text, np.uint8)
    total = 0
    stream.write(HEADER.encode())
    for table, kinds in pieces:
        for first in range(0, len(kinds), 1 << 16):
            part = np.ascontiguousarray(table[:, first : first + (1 << 16)])
            out = np.empty(120 * part.shape[1], np.uint8)
            used = csv_lines(part, kinds[first : first + (1 << 16)], names, out)
            stream.write(out[:used].tobytes())
        total += len(kinds)
    return total
