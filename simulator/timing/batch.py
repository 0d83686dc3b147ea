"""The price of a batch, from the prices of its operators: what the serving loop calls.

``Packed`` is a plan as the kernels see it: (chip, bits, rows, weighted, sections, stages,
pipeline), all arrays, of which chip and bits are those of attention; see ``timing.plan.Plan`` for
their meaning. Only the functions of this file take it apart.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels import executor
from simulator.kernels.arithmetic import ceil_div, clear, copy
from simulator.kernels.arrays import BoolArray, Int64Array
from simulator.kernels.executor import BUSY, CAUSE_BUBBLE, CAUSES, COLD, DURATION, TIME, WARM
from simulator.kernels.jit import inner, kernel
from simulator.timing.attention_prices import price_attention
from simulator.timing.latent_prices import price_latent
from simulator.timing.prices import (
    ATTENTION,
    LATENT,
    MOE,
    PLAN_CONTEXT,
    PLAN_KIND,
    PLAN_LOGITS,
    PLAN_SPLIT,
)

Packed = tuple[Int64Array, Int64Array, Int64Array, BoolArray, Int64Array, Int64Array, Int64Array]

# One kind of pipeline stage, int64[STAGE_FIELDS]: first section, sections, stages of this kind.
STAGE_FIRST = 0
STAGE_SECTIONS = 1
STAGE_COUNT = 2
STAGE_FIELDS = 3

# The pipeline, int64[PIPELINE_FIELDS].
PIPELINE_STAGES = 0
PIPELINE_BATCHES = 1
"""Micro-batches that follow each other through the stages."""
PIPELINE_TOKENS = 2
"""Tokens of a sequence in a decode iteration: 1, or drafted ones and one more."""
PIPELINE_RANKS = 3
"""Ranks that share the sequences; each has whole ones."""
PIPELINE_FIELDS = 4
"""Behind them: the batches that graphs were captured for, ascending (``timing.rank_rows``)."""

Rows = tuple[int, int, int]
"""(rows, tokens, logits): what operators that ranks of their own sequences share compute together
(``timing.rank_rows``), all other operators, and those of positions with logits."""


@inner
def place(split: int, held: int, ranks: Int64Array, parts: Int64Array) -> None:
    """Fill in which of ``split`` parts of a batch each sequence is in.

    ``held`` ranks have sequences of their own (``ranks``), which take turns in the micro-batches of
    their rank; the parts of a rank follow each other.
    """
    if split % held != 0:
        held = 1
    micro = split // held
    seen = np.zeros(held, dtype=np.int64)
    for i in range(len(parts)):
        rank = ranks[i] if held > 1 else 0
        parts[i] = rank * micro + seen[rank] % micro
        seen[rank] += 1


@inner
def take_part(
    part: int,
    parts: Int64Array,
    context: int,
    sequences: tuple[Int64Array, Int64Array],
    own: tuple[Int64Array, Int64Array],
) -> int:
    """The (new, cached) tokens of the sequences of one part, as a rank sees them; their number.

    Of ``context`` ranks that share a sequence's keys each has its part of them; a chunk of a
    prompt has the pairs that are its part, as fewer queries after more keys.
    """
    new, past = sequences
    own_new, own_past = own
    count = 0
    for i in range(len(new)):
        if parts[i] != part:
            continue
        if new[i] == 1:
            own_new[count] = 1
            own_past[count] = ceil_div(past[i] + 1, context) - 1
        else:
            own_new[count] = ceil_div(new[i], context)
            own_past[count] = past[i] + (new[i] - own_new[count]) // 2
        count += 1
    return count


@kernel
def share_of(
    shape: tuple[int, int, int],
    ranks: Int64Array,
    new: Int64Array,
    past: Int64Array,
    own_new: Int64Array,
    own_past: Int64Array,
) -> int:
    """The sequences of the part with most query-key pairs, as its rank sees them; their number.

    ``shape`` is (parts of the batch, ranks that have sequences, ranks that share the keys of one).
    """
    split, held, context = shape
    parts = np.zeros(len(new), dtype=np.int64)
    place(split, held, ranks, parts)
    pairs = np.zeros(split, dtype=np.int64)
    for i in range(len(new)):
        pairs[parts[i]] += new[i] * (past[i] + new[i])
    best = 0
    for part in range(1, split):
        if pairs[part] > pairs[best]:
            best = part
    return take_part(best, parts, context, (new, past), (own_new, own_past))


@inner
def price_sorts(
    packed: Packed, op: int, new: Int64Array, past: Int64Array, price: Int64Array
) -> None:
    """Price attention of either sort."""
    chip, bits, plan, _, _, _, _ = packed
    if plan[op, PLAN_KIND] == ATTENTION:
        price_attention(chip, bits, plan[op], new, past, price)
    else:
        price_latent(chip, bits, plan[op], new, past, price)


@kernel
def price_sequences(
    packed: Packed, ranks: Int64Array, new: Int64Array, past: Int64Array, prices: Int64Array
) -> None:
    """Price the operators that depend on the lengths of single sequences (attention).

    ``prices`` is int64[operators, 2, PRICE_FIELDS]; sequence i has ``new[i]`` tokens after
    ``past[i]`` cached ones on rank ``ranks[i]``. Of several ranks that share the batch, the slowest
    is priced: the others wait for it.
    """
    plan, pipeline = packed[2], packed[6]
    parts, own_new, own_past = new, new, past
    price = prices[0, COLD]
    placed = 0
    for op in range(len(plan)):
        row = plan[op]
        if row[PLAN_KIND] != ATTENTION and row[PLAN_KIND] != LATENT:
            continue
        split, context = row[PLAN_SPLIT], row[PLAN_CONTEXT]
        if split == 1 and context == 1:
            price_sorts(packed, op, new, past, prices[op, COLD])
            continue
        if placed == 0:
            price = np.empty(executor.PRICE_FIELDS, dtype=np.int64)
            parts, own_new, own_past = np.empty_like(new), np.empty_like(new), np.empty_like(new)
        if placed != split:
            place(split, pipeline[PIPELINE_RANKS], ranks, parts)
            placed = split
        prices[op, COLD, DURATION] = -1
        for part in range(split):
            count = take_part(part, parts, context, (new, past), (own_new, own_past))
            if count > 0:
                price_sorts(packed, op, own_new[:count], own_past[:count], price)
                if price[DURATION] > prices[op, COLD, DURATION]:
                    copy(price, prices[op, COLD])


@inner
def join_stages(packed: Packed, ones: Int64Array, prompts: bool, step: Int64Array) -> int:
    """Fill ``step`` from the totals of each kind of stage, int64[stages, TOTAL_FIELDS].

    Returns the index of the slowest kind, which sets the pace. Micro-batches of a batch with
    ``prompts`` go through an empty pipeline; those of decode follow those of the token before
    (GPipe, Huang et al., arXiv 1811.06965, section 2.3). Busy times and bytes are those of the mean
    stage.
    """
    _, _, _, _, _, stages, pipeline = packed
    depth, batches = pipeline[PIPELINE_STAGES], pipeline[PIPELINE_BATCHES]
    slowest = 0
    for s in range(1, len(stages)):
        if ones[s, TIME] > ones[slowest, TIME]:
            slowest = s
    copy(ones[slowest], step)
    if depth * batches > 1:
        rounds = batches + depth - 1 if prompts else max(batches, depth)
        for field in range(BUSY, CAUSES):
            total = 0
            for s in range(len(stages)):
                total += ones[s, field] * stages[s, STAGE_COUNT]
            step[field] = ceil_div(total * batches, depth)
        for field in range(CAUSES, executor.TOTAL_FIELDS):
            step[field] *= batches
        step[CAUSES + CAUSE_BUBBLE] += (rounds - batches) * step[TIME]
        step[TIME] *= rounds
    return slowest


@inner
def execute_stages(packed: Packed, prices: Int64Array, ones: Int64Array) -> None:
    """Execute every kind of stage; fills ``ones``, int64[stages, TOTAL_FIELDS]."""
    _, _, _, weighted, sections, stages, _ = packed
    none = np.empty((0, executor.SPAN_FIELDS), dtype=np.int64)
    for s in range(len(stages)):
        first = stages[s, STAGE_FIRST]
        clear(ones[s])
        part = sections[first : first + stages[s, STAGE_SECTIONS]]
        executor.execute(prices, weighted, part, ones[s], none)


@kernel
def run_stages(packed: Packed, prices: Int64Array, prompts: bool, step: Int64Array) -> int:
    """Execute every kind of stage and fill ``step``; returns the index of the slowest kind."""
    ones = np.empty((len(packed[5]), executor.TOTAL_FIELDS), dtype=np.int64)
    execute_stages(packed, prices, ones)
    return join_stages(packed, ones, prompts, step)


@inner
def load_prices(packed: Packed, table: Int64Array, rows: Rows, prices: Int64Array) -> None:
    """Copy the prices of all operators that depend on numbers of rows only.

    Where ranks have different numbers of tokens, what depends on those of all of them too stands
    in the table's first row.
    """
    plan, pipeline = packed[2], packed[6]
    uneven = rows[0] != rows[1]
    parts = pipeline[PIPELINE_RANKS] * pipeline[PIPELINE_BATCHES]
    for op in range(len(plan)):
        kind = plan[op, PLAN_KIND]
        if kind != ATTENTION and kind != LATENT:
            index = rows[0]
            if plan[op, PLAN_LOGITS] == 1:
                index = rows[2]
            elif uneven and (kind == MOE or plan[op, PLAN_SPLIT] % parts != 0):
                index = 0
            row = table[index, op]
            copy(row[COLD], prices[op, COLD])
            copy(row[WARM], prices[op, WARM])


@inner
def price_step(
    packed: Packed,
    table: Int64Array,
    rows: Rows,
    prompts: bool,
    sequences: tuple[Int64Array, Int64Array, Int64Array],
    prices: Int64Array,
    step: Int64Array,
) -> None:
    """Price a batch of ``rows`` into ``step``; ``sequences`` are ranks, new and cached tokens.

    ``table`` is int64[rows, operators, 2, PRICE_FIELDS], the prices of operators by number of
    rows; ``step`` is int64[TOTAL_FIELDS].
    """
    load_prices(packed, table, rows, prices)
    ranks, new, past = sequences
    price_sequences(packed, ranks, new, past, prices)
    run_stages(packed, prices, prompts, step)
