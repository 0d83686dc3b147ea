"""The replicas of a deployment: which there are and have been, on which chips, in which pool."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.serving import fields
from simulator.serving.course import empty_course
from simulator.serving.fitting import Fitted
from simulator.serving.options import ServingOptions
from simulator.serving.pools import PREFILL, Pool
from simulator.serving.replica import Replica
from simulator.serving.request_rows import HashBlocks
from simulator.timing.plan import Plan

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


class Fleet:
    """Builds replicas over ``requests`` and knows each by its number.

    A replica that changes its pool is another one from then on, on the same chips.
    """

    def __init__(
        self,
        fitted: dict[int, Fitted],
        requests: Int64Array,
        prefixes: HashBlocks,
        options: ServingOptions,
    ) -> None:
        self.replicas: list[Replica] = []
        """All replicas that there have been, by number."""
        self.chips_of: list[range] = []
        self._fitted = fitted
        self._requests = requests
        self._prefixes = prefixes
        self._options = options
        self._courses: dict[tuple[int, bool], Float64Array] = {}
        """What the replicas of a plan that prefill, or do not, did over time."""
        self._successors: dict[int, Replica] = {}

    def build(self, pool: Pool) -> list[Replica]:
        """The replicas of a pool, on chips of their own."""
        found = []
        for member in pool.members:
            for _ in range(member.replicas):
                first = self.chips_of[-1].stop if self.chips_of else 0
                chips = range(first, first + member.plan.layout.chips)
                found.append(self._add(member.plan, pool.role == PREFILL, chips))
        return found

    def change_pool(self, replica: Replica, now_ps: int) -> Replica:
        """The replica that does the work of the other pool on the chips of one that is empty."""
        other = self._add(replica.plan, not replica.prefills, self.chips_of[replica.number])
        other.set_clock(now_ps)
        other.fails_at(int(replica.settings[fields.DEADLINE]))
        replica.until_ps = other.since_ps = now_ps
        self._successors[replica.number] = other
        return other

    def current(self, replica: Replica) -> Replica:
        """What a replica is now, after changes of its pool."""
        while replica.number in self._successors:
            replica = self._successors[replica.number]
        return replica

    def _add(self, plan: Plan, prefills: bool, chips: range) -> Replica:
        fitted = self._fitted[id(plan)]
        key = (id(plan), prefills)
        if key not in self._courses:
            self._courses[key] = empty_course()
        replica = Replica(
            fitted.prices,
            self._requests,
            self._options,
            number=len(self.replicas),
            blocks=fitted.blocks,
            block_bytes=fitted.block_bytes,
            ids=self._prefixes.ids,
            hash_tokens=self._prefixes.block_tokens,
            prefills=prefills,
            course=self._courses[key],
        )
        self.replicas.append(replica)
        self.chips_of.append(chips)
        return replica
