"""What replicas did in each of at most 1,000 equal intervals, counted while they run.

A course is float64[1 + BINS, SERIES], shared by the replicas of a pool that have the same plan: a
row for each interval, and before them one that holds their length. Where a run outgrows it, pairs
of intervals are joined and all are twice as long, so a run of any length takes the same memory.

Nothing is added by iteration. A replica's counters run on, and ``marks``, float64[MARKS], are what
they were when they were last booked. When an iteration ends beyond the interval that the marks are
of, what was gained before it is booked there, and the iteration itself is spread evenly over the
intervals that it touches. What is gained after that waits for the next booking, so the sum over
all intervals is that of the run.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.executor import TOTAL_FIELDS
from simulator.kernels.jit import inner
from simulator.serving.fields import EMITTED_TOKENS, ITERATIONS, LAST_START, NOW, SUMS

Tally = tuple[Int64Array, Float64Array, Float64Array, Float64Array]
"""(totals, sums, marks, course) of a replica: int64[TOTAL_FIELDS], float64[SUMS] and as above."""

# Columns of a course: the totals of ``kernels.executor``, then
ITERATED = TOTAL_FIELDS
EMITTED = TOTAL_FIELDS + 1
SUMS_FROM = TOTAL_FIELDS + 2
"""and the running sums of ``serving.fields``."""
SERIES = SUMS_FROM + SUMS

BINS = 1000
FIRST_WIDTH_PS = 10**9
HEAD = 0
"""The row before the intervals: the length of an interval in picoseconds, 0 before the first."""

# Marks: the end of the interval that they are of (0 before the first), then the series.
UNTIL = 0
MARKED_FROM = 1
MARKS = MARKED_FROM + SERIES


@inner
def read(replica: Int64Array, totals: Int64Array, sums: Float64Array, into: Float64Array) -> None:
    """Fill a row of a course with what a replica's counters say now."""
    for field in range(TOTAL_FIELDS):
        into[field] = float(totals[field])
    into[ITERATED] = float(replica[ITERATIONS])
    into[EMITTED] = float(replica[EMITTED_TOKENS])
    for field in range(SUMS):
        into[SUMS_FROM + field] = sums[field]


@inner
def width_for(course: Float64Array, end: int) -> int:
    """The length of an interval, after intervals have been joined until ``end`` is in the last."""
    width = max(int(course[HEAD, 0]), FIRST_WIDTH_PS)
    while (end - 1) // width >= BINS:
        width *= 2
        for index in range(BINS):
            row = course[1 + index]
            for series in range(SERIES):
                both = 0.0
                if index < BINS // 2:
                    both = course[1 + 2 * index, series] + course[2 + 2 * index, series]
                row[series] = both
    course[HEAD, 0] = float(width)
    return width


@inner
def book(replica: Int64Array, tally: Tally, start: int, end: int) -> None:
    """Spread what was gained since the marks evenly over ``start`` to ``end``; mark it."""
    totals, sums, marks, course = tally
    width = width_for(course, end)
    now = np.empty(SERIES, dtype=np.float64)
    read(replica, totals, sums, now)
    at = start
    until = start
    while at < end:
        index = at // width
        until = (index + 1) * width
        share = (min(until, end) - at) / (end - start)
        row = course[1 + index]
        for series in range(SERIES):
            row[series] += (now[series] - marks[MARKED_FROM + series]) * share
        at = until
    marks[UNTIL] = float(until)
    for series in range(SERIES):
        marks[MARKED_FROM + series] = now[series]


@inner
def open_iteration(replica: Int64Array, tally: Tally, end: int) -> None:
    """An iteration that ends at ``end`` is about to be counted: book what was gained before it,
    unless it lies in the same interval."""
    until = int(tally[2][UNTIL])
    if end > until and until > 0:
        book(replica, tally, until - 1, until)


@inner
def close_iteration(replica: Int64Array, tally: Tally) -> None:
    """The last iteration has been counted in full."""
    if replica[NOW] > int(tally[2][UNTIL]):
        book(replica, tally, replica[LAST_START], max(replica[NOW], replica[LAST_START] + 1))


def empty_course() -> Float64Array:
    """A course in which nothing has happened yet."""
    return np.zeros((1 + BINS, SERIES))


def booked(
    course: Float64Array, open_ones: list[tuple[Int64Array, Tally]]
) -> tuple[int, Float64Array]:
    """(length of an interval in picoseconds, float64[BINS, SERIES]) with what is not booked yet.

    ``open_ones`` are the counters and tallies of the replicas whose course it is. The length is 0
    where nothing ran.
    """
    width, rows = int(course[HEAD, 0]), course[1:].copy()
    for counters, (totals, sums, marks, _) in open_ones:
        if marks[UNTIL] > 0:
            now = np.concatenate((totals, counters[[ITERATIONS, EMITTED_TOKENS]], sums))
            rows[(int(marks[UNTIL]) - 1) // width] += now - marks[MARKED_FROM:]
    return width, rows
