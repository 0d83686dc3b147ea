"""The double-buffered walk of one matmul over its tiles, exact and independent of their number.

The walk visits tiles in the order outer, inner, k. Before tile j is computed, the operand tiles
that differ from tile j-1's are loaded; a finished output tile is stored. One DMA queue carries
all of it in the order load(0), load(1), load(2), store(0), load(3), store(1), ...: load(j) waits
until tile j-2 has been computed (its buffer is free), store(j) until the result of tile j has left
the array, and compute(j) until its operands are there and the output buffer is free.

    dma(j)     = max(max(dma(j-1), compute(j-2)) + load(j), compute(j-2) + tail) + store(j-2)
    compute(j) = max(compute(j-1), dma(j)) + cycles(j)

``tail`` is the fill and drain of the array: it can take the next tile ``cycles`` after this one,
but the last result of this one leaves it a tail later. That everything waits for what comes before
it, and never for less in a longer walk, is why a larger matmul is never faster.

Tiles are alike but for the edges, so after a few of them the state of the recurrence repeats up
to a shift, and the rest of a loop is one multiplication. The state is compared, never assumed:
the result equals the tile-by-tile walk to the cycle.

A state is the tuple (dma, ready, compute(j-1), compute(j-2), store(j-1), store(j-2), credit), all
in cycles but the last; ``ready`` is the end of the last load, ``credit`` the bytes of weights that
were fetched before the operator began, or ``ALL_WEIGHTS``.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import scale_up
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner, kernel

State = tuple[int, int, int, int, int, int, int]

ALL_WEIGHTS = 1 << 60
"""The credit of an operator whose weights all lie on chip."""


@inner
def visit(
    state: State, weights: int, size: int, inputs: int, cycles: int, store: int, tail: int
) -> State:
    """The state after one more tile; ``weights`` are the cycles to load ``size`` bytes of weights.

    What was fetched ahead is not loaded again.
    """
    dma, ready, last, before, stored, stored_before, credit = state
    if credit >= ALL_WEIGHTS or credit >= size:
        weights = 0
    elif credit > 0:
        weights = scale_up(weights, size - credit, size)
    if credit < ALL_WEIGHTS:
        credit -= min(credit, size)
    load = inputs + weights
    if load > 0:
        dma = max(dma, before) + load
    if stored_before > 0:
        dma = max(dma, before + tail) + stored_before
    if load > 0:
        ready = dma
    return (dma, ready, max(last, ready) + cycles, last, store, stored, credit)


@inner
def finish(state: State, tail: int, last_tail: int) -> int:
    """Time at which the last result has been stored."""
    dma, _, last, before, stored, stored_before, _ = state
    if stored_before > 0:
        dma = max(dma, before + tail) + stored_before
    if stored > 0:
        dma = max(dma, last + last_tail) + stored
    return max(last + last_tail, dma)


@inner
def repeats(state: State, earlier: State) -> bool:
    """Whether everything to come after the two states differs by a shift of time only.

    The queue's end matters only where it is later than the end of tile j-2, and the end of the
    last load only where it is later than the end of tile j-1: all that follows waits for those.
    """
    return (
        state[2] - state[3] == earlier[2] - earlier[3]
        and max(state[0], state[3]) - state[2] == max(earlier[0], earlier[3]) - earlier[2]
        and max(state[1], state[2]) - state[2] == max(earlier[1], earlier[2]) - earlier[2]
        and state[4] == earlier[4]
        and state[5] == earlier[5]
        and state[6] == earlier[6]
    )


@inner
def skip(state: State, earlier: State, times: int) -> State:
    """The state after ``times`` further repetitions of the last period."""
    by = (state[2] - earlier[2]) * times
    dma, ready, last, before, stored, stored_before, credit = state
    return (dma + by, ready + by, last + by, before + by, stored, stored_before, credit)


@inner
def walk_k(
    state: State,
    tiles: int,
    weights: tuple[int, int],
    sizes: tuple[int, int],
    inputs: tuple[int, int],
    first_weights: bool,
    first_inputs: bool,
    cycles: tuple[int, int],
    store: int,
    tail: int,
) -> State:
    """All k tiles of one output tile.

    ``weights``, their ``sizes``, ``inputs`` and ``cycles`` are (full, last) pairs; ``first_*`` say
    whether the first k tile has to be loaded.
    """
    k = 0
    while k < tiles:
        last = k == tiles - 1
        w = size = x = 0
        if k > 0 or first_weights:
            w = weights[1] if last else weights[0]
            size = sizes[1] if last else sizes[0]
        if k > 0 or first_inputs:
            x = inputs[1] if last else inputs[0]
        earlier = state
        work = cycles[1] if last else cycles[0]
        state = visit(state, w, size, x, work, store if last else 0, tail)
        k += 1
        if 1 < k < tiles - 1 and repeats(state, earlier):
            state = skip(state, earlier, tiles - 1 - k)
            k = tiles - 1
    return state


@kernel
def walk(
    credit: int,
    tiles_m: int,
    tiles_n: int,
    tiles_k: int,
    weights: Int64Array,
    sizes: Int64Array,
    inputs: Int64Array,
    cycles: Int64Array,
    stores: Int64Array,
    n_outer: bool,
    tails: tuple[int, int],
) -> int:
    """Total cycles of an operator.

    ``weights`` and ``sizes`` are int64[2, 2] by [n edge, k edge]: cycles and bytes of a tile of the
    weights; ``inputs`` int64[2, 2] by [m edge, k edge]; ``cycles`` int64[2, 2, 2] by [m edge, n
    edge, k edge]; ``stores`` int64[2, 2] by [m edge, n edge]. ``n_outer`` makes n the outer loop
    instead of m. ``tails`` are those of a full tile and of the last one.
    """
    tail, last_tail = tails
    zero = credit * 0
    state = (zero, zero, zero, zero, zero, zero, credit)
    outer, inner = (tiles_n, tiles_m) if n_outer else (tiles_m, tiles_n)
    o = 0
    while o < outer:
        oe = 1 if o == outer - 1 else 0
        row = state
        i = 0
        while i < inner:
            ie = 1 if i == inner - 1 else 0
            me, ne = (ie, oe) if n_outer else (oe, ie)
            # An operand is still there if neither its own index nor k has moved on.
            outer_moved = i == 0 or tiles_k > 1
            inner_moved = (o == 0 and i == 0) or inner > 1 or tiles_k > 1
            earlier = state
            state = walk_k(
                state,
                tiles_k,
                (weights[ne, 0], weights[ne, 1]),
                (sizes[ne, 0], sizes[ne, 1]),
                (inputs[me, 0], inputs[me, 1]),
                outer_moved if n_outer else inner_moved,
                inner_moved if n_outer else outer_moved,
                (cycles[me, ne, 0], cycles[me, ne, 1]),
                stores[me, ne],
                tail,
            )
            i += 1
            if 1 < i < inner - 1 and repeats(state, earlier):
                state = skip(state, earlier, inner - 1 - i)
                i = inner - 1
        o += 1
        if 1 < o < outer - 1 and repeats(state, row):
            state = skip(state, row, outer - 1 - o)
            o = outer - 1
    return finish(state, tail, last_tail)
