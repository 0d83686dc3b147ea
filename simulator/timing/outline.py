"""The totals of a step whose attention varies while all its other operators keep their prices.

When a weighted operator (a matmul) has ended HBM is free, whatever was before it: the executor
starts afresh. So what attention does to a step is contained between the matmul before it and the
end of the matmul after it. These *groups* of operators are executed one by one, with the prices
that they have now; everything else is a sum that was kept from the first step of its kind:

    totals of a stage = fixed + sum over groups of repeats x totals of the group.

That is what ``kernels.executor`` would have counted, to the picosecond. A plan with a section whose
attention has no matmul before it or after it, or with collectives in the background, has no groups
and is always executed in full.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import clear
from simulator.kernels.arrays import BoolArray, Int64Array
from simulator.kernels.executor import TOTAL_FIELDS, run_operator
from simulator.kernels.jit import inner
from simulator.timing.batch import STAGE_FIRST, STAGE_SECTIONS
from simulator.timing.prices import ATTENTION, LATENT, PLAN_BACKGROUND, PLAN_KIND

# One group, int64[GROUP_FIELDS]: kind of stage, first and last operator, repeats of its section.
GROUP_STAGE = 0
GROUP_FIRST = 1
GROUP_LAST = 2
GROUP_REPEATS = 3
GROUP_FIELDS = 4


def groups_of(
    rows: Int64Array, weighted: BoolArray, sections: Int64Array, stages: Int64Array
) -> Int64Array:
    """The groups of a plan, int64[groups, GROUP_FIELDS]; none where they do not hold everything
    that varies. The arguments are those of ``timing.plan.Plan``."""
    none = np.zeros((0, GROUP_FIELDS), dtype=np.int64)
    if (rows[:, PLAN_BACKGROUND] == 1).any():
        return none
    varies = np.isin(rows[:, PLAN_KIND], (ATTENTION, LATENT))
    found: list[tuple[int, int, int, int]] = []
    for stage, row in enumerate(stages.tolist()):
        first = row[STAGE_FIRST]
        for start, count, repeats in sections[first : first + row[STAGE_SECTIONS]].tolist():
            operators = range(start, start + count)
            fences = [op for op in operators if weighted[op]]
            groups = set()
            for op in operators:
                if varies[op]:
                    before = max((fence for fence in fences if fence < op), default=-1)
                    after = min((fence for fence in fences if fence > op), default=-1)
                    groups.add((before, after))
            if any(-1 in group for group in groups):
                return none
            found += [(stage, before + 1, after, repeats) for before, after in sorted(groups)]
    return np.array(found, dtype=np.int64).reshape(-1, GROUP_FIELDS)


@inner
def add_groups(
    groups: Int64Array, prices: Int64Array, weighted: BoolArray, one: Int64Array, stages: Int64Array
) -> None:
    """Add the totals of all groups to those of their stages, int64[stages, TOTAL_FIELDS].

    ``prices`` is int64[operators, 2, PRICE_FIELDS]; ``one`` int64[TOTAL_FIELDS] is overwritten.
    """
    for g in range(len(groups)):
        group = groups[g]
        clear(one)
        now = group[GROUP_FIRST] * 0
        hbm_free = now
        for op in range(group[GROUP_FIRST], group[GROUP_LAST] + 1):
            now, hbm_free, _, _ = run_operator(prices[op], weighted[op], now, hbm_free, now, one)
        into = stages[group[GROUP_STAGE]]
        for field in range(TOTAL_FIELDS):
            into[field] += group[GROUP_REPEATS] * one[field]
