"""Cycles of a systolic array, fold by fold, in closed form.

A matmul C[M,N] = A[M,K] B[K,N] is cut into folds, each of which occupies all R x C cells, ragged
ones too. A is the input (``ifmap``), B the weights (``filter``), C the result (``ofmap``). With a
stream of S vectors, already divided by the multiply-accumulates that a cell does per cycle, a fold
costs

- weight stationary, ``single``: R to load, then S + R + C - 2 to stream and drain;
- weight stationary, ``double``: max(S, R), because the next fold's weights shift in behind the
  current ones; the first load and the last drain are paid once;
- output stationary: S + R + C - 2, with the shift-out hidden behind the next fold.

Input stationary is weight stationary with the operands swapped. Source of the formulas: SCALE-Sim
(Samajdar et al., arXiv 1811.02883) for ``single``; the weight FIFO of Jouppi et al., ISCA 2017,
section 2, for ``double``.

Everything here is O(1) and in int64; the callers see to it that M*K*N and the cycles fit.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import kernel

SINGLE = 0
DOUBLE = 1

WS = 0
OS = 1
IS = 2


@kernel
def row_extent(dataflow: int, m: int, k: int, n: int) -> int:
    """The dimension that is laid along the rows of the array: K, or M when output stationary."""
    return m if dataflow == OS else k


@kernel
def col_extent(dataflow: int, m: int, k: int, n: int) -> int:
    """The dimension that is laid along the columns: N, or M when input stationary."""
    return m if dataflow == IS else n


@kernel
def stream_extent(dataflow: int, m: int, k: int, n: int) -> int:
    """The dimension that streams through: M (ws), K (os) or N (is)."""
    if dataflow == WS:
        return m
    return k if dataflow == OS else n


@kernel
def stream_cycles(dataflow: int, m: int, k: int, n: int, macs: int) -> int:
    """Cycles of one fold's stream: the streamed dimension over ``macs``, rounded up."""
    return ceil_div(stream_extent(dataflow, m, k, n), macs)


@kernel
def fold_count(dataflow: int, m: int, k: int, n: int, rows: int, cols: int) -> int:
    """Number of folds: ceil(row extent / R) * ceil(column extent / C)."""
    return ceil_div(row_extent(dataflow, m, k, n), rows) * ceil_div(
        col_extent(dataflow, m, k, n), cols
    )


@kernel
def cycles_of_folds(dataflow: int, load: int, folds: int, stream: int, rows: int, cols: int) -> int:
    """Cycles of ``folds`` folds, one after the other on one array, with ``stream`` cycles each.

    ``load`` is ignored when output stationary: there is no stationary operand to load.
    """
    tail = stream + rows + cols - 2
    if dataflow == OS:
        return folds * tail
    if load == DOUBLE:
        return rows + (folds - 1) * max(stream, rows) + tail
    return folds * (rows + tail)


@kernel
def fold_interval(dataflow: int, load: int, stream: int, rows: int, cols: int) -> int:
    """Cycles from the start of a fold to that of the next, where nothing waits."""
    return cycles_of_folds(dataflow, load, 2, stream, rows, cols) - cycles_of_folds(
        dataflow, load, 1, stream, rows, cols
    )


@kernel
def array_cycles(
    dataflow: int, load: int, m: int, k: int, n: int, rows: int, cols: int, macs: int
) -> int:
    """Compute cycles of a whole matmul on one array; the first cycle counts."""
    return cycles_of_folds(
        dataflow,
        load,
        fold_count(dataflow, m, k, n, rows, cols),
        stream_cycles(dataflow, m, k, n, macs),
        rows,
        cols,
    )


@kernel
def arrays_cycles(
    dataflow: int,
    load: int,
    m: int,
    k: int,
    n: int,
    rows: int,
    cols: int,
    macs: int,
    arrays: int,
) -> int:
    """Compute cycles on ``arrays`` equal arrays that share the folds; the busiest one counts."""
    folds = ceil_div(fold_count(dataflow, m, k, n, rows, cols), arrays)
    return cycles_of_folds(
        dataflow, load, folds, stream_cycles(dataflow, m, k, n, macs), rows, cols
    )


@kernel
def fill_drain_cycles(
    dataflow: int,
    load: int,
    m: int,
    k: int,
    n: int,
    rows: int,
    cols: int,
    macs: int,
    arrays: int,
) -> int:
    """Compute cycles in which the busiest array takes no new vector: load, fill, drain, waiting."""
    folds = ceil_div(fold_count(dataflow, m, k, n, rows, cols), arrays)
    stream = stream_cycles(dataflow, m, k, n, macs)
    return cycles_of_folds(dataflow, load, folds, stream, rows, cols) - folds * stream


@kernel
def mapped_cells(dataflow: int, m: int, k: int, n: int) -> int:
    """Cells that hold work, summed over the folds: the area of the stationary matrix.

    Over folds * R * C this is the mapping efficiency.
    """
    return row_extent(dataflow, m, k, n) * col_extent(dataflow, m, k, n)


@kernel
def sram_ifmap_reads(dataflow: int, m: int, k: int, n: int, rows: int, cols: int) -> int:
    """Words of A that the array takes from SRAM over all folds."""
    if dataflow == IS:
        return m * k
    return m * k * ceil_div(n, cols)


@kernel
def sram_filter_reads(dataflow: int, m: int, k: int, n: int, rows: int, cols: int) -> int:
    """Words of B that the array takes from SRAM over all folds."""
    if dataflow == WS:
        return k * n
    return k * n * ceil_div(m, rows if dataflow == OS else cols)


@kernel
def sram_ofmap_writes(dataflow: int, m: int, k: int, n: int, rows: int, cols: int) -> int:
    """Words of C, partial sums included, that the array hands to the accumulators."""
    if dataflow == OS:
        return m * n
    return m * n * ceil_div(k, rows)
