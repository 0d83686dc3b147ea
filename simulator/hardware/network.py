"""The network that joins systems: what a chip's share of its host's network cards can carry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Network:
    """``bandwidth_bytes_per_s`` is one chip's, in each direction; ``latency_ps`` one way.

    Systems whose networks are of the same ``kind`` can be joined by it.
    """

    kind: str
    bandwidth_bytes_per_s: int
    latency_ps: int = 0
