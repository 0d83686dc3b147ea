"""Prices of decode iterations, by what they depend on.

In a decode iteration every sequence computes one token. On a systolic array its price depends on
how many sequences there are and on the sums over them of the work of their attention (cycles, keys,
bytes: ``attention_prices.add_sequences``). So the work of one sequence is tabulated by its cached
tokens, ``works`` int64[contexts, attention operators, PARTS], and a batch is priced from the sums.

Batches with equal counts and equal sums have equal prices, whatever the single contexts are, and
are remembered. The key is one number for all sums, a linear form with fixed random coefficients
modulo 2**64: ``forms[p]`` is that of one sequence with ``p`` cached tokens, and that of a batch is
the sum over its sequences. Different sums have the same form with a chance of 2**-64.

On a GPU, and where ranks share the sequences among them, prices depend on the longest sequence and
on other things too (``works`` is empty then): only single sequences are remembered, whose price
depends on their cached tokens.

``memo`` is int64[power of two, MEMO_FIELDS], direct-mapped: a row is the last batch that fell on
it. Iterations of one run fall on rows beside each other.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import ceil_div, clear
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import SYSTOLIC, UNIT_KIND
from simulator.kernels.executor import COLD, TOTAL_FIELDS
from simulator.kernels.jit import inner, kernel
from simulator.timing.attention_prices import (
    add_sequences,
    close_attention,
    close_latent,
    to_price,
)
from simulator.timing.batch import (
    PIPELINE_TOKENS,
    Packed,
    load_prices,
    price_step,
    run_stages,
)
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
from simulator.timing.work import (
    WORK_FIELDS,
    WORK_FLOPS,
    WORK_MATRIX,
    WORK_ROUNDS,
    WORK_SRAM_BYTES,
    WORK_VECTOR,
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


# What a sequence adds to the work of an operator, int64[PARTS]: fields of WORK_*, tokens read.
PART_MATRIX = 0
PART_VECTOR = 1
PART_SRAM = 2
PART_FLOPS = 3
PART_ROUNDS = 4
PART_READ = 5
PARTS = 6

Known = tuple[Int64Array, Int64Array, Int64Array]
"""(memo, forms, works)"""


@inner
def fill_parts(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    past: int,
    work: Int64Array,
    into: Int64Array,
) -> None:
    """What one sequence with ``past`` cached tokens adds to the work of an attention operator."""
    own = ceil_div(past + 1, row[PLAN_CONTEXT]) - 1
    clear(work)
    heads, dim = row[PLAN_HEADS], row[PLAN_HEAD_DIM]
    if row[PLAN_KIND] == LATENT:
        kv_heads = 1
        rank, rope = row[PLAN_KV_RANK], row[PLAN_ROPE_DIM]
        shape = (heads, rank + rope, rank, 0)
    else:
        kv_heads = row[PLAN_KV_HEADS]
        shape = (ceil_div(heads, kv_heads), dim, dim, row[PLAN_WINDOW])
    one = (1, own, 1)
    into[PART_READ] = add_sequences(chip, shape, kv_heads, bits[ACTIVATION_BITS], one, work)
    into[PART_MATRIX] = work[WORK_MATRIX]
    into[PART_VECTOR] = work[WORK_VECTOR]
    into[PART_SRAM] = work[WORK_SRAM_BYTES]
    into[PART_FLOPS] = work[WORK_FLOPS]
    into[PART_ROUNDS] = work[WORK_ROUNDS]


@kernel
def fill_known(packed: Packed, work: Int64Array, forms: Int64Array, works: Int64Array) -> bool:
    """Fill the tables by cached tokens; False where a price depends on more than sums.

    That is so where ranks share the sequences among them (the fullest is priced), and on GPUs,
    whose kernels wait for the longest sequence and split by how many there are.
    """
    chip, bits, plan, _, _, _, _ = packed
    if chip[UNIT_KIND] != SYSTOLIC:
        return False
    factor = _GOLDEN
    index = 0
    for op in range(len(plan)):
        row = plan[op]
        if row[PLAN_KIND] != ATTENTION and row[PLAN_KIND] != LATENT:
            continue
        if row[PLAN_SPLIT] != 1:
            return False
        for past in range(len(forms)):
            fill_parts(chip, bits, row, past, work, works[past, index])
        for part in range(PARTS):
            factor = (factor ^ ((factor >> 31) & (2**33 - 1))) * _GOLDEN
            for past in range(len(forms)):
                forms[past] += works[past, index, part] * factor
        index += 1
    return True


@inner
def add_known(
    packed: Packed,
    row: Int64Array,
    works: Int64Array,
    index: int,
    new: Int64Array,
    past: Int64Array,
    ahead: int,
    work: Int64Array,
) -> tuple[int, int]:
    """Sum the work of attention operator ``index`` over a batch: (tokens, tokens read).

    Sequences with one token come from the table, the others are counted as in
    ``attention_prices``, as the rank sees them (``timing.batch.share_of``).
    """
    chip, bits, _, _, _, _, _ = packed
    tokens = 0
    read = 0
    matrix, vector, sram, flops, rounds = 0, 0, 0, 0, 0
    for i in range(len(new)):
        if new[i] == 1:
            # sums in registers and no view of a row: this is most of a large batch's price
            at = past[i] + ahead
            matrix += works[at, index, PART_MATRIX]
            vector += works[at, index, PART_VECTOR]
            sram += works[at, index, PART_SRAM]
            flops += works[at, index, PART_FLOPS]
            rounds += works[at, index, PART_ROUNDS]
            read += works[at, index, PART_READ]
            tokens += 1
    for i in range(len(new)):
        if new[i] != 1:
            kv_heads, dim = row[PLAN_KV_HEADS], row[PLAN_HEAD_DIM]
            shape = (ceil_div(row[PLAN_HEADS], kv_heads), dim, dim, row[PLAN_WINDOW])
            queries = ceil_div(new[i], row[PLAN_CONTEXT])
            one = (queries, past[i] + (new[i] - queries) // 2, 1)
            read += add_sequences(chip, shape, kv_heads, bits[ACTIVATION_BITS], one, work)
            tokens += queries
    work[WORK_MATRIX] += matrix
    work[WORK_VECTOR] += vector
    work[WORK_SRAM_BYTES] += sram
    work[WORK_FLOPS] += flops
    work[WORK_ROUNDS] += rounds
    return tokens, read


@inner
def priced_by_sums(packed: Packed, works: Int64Array) -> bool:
    """Whether batches with prompts are priced from the table too.

    Not with latent attention, which has another form for prompts.
    """
    plan = packed[2]
    for op in range(len(plan)):
        if plan[op, PLAN_KIND] == LATENT:
            return False
    return len(works) > 0


@inner
def price_sums(
    packed: Packed,
    table: Int64Array,
    works: Int64Array,
    rows: tuple[int, int],
    new: Int64Array,
    past: Int64Array,
    ahead: int,
    prices: Int64Array,
    step: Int64Array,
) -> None:
    """Price an iteration with ``rows`` = (tokens, logit positions), as ``batch.price_step`` does.

    Where there are prompts ``ahead`` is 0; otherwise sequence i has ``past[i] + ahead`` cached
    tokens.
    """
    chip, bits, plan, _, _, _, pipeline = packed
    count = len(new)
    load_prices(plan, table, rows[0], rows[1], prices)
    work = np.empty(WORK_FIELDS, dtype=np.int64)
    index = 0
    for op in range(len(plan)):
        row = plan[op]
        if row[PLAN_KIND] != ATTENTION and row[PLAN_KIND] != LATENT:
            continue
        clear(work)
        if row[PLAN_KIND] == ATTENTION:
            tokens, read = add_known(packed, row, works, index, new, past, ahead, work)
            close_attention(chip, bits, row, tokens, read, work)
        else:
            _, read = add_known(packed, row, works, index, new, past, ahead, work)
            fed = work[WORK_SRAM_BYTES] * (row[PLAN_KV_RANK] + row[PLAN_ROPE_DIM])
            close_latent(chip, bits, row, (count, count, 0, fed), read, work)
        to_price(chip, work, prices[op, COLD])
        index += 1
    run_stages(packed, prices, rows[0] > count * pipeline[PIPELINE_TOKENS], step)


@inner
def price_decode(
    packed: Packed,
    table: Int64Array,
    known: Known,
    key: tuple[int, int],
    new: Int64Array,
    past: Int64Array,
    ahead: int,
    prices: Int64Array,
) -> int:
    """The row of the memo that holds, from STEP on, the price of a decode iteration.

    ``key`` is (cached tokens, linear form) of the batch, whose sequences have ``past[i] + ahead``
    cached tokens.
    """
    memo, _, works = known
    cached, form = key
    count = len(past)
    index = (cached + count * _SPREAD) & (len(memo) - 1)
    row = memo[index]
    by_sums = len(works) > 0
    seen = row[SEQUENCES] == count and row[CACHED] == cached and row[FORM] == form
    if seen and (by_sums or count == 1):
        return index
    if by_sums:
        price_sums(packed, table, works, (count, count), new, past, ahead, prices, row[STEP:])
    else:
        for i in range(count):
            past[i] += ahead
        price_step(packed, table, count, count, new, past, prices, row[STEP:])
        for i in range(count):
            past[i] -= ahead
    row[SEQUENCES] = count
    row[CACHED] = cached
    row[FORM] = form
    return index
