"""Ports of a systolic array that never make it wait, by closed forms, and what they carry.

A port whose buffer holds two of its tiles brings each tile while the one before it is used. If that
is long enough the array never waits for this port, whatever the other two do: their stalls only
make a use longer. Such a port need not be followed tile by tile. The bounds are sufficient; a port
that they do not excuse is simulated.

With l0 to l1 cycles in a chunk of the stream of S cycles, D cycles at least from the start of a
fold to that of the next, and a tile of w words that take q ticks each, p to a cycle:

- A chunk that is fetched at each use must arrive while the one before it streams, w q <= l p, the
  first one of a fold within (D - S + l1) p; or all of a fold's in the D cycles of the fold before,
  if the buffer holds those of two.
- A stationary tile must arrive within the D cycles since the one before began to load. With
  ``double`` loading it may follow at once on the first, so within the R cycles of its load.
- A stripe that stays for a column of folds can be replaced chunk by chunk behind its last use,
  w q <= (D - l0) p, or while the next one is used if the buffer holds two; then all of it may take
  as long as a column of folds, chunk by chunk or not.
- Results are written in their order, each within w q of its end if the port keeps up.

Nothing that fits into the first half of its buffer is ever waited for, nor room in a buffer that
holds all results.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inner, kernel
from simulator.kernels.systolic import DOUBLE, OS, fold_interval
from simulator.kernels.systolic_chunks import chunk_count, chunk_start, tile_words
from simulator.kernels.systolic_ports import COL, OUT, RING, ROW
from simulator.kernels.systolic_traffic import words_to_fetch


@inner
def _idle_row_port(
    total: int,
    deep: int,
    tile: int,
    each_cycle: int,
    chunks: int,
    between: int,
    fold: int,
    capacity: int,
    p: int,
    q: int,
) -> bool:
    """Whether chunks of ``tile`` words at most that stream past are never waited for.

    ``total`` words are fetched in all, ``deep`` in a fold, ``each_cycle`` are used in a cycle, and
    ``between`` cycles are at least from the start of a fold's last chunk to that of the next fold.
    """
    if total <= capacity // 2 or (deep <= capacity // 2 and deep * q <= fold * p):
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
    row_folds: int,
    capacity: int,
    p: int,
    q: int,
) -> bool:
    """As ``_idle_row_port`` for an operand that is fetched in the first fold of each column."""
    in_time = stripe * q <= row_folds * fold * p
    if total <= capacity // 2 or (stripe <= capacity // 2 and in_time):
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
    fold = fold_interval(dataflow, load, stream, rows, cols)
    between = fold - stream + shortest
    height, width = min(rows, row_extent), min(cols, col_extent)
    row, col, out = tile_words(dataflow, row_extent, col_extent, vectors, rows, cols, macs)
    row_words, col_words = words_to_fetch(
        dataflow, row_extent, col_extent, vectors, rows, cols, row_capacity, col_capacity
    )
    idle = (
        _idle_row_port(
            row_words,
            height * vectors,
            row,
            macs * height,
            chunks,
            between,
            fold,
            row_capacity,
            p,
            q,
        )
        << ROW
    )
    stripe = width * vectors
    if dataflow != OS:
        idle |= _idle_stationary_port(load, col_words, col, fold, rows, col_capacity, p, q) << COL
    else:
        if stripe <= col_capacity:
            idle |= (
                _idle_stripe_port(
                    col_words,
                    stripe,
                    col,
                    macs * width,
                    chunks,
                    longest,
                    between,
                    fold,
                    row_folds,
                    col_capacity,
                    p,
                    q,
                )
                << COL
            )
        else:
            idle |= (
                _idle_row_port(
                    col_words, stripe, col, macs * width, chunks, between, fold, col_capacity, p, q
                )
                << COL
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
