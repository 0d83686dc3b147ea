"""How the chips of a system are joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FabricKind = Literal["none", "torus", "switch"]


@dataclass(frozen=True, slots=True)
class Fabric:
    """A torus (``axes`` with one link per direction and axis) or one switched domain.

    ``wrap[i]`` says whether axis i closes into a ring. ``link_bandwidth_bytes_per_s`` is per link
    and direction for a torus, per chip and direction for a switch. ``hop_latency_ps`` is one
    link, or one pass through the switch.
    """

    kind: FabricKind
    axes: tuple[int, ...] = (1,)
    wrap: tuple[bool, ...] = (False,)
    link_bandwidth_bytes_per_s: int = 0
    hop_latency_ps: int = 0
    collective_overhead_ps: int = 0
