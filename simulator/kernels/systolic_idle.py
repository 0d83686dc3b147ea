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
  w q <= (D - l0) p; or, if the buffer holds two, all of it may take as long as a column of folds.
- Results are written in their order, each within w q of its end if the port keeps up.

Nothing that fits into the first half of its buffer is ever waited for, nor room in a buffer that
holds all results.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.kernels.systolic import DOUBLE, OS
from simulator.kernels.systolic_ports import COL, OUT, RING, ROW
from simulator.kernels.systolic_traffic import words_to_fetch
from simulator.kernels.systolic_work import Buffers, Work, tiles_of


@inner
def _flows_idle(
    work: Work, total: int, side: int, tile: int, capacity: int, p: int, q: int
) -> bool:
    """Whether chunks of ``tile`` words at most that stream past are never waited for.

    ``total`` words are fetched in all; ``side`` cells take one each of every vector.
    """
    deep, between = side * work.vectors, work.fold - work.stream + work.shortest
    if total <= capacity // 2 or (deep <= capacity // 2 and deep * q <= work.fold * p):
        return True
    keeps_up = work.macs * side * q <= p
    return capacity >= 2 * tile and keeps_up and tile * q <= between * p


@inner
def _stationary_idle(work: Work, room: Buffers, total: int, tile: int) -> bool:
    """Whether the stationary operand, a ``tile`` of words a fold, is never waited for."""
    if total <= room.col // 2:
        return True
    due = tile * room.q
    second = work.load != DOUBLE or due <= work.rows * room.p or room.col >= 4 * tile
    return room.col >= 2 * tile and due <= work.fold * room.p and second


@inner
def _stripe_idle(work: Work, room: Buffers, total: int, width: int, tile: int) -> bool:
    """As ``_flows_idle`` for COL, where a column of folds fetches it once, in its first fold."""
    p, q, stripe = room.p, room.q, width * work.vectors
    in_time = stripe * q <= work.row_folds * work.fold * p
    if total <= room.col // 2 or (stripe <= room.col // 2 and in_time):
        return True
    between = min(work.fold - work.stream + work.shortest, work.fold - work.longest)
    keeps_up = work.chunks == 1 or work.macs * width * q <= p
    return keeps_up and tile * q <= between * p


@inner
def _results_idle(work: Work, room: Buffers, width: int, tile: int) -> bool:
    """Whether results, which are complete when they leave, never wait for room in their buffer.

    A column of folds has ``width`` times the vectors of them; output stationary folds give a
    ``tile`` each.
    """
    p, q, column = room.p, room.q, width * work.vectors
    if work.dataflow == OS:
        return room.out >= 2 * tile and tile * q <= work.fold * p
    if column > room.out:
        return False
    keeps_up = work.chunks == 1 or work.macs * width * work.longest * q <= work.shortest * p
    if keeps_up and tile * q <= (work.fold - work.longest) * p:
        return True
    others = work.row_folds if work.chunks == 1 else work.row_folds - 1
    return room.out >= 2 * column and column * q <= others * work.fold * p


@inner
def _all_fits(work: Work, out: int) -> bool:
    """Whether the buffer of results, ``out`` words, and its ring hold all of them."""
    deep = work.row_extent if work.dataflow == OS else work.vectors
    tiles = work.col_folds * (work.row_folds if work.dataflow == OS else work.chunks)
    return work.col_extent * deep <= out and tiles <= RING


@inner
def idle_ports(work: Work, room: Buffers) -> int:
    """The ports that never make the array wait: bit i for port i. A result that spills does."""
    height, width = min(work.rows, work.row_extent), min(work.cols, work.col_extent)
    row, col, out = tiles_of(work)
    row_words, col_words = words_to_fetch(work, room)
    idle = 0
    if _flows_idle(work, row_words, height, row, room.row, room.p, room.q):
        idle |= 1 << ROW
    if work.dataflow != OS:
        waits_not = _stationary_idle(work, room, col_words, col)
    elif width * work.vectors <= room.col:
        waits_not = _stripe_idle(work, room, col_words, width, col)
    else:
        waits_not = _flows_idle(work, col_words, width, col, room.col, room.p, room.q)
    if waits_not:
        idle |= 1 << COL
    if _all_fits(work, room.out) or _results_idle(work, room, width, out):
        idle |= 1 << OUT
    return idle
