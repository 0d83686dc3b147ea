"""Prices of decode iterations that have been seen before.

In a decode iteration every sequence computes one token, and its price depends on three things: how
many sequences there are, and the sums over them of the work of their attention (cycles, keys,
bytes: ``attention_prices.add_sequences``). So two batches with equal counts and equal sums have
equal prices, whatever the single contexts are. The sums of all operators are kept as one number,
a linear form with fixed random coefficients modulo 2**64: ``weights[p]`` is that of one sequence
with ``p`` cached tokens, and that of a batch is the sum over its sequences. Different sums have
the same form with a chance of 2**-64.

``memo`` is int64[power of two, MEMO_FIELDS], direct-mapped: a row is the last batch that fell on
it. Iterations of one run fall on rows beside each other.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div, clear
from simulator.kernels.arrays import Int64Array
from simulator.kernels.executor import TOTAL_FIELDS
from simulator.kernels.jit import inner, kernel
from simulator.timing.attention_prices import WORK_FIELDS, add_sequences
from simulator.timing.batch import Packed, price_step
from simulator.timing.prices import (
    ACTIVATION_BITS,
    ATTENTION,
    LATENT,
    PLAN_CONTEXT,
    PLAN_HEAD_DIM,
    PLAN_HEADS,
    PLAN_KIND,
    PLAN_KV_HEADS,
    PLAN_KV_RANK,
    PLAN_ROPE_DIM,
    PLAN_SPLIT,
    PLAN_WINDOW,
)

# Fields of a row: the key, then a step (``kernels.executor``).
SEQUENCES = 0
CACHED = 1
FORM = 2
STEP = 3
MEMO_FIELDS = STEP + TOTAL_FIELDS

_GOLDEN = -7046029254386353131
_SPREAD = 2654435761
"""Rows between those of batches with one sequence more (Knuth's multiplier, 2**32 / golden)."""


@inner
def operator_form(
    chip: Int64Array, bits: Int64Array, row: Int64Array, past: int, work: Int64Array
) -> int:
    """The linear form of what one sequence adds to the work of an attention operator."""
    a_bits = bits[ACTIVATION_BITS]
    own = ceil_div(past + 1, row[PLAN_CONTEXT]) - 1
    clear(work)
    heads, dim = row[PLAN_HEADS], row[PLAN_HEAD_DIM]
    kv_heads = row[PLAN_KV_HEADS]
    shape = (0, dim, dim, row[PLAN_WINDOW])
    if row[PLAN_KIND] == LATENT:
        rank, rope = row[PLAN_KV_RANK], row[PLAN_ROPE_DIM]
        kv_heads = 1
        shape = (heads, rank + rope, rank, 0)
    else:
        shape = (ceil_div(heads, kv_heads), dim, dim, row[PLAN_WINDOW])
    form = add_sequences(chip, shape, kv_heads, a_bits, (1, own, 1), work) * _GOLDEN
    factor = _GOLDEN
    for field in range(WORK_FIELDS):
        factor = (factor ^ ((factor >> 29) & (2**35 - 1))) * _GOLDEN
        form += work[field] * factor
    return form


@kernel
def fill_weights(packed: Packed, work: Int64Array, first: int, weights: Int64Array) -> bool:
    """Fill ``weights`` from ``first`` on; False where a price depends on more than sums.

    That is so where ranks share the sequences among them: the fullest is priced.
    """
    chip, bits, plan, _, _, _, _ = packed
    factor = _GOLDEN
    for op in range(len(plan)):
        row = plan[op]
        if row[PLAN_KIND] != ATTENTION and row[PLAN_KIND] != LATENT:
            continue
        if row[PLAN_SPLIT] != 1:
            return False
        factor = (factor ^ ((factor >> 31) & (2**33 - 1))) * _GOLDEN
        for past in range(first, len(weights)):
            weights[past] += operator_form(chip, bits, row, past, work) * factor
    return True


@inner
def price_decode(
    packed: Packed,
    table: Int64Array,
    memo: Int64Array,
    key: tuple[int, int, int],
    ahead: int,
    new: Int64Array,
    past: Int64Array,
    prices: Int64Array,
) -> int:
    """Row of ``memo`` with the price of a decode iteration.

    ``key`` is (sequences, cached tokens, linear form) of the batch, whose sequences have
    ``past[i] + ahead`` cached tokens.
    """
    sequences, cached, form = key
    slot = (cached + sequences * _SPREAD) & (len(memo) - 1)
    row = memo[slot]
    if row[SEQUENCES] != sequences or row[CACHED] != cached or row[FORM] != form:
        for i in range(len(past)):
            past[i] += ahead
        price_step(packed, table, sequences, sequences, new, past, prices, row[STEP:])
        for i in range(len(past)):
            past[i] -= ahead
        row[SEQUENCES] = sequences
        row[CACHED] = cached
        row[FORM] = form
    return slot
