"""Replays a workload on a deployment: arrivals, routers, failures, and users who wait.

Replicas are advanced lazily (``Replica.catch_up``). Where nothing can depend on the state of a
replica (blind router, open loop, one pool) requests are dealt out ahead, up to the next failure,
and there is no event for any of them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from simpy.events import Event

from simulator.engine.world import World
from simulator.serving import fields
from simulator.serving.faults import check_faults
from simulator.serving.fitting import fit_all, smallest_tokens
from simulator.serving.fleet import Fleet
from simulator.serving.lives import Lives
from simulator.serving.options import ServingOptions
from simulator.serving.pools import ALWAYS, NEVER, Deployment, check_joined, one_system
from simulator.serving.replica import Replica
from simulator.serving.request_rows import HashBlocks, name_prefixes, request_rows
from simulator.serving.results import RunResult
from simulator.serving.router import make_router
from simulator.serving.status import COMPLETED, LOST
from simulator.serving.users import Progress, Users
from simulator.timing.plan import Plan
from simulator.workload.request import Workload

if TYPE_CHECKING:
    from simulator.serving.disaggregation import PrefillSide
    from simulator.serving.rebalance import Rebalancer


def replay(
    plan: Plan,
    workload: Workload,
    options: ServingOptions,
    progress: Progress | None = None,
    copies: int = 1,
) -> RunResult:
    """Run a workload to its end on ``copies`` of a plan's system.

    Raises InfeasibleError where the model, or a single block of KV cache, does not fit.
    """
    return serve(one_system(plan, copies), workload, options, progress)


def serve(
    deployment: Deployment,
    workload: Workload,
    options: ServingOptions,
    progress: Progress | None = None,
) -> RunResult:
    """Run a workload to its end on any deployment.

    Raises:
        InfeasibleError: the model, or a single block of KV cache, does not fit a pool's chips.
        InputError: pools that share no fabric, faults of what there is not, unknown names.
    """
    from simulator.serving.outcome import outcome

    check_joined(deployment)
    chips = deployment.chips
    check_faults(deployment.faults, deployment.replicas, chips)
    cluster = Cluster(deployment, workload, options, progress)
    cluster.run()
    return outcome(cluster)


class Cluster:
    """Everything that serves, and the requests."""

    def __init__(
        self,
        deployment: Deployment,
        workload: Workload,
        options: ServingOptions,
        progress: Progress | None,
    ) -> None:
        self.deployment = deployment
        self.workload = workload
        self.options = options
        self.world = World()
        self.traffic = workload.traffic
        self.fitted = fit_all(deployment, options)
        self._longest_prefill = smallest_tokens(deployment.pools[0], self.fitted)
        self.requests, self.status = request_rows(workload, deployment, self.fitted)
        self.prefixes = HashBlocks()
        if options.prefix_cache and self.traffic.prefix is not None:
            self.prefixes = name_prefixes(self.requests, self.traffic.prefix, workload.name)
        self.retries = np.zeros(len(self.requests), dtype=np.int64)
        self.replica_of = np.full(len(self.requests), -1, dtype=np.int64)
        self.prefill_of = np.full(len(self.requests), -1, dtype=np.int64)
        self.fleet = Fleet(self.fitted, self.requests, self.prefixes, options)
        self.replicas = self.fleet.replicas
        """All replicas that there have been, by number."""
        pools = [self.fleet.build(pool) for pool in deployment.pools]
        self.back = pools[-1]
        self.back_router = make_router(deployment.router, options.seed)
        self.closed: dict[int, set[str]] = {}
        """Why replicas get no new requests, by number: broken, cut off or being emptied."""
        self.dead: set[int] = set()
        """Numbers of replicas that will never come back."""
        self.backlog: list[int] = []
        """Requests that wait for any replica to come back."""
        self.users = Users(self, progress)
        self.watched = not self.users.ahead
        self.undisturbed = (
            self.users.ahead
            and self.back_router.blind
            and deployment.disaggregate == ALWAYS
            and deployment.rebalance_ps is None
            and not deployment.faults
        )
        """Whether every request goes to a replica of each pool that is known before the run."""
        self._wakes: dict[int, Event] = {}
        self.prefill: PrefillSide | None = None
        if len(pools) == 2:
            from simulator.serving.disaggregation import PrefillSide

            self.prefill = PrefillSide(self, pools[0])
        self.lives = Lives(self)
        self.rebalancer: Rebalancer | None = None

    def run(self) -> None:
        """Run to the end of the last request."""
        if self.watched:
            for replica in self.back:
                self.world.process(self.watch(replica))
        self.lives.start()
        if self.prefill is not None:
            self.prefill.start()
            if self.deployment.rebalance_ps is not None:
                from simulator.serving.rebalance import Rebalancer

                self.rebalancer = Rebalancer(self, self.deployment.rebalance_ps)
                self.world.process(self.rebalancer.run())
        if self.prefill is not None and self.undisturbed:
            self.prefill.deal_ahead(np.flatnonzero(self.status == COMPLETED))
        elif self.back_router.blind and self.prefill is None and self.users.ahead:
            self.world.process(self.users.deal_ahead())
        else:
            self.users.start()
        self.world.run()
        self.users.finish(self.back)
        for request in self.backlog:
            self.status[request] = LOST
        self._check_answered()

    def _check_answered(self) -> None:
        """Fail aloud where requests are left over: that would be a fault of the simulator."""
        left = (self.status == COMPLETED) & (self.requests[:, fields.COMPLETED_AT] == fields.NEVER)
        if left.any():
            raise AssertionError(
                f"internal error: {int(left.sum())} requests were neither answered nor lost, "
                f"the first of them is {int(np.flatnonzero(left)[0])}"
            )

    def open_replicas(self, replicas: Sequence[Replica]) -> Sequence[Replica]:
        """Those that take new requests."""
        if not self.closed:
            return replicas
        return [replica for replica in replicas if replica.number not in self.closed]

    def close(self, replica: Replica, reason: str) -> None:
        """Send nothing to a replica any more."""
        self.closed.setdefault(replica.number, set()).add(reason)

    def open(self, replica: Replica, reason: str) -> None:
        """A reason not to send anything to a replica is gone."""
        reasons = self.closed.get(replica.number, set())
        reasons.discard(reason)
        if not reasons:
            self.closed.pop(replica.number, None)
            waiting, self.backlog = self.backlog, []
            for request in waiting:
                self.send(request)
            if self.prefill is not None:
                self.prefill.transfers.send_backlog()

    def bury(self, replica: Replica) -> None:
        """A replica will never come back; nor will an answer where it was the last of its pool."""
        self.dead.add(replica.number)
        waiting, self.backlog = self.backlog, []
        for request in waiting:
            self.send(request)
        if self.prefill is not None:
            self.prefill.transfers.send_backlog()

    def cut_off(self, replica: Replica) -> None:
        """The link of a replica will never work again: whatever has to cross it starts anew.

        A decode replica goes on with what has reached it; nothing of a prefill replica has.
        """
        self.dead.add(replica.number)
        if replica.prefills:
            self.fail(replica)
        elif self.prefill is not None:
            self.prefill.transfers.redirect(replica)
        self.bury(replica)

    def hopeless(self, replicas: Sequence[Replica]) -> bool:
        """Whether none of a pool will ever come back."""
        return all(replica.number in self.dead for replica in replicas)

    def fail(self, replica: Replica) -> None:
        """A replica loses its cache, and with it all that is under way there."""
        replica.catch_up(self.world.now_ps)
        self.close(replica, "broken")
        lost = replica.fail()
        if self.prefill is not None:
            lost += self.prefill.transfers.fail(replica)
        self.wake(replica)
        self.retry(lost)

    def send(self, request: int) -> None:
        """Give a request to the router, now; also one that has to be computed again."""
        if self.prefill is not None and self._apart(request):
            self.prefill.send(request)
            return
        replicas = self.open_replicas(self.back)
        if not replicas:
            self.wait(request, self.back)
            return
        replica = self.back_router.choose(request, replicas, self.world.now_ps)
        self.post(replica, request)

    def post(self, replica: Replica, request: int) -> None:
        """Put a request into the queue of a replica that decodes."""
        self.replica_of[request] = replica.number
        replica.post(request, self.world.now_ps)
        self.wake(replica)

    def wait(self, request: int, replicas: Sequence[Replica]) -> None:
        """Keep a request that no replica can take until one comes back; lose it if none will."""
        if self.hopeless(replicas):
            self.lose(request)
        else:
            self.backlog.append(request)

    def retry(self, requests: Sequence[int]) -> None:
        """What was under way when something failed: again from the start, or lost."""
        for request in requests:
            self.requests[request, fields.COMPUTED] = 0
            self.retries[request] += 1
            most = self.deployment.max_retries
            if self.deployment.on_failure == "lose" or self.retries[request] > most:
                self.lose(request)
            else:
                self.send(request)

    def lose(self, request: int) -> None:
        """Nobody will answer a request."""
        self.status[request] = LOST
        self.users.answered([request])

    def wake(self, replica: Replica) -> None:
        """Let the process of a replica look again."""
        event = self._wakes.pop(replica.number, None)
        if event is not None:
            event.succeed()

    def asleep(self, replica: Replica) -> Event:
        """An event that ``wake`` triggers, or the time of what has been posted to the replica."""
        event = self._wakes[replica.number] = Event(self.world)
        posted = replica.posted_ps
        if replica.stalled and posted is not None:
            timer = self.world.sleep_until(max(posted, self.world.now_ps))
            assert timer.callbacks is not None
            timer.callbacks.append(lambda _: self.wake(replica))
        return event

    def watch(self, replica: Replica) -> Generator[Event, None, None]:
        """Stop at every completion of a decoding replica, for those who wait for it."""
        world = self.world
        if self.prefill is not None and replica.now_ps > world.now_ps:
            # an iteration goes on that may return blocks
            yield world.sleep_until(replica.now_ps)
            self.prefill.transfers.room(replica)
            yield world.sleep_until(world.now_ps)
        while self.watched or self._awaited(replica):
            if replica.resting:
                yield self.asleep(replica)
                # Others may arrive at this very instant: form the batch after them.
                yield world.sleep_until(world.now_ps)
                replica.resume(world.now_ps)
                continue
            replica.advance(max(world.horizon_ps(), world.now_ps + 1), stop=True)
            ended = replica.ended()
            yield world.sleep_until(max(replica.now_ps, world.now_ps))
            if ended:
                self.users.answered(ended)
                if self.prefill is not None:
                    self.prefill.transfers.room(replica)
                # Whoever was answered may send again at this very instant: let them go first.
                yield world.sleep_until(world.now_ps)
        if self.prefill is not None:
            self.prefill.transfers.unwatched(replica)

    def drained(self) -> bool:
        """Whether everything has been answered, refused or lost by now."""
        for replica in self.back:
            replica.catch_up(self.world.now_ps)
        open_ones = (self.status == COMPLETED) & (
            self.requests[:, fields.COMPLETED_AT] == fields.NEVER
        )
        return not open_ones.any()

    def change_pool(self, replica: Replica) -> None:
        """Let a replica that is empty do the work of the other pool."""
        assert self.prefill is not None
        self.closed.pop(replica.number)
        other = self.fleet.change_pool(replica, self.world.now_ps)
        self.prefill.transfers.move_links(replica, other)
        if replica.prefills:
            self.prefill.replicas.remove(replica)
            self.back.append(other)
            if self.watched:
                self.world.process(self.watch(other))
        else:
            self.back.remove(replica)
            self.prefill.replicas.append(other)
            self.world.process(self.prefill.run(other))

    def _awaited(self, replica: Replica) -> bool:
        return self.prefill is not None and self.prefill.transfers.waits_for(replica)

    def _apart(self, request: int) -> bool:
        """Whether a request is prefilled in the prefill pool."""
        deployment = self.deployment
        if deployment.disaggregate == NEVER:
            return False
        row = self.requests[request]
        tokens = int(row[fields.PROMPT] + row[fields.EMITTED])
        if tokens > self._longest_prefill:
            # one that is computed again, with what it had emitted
            return False
        if deployment.disaggregate == ALWAYS:
            return True
        if self.prefixes.ids is not None:
            replicas = self.open_replicas(self.back)
            for replica in replicas:
                replica.catch_up(self.world.now_ps)
            tokens -= max((r.cached_tokens(request) for r in replicas), default=0)
        return tokens > deployment.uncached_tokens
