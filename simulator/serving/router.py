"""Which replica of a pool gets a request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from simulator.errors import InputError, did_you_mean
from simulator.serving import fields
from simulator.serving.replica import Replica


class Router(Protocol):
    """Chooses among the replicas of a pool that are up (at least one).

    ``blind`` routers do not look at the replicas, so that requests can be dealt out ahead.
    """

    blind: bool

    def choose(self, request: int, replicas: Sequence[Replica], now_ps: int) -> Replica:
        """The replica that gets the request."""


class RoundRobin:
    """Replicas in turn, whatever their load."""

    blind = True

    def __init__(self) -> None:
        self.turn = 0

    def choose(self, request: int, replicas: Sequence[Replica], now_ps: int) -> Replica:
        """The next one."""
        chosen = replicas[self.turn % len(replicas)]
        self.turn += 1
        return chosen


class LeastLoaded:
    """The replica with the fewest tokens in flight, the first of equals."""

    blind = False

    def choose(self, request: int, replicas: Sequence[Replica], now_ps: int) -> Replica:
        """The least loaded at this instant."""
        return least_loaded(replicas, now_ps)


class PowerOfTwo:
    """The less loaded of two different replicas that are drawn at random (Mitzenmacher, 2001)."""

    blind = False

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"power-of-two {seed}")

    def choose(self, request: int, replicas: Sequence[Replica], now_ps: int) -> Replica:
        """The less loaded of the two."""
        first = int(self._random.random() * len(replicas))
        if len(replicas) == 1:
            return replicas[0]
        second = int(self._random.random() * (len(replicas) - 1))
        second += int(second >= first)
        return least_loaded([replicas[min(first, second)], replicas[max(first, second)]], now_ps)


class PrefixAware:
    """The replica with the fewest tokens in flight and left to compute of this prompt together.

    What its prefix cache has need not be computed; the cost is that of NVIDIA Dynamo's KV router
    with equal weights (lib/llm/src/kv_router/scheduler.rs).
    """

    blind = False

    def choose(self, request: int, replicas: Sequence[Replica], now_ps: int) -> Replica:
        """The cheapest at this instant, the first of equals."""
        best, lowest = replicas[0], -1
        row = best.requests[request]
        length = int(row[fields.PROMPT] + row[fields.EMITTED])
        for replica in replicas:
            replica.catch_up(now_ps)
            cost = replica.load() + length - replica.cached_tokens(request)
            if lowest < 0 or cost < lowest:
                best, lowest = replica, cost
        return best


ROUTERS = ("round-robin", "least-loaded", "prefix-aware", "power-of-two")


def make_router(name: str, seed: int) -> Router:
    """The router of a name.

    Raises:
        InputError: there is none of that name.
    """
    if name == "round-robin":
        return RoundRobin()
    if name == "least-loaded":
        return LeastLoaded()
    if name == "prefix-aware":
        return PrefixAware()
    if name == "power-of-two":
        return PowerOfTwo(seed)
    raise InputError(
        f"--router: unknown value '{name}'; expected {', '.join(ROUTERS)}",
        hint=did_you_mean(name, ROUTERS),
    )


def least_loaded(replicas: Sequence[Replica], now_ps: int) -> Replica:
    """The replica with the fewest tokens in flight at ``now_ps``, the first of equals."""
    best, lowest = replicas[0], -1
    for replica in replicas:
        replica.catch_up(now_ps)
        load = replica.load()
        if load == 0:
            return replica
        if lowest < 0 or load < lowest:
            best, lowest = replica, load
    return best
