"""Batching, spelled out: one Python step an iteration, lists and dictionaries only.

It shares with the simulator only the price of a batch (``timing.step``); who is in the batch, when
it runs, what it holds in the cache and what it emits is written here from the rules:

- a sequence emits a token when its cache holds its prompt and all emitted tokens;
- ``chunked``: running sequences first, in order of admission, with what they still have to
  compute, within the token budget; then waiting ones, while budget, batch and blocks last;
- ``decode-first``: the same with running decodes before running prompts;
- ``prefill-first``: whole prompts, running or waiting, and only where there is none the decodes;
- ``no-evict``: all decodes, then prompts, whole unless they exceed the budget, for which there is
  room with all that they will emit;
- ``static``: a batch is admitted when the last one has ended, with room for all that it will hold;
- if a running sequence needs blocks that are not free, the least urgent sequence, of these the one
  admitted last, loses its own and returns to the head of the queue, and nobody is admitted in that
  iteration;
- the longest cached prefix of a prompt is not computed; blocks that nobody uses are given up least
  recently used first, to the host and from there to the pool.
"""

from __future__ import annotations

from collections import OrderedDict, deque
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
    priority: int = 0
    content: list[int] = field(default_factory=list)
    cached: int = 0
    emitted: int = 0
    blocks: int = 0
    shared: int = 0
    swapped: int = 0
    found: int = 0
    scheduled: int | None = None
    first: int | None = None
    completed: int | None = None
    preempted: int = 0

    @property
    def due(self) -> int:
        return self.prompt + self.emitted

    @property
    def decodes(self) -> bool:
        return self.emitted > 0 and self.cached == self.due - 1


