"""How a stream is cut into chunks, and which buffers and bandwidth they need.

The unit that moves between DRAM and a buffer is a tile: a fold's block of the stationary operand,
or a chunk of a streamed one, about as many vectors as the array's longer side.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import kernel
from simulator.kernels.systolic import OS, fold_interval

MAX_CHUNKS = 4096


@kernel
def chunk_count(stream: int, rows: int, cols: int) -> int:
    """Chunks that a stream of ``stream`` cycles is cut into."""
    return min(MAX_CHUNKS, ceil_div(stream, max(rows, cols)))


@kernel
def chunk_start(stream: int, chunks: int, c: int) -> int:
    """First cycle of chunk ``c``; the chunks differ by one cycle at most, longer ones first."""
    return c * (stream // chunks) + min(c, stream % chunks)


@kernel
def tile_words(
    dataflow: int,
    row_extent: int,
    col_extent: int,
    vectors: int,
    rows: int,
    cols: int,
    macs: int,
) -> tuple[int, int, int]:
    """Words of the largest tile of ROW, COL and OUT: what each buffer must hold at least."""
    stream = ceil_div(vectors, macs)
    chunks = chunk_count(stream, rows, cols)
    depth = min(vectors, chunk_start(stream, chunks, 1) * macs)
    height = min(rows, row_extent)
    width = min(cols, col_extent)
    if dataflow == OS:
        return height * depth, width * depth, height * width
    return height * depth, height * width, width * depth


@kernel
def stall_free_bandwidth(
    dataflow: int,
    load: int,
    row_extent: int,
    col_extent: int,
    vectors: int,
    rows: int,
    cols: int,
    macs: int,
    out_capacity: int,
) -> float:
    """Words per cycle from which no fold waits, where each buffer holds two of its tiles.

    Each tile must arrive while the one before it is used. With chunks of l0 to l1 cycles (l0 the
    longer), r multiply-accumulates per cell and G cycles between the streams of two folds

    - ROW: r*R * max(1, l0 / (l1 + G)) with G = 2R+C-2 (single), max(S,R)-S (double), R+C-2 (os);
    - COL, stationary: R*C / (cycles of a fold);
    - COL, output stationary: as ROW with C for R, and r*C*l0 / (S + R + C - 2 - l0) for the next
      column of folds where there are several chunks;
    - OUT: R*C / (cycles of a fold) when output stationary, otherwise r*C*l0/l1, twice that where
      partial sums spill, and r*C*l0 / (cycles of a fold - l0) as above.

    R and C are here no more than what is mapped. It is enough; less may do (an operand that is
    resident needs its port once).
    """
    stream = ceil_div(vectors, macs)
    chunks = chunk_count(stream, rows, cols)
    longest = chunk_start(stream, chunks, 1)
    shortest = stream - chunk_start(stream, chunks, chunks - 1)
    height = min(rows, row_extent)
    width = min(cols, col_extent)
    fold = fold_interval(dataflow, load, stream, rows, cols)
    between = max(1.0, longest / (shortest + fold - stream))
    need = macs * height * between
    if dataflow == OS:
        need = max(need, macs * width * between, height * width / fold)
        if chunks > 1:
            need = max(need, macs * width * longest / (fold - longest))
        return need
    need = max(need, height * width / fold)
    out = macs * width * longest / shortest
    if chunks > 1:
        out = max(out, macs * width * longest / (fold - longest))
    if width * vectors > out_capacity and row_extent > rows:
        out *= 2.0
    return max(need, out)
