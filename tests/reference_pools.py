"""Disaggregated serving, spelled out event by event: lists and dictionaries only.

It shares with the simulator only the price of a batch (``timing.step``). Requests are dealt out in
turn, to prefill replicas when they arrive and to decode replicas when the iteration begins that
ends their prompt. Then the decode replica reserves blocks for the prompt and a token, or the
transfer waits, first come first served, until a sequence of that replica ends. Layer l of L can
leave at start + duration (l + 1) / L; transfers share the source's link equally (one prefill
replica, and links of equal rates, so that this is what max-min fairness gives).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from simulator.kernels import executor
from simulator.timing.plan import Plan
from simulator.timing.step import Batch, execute, price_batch

BLOCK = 16
PS = 10**12
NEGLIGIBLE = Fraction(1, 10**6)
"""Bytes that need not be sent."""
SLACK = Fraction(1, 1000)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(eq=False)
class Item:
    number: int
    prompt: int
    output: int
    arrival: int
    computed: int = 0
    emitted: int = 0
    blocks: int = 0
    scheduled: int | None = None
    first: int | None = None
    completed: int | None = None
    preempted: int = 0
    began: int = 0
    flows: int = 0
    arrived: int | None = None

    @property
    def due(self) -> int:
        return self.prompt + self.emitted


@dataclass(eq=False)
class Box:
    """A replica: chunked prefill, first come first served."""

    plan: Plan
    blocks: int
    budget: int
    most: int
    prefills: bool
    free: int = 0
    queue: list[Item] = field(default_factory=list)
    running: list[Item] = field(default_factory=list)
    until: int | None = None
    leaving: list[Item] = field(default_factory=list)
    wanting: list[Item] = field(default_factory=list)
    iterations: int = 0

    def __post_init__(self) -> None:
        self.free = self.blocks

    def join(self, item: Item) -> None:
        place = len(self.queue)
        while item.blocks and place and not self.queue[place - 1].blocks:
            place -= 1
        self.queue.insert(place, item)

    def grow(self, item: Item, tokens: int) -> bool:
        need = max(0, ceil_div(item.computed + tokens, BLOCK) - item.blocks)
        if need > self.free:
            return False
        self.free -= need
        item.blocks += need
        return True

    def begin(self, now: int) -> bool:
        """Form and run a batch; False where nothing can."""
        batch: list[tuple[Item, int]] = []
        evicted = False
        for item in list(self.running):
            left = self.budget - sum(tokens for _, tokens in batch)
            if item not in self.running or not left:
                continue
            tokens = min(item.due - item.computed, left)
            while not self.grow(item, tokens):
                evicted = True
                last = self.running.pop()
                self.free += last.blocks
                last.blocks = last.computed = 0
                last.preempted += 1
                # behind those that hold blocks already, before all others
                place = sum(1 for waiting in self.queue if waiting.blocks)
                self.queue.insert(place, last)
                if last is item:
                    break
            if item not in self.running:
                break
            batch.append((item, tokens))
        while not evicted and self.queue and len(self.running) < self.most:
            left = self.budget - sum(tokens for _, tokens in batch)
            item = self.queue[0]
            tokens = min(item.due - item.computed, left)
            # a prefill replica takes the blocks of the whole prompt at once
            room = item.due - item.computed if self.prefills else tokens
            if not left or not self.grow(item, room):
                break
            self.queue.pop(0)
            self.running.append(item)
            batch.append((item, tokens))
        if not batch:
            # whoever was to be served gave up its own blocks: the others have room now
            return evicted and self.begin(now)
        for item, _ in batch:
            if item.scheduled is None:
                item.scheduled = now
        new = np.array([tokens for _, tokens in batch], dtype=np.int64)
        past = np.array([item.computed for item, _ in batch], dtype=np.int64)
        logits = sum(item.computed + tokens == item.due for item, tokens in batch)
        totals, _ = execute(self.plan, price_batch(self.plan, Batch(new, past, logits)))
        host = self.plan.system.host_ps(-(-len(batch) // self.plan.layout.dp))
        self.until = now + int(totals[executor.TIME]) + host
        self.iterations += 1
        for item, tokens in batch:
            item.computed += tokens
            if item.computed < item.due:
                continue
            item.emitted += 1
            if item.first is None:
                item.first = self.until
            if item.emitted == item.output:
                item.completed = self.until
            if item.emitted == item.output or self.prefills:
                self.leaving.append(item)
                self.running.remove(item)
        return True


class Link:
    """One link that its flows share equally; layers of a flow become ready one after another.

    Bytes are exact fractions. A flow ends with the first whole picosecond at which less than what
    passes in a thousandth of one is missing.
    """

    def __init__(self, rate: int | None, layers: int) -> None:
        self.rate = None if rate is None else Fraction(rate, PS)
        self.layers = layers
        self.now = 0
        self.flows: list[dict] = []

    def ready(self, flow: dict) -> int:
        since = self.now - flow["start"]
        if since >= flow["duration"]:
            return self.layers
        return max(0, since) * self.layers // flow["duration"]

    def left(self, flow: dict) -> Fraction:
        return self.ready(flow) * flow["layer"] - flow["sent"]

    def sending(self) -> list[dict]:
        return [flow for flow in self.flows if self.left(flow) > NEGLIGIBLE]

    def end(self, flow: dict, others: int) -> int:
        if self.rate is None:
            return self.now
        need = self.left(flow) * others / self.rate
        return self.now + max(0, math.ceil(need - SLACK))

    def next_event(self) -> int | None:
        times = []
        sending = self.sending()
        for flow in self.flows:
            if flow in sending:
                times.append(self.end(flow, len(sending)))
            elif self.ready(flow) < self.layers:
                layer = self.ready(flow) + 1
                times.append(flow["start"] + ceil_div(layer * flow["duration"], self.layers))
            else:
                times.append(self.now)
        return min(times, default=None)

    def advance(self, until: int) -> list[Item]:
        """Move bytes until ``until``; what has arrived by then."""
        done = []
        while True:
            sending = self.sending()
            for flow in list(self.flows):
                if flow not in sending and self.ready(flow) == self.layers:
                    self.flows.remove(flow)
                    done.append(flow["item"])
            following = self.next_event()
            if following is None or following > until:
                following = until
            ends = [self.end(flow, len(sending)) for flow in sending]
            moved = False
            for flow, end in zip(sending, ends, strict=True):
                if end <= following:
                    flow["sent"] += self.left(flow)
                    moved = True
                elif following > self.now:
                    assert self.rate is not None
                    flow["sent"] += self.rate / len(sending) * (following - self.now)
            if following == self.now and not moved:
                return done
            self.now = following

    def start(self, item: Item, size: int, start: int, duration: int, now: int) -> list[Item]:
        done = self.advance(now)
        self.now = now
        flow = {"item": item, "layer": Fraction(size, self.layers), "sent": Fraction(0)}
        self.flows.append({**flow, "start": start, "duration": duration})
        return done


def disaggregated(
    prefill: Box, decode: list[Box], items: list[Item], rate: int | None, latency: int, kv: int
) -> None:
    """Run to the end; ``kv`` bytes a token move over a link of ``rate`` bytes a second."""
    link = Link(rate, prefill.plan.model.layers)
    coming = sorted(items, key=lambda item: item.arrival)
    landing: list[tuple[int, Item]] = []
    held: dict[int, int] = {}
    target: dict[int, Box] = {}
    waiting: dict[int, list[tuple[Item, int, int]]] = {id(box): [] for box in decode}
    turn = 0
    now = 0

    def land(found: list[Item]) -> None:
        landing.extend((now + latency, item) for item in found)

    def flow(item: Item, start: int, end: int) -> None:
        item.flows = now
        land(link.start(item, (item.computed) * kv, start, end - start, now))

    def reserve(item: Item, box: Box) -> bool:
        need = ceil_div(item.computed + 1, BLOCK)
        if need > box.free:
            return False
        box.free -= need
        item.blocks = need
        return True

    def arrive() -> None:
        following = link.next_event()
        if following is not None and following <= now:
            land(link.advance(now))
        while any(time <= now for time, _ in landing):
            for time, item in sorted(landing, key=lambda entry: entry[0]):
                if time <= now:
                    landing.remove((time, item))
                    item.arrived = now
                    prefill.free += held.pop(item.number)
                    target[item.number].join(item)

    def settle() -> None:
        """What arrives and what ends now; a transfer that begins here may arrive here."""
        arrive()
        for box in decode:
            if box.until == now:
                box.until = None
                ended, box.leaving = box.leaving, []
                for item in ended:
                    box.free += item.blocks
                    item.blocks = 0
                queue = waiting[id(box)]
                while ended and queue and reserve(queue[0][0], box):
                    flow(*queue.pop(0))
        arrive()

    while True:
        times = [coming[0].arrival] if coming else []
        times += [box.until for box in (prefill, *decode) if box.until is not None]
        times += [time for time, _ in landing]
        following = link.next_event()
        times += [] if following is None else [following]
        if not times:
            break
        now = max(now, min(times))
        while coming and coming[0].arrival <= now:
            prefill.join(coming.pop(0))
        settle()
        if prefill.until == now:
            prefill.until = None
            for item in prefill.leaving:
                if item.completed is not None:
                    prefill.free += item.blocks
                    item.blocks = 0
            prefill.leaving = []
        if prefill.until is None and (prefill.queue or prefill.running) and prefill.begin(now):
            assert prefill.until is not None
            for item in prefill.leaving:
                if item.completed is None:
                    held[item.number] = item.blocks
                    item.blocks = 0
                    item.began = now
                    box = decode[turn % len(decode)]
                    turn += 1
                    target[item.number] = box
                    entry = (item, now, prefill.until)
                    if not waiting[id(box)] and reserve(item, box):
                        flow(*entry)
                    else:
                        waiting[id(box)].append(entry)
        for box in decode:
            if box.until is None and (box.queue or box.running):
                box.begin(now)
    assert all(item.completed is not None for item in items)
    assert all(box.free == box.blocks for box in (prefill, *decode))
