"""The in-order executor of a step: operators one after another, weights fetched ahead.

Operators start when the one before has ended. A matmul may find its first weights on chip, as far
as HBM was idle beforehand: their fetch begins when HBM is free of the traffic of the operators
before. If it is complete when the matmul starts, that takes its shorter, warm price; if it is cut
short, the matmul is shorter by the time that was spent fetching, but never below the warm price.
The cold price is at most the warm one plus the fetch, so a step is monotone: earlier idle time, or
more room to fetch into, never makes it longer.

A collective that runs in the background starts as soon as the fabric has been idle since the one
before, behind the operators in between; only the rest of it is waited for.

HBM counts as free from the end of a matmul (whose own transfers run to its end), and otherwise
after the bytes that the operators since then have moved.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arrays import BoolArray, Int64Array
from simulator.kernels.jit import inner, kernel

# One priced operator: int64[2, PRICE_FIELDS], cold and warm.
DURATION = 0
MATRIX = 1
VECTOR = 2
HBM = 3
SRAM = 4
FABRIC = 5
READ = 6
WRITE = 7
SENT = 8
CAUSE = 9
FETCH = 10
"""Picoseconds that the fetch ahead of a warm operator takes (0: there is none)."""
FETCH_BYTES = 11
BACKGROUND = 12
"""1 for a collective that may have run behind the operators before it."""
PRICE_FIELDS = 13

COLD = 0
WARM = 1

# Totals of a step, int64[TOTAL_FIELDS]: time, busy time by unit, bytes, time by cause.
TIME = 0
BUSY = 1
BYTES = 6
CAUSES = 9
TOTAL_FIELDS = 17

CAUSE_LATENCY = 5
CAUSE_HOST = 6
CAUSE_BUBBLE = 7
"""Waiting for the other stages of a pipeline."""

# One executed operator: int64[SPAN_FIELDS].
SPAN_OPERATOR = 0
SPAN_REPEAT = 1
SPAN_START = 2
SPAN_END = 3
SPAN_VARIANT = 4
SPAN_FETCH_START = 5
SPAN_FETCH = 6
SPAN_FIELDS = 7


@inner
def dominant(row: Int64Array) -> int:
    """Index of what a price is bound by: its busiest unit, or latency where that is idle more
    than half of the time."""
    unit = 0
    for other in range(1, 5):
        if row[MATRIX + other] > row[MATRIX + unit]:
            unit = other
    if row[DURATION] - row[MATRIX + unit] > row[MATRIX + unit]:
        return CAUSE_LATENCY
    return unit


@inner
def run_operator(
    price: Int64Array,
    weighted: bool,
    now: int,
    hbm_free: int,
    fabric_free: int,
    totals: Int64Array,
) -> tuple[int, int, int, int]:
    """(end, HBM free, variant, picoseconds fetched ahead) of one operator; adds to the totals."""
    variant = COLD
    duration = price[COLD, DURATION]
    fetched = now * 0
    hidden = fetched
    if weighted:
        fetch = price[WARM, FETCH]
        fetched = min(fetch, now - hbm_free)
        if fetched > 0 and fetched == fetch:
            variant = WARM
            duration = price[WARM, DURATION]
        elif fetched > 0:
            duration = max(price[WARM, DURATION], duration - fetched)
        hbm_free = now + duration
    else:
        hbm_free = max(hbm_free, now) + price[COLD, HBM]
        if price[COLD, BACKGROUND] == 1:
            hidden = min(duration, now - fabric_free)
            duration -= hidden
    row = price[variant]
    for unit in range(5):
        # A fetch that was cut short leaves a mapping between the two; no unit works longer than it.
        most = duration + fetched if MATRIX + unit == HBM else duration + hidden
        totals[BUSY + unit] += min(row[MATRIX + unit], most)
    for kind in range(3):
        totals[BYTES + kind] += row[READ + kind]
    totals[CAUSES + row[CAUSE]] += duration
    totals[TIME] += duration
    return now + duration, hbm_free, variant, fetched


@kernel
def execute(
    prices: Int64Array,
    weighted: BoolArray,
    sections: Int64Array,
    totals: Int64Array,
    spans: Int64Array,
) -> None:
    """Run a step and add it to ``totals``.

    ``prices`` is int64[operators, 2, PRICE_FIELDS], ``weighted`` bool[operators], ``sections``
    int64[sections, 3] of (first operator, count, repeats). ``spans`` is int64[executed,
    SPAN_FIELDS], or has no rows: then repeats are multiplied out as soon as the state repeats.
    """
    record = len(spans) > 0
    # zero as int64 and not as a literal, so that run_operator is compiled once
    now = sections[0, 0] * 0
    hbm_free = now
    fabric_free = now
    row = 0
    before = np.empty(TOTAL_FIELDS, dtype=np.int64)
    for s in range(len(sections)):
        first, count, repeats = sections[s, 0], sections[s, 1], sections[s, 2]
        lead = -1
        fabric_lead = lead
        for repeat in range(repeats):
            for field in range(TOTAL_FIELDS):
                before[field] = totals[field]
            began = now
            behind = False
            for op in range(first, first + count):
                start, idle_since = now, hbm_free
                now, hbm_free, variant, fetched = run_operator(
                    prices[op], weighted[op], now, hbm_free, fabric_free, totals
                )
                if prices[op, COLD, FABRIC] > 0:
                    fabric_free = now
                if prices[op, COLD, BACKGROUND] == 1:
                    behind = True
                if record:
                    spans[row, SPAN_OPERATOR] = op
                    spans[row, SPAN_REPEAT] = repeat
                    spans[row, SPAN_START] = start
                    spans[row, SPAN_END] = now
                    spans[row, SPAN_VARIANT] = variant
                    spans[row, SPAN_FETCH_START] = idle_since
                    spans[row, SPAN_FETCH] = fetched
                    row += 1
            same = now - hbm_free == lead and (not behind or now - fabric_free == fabric_lead)
            if repeat > 0 and same and not record:
                left = repeats - 1 - repeat
                for field in range(TOTAL_FIELDS):
                    totals[field] += left * (totals[field] - before[field])
                shift = left * (now - began)
                now += shift
                hbm_free += shift
                fabric_free += shift
                break
            lead = now - hbm_free
            fabric_lead = now - fabric_free
