"""What a systolic array moves, as runs of words.

A record is a run: at ``cycle``, ``words`` words at ``address``, ``address + stride``, ... (bytes).
What one cycle takes from SRAM for one operand is always such a run, and so is a row of a tile on
its way from or to DRAM. That is why a trace of a 128 x 128 array is a hundredth of a list of words.

``kind`` says what moves: bit 0 is set for a write, bits 1 and 2 are the operand (0 A, 1 B, 2 C),
bit 3 is set for DRAM.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.jit import kernel
from simulator.kernels.systolic import DOUBLE, IS, OS, WS
from simulator.kernels.systolic_chunks import chunk_start

WRITE = 1
OPERAND_A = 0
OPERAND_B = 2
OPERAND_C = 4
DRAM = 8

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

# entries of the geometry vector
DATAFLOW, LOAD, M, K, N, ROWS, COLS, MACS, STREAM, CHUNKS, WORD, BASE_A, BASE_B, BASE_C = range(14)


@kernel
def _span(index: int, size: int, extent: int) -> tuple[int, int]:
    """First element and length of one fold's part of an extent."""
    first = index * size
    return first, min(size, extent - first)


@kernel
def _fold_spans(g: Ints, fold: int) -> tuple[int, int, int, int]:
    """What lies along the rows and along the columns in a fold: firsts and lengths."""
    row_extent = g[M] if g[DATAFLOW] == OS else g[K]
    col_extent = g[M] if g[DATAFLOW] == IS else g[N]
    row_folds = (row_extent + g[ROWS] - 1) // g[ROWS]
    i0, height = _span(fold % row_folds, g[ROWS], row_extent)
    j0, width = _span(fold // row_folds, g[COLS], col_extent)
    return i0, height, j0, width


@kernel
def _vectors(g: Ints) -> int:
    if g[DATAFLOW] == WS:
        return int(g[M])
    return int(g[K] if g[DATAFLOW] == OS else g[N])


@kernel
def block(g: Ints, kind: int, fold: int, chunk: int) -> tuple[int, int, int, int]:
    """First row, rows, first column, columns of a tile in the matrix of its operand."""
    i0, height, j0, width = _fold_spans(g, fold)
    v0 = chunk_start(g[STREAM], g[CHUNKS], chunk) * g[MACS]
    depth = min(_vectors(g), chunk_start(g[STREAM], g[CHUNKS], chunk + 1) * g[MACS]) - v0
    operand = kind & 6
    if g[DATAFLOW] == WS:
        if operand == OPERAND_A:
            return v0, depth, i0, height
        if operand == OPERAND_B:
            return i0, height, j0, width
        return v0, depth, j0, width
    if g[DATAFLOW] == IS:
        if operand == OPERAND_A:
            return j0, width, i0, height
        if operand == OPERAND_B:
            return i0, height, v0, depth
        return j0, width, v0, depth
    if operand == OPERAND_A:
        return i0, height, v0, depth
    if operand == OPERAND_B:
        return v0, depth, j0, width
    return i0, height, j0, width


@kernel
def _run_of(g: Ints, operand: int, row: int, col: int, down: bool) -> tuple[int, int]:
    """Byte address of an element and the stride to its neighbour, below it or to its right."""
    base = g[BASE_A] if operand == OPERAND_A else g[BASE_B] if operand == OPERAND_B else g[BASE_C]
    pitch = g[K] if operand == OPERAND_A else g[N]
    return base + (row * pitch + col) * g[WORD], (pitch if down else 1) * g[WORD]


@kernel
def _put(table: Ints, at: int, cycle: int, run: tuple[int, int], words: int) -> int:
    table[0, at] = cycle
    table[1, at] = run[0]
    table[2, at] = run[1]
    table[3, at] = words
    return at + 1


@kernel
def sram_room(g: Ints) -> int:
    """Records that one tile can give at most."""
    longest = chunk_start(g[STREAM], g[CHUNKS], 1) * g[MACS]
    return int(2 * longest + 2 * g[ROWS] + 4)


@kernel
def _emit_load(g: Ints, fold: int, begin: int, table: Ints, kinds: Bytes, at: int) -> int:
    """The stationary operand of a fold, one row of cells a cycle, the lowest first."""
    i0, height, j0, width = _fold_spans(g, fold)
    for step in range(g[ROWS]):
        i = g[ROWS] - 1 - step
        if i >= height:
            continue
        if g[DATAFLOW] == WS:
            run = _run_of(g, OPERAND_B, i0 + i, j0, False)
            kinds[at] = OPERAND_B
        else:
            run = _run_of(g, OPERAND_A, j0, i0 + i, True)
            kinds[at] = OPERAND_A
        at = _put(table, at, begin + step, run, width)
    return at


@kernel
def emit_sram(g: Ints, feeds: Ints, first: int, last: int, table: Ints, kinds: Bytes) -> int:
    """Records of what the tiles ``first`` to ``last`` - 1 (fold * chunks + chunk) demand of SRAM.

    ``table`` has a row each for cycle, address, stride and words. Returns the number of records,
    which are in order operand by operand. Operands are read a vector a cycle, in front of the
    registers that skew them; results are written behind those that put them straight.
    """
    at = 0
    folds = feeds.shape[0]
    delay = g[ROWS] + g[COLS] - 2
    for tile in range(first, last):
        fold, chunk = tile // g[CHUNKS], tile % g[CHUNKS]
        i0, height, j0, width = _fold_spans(g, fold)
        if chunk == 0 and g[DATAFLOW] != OS:
            if fold == 0 or g[LOAD] != DOUBLE:
                at = _emit_load(g, fold, feeds[fold, 0], table, kinds, at)
            if g[LOAD] == DOUBLE and fold + 1 < folds:
                at = _emit_load(g, fold + 1, feeds[fold + 1, 0], table, kinds, at)
        start = chunk_start(g[STREAM], g[CHUNKS], chunk)
        end = chunk_start(g[STREAM], g[CHUNKS], chunk + 1)
        begin = feeds[fold, 1 + chunk]
        v0, v1 = start * g[MACS], min(_vectors(g), end * g[MACS])
        for v in range(v0, v1):
            cycle = begin + (v - v0) // g[MACS]
            if g[DATAFLOW] == WS:
                kinds[at] = OPERAND_A
                at = _put(table, at, cycle, _run_of(g, OPERAND_A, v, i0, False), height)
            elif g[DATAFLOW] == IS:
                kinds[at] = OPERAND_B
                at = _put(table, at, cycle, _run_of(g, OPERAND_B, i0, v, True), height)
            else:
                kinds[at] = OPERAND_A
                at = _put(table, at, cycle, _run_of(g, OPERAND_A, i0, v, True), height)
        for v in range(v0, v1):
            cycle = begin + (v - v0) // g[MACS]
            if g[DATAFLOW] == WS:
                kinds[at] = OPERAND_C | WRITE
                run = _run_of(g, OPERAND_C, v, j0, False)
                at = _put(table, at, cycle + delay, run, width)
            elif g[DATAFLOW] == IS:
                kinds[at] = OPERAND_C | WRITE
                run = _run_of(g, OPERAND_C, j0, v, True)
                at = _put(table, at, cycle + delay, run, width)
            else:
                kinds[at] = OPERAND_B
                at = _put(table, at, cycle, _run_of(g, OPERAND_B, v, j0, False), width)
        if g[DATAFLOW] == OS and chunk == g[CHUNKS] - 1:
            out = begin + end - start + delay
            for step in range(g[ROWS]):
                i = g[ROWS] - 1 - step
                if i < height:
                    kinds[at] = OPERAND_C | WRITE
                    run = _run_of(g, OPERAND_C, i0 + i, j0, False)
                    at = _put(table, at, out + step, run, width)
    return at


@kernel
def list_transfers(
    g: Ints, feeds: Ints, arrivals: Ints, writes: Ints, p: int, q: int
) -> tuple[Ints, Ints, Bytes]:
    """Start (1/p cycles), tile and kind of every tile that moves to or from DRAM.

    What the cold start brings has negative times. Without a limit of bandwidth (q = 0) an operand
    is read when the array first takes it, a result written when it is complete.
    """
    chunks = g[CHUNKS]
    count = (arrivals >= 0).sum() + (writes >= 0).sum()
    starts = np.empty(count, np.int64)
    tiles = np.empty(count, np.int64)
    kinds = np.empty(count, np.uint8)
    row_kind = OPERAND_B if g[DATAFLOW] == IS else OPERAND_A
    col_kind = OPERAND_A if g[DATAFLOW] == IS else OPERAND_B
    delay = 0 if g[DATAFLOW] == OS else (g[ROWS] + g[COLS] - 2) * p
    cold = np.zeros(16, np.int64)
    at = 0
    for fold in range(feeds.shape[0]):
        for column in range(arrivals.shape[1] + chunks):
            shift = 0
            use = 0
            if column == 0:
                kind, chunk, end = col_kind, 0, arrivals[fold, 0]
            elif column <= chunks:
                kind, chunk, end = row_kind, column - 1, arrivals[fold, column]
                use = 1 + chunk
            elif column <= 2 * chunks:
                chunk, end = column - 1 - chunks, arrivals[fold, column]
                kind = col_kind if g[DATAFLOW] == OS else OPERAND_C
                shift = delay
                use = 1 + chunk
            else:
                chunk = column - 1 - 2 * chunks
                kind, end, shift = OPERAND_C | WRITE, writes[fold, chunk], delay
            if end < 0:
                continue
            _, height, _, width = block(g, kind, fold, chunk)
            words = height * width
            if q == 0 and (kind & WRITE) == 0:
                starts[at] = feeds[fold, use] * p + shift
            elif end == 0 and (kind & WRITE) == 0 and (kind & 6) != OPERAND_C:
                starts[at] = cold[kind]
                cold[kind] += words * q
            else:
                starts[at] = end - words * q + shift
            tiles[at] = fold * chunks + chunk
            kinds[at] = kind | DRAM
            at += 1
    # the cold start ends at 0: move what was laid out from 0 on back by its length
    seen = np.zeros(16, np.int64)
    for i in range(at):
        kind = kinds[i] & 7
        if q > 0 and seen[kind] < cold[kind] and starts[i] == seen[kind]:
            _, height, _, width = block(g, kind, tiles[i] // chunks, tiles[i] % chunks)
            seen[kind] += height * width * q
            starts[i] -= cold[kind]
    return starts, tiles, kinds


@kernel
def transfer_rows(g: Ints, kinds: Bytes, tiles: Ints, first: int, most: int) -> tuple[int, int]:
    """The end of a batch of transfers with about ``most`` records, and their number."""
    total = 0
    at = first
    while at < len(tiles) and (at == first or total < most):
        total += block(g, kinds[at] & 7, tiles[at] // g[CHUNKS], tiles[at] % g[CHUNKS])[1]
        at += 1
    return at, total


@kernel
def emit_dram(
    g: Ints,
    starts: Ints,
    tiles: Ints,
    tile_kinds: Bytes,
    first: int,
    last: int,
    p: int,
    q: int,
    table: Ints,
    kinds: Bytes,
) -> int:
    """Records of the transfers ``first`` to ``last`` - 1, one for each row of a tile."""
    at = 0
    for i in range(first, last):
        kind = tile_kinds[i] & 7
        row0, height, col0, width = block(g, kind, tiles[i] // g[CHUNKS], tiles[i] % g[CHUNKS])
        for row in range(height):
            kinds[at] = tile_kinds[i]
            run = _run_of(g, kind & 6, row0 + row, col0, False)
            at = _put(table, at, (starts[i] + row * width * q) // p, run, width)
    return at
