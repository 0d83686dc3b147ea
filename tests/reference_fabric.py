"""Slow reference: messages move over links one by one, and wait for each other and for links.

Nothing here knows a closed form. A link sends one message at a time, in the order in which they
become ready; a message is at the other end ``latency`` after its last byte has left.
"""

import heapq
from dataclasses import dataclass, field

PS = 10**12


@dataclass
class Message:
    """``size`` bytes over ``path`` (names of links), ready when all of ``after`` have arrived.

    ``delay`` picoseconds pass between the last of those arrivals and the start.
    """

    path: tuple
    size: int
    after: tuple = ()
    delay: int = 0


@dataclass
class Outcome:
    time_ps: int
    link_bytes: dict = field(default_factory=dict)


def simulate(messages, rate, latency_ps):
    """Move all messages; the time of the last arrival, and the bytes that each link carried."""
    waiting = [len(message.after) for message in messages]
    ready = [0] * len(messages)
    followers = [[] for _ in messages]
    for index, message in enumerate(messages):
        for other in message.after:
            followers[other].append(index)
    queue = [(m.delay, i, 0) for i, m in enumerate(messages) if not m.after]
    heapq.heapify(queue)
    free, carried, last = {}, {}, 0
    while queue:
        now, index, hop = heapq.heappop(queue)
        message = messages[index]
        if hop < len(message.path):
            link = message.path[hop]
            if free.get(link, 0) > now:
                heapq.heappush(queue, (free[link], index, hop))
                continue
            left = now + -(-message.size * PS // rate)
            free[link] = left
            carried[link] = carried.get(link, 0) + message.size
            heapq.heappush(queue, (left + latency_ps, index, hop + 1))
            continue
        last = max(last, now)
        for follower in followers[index]:
            ready[follower] = max(ready[follower], now)
            waiting[follower] -= 1
            if waiting[follower] == 0:
                start = ready[follower] + messages[follower].delay
                heapq.heappush(queue, (start, follower, 0))
    assert all(count == 0 for count in waiting)
    return Outcome(last, carried)


def ring_messages(n, chunk, rounds, way=1, tag=0):
    """``rounds`` steps in which each chip hands on what it got in the step before."""
    found = []
    for step in range(rounds):
        for chip in range(n):
            after = ((step - 1) * n + (chip - way) % n,) if step else ()
            found.append(Message((((chip, (chip + way) % n)),), chunk, after))
    return found


def both_ways_messages(n, chunk):
    """An all-gather of a ring in both directions; the antipode gets a half from either side."""
    whole, found = (n - 1) // 2, []
    for way in (1, -1):
        base = len(found)
        for step in range(whole + (n % 2 == 0)):
            size = chunk if step < whole else chunk // 2
            for chip in range(n):
                after = (base + (step - 1) * n + (chip - way) % n,) if step else ()
                found.append(Message(((chip, (chip + way) % n),), size, after))
    return found


def exchange_messages(n, sizes):
    """Pairwise exchanges with the chip 2^k away, one size a round, all over the chip's own port."""
    found = []
    for k, size in enumerate(sizes):
        for chip in range(n):
            bit = 1 << (len(sizes) - 1 - k)
            after = ()
            if k:
                before = (k - 1) * n
                after = (before + chip, before + (chip ^ (bit << 1)))
            found.append(Message((("port", chip),), size, after))
    return found


def port_messages(n, chunk):
    """Everybody sends a chunk to everybody through the one port of each chip."""
    return [Message((("port", chip),), chunk) for chip in range(n) for _ in range(n - 1)]


def grid_exchange(axes, closed, share):
    """An all-to-all over dimension-ordered paths; ties are cut in two halves."""
    from itertools import product

    chips = list(product(*[range(size) for size in axes]))
    found = []
    for source in chips:
        for target in chips:
            if source != target:
                legs = [
                    _ways(s, t, n, c)
                    for s, t, n, c in zip(source, target, axes, closed, strict=True)
                ]
                ways = list(product(*legs))
                for steps in ways:
                    path = _walk(source, steps, axes)
                    found.append(Message(path, share // len(ways)))
    return found


def _ways(source, target, size, closed):
    up = target - source
    if not closed:
        return [up]
    up %= size
    if 2 * up == size:
        return [up, -up]
    return [up if 2 * up < size else up - size]


def _walk(source, steps, axes):
    place, path = list(source), []
    for axis, count in enumerate(steps):
        for _ in range(abs(count)):
            before = tuple(place)
            place[axis] = (place[axis] + (1 if count > 0 else -1)) % axes[axis]
            path.append((before, tuple(place)))
    return tuple(path)
