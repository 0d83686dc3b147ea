"""Who is at a replica: requests posted ahead of their time, those that wait, those that run.

``inbox`` holds what was posted, by the time at which it takes effect; ``~request`` is a reservation
of blocks. ``waiting`` is the queue, with room before its head for running sequences that return.
Both are windows of arrays that the kernels move; the places are counters of ``serving.fields``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.serving import fields

Int64Array = npt.NDArray[np.int64]


class Queues:
    """The requests of one replica; ``requests`` int64[requests, fields.REQUEST_FIELDS] are all."""

    def __init__(self, requests: Int64Array, most: int) -> None:
        self.requests = requests
        self.counters = np.zeros(fields.COUNTERS, dtype=np.int64)
        self.replaced = True
        """Whether an array has made room for a larger one since somebody last looked."""
        self._most = most
        self._inbox = np.zeros(0, dtype=np.int64)
        self._waiting = np.zeros(2 * most + 2, dtype=np.int64)
        self._running = np.zeros(most + 1, dtype=np.int64)

    @property
    def now_ps(self) -> int:
        """The end of the last iteration, or the time to which an idle replica was set."""
        return self.counters.item(fields.NOW)

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits, or was posted ahead."""
        item = self.counters.item
        return (
            item(fields.RUNNING) == 0
            and item(fields.QUEUE_HEAD) == item(fields.QUEUE_TAIL)
            and item(fields.INBOX_HEAD) == item(fields.INBOX_TAIL)
        )

    @property
    def waiting(self) -> int:
        """Requests in the queue, with those that were posted ahead."""
        item = self.counters.item
        queued = item(fields.QUEUE_TAIL) - item(fields.QUEUE_HEAD)
        return queued + item(fields.INBOX_TAIL) - item(fields.INBOX_HEAD)

    @property
    def next_ps(self) -> int:
        """When it begins something next, if nothing comes: now, or at what was posted ahead."""
        item = self.counters.item
        if item(fields.RUNNING) or item(fields.QUEUE_HEAD) != item(fields.QUEUE_TAIL):
            return self.now_ps
        return max(self.now_ps, self.posted_ps or 0)

    @property
    def posted_ps(self) -> int | None:
        """When the first of what was posted takes effect."""
        head = self.counters.item(fields.INBOX_HEAD)
        if head == self.counters.item(fields.INBOX_TAIL):
            return None
        entry = self._inbox.item(head)
        if entry < 0:
            return self.requests.item(~entry, fields.RESERVED_AT)
        return self.requests.item(entry, fields.READY_AT)

    def set_clock(self, now_ps: int) -> None:
        """Time has passed while nothing could run; the clock never goes back."""
        self.counters[fields.NOW] = max(self.now_ps, now_ps)

    def post(self, request: int, ready_ps: int) -> None:
        """Put a request into the queue at a time that is not before those posted earlier."""
        requests = self.requests
        requests[request, fields.READY_AT] = ready_ps
        tokens = requests.item(request, fields.PROMPT) + requests.item(request, fields.EMITTED)
        self.counters[fields.IN_FLIGHT] += tokens
        place = self._next_place(1)
        self._inbox[place] = request

    def post_all(self, requests: Int64Array) -> None:
        """Post requests at their arrivals, which are in order of time."""
        if len(requests):
            self.requests[requests, fields.READY_AT] = self.requests[requests, fields.ARRIVAL]
            self.counters[fields.IN_FLIGHT] += self._tokens_of(requests)
            first = self._next_place(len(requests))
            self._inbox[first : first + len(requests)] = requests

    def will_reserve(self, request: int, now_ps: int) -> None:
        """As ``reserve``, where there is certainly room; whoever runs it next takes the blocks."""
        self.requests[request, fields.RESERVED_AT] = now_ps
        place = self._next_place(1)
        self._inbox[place] = ~request

    def load(self) -> int:
        """Tokens in flight: prompts and emitted tokens of all requests that it has."""
        counters = self.counters
        return counters.item(fields.IN_FLIGHT) + counters.item(fields.EMITTED_TOKENS)

    def requests_here(self) -> list[int]:
        """Running, waiting and posted requests, in this order."""
        counters = self.counters
        running = self._running[: counters[fields.RUNNING]]
        waiting = self._waiting[counters[fields.QUEUE_HEAD] : counters[fields.QUEUE_TAIL]]
        posted = self._inbox_now()
        return [int(i) for i in np.concatenate([running, waiting, posted[posted >= 0]])]

    def _inbox_now(self) -> Int64Array:
        counters = self.counters
        return self._inbox[counters[fields.INBOX_HEAD] : counters[fields.INBOX_TAIL]]

    def _tokens_of(self, requests: Int64Array | list[int]) -> int:
        return int(self.requests[requests][:, [fields.PROMPT, fields.EMITTED]].sum())

    def _next_place(self, count: int) -> int:
        """The first of ``count`` places at the end of the inbox, which are taken."""
        counters = self.counters
        head, tail = counters.item(fields.INBOX_HEAD), counters.item(fields.INBOX_TAIL)
        if tail + count > len(self._inbox):
            grown = np.zeros(2 * (tail - head + count), dtype=np.int64)
            grown[: tail - head] = self._inbox[head:tail]
            self._inbox, tail = grown, tail - head
            self.replaced = True
            counters[fields.INBOX_HEAD] = 0
        counters[fields.INBOX_TAIL] = tail + count
        return tail

    def _make_room(self) -> None:
        """Let all that was posted join the queue, and every running one return to its head."""
        counters, item = self.counters, self.counters.item
        head, tail = item(fields.QUEUE_HEAD), item(fields.QUEUE_TAIL)
        more = item(fields.INBOX_TAIL) - item(fields.INBOX_HEAD)
        if head >= self._most and tail + more <= len(self._waiting):
            return
        queued = self._waiting[head:tail]
        start = 2 * self._most + 2
        room = np.zeros(start + 2 * (len(queued) + more), dtype=np.int64)
        room[start : start + len(queued)] = queued
        self._waiting = room
        self.replaced = True
        counters[fields.QUEUE_HEAD] = start
        counters[fields.QUEUE_TAIL] = start + len(queued)
