"""The prefill pool of a disaggregated deployment: prompts run here, and their caches move on."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from simpy.events import Event

from simulator.serving import fields
from simulator.serving.replica import Replica
from simulator.serving.router import make_router
from simulator.serving.transfers import Transfers

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster

Int64Array = npt.NDArray[np.int64]


class PrefillSide:
    """Replicas that only prefill, the router before them, and the transfers behind them.

    Unlike decode replicas they are followed iteration by iteration: the start of an iteration that
    ends a prompt is the start of a transfer.
    """

    def __init__(self, cluster: Cluster, replicas: list[Replica]) -> None:
        self.cluster = cluster
        self.replicas = replicas
        self.router = make_router(cluster.deployment.router, cluster.options.seed)
        self.transfers = Transfers(cluster)

    @property
    def busy(self) -> bool:
        """Whether any prompt or cache is under way."""
        return self.transfers.busy or not all(replica.idle for replica in self.replicas)

    def start(self) -> None:
        """Let the replicas run."""
        for replica in self.replicas:
            self.cluster.world.process(self.run(replica))

    def send(self, request: int) -> None:
        """Give a request to one of the replicas, now."""
        cluster = self.cluster
        replicas = cluster.open_replicas(self.replicas)
        if not replicas:
            cluster.wait(request, self.replicas)
            return
        replica = self.router.choose(request, replicas, cluster.world.now_ps)
        cluster.prefill_of[request] = replica.number
        replica.post(request, cluster.world.now_ps)
        cluster.wake(replica)

    def deal_ahead(self, accepted: Int64Array) -> None:
        """Give all requests out in turn, at their arrivals: nothing can come in between."""
        target = np.arange(len(accepted)) % len(self.replicas)
        for index, replica in enumerate(self.replicas):
            own = accepted[target == index]
            self.cluster.prefill_of[own] = replica.number
            replica.post_all(own)

    def run(self, replica: Replica) -> Generator[Event, None, None]:
        """The process of one replica."""
        cluster, world = self.cluster, self.cluster.world
        while replica in self.replicas:
            following = replica.next_ps
            if following > world.now_ps:
                yield world.sleep_until(following)
            if replica.resting:
                yield cluster.asleep(replica)
                # Others may arrive at this very instant: form the batch after them.
                yield world.sleep_until(world.now_ps)
                replica.resume(world.now_ps)
                continue
            replica.advance(max(world.horizon_ps(), world.now_ps + 1), stop=True)
            ended = replica.ended()
            if not ended:
                yield world.sleep_until(max(replica.now_ps, world.now_ps))
                continue
            start, end = replica.last_iteration()
            if start > world.now_ps:
                yield world.sleep_until(start)
            cluster.users.passed(ended[-1])
            for request in ended:
                if cluster.requests[request, fields.COMPLETED_AT] == fields.NEVER:
                    self.transfers.begin(request, replica, start, end)
            yield world.sleep_until(end)
            if not cluster.watched:
                continue
            done = [r for r in ended if cluster.requests[r, fields.COMPLETED_AT] != fields.NEVER]
            if done:
                cluster.users.answered(done)
                yield world.sleep_until(end)
