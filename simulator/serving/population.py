"""How many requests are in a state over time, from when each entered and left it; exact integers.

Little's law in its exact form: over a run that begins and ends empty, the integral of the number
of requests in the system equals the sum of their times in it, to the picosecond (J. D. C. Little,
Operations Research 9, 1961; here without the limit of long runs).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

_HALF = 32
_MASK = (1 << _HALF) - 1


def exact_sum(values: Int64Array) -> int:
    """The sum of non-negative 64-bit integers (at most 2**26 of them), without overflow."""
    high, low = int((values >> _HALF).sum()), int((values & _MASK).sum())
    return (high << _HALF) + low


def integral_ps(entered: Int64Array, left: Int64Array) -> int:
    """The integral over time of the number of requests in a state: number times duration, event
    by event, in picoseconds."""
    times = np.concatenate((entered, left))
    order = np.argsort(times, kind="stable")
    change = np.concatenate(
        (np.ones(len(entered), dtype=np.int64), np.full(len(left), -1, dtype=np.int64))
    )
    number = np.cumsum(change[order])[:-1]
    gaps = np.diff(times[order])
    return (exact_sum(number * (gaps >> _HALF)) << _HALF) + exact_sum(number * (gaps & _MASK))


def number_at(entered: Int64Array, left: Int64Array, times: Int64Array) -> Int64Array:
    """Requests in a state just after each of ``times``."""
    result: Int64Array = np.searchsorted(np.sort(entered), times, side="right") - np.searchsorted(
        np.sort(left), times, side="right"
    )
    return result


def mean_numbers(
    entered: Int64Array, left: Int64Array, edges: Int64Array
) -> npt.NDArray[np.float64]:
    """The mean number of requests in a state in each interval between rising ``edges``."""
    area = [a - b for a, b in zip(_since(entered, edges), _since(left, edges), strict=True)]
    lengths = np.diff(edges).tolist()
    return np.array(
        [(b - a) / span for a, b, span in zip(area, area[1:], lengths, strict=False)],
        dtype=np.float64,
    )


def _since(instants: Int64Array, edges: Int64Array) -> list[int]:
    """For each edge t the sum of max(0, t - instant), as exact integers."""
    ordered = np.sort(instants)
    high = np.concatenate(([0], np.cumsum(ordered >> _HALF)))
    low = np.concatenate(([0], np.cumsum(ordered & _MASK)))
    before = np.searchsorted(ordered, edges, side="right")
    sums = [(int(high[k]) << _HALF) + int(low[k]) for k in before]
    return [int(k) * t - s for k, t, s in zip(before, edges.tolist(), sums, strict=True)]
