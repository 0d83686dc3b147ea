"""Continuous batching, spelled out: one Python step an iteration, lists and dictionaries only.

It shares with the simulator only the price of a batch (``timing.step``); who is in the batch, when
it runs, what it holds in the cache and what it emits is written here from the rules:

- running sequences first, in order of admission, with what they still have to compute, within the
  token budget; a sequence emits a token when its cache holds its prompt and all emitted tokens;
- if a running sequence needs blocks that are not free, the sequence that was admitted last loses
  its own and returns to the head of the queue, and nobody is admitted in that iteration;
- then waiting requests, first come first served, while budget, batch and blocks last.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from simulator.kernels import executor
from simulator.timing.plan import Plan
from simulator.timing.step import Batch, execute, price_batch

BLOCK = 16


@dataclass
class Sequence:
    number: int
    prompt: int
    output: int
    arrival: int = 0
    cached: int = 0
    emitted: int = 0
    blocks: int = 0
    scheduled: int | None = None
    first: int | None = None
    completed: int | None = None
    preempted: int = 0


@dataclass
class Server:
    plan: Plan
    blocks: int
    budget: int
    most: int
    free: int = 0
    waiting: deque[Sequence] = field(default_factory=deque)
    running: list[Sequence] = field(default_factory=list)
    now: int = 0
    iterations: int = 0
    peak: int = 0

    def __post_init__(self) -> None:
        self.free = self.blocks

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def _take(self, sequence: Sequence, tokens: int) -> bool:
        need = -(-(sequence.cached + tokens) // BLOCK) - sequence.blocks
        if need > self.free:
            return False
        self.free -= need
        sequence.blocks += need
        return True

    def _evict(self) -> Sequence:
        last = self.running.pop()
        self.free += last.blocks
        last.blocks = 0
        last.cached = 0
        last.preempted += 1
        self.waiting.appendleft(last)
        return last

    def _choose(self) -> list[tuple[Sequence, int]]:
        batch: list[tuple[Sequence, int]] = []
        left = self.budget
        evicted = False
        for sequence in list(self.running):
            if left == 0 or sequence not in self.running:
                break
            tokens = min(sequence.prompt + sequence.emitted - sequence.cached, left)
            while not self._take(sequence, tokens):
                evicted = True
                if self._evict() is sequence:
                    break
            if sequence not in self.running:
                break
            batch.append((sequence, tokens))
            left -= tokens
        while not evicted and left and self.waiting and len(self.running) < self.most:
            sequence = self.waiting[0]
            tokens = min(sequence.prompt + sequence.emitted, left)
            if not self._take(sequence, tokens):
                break
            self.waiting.popleft()
            self.running.append(sequence)
            if sequence.scheduled is None:
                sequence.scheduled = self.now
            batch.append((sequence, tokens))
            left -= tokens
        return batch

    def iterate(self) -> list[Sequence]:
        """One iteration; the sequences that it finished."""
        batch = self._choose()
        assert batch
        assert sum(tokens for _, tokens in batch) <= self.budget
        assert len(self.running) <= self.most
        assert sum(s.blocks for s in self.running) + self.free == self.blocks
        self.peak = max(self.peak, self.blocks - self.free)
        self.now += self._price(batch)
        self.iterations += 1
        ended = []
        for sequence, tokens in batch:
            sequence.cached += tokens
            if sequence.cached == sequence.prompt + sequence.emitted:
                sequence.emitted += 1
                if sequence.emitted == 1:
                    sequence.first = self.now
                if sequence.emitted == sequence.output:
                    sequence.completed = self.now
                    self.free += sequence.blocks
                    sequence.blocks = 0
                    self.running.remove(sequence)
                    ended.append(sequence)
        return ended

    def _price(self, batch: list[tuple[Sequence, int]]) -> int:
        new = np.array([tokens for _, tokens in batch], dtype=np.int64)
        past = np.array([s.cached for s, _ in batch], dtype=np.int64)
        logits = sum(s.cached + tokens == s.prompt + s.emitted for s, tokens in batch)
        totals, _ = execute(self.plan, price_batch(self.plan, Batch(new, past, logits)))
        return int(totals[executor.TIME]) + self.plan.system.host_overhead_ps


def open_loop(servers: list[Server], sequences: list[Sequence]) -> None:
    """Requests at their arrival times, dealt to the replicas in turn."""
    for turn, server in enumerate(servers):
        mine = deque(sequences[turn :: len(servers)])
        while mine or server.busy:
            if not server.busy:
                server.now = max(server.now, mine[0].arrival)
            while mine and mine[0].arrival <= server.now:
                server.waiting.append(mine.popleft())
            server.iterate()


def closed_loop(
    servers: list[Server], sequences: list[Sequence], think: list[int], users: int
) -> None:
    """Users that send the next request ``think`` after their last one was answered."""
    todo = deque(sequences)
    sends: list[tuple[int, int, Sequence]] = []  # time, order, request
    order = 0
    turn = 0
    ends: dict[int, tuple[int, list[Sequence]]] = {}  # server -> end of its iteration, finished

    def send_next(now: int) -> None:
        nonlocal order
        if todo:
            sequence = todo.popleft()
            sends.append((now + think[sequence.number], order, sequence))
            order += 1

    for _ in range(users):
        send_next(0)
    while sends or ends or any(server.busy for server in servers):
        now = min([time for time, _, _ in sends] + [end for end, _ in ends.values()])
        for index in sorted(ends):
            end, finished = ends[index]
            if end == now:
                del ends[index]
                for _ in finished:
                    send_next(now)
        for time, _, sequence in sorted(sends, key=lambda entry: entry[:2]):
            if time == now:
                sequence.arrival = now
                servers[turn % len(servers)].waiting.append(sequence)
                turn += 1
        sends = [entry for entry in sends if entry[0] != now]
        for index, server in enumerate(servers):
            if index not in ends and server.busy:
                server.now = now
                finished = server.iterate()
                ends[index] = (server.now, finished)
