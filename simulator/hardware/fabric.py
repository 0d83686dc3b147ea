"""How the chips of a system are joined: topology, rates and delays of one fabric.

A ``Fabric`` says what is wired and how fast it is. Which algorithm a collective uses on it, and
how long that takes, is worked out in ``simulator.fabric``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from simulator.hardware.kernel_libraries import AllReduce

FabricKind = Literal[
    "none",
    "ring",
    "torus",
    "mesh",
    "twisted-torus",
    "wafer-mesh",
    "fully-connected",
    "switch",
    "pcie",
    "hierarchy",
    "dragonfly",
]

GRIDS: tuple[FabricKind, ...] = ("ring", "torus", "mesh", "twisted-torus", "wafer-mesh")
"""Kinds whose chips have a link to each neighbour along each axis."""

SWITCHED: tuple[FabricKind, ...] = ("switch", "pcie")
"""Kinds where every chip has one port, and any two chips are one pass apart."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to move data, as a collective library has a few of them.

    A low-latency protocol polls flags that travel with the data: little start-up, a poor share of
    the link. A bandwidth protocol synchronises per chunk: more start-up, most of the link.

    ``startup_ps`` is paid once a collective, ``step_latency_ps`` by every step beside the hops.
    ``efficiency`` is the share of the link rate that reaches the payload. ``peer_bytes_per_s`` is
    what one channel carries to one peer in a direct exchange; 0 means no limit but the link's.
    ``algorithms`` are those that the library has for reductions and gathers; empty means all.
    """

    name: str
    startup_ps: int = 0
    step_latency_ps: int = 0
    efficiency: float = 1.0
    peer_bytes_per_s: int = 0
    algorithms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Engine:
    """The serving engine whose all-reduce kernels run on a switch, and what the system adds.

    ``name`` is one of ``hardware.engine_kernels.ENGINES``, ``capability`` the compute capability
    that its rules go by. A kernel in a captured graph starts after ``launch_ps``; ``efficiency`` is
    the share of the link rate that its data get, ``copy_bytes_per_s`` how fast a chip copies within
    its own memory. ``kernels`` are the figures of its kernels; None: the usual ones.
    """

    name: str
    capability: str
    launch_ps: int
    efficiency: float
    copy_bytes_per_s: int
    # fabrics are keys of many look-ups, and the figures seldom differ
    kernels: AllReduce | None = field(default=None, hash=False)


PLAIN = (Protocol("plain"),)
"""Nothing but the fabric's own rates and delays."""


@dataclass(frozen=True, slots=True)
class Pod:
    """``cubes`` cubes with ``edge`` chips along each side, whose faces end at optical switches.

    Links inside a cube are copper. A slice of several cubes may take any free ones.
    """

    cubes: int
    edge: int = 4


