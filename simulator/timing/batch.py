"""The price of a batch, from the prices of its operators: what the serving loop calls.

``Packed`` is a plan as the kernels see it: (chip, fabric, bits, rows, weighted, sections), all
arrays; see ``timing.plan.Plan`` for their meaning. Only the functions of this file take it apart.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels import executor
from simulator.kernels.arithmetic import clear, copy
from simulator.kernels.arrays import BoolArray, Int64Array
from simulator.kernels.executor import COLD, WARM
from simulator.kernels.jit import inner, kernel
from simulator.timing.prices import ATTENTION, PLAN_KIND, PLAN_LOGITS, price_attention

Packed = tuple[Int64Array, Int64Array, Int64Array, Int64Array, BoolArray, Int64Array]


@kernel
def price_sequences(packed: Packed, new: Int64Array, past: Int64Array, prices: Int64Array) -> None:
    """Price the operators that depend on the lengths of single sequences (attention).

    ``prices`` is int64[operators, 2, PRICE_FIELDS]; sequence i has ``new[i]`` tokens after
    ``past[i]`` cached ones.
    """
    chip, _, bits, plan, _, _ = packed
    for op in range(len(plan)):
        if plan[op, PLAN_KIND] == ATTENTION:
            price_attention(chip, bits, plan[op], new, past, prices[op, COLD])


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
    _, _, _, plan, weighted, sections = packed
    for op in range(len(plan)):
        if plan[op, PLAN_KIND] != ATTENTION:
            row = table[logits if plan[op, PLAN_LOGITS] == 1 else tokens, op]
            copy(row[COLD], prices[op, COLD])
            copy(row[WARM], prices[op, WARM])
    price_sequences(packed, new, past, prices)
    clear(step)
    executor.execute(
        prices, weighted, sections, step, np.empty((0, executor.SPAN_FIELDS), dtype=np.int64)
    )
