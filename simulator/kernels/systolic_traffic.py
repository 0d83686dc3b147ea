"""What the ports of a systolic array carry in a run, and the ports before it begins."""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inner, kernel
from simulator.kernels.systolic import OS
from simulator.kernels.systolic_chunks import chunk_count, chunk_start, tile_words
from simulator.kernels.systolic_ports import (
    CAPACITY,
    COL,
    COLD,
    FIELDS,
    HALF,
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


@kernel
def words_to_fetch(
    dataflow: int,
    row_extent: int,
    col_extent: int,
    vectors: int,
    rows: int,
    cols: int,
    row_capacity: int,
    col_capacity: int,
) -> tuple[int, int]:
    """Words that ROW and COL fetch in a run, each time that they do."""
    row_folds, col_folds = ceil_div(row_extent, rows), ceil_div(col_extent, cols)
    again = 1 if row_extent * vectors <= row_capacity else col_folds
    if dataflow == OS:
        col = _stripe_words(col_extent, cols, vectors, row_folds, col_capacity)
    else:
        col = row_extent * col_extent
    return again * row_extent * vectors, col


@kernel
def empty_ports(
    dataflow: int,
    row_extent: int,
    col_extent: int,
    vectors: int,
    rows: int,
    cols: int,
    macs: int,
    row_capacity: int,
    col_capacity: int,
    out_capacity: int,
    p: int,
) -> Ints:
    """The state of the ports before the first fetch."""
    stream = ceil_div(vectors, macs)
    chunks = chunk_count(stream, rows, cols)
    row_folds, col_folds = ceil_div(row_extent, rows), ceil_div(col_extent, cols)
    state = np.zeros((3, FIELDS), np.int64)
    state[:, MARGIN] = p - 1
    state[ROW, CAPACITY], state[COL, CAPACITY] = row_capacity, col_capacity
    state[OUT, CAPACITY] = out_capacity
    tiles = tile_words(dataflow, row_extent, col_extent, vectors, rows, cols, macs)
    state[ROW, SPARE], state[COL, SPARE] = row_capacity - tiles[0], col_capacity - tiles[1]
    state[ROW, HALF], state[COL, HALF] = row_capacity // 2, col_capacity // 2
    height, width = row_extent - (row_folds - 1) * rows, col_extent - (col_folds - 1) * cols
    depth = vectors - chunk_start(stream, chunks, chunks - 1) * macs
    state[ROW, SMALLEST] = height * depth
    state[COL, SMALLEST] = width * (depth if dataflow == OS else height)
    row_words, col_words = words_to_fetch(
        dataflow, row_extent, col_extent, vectors, rows, cols, row_capacity, col_capacity
    )
    held = min(cols, col_extent) * vectors <= col_capacity
    if row_words <= row_capacity and row_folds * chunks <= RING:
        state[ROW, ROOMY] = 1
    if col_words <= col_capacity:
        fetches = col_folds * (chunks if dataflow == OS and held else row_folds)
        state[COL, ROOMY] = 1 if fetches <= RING else 0
    state[:OUT, SPACE] = -(2**61)  # there was room all the time
    return state


@kernel
def add_idle_traffic(
    state: Ints,
    idle: int,
    dataflow: int,
    row_extent: int,
    col_extent: int,
    vectors: int,
    rows: int,
    cols: int,
    macs: int,
    row_capacity: int,
    col_capacity: int,
) -> None:
    """Enter what the idle read ports fetch, and what of it before cycle 0, into the state."""
    stream = ceil_div(vectors, macs)
    chunks = chunk_count(stream, rows, cols)
    row_folds, col_folds = ceil_div(row_extent, rows), ceil_div(col_extent, cols)
    row_words, col_words = words_to_fetch(
        dataflow, row_extent, col_extent, vectors, rows, cols, row_capacity, col_capacity
    )
    if idle & 1 << ROW:
        state[ROW, WORDS_IN] = row_words
        state[ROW, COLD] = _cold_words(
            row_capacity // 2,
            row_words // (row_extent * vectors),
            1,
            0,
            row_folds,
            row_extent,
            rows,
            chunks,
            stream,
            vectors,
            macs,
        )
    if idle & 1 << COL:
        flows = dataflow == OS
        held = flows and min(cols, col_extent) * vectors <= col_capacity
        state[COL, WORDS_IN] = col_words
        state[COL, COLD] = _cold_words(
            col_capacity // 2,
            col_folds,
            col_extent,
            cols,
            1 if held else row_folds,
            row_extent,
            0 if flows else rows,
            chunks if flows else 0,
            stream,
            vectors,
            macs,
        )