@dataclass(frozen=True, slots=True)
class Fabric:
    """A topology with its rates and delays.

    ``axes`` are the chips along each axis; a switched or fully connected domain has one.
    ``wrap[i]`` says whether axis i closes into a ring. On a nested kind ``axes`` are those of
    ``inner`` followed by those of ``outer``; an outer rate is that of one chip.

    ``link_bandwidth_bytes_per_s`` is per link and direction, and for a switch per chip and
    direction. ``hop_latency_ps`` is one link, or one pass through the switch.
    ``collective_overhead_ps`` is the launch, once a collective; ``endpoint_delay_ps`` is paid by
    each message where it leaves and once where the last one arrives.

    ``reduce_bytes_per_s`` is how fast received data are added to one's own, and 0 where that costs
    nothing; ``copy_bytes_per_s`` how fast a chip copies its own shard between its buffers, 0 where
    it need not. ``in_network_efficiency`` is the share of the link rate when the switch reduces,
    0 where it cannot; it is used from ``in_network_from`` ranks up and has a start-up of its own.
    ``twist[i][j]`` is by how much the closing link of axis i shifts axis j. ``ports`` are the equal
    links behind the one port of a switched chip, ``shared_bytes_per_s`` what all chips together get
    where their messages pass one bridge (PCIe), which is so from ``shared_from`` chips on, ``host``
    the chips of one host along each axis, and ``pod`` the cubes that a slice is cut from where
    optical switches join them. ``engine`` is the serving engine with kernels beside those of the
    library. ``uplinks[b]`` is the rate of each chip of block b on an outer switch whose blocks
    differ; the link bandwidth is the least of them.
    """

    kind: FabricKind
    axes: tuple[int, ...] = (1,)
    wrap: tuple[bool, ...] = (False,)
    link_bandwidth_bytes_per_s: int = 0
    hop_latency_ps: int = 0
    collective_overhead_ps: int = 0
    endpoint_delay_ps: int = 0
    reduce_bytes_per_s: int = 0
    copy_bytes_per_s: int = 0
    in_network_efficiency: float = 0.0
    in_network_from: int = 2
    in_network_startup_ps: int = 0
    protocols: tuple[Protocol, ...] = PLAIN
    twist: tuple[tuple[int, ...], ...] = ()
    ports: int = 1
    shared_bytes_per_s: int = 0
    shared_from: int = 2
    host: tuple[int, ...] = ()
    pod: Pod | None = None
    engine: Engine | None = None
    uplinks: tuple[int, ...] = ()
    inner: Fabric | None = None
    outer: Fabric | None = None

    @property
    def chips(self) -> int:
        """Chips that the fabric joins."""
        return 1 if self.kind == "none" else math.prod(self.axes)

    @property
    def is_grid(self) -> bool:
        """Whether chips are joined to their neighbours along axes."""
        return self.kind in GRIDS

    @property
    def is_switched(self) -> bool:
        """Whether every chip has one port into a switch."""
        return self.kind in SWITCHED


def with_kernels(fabric: Fabric, name: str) -> Fabric:
    """The fabric with the kernels of another of ``hardware.engine_kernels.ENGINES``.

    As it is where it has no engine, or where that one has no rules for its chips.
    """
    from simulator.hardware.engine_kernels import has_rules

    inner = None if fabric.inner is None else with_kernels(fabric.inner, name)
    engine = fabric.engine
    if engine is not None and has_rules(name, engine.capability):
        engine = replace(engine, name=name)
    return replace(fabric, inner=inner, engine=engine)


def with_figures(fabric: Fabric, kernels: AllReduce) -> Fabric:
    """The fabric with these figures of all-reduce kernels, where it has an engine."""
    inner = None if fabric.inner is None else with_figures(fabric.inner, kernels)
    engine = None if fabric.engine is None else replace(fabric.engine, kernels=kernels)
    return replace(fabric, inner=inner, engine=engine)


def nest(kind: FabricKind, inner: Fabric, outer: Fabric) -> Fabric:
    """Equal groups ``inner`` joined by ``outer``; the launch is the slower of the two."""
    return Fabric(
        kind=kind,
        axes=(*inner.axes, *outer.axes),
        wrap=(*inner.wrap, *outer.wrap),
        link_bandwidth_bytes_per_s=inner.link_bandwidth_bytes_per_s,
        hop_latency_ps=inner.hop_latency_ps,
        collective_overhead_ps=max(inner.collective_overhead_ps, outer.collective_overhead_ps),
        endpoint_delay_ps=inner.endpoint_delay_ps,
        reduce_bytes_per_s=inner.reduce_bytes_per_s,
        copy_bytes_per_s=inner.copy_bytes_per_s,
        protocols=inner.protocols,
        inner=inner,
        outer=outer,
    )


def legal_twist(axes: tuple[int, ...]) -> tuple[tuple[int, ...], ...] | None:
    """The twist of a torus whose axes are all k or 2k long, both occurring; None otherwise.

    The closing link of each short axis shifts every long axis by half its length (Camara et al.,
    "Twisted torus topologies for enhanced interconnection networks", 2010; Jouppi et al., ISCA
    2023, section 2.8).
    """
    shortest = min(axes)
    if shortest < 2 or set(axes) != {shortest, 2 * shortest}:
        return None
    return tuple(
        tuple(
            shortest if axes[i] == shortest and axes[j] == 2 * shortest else 0
            for j in range(len(axes))
        )
        for i in range(len(axes))
    )
