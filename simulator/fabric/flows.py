"""Concurrent flows on shared links: KV-cache transfers, DCN flows, collectives side by side.

Rates are max-min fair at any time, and change when a flow starts or ends. A flow's links are
names of any kind; a flow that spreads over several ways gives each link its share.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError
from simulator.kernels import fabric_links as kernels


@dataclass(frozen=True, slots=True)
class Flow:
    """``size_bytes`` over ``links`` from ``start_s`` on; ``latency_s`` is added to its end.

    ``shares[i]`` of the flow's rate is on ``links[i]``; all of it where there are no shares.
    """

    links: tuple[Hashable, ...]
    size_bytes: int
    start_s: float = 0.0
    latency_s: float = 0.0
    shares: tuple[float, ...] = ()


def finish_times(flows: Sequence[Flow], capacities: Mapping[Hashable, float]) -> list[float]:
    """Seconds at which each flow has arrived.

    Raises:
        InputError: a link without a capacity, one that is not above zero, a bad size or start.
    """
    for flow in flows:
        if flow.size_bytes < 0 or not 0 <= flow.start_s < 1e15:
            raise InputError("a flow needs a size and a start of at least 0")
    first, link, share, capacity = _packed(flows, capacities)
    sizes = np.array([flow.size_bytes for flow in flows], dtype=np.float64)
    starts = np.array([flow.start_s for flow in flows], dtype=np.float64)
    finish = np.zeros(len(flows), dtype=np.float64)
    kernels.drain(first, link, share, capacity, sizes, starts, finish)
    return [float(end) + flow.latency_s for end, flow in zip(finish, flows, strict=True)]


def _packed(
    flows: Sequence[Flow], capacities: Mapping[Hashable, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    names = {name: index for index, name in enumerate(capacities)}
    if any(not 0 < rate < float("inf") for rate in capacities.values()):
        raise InputError("every link needs a finite capacity above 0")
    first, link, share = [0], [], []
    for flow in flows:
        if flow.shares and len(flow.shares) != len(flow.links):
            raise InputError("a flow needs as many shares as links")
        for at, name in enumerate(flow.links):
            if name not in names:
                raise InputError(f"there is no link {name!r}")
            link.append(names[name])
            share.append(flow.shares[at] if flow.shares else 1.0)
        first.append(len(link))
    return (
        np.array(first, dtype=np.int64),
        np.array(link, dtype=np.int64),
        np.array(share, dtype=np.float64),
        np.array(list(capacities.values()), dtype=np.float64),
    )
