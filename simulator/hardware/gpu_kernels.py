"""How the kernels of a GPU use its multiprocessors: the physical parameters of a matmul's price."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuKernels:
    """What decides the time of a matrix kernel beside peak rate and bandwidths.

    ``tile_ps`` is paid once by every output tile: the first operands on their way to shared
    memory, and the results on their way out. ``step_ps`` is the least time of one step through
    the inner dimension (a stage of the pipeline: load, barrier, issue).
    ``feed_bytes_per_s`` is what one multiprocessor can pull from L2 or from its neighbours in a
    cluster. ``issue_efficiency`` is the share of the peak rate at which a full pipeline issues,
    before the power limit, ``eight_bit_issue`` that in 8 bits where it is another.
    ``split_ps`` is what cutting the inner dimension adds: the partial
    sums of other multiprocessors are waited for. ``ramp_ps`` is how long the memory takes until it
    delivers its full rate. ``mac_pj`` is the energy of a 16-bit multiply-accumulate with all that
    it moves on chip, at the full clock.

    ``l2_partitions`` hold copies of some of each other's lines, which makes the L2 smaller.
    The kernels of the data types in ``unsplit`` do not split the inner dimension; products of up to
    ``narrow_rows`` rows have tiles smaller than 128 x 128 there.
    ``persistent`` kernels keep a multiprocessor busy with the next tile where one is left over;
    others launch blocks in waves, the last of which loses half of what it leaves empty. ``in_step``
    the blocks of a wave do not drift apart: they lose all of that, nothing is multiplied while they
    load their first step (``tile_ps`` is paid once then) nor while results are written, and all
    multiprocessors together pull no more than L2 delivers. With a
    ``split_ratio`` the inner dimension is split only where it is so many times longer than both
    sides of the result. ``stream_bytes_per_s`` is what L2 gives of operands, each read once, where
    that is less than what it gives to tiles that read the same lines at a time.
    ``store_bytes_per_s`` is what kernels in ``unsplit`` write of results where nothing else runs
    (``in_step``), if that is less than what L2 takes.

    Output tiles have sides that are powers of two times ``smallest_tile``, and no more results
    than ``largest_tile``, which fills the accumulators.
    """

    tile_ps: int
    feed_bytes_per_s: int
    issue_efficiency: float
    split_ps: int
    mac_pj: float
    step_ps: int = 0
    ramp_ps: int = 0
    persistent: bool = True
    unsplit: tuple[str, ...] = ()
    l2_partitions: int = 2
    in_step: bool = False
    narrow_rows: int = 128
    split_ratio: float = 0.0
    stream_bytes_per_s: int | None = None
    store_bytes_per_s: int | None = None
    smallest_tile: int = 64
    largest_tile: tuple[int, int] = (128, 256)
    eight_bit_issue: float | None = None

    @property
    def tiles(self) -> tuple[tuple[int, int], ...]:
        """Output tiles (rows, columns) that the kernels come in, smallest first."""
        least, most = self.smallest_tile, max(self.largest_tile)
        area = self.largest_tile[0] * self.largest_tile[1]
        sides = [least]
        while 2 * sides[-1] <= most:
            sides.append(2 * sides[-1])
        fitting = [(rows, cols) for rows in sides for cols in sides if rows * cols <= area]
        return tuple(sorted(fitting, key=lambda tile: (tile[0] * tile[1], tile)))
