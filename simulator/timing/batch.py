"""The price of a batch, from the prices of its operators: what the serving loop calls.

``Packed`` is a plan as the kernels see it: (chip, bits, rows, weighted, sections, stages,
pipeline), all arrays; see ``timing.plan.Plan`` for their meaning. Only the functions of this file
take it apart.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels import executor
from simulator.kernels.arithmetic import ceil_div, clear, copy
from simulator.kernels.arrays import BoolArray, Int64Array
from simulator.kernels.executor import BUSY, CAUSE_BUBBLE, CAUSES, COLD, TIME, WARM
from simulator.kernels.jit import inner, kernel
from simulator.timing.attention_prices import price_attention, price_latent
from simulator.timing.prices import (
    ATTENTION,
    LATENT,
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
PIPELINE_FIELDS = 3


@inner
def fullest(split: int, new: Int64Array, past: Int64Array) -> int:
    """Which of ``split`` ranks, that take sequences in turn, has most query-key pairs."""
    best = 0
    most = -1
    for rank in range(min(split, len(new))):
        pairs = 0
        for i in range(rank, len(new), split):
            pairs += new[i] * (past[i] + new[i])
        if pairs > most:
            best = rank
            most = pairs
    return best


@kernel
def share_of(
    split: int,
    context: int,
    new: Int64Array,
    past: Int64Array,
    own_new: Int64Array,
    own_past: Int64Array,
) -> int:
    """The sequences of the fullest rank, as it sees them; returns their number.

    Of ``context`` ranks that share a sequence's keys each has its part of them; a chunk of a
    prompt has the pairs that are its part, as fewer queries after more keys.
    """
    count = 0
    for i in range(fullest(split, new, past), len(new), split):
        if new[i] == 1:
            own_new[count] = 1
            own_past[count] = ceil_div(past[i] + 1, context) - 1
        else:
            own_new[count] = ceil_div(new[i], context)
            own_past[count] = past[i] + (new[i] - own_new[count]) // 2
        count += 1
    return count


@kernel
def price_sequences(packed: Packed, new: Int64Array, past: Int64Array, prices: Int64Array) -> None:
    """Price the operators that depend on the lengths of single sequences (attention).

    ``prices`` is int64[operators, 2, PRICE_FIELDS]; sequence i has ``new[i]`` tokens after
    ``past[i]`` cached ones. Of several ranks that share the batch, the fullest is priced.
    """
    chip, bits, plan, _, _, _, _ = packed
    own_new, own_past = new, past
    split, context = 1, 1
    for op in range(len(plan)):
        row = plan[op]
        if row[PLAN_KIND] != ATTENTION and row[PLAN_KIND] != LATENT:
            continue
        if row[PLAN_SPLIT] != split or row[PLAN_CONTEXT] != context:
            split, context = row[PLAN_SPLIT], row[PLAN_CONTEXT]
            own_new, own_past = np.empty_like(new), np.empty_like(past)
            count = share_of(split, context, new, past, own_new, own_past)
            own_new, own_past = own_new[:count], own_past[:count]
        if row[PLAN_KIND] == ATTENTION:
            price_attention(chip, bits, row, own_new, own_past, prices[op, COLD])
        else:
            price_latent(chip, bits, row, own_new, own_past, prices[op, COLD])


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
def load_prices(
    plan: Int64Array, table: Int64Array, tokens: int, logits: int, prices: Int64Array
) -> None:
    """Copy the prices of all operators that depend on numbers of rows only."""
    for op in range(len(plan)):
        kind = plan[op, PLAN_KIND]
        if kind != ATTENTION and kind != LATENT:
            row = table[logits if plan[op, PLAN_LOGITS] == 1 else tokens, op]
            copy(row[COLD], prices[op, COLD])
            copy(row[WARM], prices[op, WARM])


@inner
def price_step(
    packed: Packed,
    table: Int64Array,
    tokens: int,
    logits: int,
    new: Int64Array,
    past: Int64Array,
    prices: Int64Array,
    step: Int64Array,
) -> None:
    """Price a batch of ``tokens`` tokens and ``logits`` positions into ``step``.

    ``table`` is int64[rows, operators, 2, PRICE_FIELDS], the prices of operators by number of
    rows; ``step`` is int64[TOTAL_FIELDS].
    """
    load_prices(packed[2], table, tokens, logits, prices)
    price_sequences(packed, new, past, prices)
    prompts = tokens > len(new) * packed[6][PIPELINE_TOKENS]
    run_stages(packed, prices, prompts, step)
