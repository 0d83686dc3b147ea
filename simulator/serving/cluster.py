"""Replays a workload on a deployment: arrivals, routers, failures, and users who wait.

Replicas are advanced lazily (``Replica.catch_up``). Where nothing can depend on the state of a
replica (blind router, open loop, one pool) requests are dealt out ahead, up to the next failure,
and there is no event for any of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from simpy.events import Event

from simulator.engine.world import World
from simulator.errors import InfeasibleError, InputError
from simulator.mapping.memory import Memory, check_room
from simulator.serving import fields
from simulator.serving.course import empty_course
from simulator.serving.faults import check_faults
from simulator.serving.lives import Lives
from simulator.serving.options import ServingOptions
from simulator.serving.pools import (
    ALWAYS,
    NEVER,
    Deployment,
    Pool,
    check_joined,
    one_system,
)
from simulator.serving.price_table import PriceTable
from simulator.serving.replica import NO_HORIZON, Replica
from simulator.serving.results import RunResult
from simulator.serving.router import make_router
from simulator.serving.status import COMPLETED, LOST, REJECTED_CONTEXT, REJECTED_KV
from simulator.serving.turns import Turns
from simulator.timing.layout_search import Search, with_chips
from simulator.timing.plan import Plan
from simulator.workload.request import ClosedLoop, PrefixBlocks, Requests, Workload

if TYPE_CHECKING:
    from simulator.serving.disaggregation import PrefillSide
    from simulator.serving.rebalance import Rebalancer

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
Progress = Callable[[float], None]

_SLICES = 64
"""Parts of a replay between which progress is shown."""


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


@dataclass(frozen=True, slots=True)
class Fitted:
    """A plan with its prices, what fills the HBM of its chips, and the KV blocks of a replica."""

    prices: PriceTable
    memory: Memory
    blocks: int

    @property
    def block_bytes(self) -> int:
        """Bytes of one block on all chips that hold a part of it."""
        layout = self.prices.plan.layout
        return self.memory.kv_per_token * fields.BLOCK_TOKENS * layout.chips // layout.dp


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
        self.fitted: dict[int, Fitted] = {}
        for member in (member for pool in deployment.pools for member in pool.members):
            if id(member.plan) not in self.fitted:
                self.fitted[id(member.plan)] = fit(member.plan, options)
        self.prefix_ids: Int64Array | None = None
        self.hash_tokens = fields.BLOCK_TOKENS
        self._longest_prefill = self._smallest(deployment.pools[0])
        self.requests, self.status = self._request_rows()
        if options.prefix_cache and self.traffic.prefix is not None:
            self._name_prefixes(self.traffic.prefix)
        self.retries = np.zeros(len(self.requests), dtype=np.int64)
        self.replica_of = np.full(len(self.requests), -1, dtype=np.int64)
        self.prefill_of = np.full(len(self.requests), -1, dtype=np.int64)
        self.replicas: list[Replica] = []
        """All replicas that there have been, by number."""
        self.chips_of: list[range] = []
        self.courses: dict[tuple[int, bool], Float64Array] = {}
        """What the replicas of a plan that prefill, or do not, did over time."""
        pools = [self._build(pool) for pool in deployment.pools]
        self.back = pools[-1]
        self.back_router = make_router(deployment.router, options.seed)
        self.closed: dict[int, set[str]] = {}
        """Why replicas get no new requests, by number: broken, cut off or being emptied."""
        self.dead: set[int] = set()
        """Numbers of replicas that will never come back."""
        self.backlog: list[int] = []
        """Requests that wait for any replica to come back."""
        self.users = _Users(self, progress)
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
        self._successors: dict[int, Replica] = {}
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
        chips = self.chips_of[replica.number]
        other = self._new_replica(replica.plan, not replica.prefills, chips)
        other.set_clock(self.world.now_ps)
        replica.until_ps = other.since_ps = self.world.now_ps
        other.fails_at(int(replica.settings[fields.DEADLINE]))
        self._successors[replica.number] = other
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

    def current(self, replica: Replica) -> Replica:
        """What a replica is now, after changes of its pool."""
        while replica.number in self._successors:
            replica = self._successors[replica.number]
        return replica

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
        if self.prefix_ids is not None:
            replicas = self.open_replicas(self.back)
            for replica in replicas:
                replica.catch_up(self.world.now_ps)
            tokens -= max((r.cached_tokens(request) for r in replicas), default=0)
        return tokens > deployment.uncached_tokens

    def _build(self, pool: Pool) -> list[Replica]:
        found = []
        for member in pool.members:
            for _ in range(member.replicas):
                first = self.chips_of[-1].stop if self.chips_of else 0
                chips = range(first, first + member.plan.layout.chips)
                found.append(self._new_replica(member.plan, pool.role == "prefill", chips))
        return found

    def _new_replica(self, plan: Plan, prefills: bool, chips: range) -> Replica:
        fitted = self.fitted[id(plan)]
        key = (id(plan), prefills)
        if key not in self.courses:
            self.courses[key] = empty_course()
        replica = Replica(
            fitted.prices,
            self.requests,
            self.options,
            number=len(self.replicas),
            blocks=fitted.blocks,
            block_bytes=fitted.block_bytes,
            ids=self.prefix_ids,
            hash_tokens=self.hash_tokens,
            prefills=prefills,
            course=self.courses[key],
        )
        self.replicas.append(replica)
        self.chips_of.append(chips)
        return replica

    def _name_prefixes(self, prefix: PrefixBlocks) -> None:
        """Say which blocks each prompt begins with, whole ones only.

        Raises:
            InputError: blocks that are not made of whole cache blocks.
        """
        if prefix.block_tokens % fields.BLOCK_TOKENS:
            raise InputError(
                f"workload '{self.workload.name}' names prefixes in blocks of "
                f"{prefix.block_tokens} tokens, expected a multiple of {fields.BLOCK_TOKENS}"
            )
        self.prefix_ids, self.hash_tokens = prefix.ids, prefix.block_tokens
        rows = self.requests
        rows[:, fields.HASH_FIRST] = prefix.starts
        whole = rows[:, fields.PROMPT] // prefix.block_tokens
        rows[:, fields.HASH_COUNT] = np.minimum(prefix.counts, whole)

    def _smallest(self, pool: Pool) -> int:
        """Tokens that the smallest KV cache of a pool holds."""
        blocks = min(self.fitted[id(member.plan)].blocks for member in pool.members)
        return blocks * fields.BLOCK_TOKENS

    def _request_rows(self) -> tuple[Int64Array, Int64Array]:
        """Requests as the scheduler keeps them, and the status of those that can never fit.

        A sequence holds prompt + output - 1 tokens when it emits its last.
        """
        traffic = self.traffic
        rows = np.zeros((len(traffic), fields.REQUEST_FIELDS), dtype=np.int64)
        rows[:, fields.PROMPT] = traffic.prompt_tokens
        rows[:, fields.OUTPUT] = traffic.output_tokens
        for column in (fields.SCHEDULED_AT, fields.FIRST_TOKEN_AT, fields.COMPLETED_AT):
            rows[:, column] = fields.NEVER
        if isinstance(traffic, Requests):
            rows[:, fields.ARRIVAL] = traffic.arrival_ps
        if traffic.priority is not None:
            rows[:, fields.PRIORITY] = traffic.priority
        longest = traffic.prompt_tokens + traffic.output_tokens
        status = np.zeros(len(traffic), dtype=np.int64)
        pools = self.deployment.pools
        status[longest - 1 > self._smallest(pools[-1])] = REJECTED_KV
        if len(pools) == 2:
            status[traffic.prompt_tokens > self._smallest(pools[0])] = REJECTED_KV
        contexts = [m.plan.model.max_context for pool in pools for m in pool.members]
        status[longest > min(contexts)] = REJECTED_CONTEXT
        return rows, status


def fit(plan: Plan, options: ServingOptions) -> Fitted:
    """What a replica of a plan has for KV.

    Raises:
        InfeasibleError: the model does not fit, or not even one block of KV cache.
    """
    logits = min(options.max_batch * (1 + options.speculate), options.token_budget)
    memory = plan.memory(options.token_budget, logits)
    try:
        check_room(plan.system, plan.model, plan.layout, memory)
    except InfeasibleError as error:
        longest = min(options.token_budget, plan.model.max_context)
        raise with_chips(error, plan, Search("prefill", 1, longest)) from None
    # ranks that share the sequences have room for as many each
    blocks = memory.kv // (memory.kv_per_token * fields.BLOCK_TOKENS) * plan.layout.dp
    if blocks < 1:
        raise InfeasibleError(
            f"{plan.model.name} on {plan.system.name} leaves {memory.kv} B of HBM a chip, "
            f"less than one KV block of {memory.kv_per_token * fields.BLOCK_TOKENS} B"
        )
    return Fitted(PriceTable(plan, options.token_budget), memory, blocks)


class _Users:
    """Sends requests into the world: on time (open loop) or one after another (closed loop)."""

    def __init__(self, cluster: Cluster, progress: Progress | None) -> None:
        self.cluster = cluster
        self.traffic = cluster.traffic
        self.ahead = isinstance(self.traffic, Requests) and self.traffic.parent is None
        """Whether arrivals are known before the run."""
        self._progress = progress
        self._shown = time.monotonic()
        self._waiting: dict[int, Event] = {}
        self._taken = 0
        self._turns: Turns | None = None
        if self.traffic.parent is not None:
            self._turns = Turns(cluster.world, self.traffic, self._send_turn)

    def start(self) -> None:
        """Begin sending."""
        world = self.cluster.world
        if self._turns is not None:
            self._turns.start()
        elif isinstance(self.traffic, Requests):
            world.process(self._open(self.traffic))
        else:
            for _ in range(min(self.traffic.users, len(self.traffic))):
                world.process(self._closed(self.traffic))

    def answered(self, ended: list[int]) -> None:
        """Wake the users whose requests have been answered, or will never be."""
        for request in ended:
            if self._turns is not None:
                self._turns.ended(request)
                continue
            event = self._waiting.pop(request, None)
            if event is not None:
                event.succeed()

    def finish(self, replicas: Sequence[Replica]) -> None:
        """Run what is left to its end; nothing can happen any more that would disturb it."""
        last = int(self.cluster.requests[:, fields.ARRIVAL].max())
        for index, replica in enumerate(replicas):
            if self._progress is not None and not replica.idle:
                for part in range(1, _SLICES):
                    replica.catch_up(last * part // _SLICES)
                    self._show((index + part / _SLICES) / len(replicas))
            replica.catch_up(NO_HORIZON)

    def deal_ahead(self) -> Generator[Event, None, None]:
        """Deal all requests out in turn, up to the next failure or repair at a time."""
        cluster = self.cluster
        assert isinstance(self.traffic, Requests)
        accepted = np.flatnonzero(cluster.status == COMPLETED)
        arrivals = self.traffic.arrival_ps[accepted]
        position = 0
        while position < len(accepted):
            change = cluster.lives.next_change_ps()
            upto = len(accepted)
            if change != NO_HORIZON:
                upto = int(np.searchsorted(arrivals, change, side="left"))
            replicas = cluster.open_replicas(cluster.back)
            batch = accepted[position:upto]
            position = upto
            if replicas:
                self._deal(batch, replicas)
            else:
                for request in batch.tolist():
                    cluster.wait(request, cluster.back)
            if position < len(accepted):
                yield cluster.world.sleep_until(change)

    def _deal(self, batch: Int64Array, replicas: Sequence[Replica]) -> None:
        cluster = self.cluster
        router = cluster.back_router
        turn = getattr(router, "turn", 0)
        for index, replica in enumerate(replicas):
            mine = batch[(index - turn) % len(replicas) :: len(replicas)]
            cluster.replica_of[mine] = replica.number
            replica.catch_up(cluster.world.now_ps)
            replica.post_all(mine)
        router.turn = turn + len(batch)  # type: ignore[attr-defined]

    def passed(self, request: int) -> None:
        """Show how far the run has come."""
        if self._progress is not None and time.monotonic() - self._shown > 0.05:
            self._show(request / len(self.traffic))

    def _send(self, request: int) -> None:
        self.passed(request)
        self.cluster.send(request)

    def _send_turn(self, request: int) -> None:
        cluster = self.cluster
        cluster.requests[request, fields.ARRIVAL] = cluster.world.now
        if cluster.status[request] == COMPLETED:
            self._send(request)
        elif self._turns is not None:
            self._turns.ended(request)

    def _show(self, fraction: float) -> None:
        self._shown = time.monotonic()
        if self._progress is not None:
            self._progress(fraction)

    def _open(self, traffic: Requests) -> Generator[Event, None, None]:
        world = self.cluster.world
        status = self.cluster.status
        for request, arrival in enumerate(traffic.arrival_ps.tolist()):
            if arrival > world.now:
                yield world.timeout(arrival - world.now)
            if status[request] == COMPLETED:
                self._send(request)

    def _closed(self, traffic: ClosedLoop) -> Generator[Event, None, None]:
        cluster = self.cluster
        world = cluster.world
        while self._taken < len(traffic):
            request = self._taken
            self._taken += 1
            think = int(traffic.think_ps[request])
            if think:
                yield world.timeout(think)
            cluster.requests[request, fields.ARRIVAL] = world.now
            if cluster.status[request] == COMPLETED:
                answered = world.event()
                self._waiting[request] = answered
                self._send(request)
                yield answered
