"""What a run of a systolic array's tile pipeline is about: folds, buffers, and times to keep.

These are named tuples, which numba takes as they are.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inner
from simulator.kernels.systolic import fold_interval
from simulator.kernels.systolic_chunks import chunk_count, chunk_start, tile_words
from simulator.kernels.systolic_ports import Ints


class Work(NamedTuple):
    """What is cut into folds, how, and how long they are.

    ``row_extent`` x ``col_extent`` is cut into ``row_folds`` x ``col_folds`` folds of ``rows`` x
    ``cols`` cells. ``vectors`` stream through each, ``macs`` a cycle, in ``stream`` cycles and in
    chunks of ``shortest`` to ``longest``. From the start of a fold to that of the next are
    ``fold`` cycles, at least.
    """

    dataflow: int
    load: int
    row_extent: int
    col_extent: int
    vectors: int
    rows: int
    cols: int
    macs: int
    row_folds: int
    col_folds: int
    stream: int
    chunks: int
    longest: int
    shortest: int
    fold: int


class Buffers(NamedTuple):
    """Words that the buffers of the three ports hold; a word takes q ticks, p to a cycle."""

    row: int
    col: int
    out: int
    p: int
    q: int


class Record(NamedTuple):
    """Where the times of a run are kept (see ``run_pipeline``); empty if they are not."""

    feeds: Ints
    arrivals: Ints
    writes: Ints


@inner
def work_of(
    dataflow: int,
    load: int,
    row_extent: int,
    col_extent: int,
    vectors: int,
    rows: int,
    cols: int,
    macs: int,
) -> Work:
    """The folds of ``row_extent`` x ``col_extent``."""
    stream = ceil_div(vectors, macs)
    chunks = chunk_count(stream, rows, cols)
    return Work(
        dataflow,
        load,
        row_extent,
        col_extent,
        vectors,
        rows,
        cols,
        macs,
        ceil_div(row_extent, rows),
        ceil_div(col_extent, cols),
        stream,
        chunks,
        chunk_start(stream, chunks, 1),
        stream - chunk_start(stream, chunks, chunks - 1),
        fold_interval(dataflow, load, stream, rows, cols),
    )


@inner
def tiles_of(work: Work) -> tuple[int, int, int]:
    """Words of the largest tile of each port: rows, columns, results."""
    return tile_words(
        work.dataflow,
        work.row_extent,
        work.col_extent,
        work.vectors,
        work.rows,
        work.cols,
        work.macs,
    )
