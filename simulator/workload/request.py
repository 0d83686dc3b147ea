"""Requests as parallel arrays: a trace of a million of them is four numpy columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Requests:
    """An open-loop trace, sorted by arrival.

    ``arrival_ps`` (int64, picoseconds from the trace's start, never decreasing),
    ``prompt_tokens`` and ``output_tokens`` (int64, at least 1), all of the same length.
    """

    arrival_ps: Int64Array
    prompt_tokens: Int64Array
    output_tokens: Int64Array

    def __len__(self) -> int:
        return len(self.arrival_ps)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """N users, each of whom sends the next request when the last one has been answered.

    A user waits ``think_ps[i]`` before request ``i`` is sent; users take the requests in order.
    """

    users: int
    think_ps: Int64Array
    prompt_tokens: Int64Array
    output_tokens: Int64Array

    def __len__(self) -> int:
        return len(self.prompt_tokens)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent to the system, where it came from, and a hash of its content."""

    name: str
    traffic: Requests | ClosedLoop
    source: str = ""
    notes: tuple[str, ...] = field(default=())
