"""Ports of a systolic array that never make it wait, by closed forms, and what they carry.

A port whose buffer holds two of its tiles brings each tile while the one before it is used. If that
is long enough the array never waits for this port, whatever the other two do: their stalls only
make a use longer. Such a port need not be followed tile by tile. The bounds are sufficient; a port
that they do not excuse is simulated.

With l0 to l1 cycles in a chunk of the stream of S cycles, D cycles at least from the start of a
fold to that of the next, and a tile of w words that take q ticks each, p to a cycle:

- A chunk that is fetched at each use must arrive while the one before it streams, w q <= l p, the
  first one of a fold within (D - S + l1) p.
- A stationary tile must arrive within the D cycles since the one before began to load. With
  ``double`` loading it may follow at once on the first, so within the R cycles of its load.
- A stripe that stays for a column of folds can be replaced chunk by chunk behind its last use,
  w q <= (D - l0) p, or while the next one is used if the buffer holds two.
- Results are written in their order, each within w q of its end if the port keeps up.

Nothing that fits into the first half of its buffer is ever waited for, nor room in a buffer that
holds all results.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inner, kernel
from simulator.kernels.systolic import DOUBLE, OS, cycles_of_folds
from simulator.kernels.systolic_chunks import chunk_count, chunk_start, tile_words
from simulator.kernels.systolic_ports import COL, COLD, OUT, RING, ROW, WORDS_IN, Ints


@inner
def _idle_row_port(
    total: int,
    tile: int,
    each_cycle: int,
    chunks: int,
    between: int,
    capacity: int,
    p: int,
    q: int,
) -> bool:
    """Whether chunks of ``tile`` words at most that stream past are never waited for.

    ``total`` words are fetched in all, ``each_cycle`` are used in a cycle, and ``between`` cycles
    are at least from the start of a fold's last chunk to that of the next fold.
    """
    if total <= capacity // 2:
        return True
    keeps_up = chunks == 1 or each_cycle * q <= p
    return capacity >= 2 * tile and keeps_up and tile * q <= between * p


@inner
def _idle_stationary_port(
    load: int, total: int, tile: int, fold: int, rows: int, capacity: int, p: int, q: int
) -> bool:
    """Whether the stationary operand, a tile a fold of ``fold`` cycles, is never waited for."""
    if total <= capacity // 2:
        return True
    second = load != DOUBLE or tile * q <= rows * p or capacity >= 4 * tile
    return capacity >= 2 * tile and tile * q <= fold * p and second


@inner
def _idle_stripe_port(
    total: int,
    stripe: int,
    tile: int,
    each_cycle: int,
    chunks: int,
    longest: int,
    between: int,
    fold: int,
    capacity: int,
    p: int,
    q: int,
) -> bool:
    """As ``_idle_row_port`` for an operand that is fetched in the first fold of each column."""
    if total <= capacity // 2:
        return True
    keeps_up = (chunks == 1 or each_cycle * q <= p) and tile * q <= between * p
    return keeps_up and (capacity >= 2 * stripe or tile * q <= (fold - longest) * p)


@inner
def _idle_result_port(
    dataflow: int,
    column: int,
    tile: int,
    each_cycle: int,
    chunks: int,
    longest: int,
    shortest: int,
    row_folds: int,
    fold: int,
    capacity: int,
    p: int,
    q: int,
) -> bool:
    """Whether results, which are complete when they leave, never wait for room in their buffer.

    ``column`` words are the results of a column of folds, of which ``each_cycle`` come in a cycle;
    output stationary folds give a ``tile`` each.
    """
    if dataflow == OS:
        return capacity >= 2 * tile and tile * q <= fold * p
    if column > capacity:
        return False
    keeps_up = chunks == 1 or each_cycle * longest * q <= shortest * p
    if keeps_up and tile * q <= (fold - longest) * p:
        return True
    others = row_folds if chunks == 1 else row_folds - 1
    return capacity >= 2 * column and column * q <= others * fold * p


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
    for fc in range(columns):
        width = min(cols, col_extent - fc * cols) if cols > 0 else 1
        deep = width * vectors if chunks > 0 else width
        column = deep * (row_extent if rows > 0 else folds)
        if words > 0 and words + column <= limit:
            words += column
            continue
        for fr in range(folds):
            height = min(rows, row_extent - fr * rows) if rows > 0 else 1
            if words > 0 and words + height * deep <= limit:
                words += height * deep
                continue
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
def idle_ports(
    dataflow: int,
    load: int,
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
    q: int,
) -> int:
    """The ports that never make the array wait: bit i for port i. A result that spills does."""
    stream = ceil_div(vectors, macs)
    chunks = chunk_count(stream, rows, cols)
    longest = chunk_start(stream, chunks, 1)
    shortest = stream - chunk_start(stream, chunks, chunks - 1)
    row_folds, col_folds = ceil_div(row_extent, rows), ceil_div(col_extent, cols)
    fold = cycles_of_folds(dataflow, load, 2, stream, rows, cols) - cycles_of_folds(
        dataflow, load, 1, stream, rows, cols
    )
    between = fold - stream + shortest
    height, width = min(rows, row_extent), min(cols, col_extent)
    row, col, out = tile_words(dataflow, row_extent, col_extent, vectors, rows, cols, macs)
    again = 1 if row_extent * vectors <= row_capacity else col_folds
    total = row_extent * vectors * again
    idle = _idle_row_port(total, row, macs * height, chunks, between, row_capacity, p, q) << ROW
    stripe = width * vectors
    if dataflow != OS:
        total = row_extent * col_extent
        idle |= _idle_stationary_port(load, total, col, fold, rows, col_capacity, p, q) << COL
    else:
        total = _stripe_words(col_extent, cols, vectors, row_folds, col_capacity)
        if stripe <= col_capacity:
            idle |= (
                _idle_stripe_port(
                    total,
                    stripe,
                    col,
                    macs * width,
                    chunks,
                    longest,
                    between,
                    fold,
                    col_capacity,
                    p,
                    q,
                )
                << COL
            )
        else:
            idle |= (
                _idle_row_port(total, col, macs * width, chunks, between, col_capacity, p, q) << COL
            )
    tiles = col_folds * (row_folds if dataflow == OS else chunks)
    fits = col_extent * (row_extent if dataflow == OS else vectors) <= out_capacity
    if (fits and tiles <= RING) or _idle_result_port(
        dataflow,
        stripe,
        out,
        macs * width,
        chunks,
        longest,
        shortest,
        row_folds,
        fold,
        out_capacity,
        p,
        q,
    ):
        idle |= 1 << OUT
    return idle


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
    if idle & 1 << ROW:
        again = 1 if row_extent * vectors <= row_capacity else col_folds
        state[ROW, WORDS_IN] = again * row_extent * vectors
        state[ROW, COLD] = _cold_words(
            row_capacity // 2,
            again,
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
        state[COL, WORDS_IN] = row_extent * col_extent
        if flows:
            state[COL, WORDS_IN] = _stripe_words(col_extent, cols, vectors, row_folds, col_capacity)
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
