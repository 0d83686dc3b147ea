"""Requests as parallel arrays: a trace of a million of them is a few numpy columns.

Besides arrival and lengths a request may belong to a session, whose turns wait for each other, to
a class of users with promises of its own, and may say which text its prompt begins with, so that a
prefix cache can hit. Such columns are None where the traffic has nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from simulator.workload.slo import Slo, SloClass

Int64Array = npt.NDArray[np.int64]

PS_PER_S = 10**12

MAX_TOKENS = 2**40
"""Larger than any context there is; a number beyond it is a mistake, and sums still fit 64 bits."""

MAX_SPAN_S = 9_200_000
"""2**63 picoseconds are 106.75 days."""

NO_PARENT = -1


@dataclass(frozen=True, slots=True)
class PrefixBlocks:
    """Names for the text that prompts begin with.

    The prompt of request i begins with the blocks ``ids[starts[i] : starts[i] + counts[i]]`` (all
    int64) of ``block_tokens`` tokens each, of which the last may be cut by the prompt's end. Two
    prompts whose first n ids are equal have the first n blocks of their text in common. Ranges may
    overlap: the turns of a session that only grows are beginnings of one and the same range.
    """

    starts: Int64Array
    counts: Int64Array
    ids: Int64Array
    block_tokens: int

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, request: int) -> Int64Array:
        """The ids of one request."""
        start = self.starts[request]
        return self.ids[start : start + self.counts[request]]

    def take(self, rows: Int64Array) -> PrefixBlocks:
        """The blocks of some requests, in the order of ``rows``."""
        return replace(self, starts=self.starts[rows], counts=self.counts[rows])


@dataclass(frozen=True, slots=True)
class Requests:
    """An open-loop trace, sorted by arrival.

    ``arrival_ps`` (int64, picoseconds from the trace's start, never decreasing),
    ``prompt_tokens`` and ``output_tokens`` (int64, at least 1), all of the same length.

    A request with a ``parent`` (the row of the turn before it, which is an earlier row;
    ``NO_PARENT`` for a first turn) arrives when that one has been answered and ``think_ps`` have
    passed, but not before ``arrival_ps``. ``session`` and ``turn`` (from 0) say where it belongs.
    ``slo_class`` is an index into ``classes``; the smaller ``priority``, the sooner.
    """

    arrival_ps: Int64Array
    prompt_tokens: Int64Array
    output_tokens: Int64Array
    session: Int64Array | None = None
    turn: Int64Array | None = None
    parent: Int64Array | None = None
    think_ps: Int64Array | None = None
    priority: Int64Array | None = None
    slo_class: Int64Array | None = None
    classes: tuple[SloClass, ...] = ()
    prefix: PrefixBlocks | None = None

    def __len__(self) -> int:
        return len(self.arrival_ps)

    def take(self, rows: Int64Array) -> Requests:
        """Some of the requests, in the order of ``rows``; see ``take``."""
        return take(self, rows)


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """N users, each of whom sends the next request when the last one has been answered.

    A user waits ``think_ps[i]`` before request ``i`` is sent; users take the requests in order,
    whoever is free the next one, unless there is a ``parent``: then each request is its parent's
    user's. The other columns are those of ``Requests``.
    """

    users: int
    think_ps: Int64Array
    prompt_tokens: Int64Array
    output_tokens: Int64Array
    session: Int64Array | None = None
    turn: Int64Array | None = None
    parent: Int64Array | None = None
    priority: Int64Array | None = None
    slo_class: Int64Array | None = None
    classes: tuple[SloClass, ...] = ()
    prefix: PrefixBlocks | None = None

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    def take(self, rows: Int64Array) -> ClosedLoop:
        """Some of the requests, in the order of ``rows``; see ``take``."""
        return take(self, rows)


Traffic = TypeVar("Traffic", Requests, ClosedLoop)


def take(traffic: Traffic, rows: Int64Array) -> Traffic:
    """Some requests, each column in the order of ``rows`` (int64, no row twice).

    A turn whose parent is left out becomes a first one.
    """
    changes: dict[str, object] = {}
    for item in fields(traffic):
        value = getattr(traffic, item.name)
        if isinstance(value, np.ndarray):
            changes[item.name] = value[rows]
        elif isinstance(value, PrefixBlocks):
            changes[item.name] = value.take(rows)
    if traffic.parent is not None:
        place = np.full(len(traffic) + 1, NO_PARENT, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        changes["parent"] = place[traffic.parent[rows]]
    return replace(traffic, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent to the system, and where it came from.

    ``failed_calls`` is how many calls of a trace were left out because they had failed; ``slo``
    the promise that holds for every class without one of its own.
    """

    name: str
    traffic: Requests | ClosedLoop
    source: str = ""
    notes: tuple[str, ...] = field(default=())
    failed_calls: int = 0
    slo: Slo | None = None


def with_slos(workload: Workload, given: Mapping[str, Slo]) -> Workload:
    """The workload with other promises: ``given`` by class, those of "" for every class that is
    not named. Without "" the classes that are not named keep their own.
    """
    kinds = tuple(
        replace(kind, slo=given.get(kind.name, None if "" in given else kind.slo))
        for kind in workload.traffic.classes
    )
    traffic = replace(workload.traffic, classes=kinds)
    return replace(workload, traffic=traffic, slo=given.get("", workload.slo))
