"""KV caches on their way from prefill to decode replicas.

A transfer begins with the iteration that ends a prompt. The decode replica is chosen then and
reserves blocks for the prompt and one token, and shares those that its prefix cache has already,
which then need not move; where it has none the transfer waits, first come first
served, until a sequence of that replica ends. Layer l of L is ready at start + duration (l + 1) / L
of that iteration and leaves over the links of both replicas, which all transfers share max-min
fairly. When everything has arrived the source releases its blocks and the request joins the queue
of the decode replica.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from simulator.engine.links import SharedLinks
from simulator.serving import fields
from simulator.serving.pools import kv_bytes, link_of
from simulator.serving.replica import Replica
from simulator.serving.results import MovedCache
from simulator.timing.plan import Plan

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster


@dataclass(slots=True, eq=False)
class Transfer:
    """One cache: its source, when its layers are ready, and where it goes."""

    request: int
    source: Replica
    start_ps: int
    end_ps: int
    began_ps: int
    size: int = 0
    target: Replica | None = None
    flows_from_ps: int = 0


@dataclass(slots=True)
class TransferLog:
    """What the finished transfers took, picoseconds; one entry each."""

    sizes: list[int] = field(default_factory=list)
    time_ps: list[int] = field(default_factory=list)
    queue_ps: list[int] = field(default_factory=list)
    exposed_ps: list[int] = field(default_factory=list)
    moved: list[MovedCache] = field(default_factory=list)
    """Each of them, where iterations are recorded as well."""


class Transfers:
    """All caches that are moving or wait for room."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.log = TransferLog()
        self._moving: dict[int, Transfer] = {}
        """By request; those that have arrived and wait for the latency of the link included."""
        self._waiting: dict[int, deque[Transfer]] = {}
        """By number of the decode replica that has no room."""
        self._homeless: list[Transfer] = []
        """Those for which no decode replica is up."""
        self._watched: set[int] = set()
        self._promised: dict[int, int] = {}
        self._caches: dict[int, tuple[int, int]] = {}
        """By plan: bytes of the cache of eight tokens, and its layers."""
        self._place_of = {replica.number: replica.number for replica in cluster.replicas}
        """Whose links a replica has: its own, or those of the one that it was before."""
        given = cluster.deployment.kv_link
        self.links = [link_of(replica.plan, given) for replica in cluster.replicas]
        self.limited = all(link.bytes_per_s is not None for link in self.links)
        rates = [float(link.bytes_per_s or 0) for link in self.links for _ in ("out", "in")]
        self.network = SharedLinks(cluster.world, rates, self._arrived, limited=self.limited)

    @property
    def busy(self) -> bool:
        """Whether any cache is moving or waits."""
        return bool(self._moving or self._homeless or any(self._waiting.values()))

    def begin(self, request: int, source: Replica, start_ps: int, end_ps: int) -> None:
        """The last iteration of a prompt begins: choose a decode replica, send what is ready."""
        now = self.cluster.world.now_ps
        self._place(Transfer(request, source, start_ps, end_ps, now))

    def move_links(self, old: Replica, new: Replica) -> None:
        """A replica has changed its pool, and keeps its links."""
        self._place_of[new.number] = self._place_of[old.number]

    def queued(self, replica: Replica) -> int:
        """Transfers that wait for room on a replica."""
        return len(self._waiting.get(replica.number, ()))

    def waits_for(self, replica: Replica) -> bool:
        """Whether a transfer waits for room on a replica."""
        return bool(self._waiting.get(replica.number))

    def room(self, replica: Replica) -> None:
        """A sequence has ended on a decode replica: admit the transfers that wait for it."""
        queue = self._waiting.get(replica.number)
        now = self.cluster.world.now_ps
        while queue and replica.reserve(queue[0].request, now):
            self._flow(queue.popleft())

    def unwatched(self, replica: Replica) -> None:
        """Nobody stops at the completions of a replica any more."""
        self._watched.discard(replica.number)

    def send_backlog(self) -> None:
        """A decode replica has come back, or the last one has gone for good."""
        homeless, self._homeless = self._homeless, []
        for transfer in homeless:
            self._place(transfer)

    def set_link(self, replica: Replica, *, broken: bool) -> None:
        """Break or mend the link of a replica; what is on it stands still meanwhile."""
        link_of_it = self.links[self._place_of[replica.number]]
        rate = 0.0 if broken else float(link_of_it.bytes_per_s or 0)
        for link in self._ways(replica):
            self.network.set_rate(link, rate)

    def fail(self, replica: Replica) -> list[int]:
        """Stop the transfers of a replica that has failed; the requests that lost their cache.

        A cache that is still whole at its source goes to another decode replica.
        """
        moving = [t for t in self._moving.values() if replica in (t.source, t.target)]
        for transfer in moving:
            del self._moving[transfer.request]
        self.network.cancel({transfer.request for transfer in moving})
        waiting = [t for t in self._all_waiting() if replica in (t.source, t.target)]
        for number, queue in self._waiting.items():
            self._waiting[number] = deque(t for t in queue if t not in waiting)
        homeless = [t for t in self._homeless if t.source is replica]
        self._homeless = [t for t in self._homeless if t.source is not replica]
        requests = self.cluster.requests
        for transfer in moving:
            if transfer.target is replica:
                requests[transfer.request, [fields.BLOCKS, fields.SHARED]] = 0
            else:
                self._unreserve(transfer)
        lost = [t.request for t in (*moving, *waiting, *homeless) if t.source is replica]
        requests[np.ix_(lost, [fields.HELD, fields.HELD_SHARED])] = 0
        for transfer in (*moving, *waiting):
            if transfer.source is not replica:
                self._place(transfer)
        return lost

    def redirect(self, replica: Replica) -> None:
        """No cache will reach a decode replica any more: send those on the way elsewhere."""
        moving = [t for t in self._moving.values() if t.target is replica]
        waiting = self._waiting.pop(replica.number, deque())
        for transfer in moving:
            del self._moving[transfer.request]
        self.network.cancel({transfer.request for transfer in moving})
        for transfer in moving:
            self._unreserve(transfer)
        for transfer in (*moving, *waiting):
            self._place(transfer)

    def _unreserve(self, transfer: Transfer) -> None:
        """Give the blocks back that were reserved for a cache which does not come."""
        target = transfer.target
        assert target is not None
        target.catch_up(self.cluster.world.now_ps)
        target.cancel(transfer.request)
        self.cluster.wake(target)
        self.room(target)

    def _all_waiting(self) -> list[Transfer]:
        return [transfer for queue in self._waiting.values() for transfer in queue]

    def _place(self, transfer: Transfer) -> None:
        """Choose the decode replica, and reserve or queue there."""
        cluster = self.cluster
        now = cluster.world.now_ps
        replicas = cluster.open_replicas(cluster.back)
        if not replicas:
            if cluster.hopeless(cluster.back):
                self._release(transfer)
                cluster.lose(transfer.request)
            else:
                self._homeless.append(transfer)
            return
        target = cluster.back_router.choose(transfer.request, replicas, now)
        transfer.target = target
        if cluster.undisturbed and self._has_room(target, transfer.request):
            target.will_reserve(transfer.request, now)
            self._flow(transfer)
            return
        target.catch_up(now)
        queue = self._waiting.setdefault(target.number, deque())
        if not queue and target.reserve(transfer.request, now):
            self._flow(transfer)
            return
        queue.append(transfer)
        if not cluster.watched and target.number not in self._watched:
            self._watched.add(target.number)
            cluster.world.process(cluster.watch(target))

    def _has_room(self, target: Replica, request: int) -> bool:
        """Whether a replica has blocks for a request whatever the others there have become by now.

        Then nobody needs to look at it, and it can run in one go. ``_promised`` are the most blocks
        that its requests may ever have; those that have ended are taken off where it gets too many.
        """
        if self.cluster.prefixes.ids is not None or self.waits_for(target):
            return False
        need = self._blocks_of(request)
        promised = self._promised.get(target.number, 0)
        if promised + need > target.blocks:
            now = self.cluster.world.now_ps
            target.catch_up(now)
            here = [t.request for t in self._moving.values() if t.target is target]
            promised = sum(map(self._blocks_of, (*here, *target.requests_here())))
            promised += target.returning(now)
        self._promised[target.number] = promised + need
        return promised + need <= target.blocks

    def _blocks_of(self, request: int) -> int:
        item = self.cluster.requests.item
        return (
            item(request, fields.PROMPT) + item(request, fields.OUTPUT)
        ) // fields.BLOCK_TOKENS + 1

    def _flow(self, transfer: Transfer) -> None:
        """Blocks are reserved: let the bytes go."""
        assert transfer.target is not None
        transfer.flows_from_ps = self.cluster.world.now_ps
        self._moving[transfer.request] = transfer
        item = self.cluster.requests.item
        there = item(transfer.request, fields.SHARED) * self.cluster.prefixes.block_tokens
        tokens = item(transfer.request, fields.COMPUTED) - there
        transfer.size, layers = self._cache_of(transfer.source.plan, tokens)
        outward, _ = self._ways(transfer.source)
        _, inward = self._ways(transfer.target)
        self.network.start(
            transfer.request,
            (outward, inward),
            transfer.size,
            layers=layers,
            start_ps=transfer.start_ps,
            duration_ps=transfer.end_ps - transfer.start_ps,
        )

    def _cache_of(self, plan: Plan, tokens: int) -> tuple[int, int]:
        """(bytes, layers) of the cache of so many tokens."""
        found = self._caches.get(id(plan))
        if found is None:
            # bytes of eight tokens are whole, whatever the data type
            found = self._caches[id(plan)] = (kv_bytes(plan, 8), plan.model.layers)
        return -(-tokens * found[0] // 8), found[1]

    def _arrived(self, request: int) -> None:
        transfer = self._moving[request]
        assert transfer.target is not None
        links, place = self.links, self._place_of
        latency = max(
            links[place[transfer.source.number]].latency_ps,
            links[place[transfer.target.number]].latency_ps,
        )
        if latency == 0:
            self._deliver(transfer)
            return
        event = self.cluster.world.timeout(latency)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: self._deliver(transfer))

    def _deliver(self, transfer: Transfer) -> None:
        """The last byte is there: release the source, and let the request decode."""
        if self._moving.get(transfer.request) is not transfer:
            return
        cluster, target = self.cluster, transfer.target
        assert target is not None
        del self._moving[transfer.request]
        now = cluster.world.now_ps
        log = self.log
        log.sizes.append(transfer.size)
        log.time_ps.append(now - transfer.flows_from_ps)
        log.queue_ps.append(transfer.flows_from_ps - transfer.began_ps)
        log.exposed_ps.append(now - transfer.end_ps)
        if cluster.options.record_iterations:
            ends = transfer.source.number, target.number
            start = max(transfer.flows_from_ps, transfer.start_ps)
            log.moved.append(MovedCache(transfer.request, *ends, start, now, transfer.size))
        self._release(transfer)
        cluster.post(target, transfer.request)

    def _release(self, transfer: Transfer) -> None:
        """Free the blocks at the source, for iterations that begin from now on."""
        source = transfer.source
        source.catch_up(self.cluster.world.now_ps)
        source.release(transfer.request)
        self.cluster.wake(source)

    def _ways(self, replica: Replica) -> tuple[int, int]:
        """The links of a replica: outward and inward."""
        place = self._place_of[replica.number]
        return 2 * place, 2 * place + 1
