"""What the ports of a systolic array carry in a run, and the ports before it begins."""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inner
from simulator.kernels.systolic import OS
from simulator.kernels.systolic_ports import (
    CAPACITY,
    COL,
    COLD,
    HALF,
    LONG_AGO,
    MARGIN,
    OUT,
    RING,
    ROOMY,
    ROW,
    SMALLEST,
    SPACE,
    SPARE,
    WORDS_IN,
    Ints,
)
from simulator.kernels.systolic_work import Buffers, Work, tiles_of


@inner
def _cold_words(
    limit: int,
    columns: int,
    col_extent: int,
    cols: int,
    folds: int,
    row_extent: int,
    rows: int,
    chunks: int,
    stream: int,
    vectors: int,
    macs: int,
) -> int:
    """Words of the first tiles of a port that fit into ``limit`` together, or of the first one.

    A tile has as many words as its fold has rows (where ``rows`` > 0), times the fold's columns
    (``cols`` > 0), times the vectors of its chunk (``chunks`` > 0).
    """
    words = 0
    fc = 0
    while fc < columns:
        width = min(cols, col_extent - fc * cols) if cols > 0 else 1
        deep = width * vectors if chunks > 0 else width
        column = deep * (row_extent if rows > 0 else folds)
        if words > 0 and words + column <= limit:
            # the last one may be narrower
            alike = max(1, min(columns - 1 - fc, (limit - words) // column))
            words += alike * column
            fc += alike
            continue
        fc += 1
        fr = 0
        while fr < folds:
            height = min(rows, row_extent - fr * rows) if rows > 0 else 1
            if words > 0 and words + height * deep <= limit:
                alike = max(1, min(folds - 1 - fr, (limit - words) // (height * deep)))
                words += alike * height * deep
                fr += alike
                continue
            fr += 1
            first = 0
            for c in range(max(1, chunks)):
                tile = height * width
                if chunks > 0:
                    last = first + stream // chunks + (1 if c < stream % chunks else 0)
                    tile *= min(vectors, last * macs) - first * macs
                    first = last
                if words > 0 and words + tile > limit:
                    return words
                words += tile
    return words


@inner
def _stripe_words(col_extent: int, cols: int, vectors: int, row_folds: int, capacity: int) -> int:
    """Words that an output-stationary run fetches of the operand along the columns.

    A column of folds fetches its stripe once where it fits its buffer, otherwise in each fold.
    """
    full = ceil_div(col_extent, cols) - 1
    last = (col_extent - full * cols) * vectors
    wide = cols * vectors
    words = full * wide * (1 if wide <= capacity else row_folds)
    return words + last * (1 if last <= capacity else row_folds)


@inner
def words_to_fetch(work: Work, room: Buffers) -> tuple[int, int]:
    """Words that ROW and COL fetch in a run, each time that they do."""
    once = work.row_extent * work.vectors
    again = 1 if once <= room.row else work.col_folds
    if work.dataflow == OS:
        col = _stripe_words(work.col_extent, work.cols, work.vectors, work.row_folds, room.col)
    else:
        col = work.row_extent * work.col_extent
    return again * once, col


@inner
def fill_in(state: Ints, work: Work, room: Buffers) -> None:
    """Enter the ports as they are before the first fetch into a state of zeros."""
    flows = work.dataflow == OS
    tiles = tiles_of(work)
    row_words, col_words = words_to_fetch(work, room)
    state[ROW, CAPACITY], state[COL, CAPACITY], state[OUT, CAPACITY] = room.row, room.col, room.out
    state[ROW, SPARE], state[COL, SPARE] = room.row - tiles[0], room.col - tiles[1]
    for port in range(3):
        state[port, MARGIN] = room.p - 1
        if port != OUT:
            state[port, HALF] = state[port, CAPACITY] // 2
            state[port, SPACE] = LONG_AGO  # there was room all the time
    height = work.row_extent - (work.row_folds - 1) * work.rows
    width = work.col_extent - (work.col_folds - 1) * work.cols
    depth = work.vectors - (work.stream - work.shortest) * work.macs
    state[ROW, SMALLEST], state[COL, SMALLEST] = (
        height * depth,
        width * (depth if flows else height),
    )
    if row_words <= room.row and work.row_folds * work.chunks <= RING:
        state[ROW, ROOMY] = 1
    held = min(work.cols, work.col_extent) * work.vectors <= room.col
    fetches = work.col_folds * (work.chunks if flows and held else work.row_folds)
    if col_words <= room.col and fetches <= RING:
        state[COL, ROOMY] = 1


@inner
def add_idle_traffic(state: Ints, idle: int, work: Work, room: Buffers) -> None:
    """Enter what the idle read ports fetch, and what of it before cycle 0, into the state."""
    row_words, col_words = words_to_fetch(work, room)
    if idle & 1 << ROW:
        state[ROW, WORDS_IN] = row_words
        state[ROW, COLD] = _cold_words(
            room.row // 2,
            row_words // (work.row_extent * work.vectors),
            1,
            0,
            work.row_folds,
            work.row_extent,
            work.rows,
            work.chunks,
            work.stream,
            work.vectors,
            work.macs,
        )
    if idle & 1 << COL:
        flows = work.dataflow == OS
        held = flows and min(work.cols, work.col_extent) * work.vectors <= room.col
        state[COL, WORDS_IN] = col_words
        state[COL, COLD] = _cold_words(
            room.col // 2,
            work.col_folds,
            work.col_extent,
            work.cols,
            1 if held else work.row_folds,
            work.row_extent,
            0 if flows else work.rows,
            work.chunks if flows else 0,
            work.stream,
            work.vectors,
            work.macs,
        )
