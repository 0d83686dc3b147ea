"""Whether a run was fed faster than it could serve: its queue grows for as long as it is fed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator.serving.population import mean_numbers, number_at
from simulator.serving.results import RequestTable

LEAST_REQUESTS = 50
SIGMAS = 3.0


@dataclass(frozen=True, slots=True)
class QueueGrowth:
    """A queue without bound, in requests a second over the second half of the arrivals.

    ``requests_per_s`` = ``arrivals_per_s`` - ``served_per_s`` is how fast it grows; ``waiting``
    requests had not been scheduled when the last one arrived.
    """

    requests_per_s: float
    arrivals_per_s: float
    served_per_s: float
    waiting: int

    def describe(self) -> str:
        """One line for a person."""
        return (
            f"the queue grows without bound: {self.arrivals_per_s:.4g} requests/s arrive and "
            f"{self.served_per_s:.4g} requests/s are taken up, so {self.requests_per_s:.4g} "
            f"requests/s are added to it ({self.waiting:,} waited when the last one arrived)"
        )


def queue_growth(table: RequestTable) -> QueueGrowth | None:
    """The growth of the queue of requests that nobody has taken up yet; None where it is stable.

    A queue that is fed at just the rate it is served still wanders by about sqrt(n) over n
    arrivals (times their coefficient of variation). So growth means: more than three times that
    wait at the last arrival, and the mean length rises from each quarter of the time to the next.
    """
    done = table.status == 0
    arrival = np.sort(table.arrival_ps[done])
    count = len(arrival)
    if count < LEAST_REQUESTS or arrival[-1] == arrival[0]:
        return None
    scheduled = table.scheduled_ps[done]
    entered = table.arrival_ps[done]
    first, last = int(arrival[0]), int(arrival[-1])
    middle = (first + last) // 2
    length = number_at(entered, scheduled, np.array([middle, last], dtype=np.int64))
    gaps = np.diff(arrival)
    variation = float(gaps.std() / gaps.mean())
    if length[1] <= SIGMAS * math.sqrt(count) * max(1.0, variation):
        return None
    edges = np.linspace(first, last, 5).astype(np.int64)
    quarters = mean_numbers(entered, scheduled, edges)
    if not (np.diff(quarters) > 0).all():
        return None
    span_s = (last - middle) / 1e12
    arrivals = int((arrival > middle).sum()) / span_s
    growth = int(length[1] - length[0]) / span_s
    if growth <= 0:
        return None
    return QueueGrowth(growth, arrivals, arrivals - growth, int(length[1]))