@dataclass
class Server:
    plan: Plan
    blocks: int
    budget: int
    most: int
    scheduler: str = "chunked"
    swap: bool = False
    headroom: int = 0
    drafts: int = 0
    acceptance: float = 0.0
    seed: int = 0
    hash_blocks: int = 1
    host_blocks: int = 0
    pool_blocks: int = 0
    block_bytes: int = 0
    host_rate: int = 0
    pool_rate: int = 0
    free: int = 0
    waiting: list[Sequence] = field(default_factory=list)
    running: list[Sequence] = field(default_factory=list)
    now: int = 0
    iterations: int = 0
    peak: int = 0

    def __post_init__(self) -> None:
        self.free = self.blocks
        self.users: dict[int, int] = {}  # content -> sequences that use it, in HBM
        self.unused: OrderedDict[int, None] = OrderedDict()
        self.host: OrderedDict[int, None] = OrderedDict()
        self.pool: OrderedDict[int, None] = OrderedDict()
        self.host_swapped = 0
        self.copied = [0, 0, 0]  # blocks in, out, from the pool

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def arrive(self, sequence: Sequence) -> None:
        place = len(self.waiting)
        while place and self.waiting[place - 1].priority > sequence.priority:
            place -= 1
        self.waiting.insert(place, sequence)

    # The cache.

    def _host_room(self, blocks: int) -> bool:
        def used() -> int:
            return self.host_swapped + len(self.host) * self.hash_blocks

        while used() + blocks > self.host_blocks and self.host:
            oldest, _ = self.host.popitem(last=False)
            if self.pool_blocks >= self.hash_blocks:
                if (len(self.pool) + 1) * self.hash_blocks > self.pool_blocks:
                    self.pool.popitem(last=False)
                self.pool[oldest] = None
        return used() + blocks <= self.host_blocks

    def _available(self) -> int:
        return self.free + len(self.unused) * self.hash_blocks

    def _take(self, blocks: int) -> bool:
        if blocks > self._available():
            return False
        while self.free < blocks:
            content, _ = self.unused.popitem(last=False)
            del self.users[content]
            self.free += self.hash_blocks
            if self._host_room(self.hash_blocks):
                self.host[content] = None
                self.copied[1] += self.hash_blocks
        self.free -= blocks
        return True

    def _grow(self, sequence: Sequence, tokens: int) -> bool:
        held = sequence.blocks + sequence.shared * self.hash_blocks
        need = max(0, -(-(sequence.cached + tokens) // BLOCK) - held)
        if not self._take(need):
            return False
        sequence.blocks += need
        return True

    def _prefix(self, sequence: Sequence) -> int:
        if sequence.cached:
            return 0
        most = (sequence.due - 1) // (self.hash_blocks * BLOCK)
        found = 0
        for content in sequence.content[:most]:
            if content not in self.users and content not in self.host and content not in self.pool:
                break
            found += 1
        return found

    def _share(self, sequence: Sequence, found: int, spare: int) -> bool:
        mine = sequence.content[:found]
        cost = sum(c in self.unused or c not in self.users for c in mine) * self.hash_blocks
        if self._available() - spare < cost:
            return False
        fetched = []
        for content in mine:
            if content in self.users:
                self.users[content] += 1
                self.unused.pop(content, None)
            else:
                fetched.append(content)
                self.copied[0] += self.hash_blocks
                self.copied[2] += self.hash_blocks if content in self.pool else 0
        # What is fetched keeps its place below until all of it has room above.
        below = {c: tier for tier in (self.host, self.pool) for c in fetched if c in tier}
        pinned = [c for c in fetched if below[c] is self.host]
        for content in fetched:
            del below[content][content]
        self.host_swapped += len(pinned) * self.hash_blocks
        self.pool_blocks -= (len(fetched) - len(pinned)) * self.hash_blocks
        for content in fetched:
            assert self._take(self.hash_blocks)
            self.users[content] = 1
            if content in pinned:
                self.host_swapped -= self.hash_blocks
            else:
                self.pool_blocks += self.hash_blocks
        sequence.shared = found
        sequence.cached = found * self.hash_blocks * BLOCK
        return True

    def _publish(self, sequence: Sequence) -> None:
        size = self.hash_blocks
        for content in sequence.content[sequence.shared :]:
            if (sequence.shared + 1) * size * BLOCK > sequence.cached:
                break
            if content in self.users:
                self.users[content] += 1
                self.unused.pop(content, None)
                self.free += size
            else:
                self.users[content] = 1
                self.host.pop(content, None)
                self.pool.pop(content, None)
            sequence.blocks -= size
            sequence.shared += 1

    def _release(self, sequence: Sequence) -> None:
        self.free += sequence.blocks
        for content in reversed(sequence.content[: sequence.shared]):
            self.users[content] -= 1
            if self.users[content] == 0:
                self.unused[content] = None
        sequence.blocks = 0
        sequence.shared = 0

    # The batch.

    def _evict(self) -> Sequence:
        urgent = [s.priority for s in self.running]
        last = max(range(len(urgent)), key=lambda i: (urgent[i], i))
        victim = self.running.pop(last)
        self.batch = [(s, tokens) for s, tokens in self.batch if s is not victim]
        blocks = -(-victim.cached // BLOCK)
        if self.swap and blocks and self._host_room(blocks):
            self.host_swapped += blocks
            self.copied[1] += blocks
            victim.swapped = blocks
        else:
            victim.cached = 0
        self._release(victim)
        victim.preempted += 1
        place = 0
        while place < len(self.waiting) and self.waiting[place].priority < victim.priority:
            place += 1
        self.waiting.insert(place, victim)
        self.evicted = True
        return victim

    @property
    def _left(self) -> int:
        return self.budget - sum(tokens for _, tokens in self.batch)

    def _todo(self, sequence: Sequence) -> int:
        drafts = 0
        if sequence.decodes:
            drafts = min(self.drafts, sequence.output - sequence.emitted - 1)
        return sequence.due - sequence.cached + drafts

    def _place(self, sequence: Sequence, tokens: int) -> bool:
        while not self._grow(sequence, tokens):
            if self._evict() is sequence:
                return False
        self.batch.append((sequence, tokens))
        return True

    def _serve(self, wanted: str, whole: bool = False) -> None:
        for sequence in list(self.running):
            if sequence not in self.running or (wanted == "all" and not self._left):
                continue
            if wanted != "all" and sequence.decodes != (wanted == "decodes"):
                continue
            if not self._left:
                return
            if whole and self._todo(sequence) > self._left and self.batch:
                return
            if not self._place(sequence, min(self._todo(sequence), self._left)):
                return

    def _admit(self, reserve: str, whole: bool = False, form: bool = False) -> bool:
        left = self.budget if form else self._left
        if self.evicted or not left or not self.waiting or len(self.running) >= self.most:
            return False
        sequence = self.waiting[0]
        found = self._prefix(sequence)
        known = max(sequence.cached, found * self.hash_blocks * BLOCK)
        tokens = self._todo(sequence) - (known - sequence.cached)
        if whole and tokens > left and self.batch:
            return False
        tokens = min(tokens, left)
        wanted = {
            "chunk": known + tokens,
            "prompt": max(known + tokens, sequence.due),
            "everything": sequence.prompt + sequence.output - 1,
        }[reserve]
        held = sequence.blocks + found * self.hash_blocks
        need = max(0, -(-wanted // BLOCK) - held)
        spare = need + (self.headroom if self.running else 0)
        if found and not self._share(sequence, found, spare):
            return False
        if not found and self._available() < spare:
            return False
        assert self._take(need)
        sequence.blocks += need
        if sequence.swapped:
            self.host_swapped -= sequence.swapped
            self.copied[0] += sequence.swapped
            sequence.swapped = 0
        self.waiting.pop(0)
        self.running.append(sequence)
        if sequence.scheduled is None:
            sequence.found = known
        if not form:
            self.batch.append((sequence, tokens))
        return True

    def _choose(self) -> None:
        self.batch: list[tuple[Sequence, int]] = []
        self.evicted = False
        if self.scheduler == "chunked":
            self._serve("all")
            while self._admit("chunk"):
                pass
        elif self.scheduler == "decode-first":
            self._serve("decodes")
            self._serve("prompts")
            while self._admit("prompt"):
                pass
        elif self.scheduler == "prefill-first":
            self._serve("prompts", whole=True)
            while self.waiting and not self.waiting[0].decodes and self._admit("prompt", True):
                pass
            if not self.batch:
                self._serve("decodes")
                while self.waiting and self.waiting[0].decodes and self._admit("chunk"):
                    pass
        elif self.scheduler == "no-evict":
            self._serve("decodes")
            self._serve("prompts")
            while self.waiting:
                whole = self._todo(self.waiting[0]) <= self.budget
                if not self._admit("everything", whole):
                    break
        else:
            if not self.running:
                while self._admit("everything", form=True):
                    pass
            self._serve("prompts", whole=True)
            if not self.batch:
                self._serve("decodes")

    def iterate(self) -> list[Sequence]:
        """One iteration; the sequences that it finished."""
        self._choose()
        for _ in range(len(self.running)):
            # who was to be served may have given up its own blocks: the others have room then
            if not self.batch:
                self._choose()
        batch = self.batch
        assert batch
        assert sum(tokens for _, tokens in batch) <= self.budget
        assert len(self.running) <= self.most
        used = sum(users > 0 for users in self.users.values()) * self.hash_blocks
        own = sum(s.blocks for s in self.running)
        assert own + used + self._available() == self.blocks
        for sequence, _ in batch:
            if sequence.scheduled is None:
                sequence.scheduled = self.now
        self.peak = max(self.peak, self.blocks - self._available())
        self.now += self._price(batch) + self._copy()
        self.iterations += 1
        ended = []
        for sequence, tokens in batch:
            drafts = sequence.cached + tokens - sequence.due
            sequence.cached += tokens
            if drafts >= 0:
                more = 0
                while more < drafts and self._accepts(sequence, sequence.emitted + 1 + more):
                    more += 1
                sequence.cached = sequence.due + more
                sequence.emitted += 1 + more
                if sequence.first is None:
                    sequence.first = self.now
            self._publish(sequence)
            if sequence.emitted == sequence.output:
                sequence.completed = self.now
                self._release(sequence)
                self.running.remove(sequence)
                ended.append(sequence)
        return ended

    def _accepts(self, sequence: Sequence, position: int) -> bool:
        """splitmix64 of the seed, the request and the position."""
        bits = self.seed
        for word in (sequence.number, position):
            bits = ((bits ^ word) + 0x9E3779B97F4A7C15) % 2**64
            bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
            bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
            bits ^= bits >> 31
        return bits % 2**32 < int(self.acceptance * 2**32)

    def _copy(self) -> int:
        """Both directions of the host link at once, and the pool through it."""
        into, out, pool = self.copied
        self.copied = [0, 0, 0]
        times = [0]
        if into or out:
            times.append(-(-max(into, out) * self.block_bytes * 10**12 // self.host_rate))
        if pool:
            times.append(-(-pool * self.block_bytes * 10**12 // self.pool_rate))
        return max(times)

    def _price(self, batch: list[tuple[Sequence, int]]) -> int:
        new = np.array([tokens for _, tokens in batch], dtype=np.int64)
        past = np.array([s.cached for s, _ in batch], dtype=np.int64)
        logits = sum(max(0, s.cached + tokens + 1 - s.due) for s, tokens in batch)
        totals, _ = execute(self.plan, price_batch(self.plan, Batch(new, past, logits)))
        hosts = -(-len(batch) // self.plan.layout.dp)
        return int(totals[executor.TIME]) + self.plan.system.host_ps(hosts)


def open_loop(servers: list[Server], sequences: list[Sequence]) -> None:
    """Requests at their arrival times, dealt to the replicas in turn."""
    for turn, server in enumerate(servers):
        mine = deque(sequences[turn :: len(servers)])
        while mine or server.busy:
            if not server.busy:
                server.now = max(server.now, mine[0].arrival)
            while mine and mine[0].arrival <= server.now:
                server.arrive(mine.popleft())
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
                servers[turn % len(servers)].arrive(sequence)
                turn += 1
        sends = [entry for entry in sends if entry[0] != now]
        for index, server in enumerate(servers):
            if index not in ends and server.busy:
                server.now = now
                finished = server.iterate()
                ends[index] = (server.now, finished)
