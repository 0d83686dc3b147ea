"""Schema of a system file's ``fabric`` section, and the ``Fabric`` that it becomes for a shape."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from simulator.config.fields import (
    Bandwidth,
    Count,
    CountOrZero,
    Delay,
    Fraction,
    FractionOrZero,
    Section,
    Shape,
    user_error,
)
from simulator.config.shapes import Axes, cubes, ports_needed, shape_text, wraps
from simulator.errors import InputError, did_you_mean
from simulator.hardware import Chip, Fabric
from simulator.hardware.engine_kernels import ENGINES
from simulator.hardware.fabric import PLAIN, Engine, Pod, Protocol, legal_twist, nest

Kind = Literal["none", "ring", "torus", "mesh", "wafer-mesh", "fully-connected", "switch", "pcie"]
Algorithm = Literal[
    "ring", "bidirectional-ring", "multi-axis", "halving-doubling", "tree", "direct", "in-network"
]
GRIDS = ("ring", "torus", "mesh", "wafer-mesh")


class CubesConfig(Section):
    """Shapes made of whole cubes of chips; ``pod`` cubes can be joined by optical switches."""

    edge: Count
    largest: Shape
    max_chips: Count
    pod: Count | None = None

    @model_validator(mode="after")
    def _can_be_listed(self) -> CubesConfig:
        if math.prod(axis // self.edge for axis in self.largest) > 2**16:
            raise user_error("there are too many shapes", "expected a larger edge or smaller axes")
        if self.pod is not None and self.pod * self.edge ** len(self.largest) < self.max_chips:
            raise user_error("max_chips is more than the cubes of the pod", "expected no more")
        return self


class ProtocolConfig(Section):
    """A protocol of the collective library; see ``hardware.fabric.Protocol``."""

    startup: Delay = 0
    step_latency: Delay = 0
    efficiency: Fraction = 1.0
    peer_bandwidth: Bandwidth | None = None
    fill: Delay = 0
    algorithms: list[Algorithm] = Field(default_factory=list)

    def build(self, name: str) -> Protocol:
        """The protocol's specification."""
        return Protocol(
            name,
            self.startup,
            self.step_latency,
            self.efficiency,
            self.peer_bandwidth or 0,
            tuple(self.algorithms),
            self.fill,
        )


class ProtocolsConfig(Section):
    """The protocols that a library chooses from, such as NCCL's LL, LL128 and Simple."""

    low_latency: ProtocolConfig | None = None
    medium: ProtocolConfig | None = None
    bandwidth: ProtocolConfig | None = None

    def build(self) -> tuple[Protocol, ...]:
        """Those that are given; one that adds nothing to the fabric where none is."""
        named = (
            ("low-latency", self.low_latency),
            ("medium", self.medium),
            ("bandwidth", self.bandwidth),
        )
        return tuple(config.build(name) for name, config in named if config is not None) or PLAIN


class EngineConfig(Section):
    """The serving engine with all-reduce kernels of its own; see ``hardware.fabric.Engine``.

    ``efficiency`` is that of the library's bandwidth protocol where it is not given, ``copy``
    half of the chip's memory bandwidth, as every byte is read and written.
    """

    name: str
    capability: str
    launch: Delay
    efficiency: Fraction | None = None
    copy_bandwidth: Bandwidth | None = None

    @model_validator(mode="after")
    def _has_rules(self) -> EngineConfig:
        if self.name not in ENGINES:
            raise user_error(
                f"unknown engine '{self.name[:40]}'", did_you_mean(self.name, tuple(ENGINES))
            )
        levels = sorted({level for level, _ in ENGINES[self.name]}, key=float)
        if self.capability not in levels:
            raise user_error(
                f"'{self.name}' has no kernels for compute capability '{self.capability[:40]}'",
                f"it has some for {', '.join(levels)}",
            )
        return self

    def build(self, bandwidth: float, memory_bytes_per_s: int) -> Engine:
        """The engine's specification."""
        return Engine(
            name=self.name,
            capability=self.capability,
            launch_ps=self.launch,
            efficiency=self.efficiency or bandwidth,
            copy_bytes_per_s=self.copy_bandwidth or max(1, memory_bytes_per_s // 2),
        )


class OuterConfig(Section):
    """What joins up to ``groups`` slices of shape ``of``; ``bandwidth`` is that of one chip.

    ``uplinks`` are the rates of a chip in blocks whose uplinks were replaced, by block number.
    """

    kind: Literal["switch", "fully-connected"] = "switch"
    of: Shape
    groups: Count
    bandwidth: Bandwidth
    latency: Delay
    collective_overhead: Delay = 0
    efficiency: Fraction = 1.0
    uplinks: dict[CountOrZero, Bandwidth] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _joins_some(self) -> OuterConfig:
        if not 2 <= self.groups <= 4096:
            raise user_error(f"outer joins {self.groups} groups", "expected 2 to 4096")
        for block in self.uplinks:
            if block >= self.groups:
                raise user_error(
                    f"uplinks: there is no block {block}", f"expected 0 to {self.groups - 1}"
                )
        if self.uplinks and self.kind != "switch":
            raise user_error(f"uplinks belong to a switch, not to kind '{self.kind}'")
        return self

    def build(self, groups: int) -> Fabric:
        """The outer fabric of a number of groups."""
        protocol = Protocol("network", efficiency=self.efficiency)
        # fully connected groups share a chip's links to the others among all of them
        own = self.bandwidth if self.kind == "switch" else max(1, self.bandwidth // (groups - 1))
        rates = tuple(self.uplinks.get(block, own) for block in range(groups))
        return Fabric(
            kind=self.kind,
            axes=(groups,),
            link_bandwidth_bytes_per_s=min(rates),
            uplinks=rates if self.uplinks else (),
            hop_latency_ps=self.latency,
            collective_overhead_ps=self.collective_overhead,
            protocols=(protocol,),
        )


class FabricConfig(Section):
    """The fabric of a family, and the shapes that it comes in.

    ``link_bandwidth`` is per link and direction in a grid or a fully connected domain, per chip
    and direction on a switch; it and ``hop_latency`` default to the chip's link ports.
    ``shared_bandwidth`` is what all cards of a PCIe system together get, from ``shared_from`` on.
    """

    kind: Kind
    shapes: list[Shape] = Field(default_factory=list)
    cubes: CubesConfig | None = None
    wrap_axis_of: Count | None = None
    wrap_multiple_of: Count | None = None
    host: Shape | None = None
    link_bandwidth: Bandwidth | None = None
    hop_latency: Delay | None = None
    collective_overhead: Delay = 0
    reduce_bandwidth: Bandwidth | None = None
    copy_bandwidth: Bandwidth | None = None
    shared_bandwidth: Bandwidth | None = None
    shared_from: Count = 2
    in_network_efficiency: FractionOrZero = 0.0
    in_network_from: Count = 2
    in_network_startup: Delay = 0
    protocols: ProtocolsConfig = ProtocolsConfig()
    engine: EngineConfig | None = None
    outer: OuterConfig | None = None

    @model_validator(mode="after")
    def _engine_reads_through_a_switch(self) -> FabricConfig:
        if self.engine is not None and self.kind not in ("switch", "fully-connected"):
            raise user_error(f"'engine' belongs to a switch, not to kind '{self.kind}'")
        return self

    @model_validator(mode="after")
    def _slots_share_a_bridge(self) -> FabricConfig:
        if self.shared_bandwidth is not None and self.kind != "pcie":
            raise user_error(f"'shared_bandwidth' belongs to pcie, not to kind '{self.kind}'")
        return self

    @model_validator(mode="after")
    def _shapes_fit_the_kind(self) -> FabricConfig:
        if self.kind == "none" and self.allowed():
            raise user_error("a fabric of kind 'none' has no shapes")
        if self.kind != "none" and not self.allowed():
            raise user_error(f"a {self.kind} needs shapes", "expected 'shapes:' or 'cubes:'")
        if self.kind != "torus":
            for key in ("cubes", "wrap_axis_of", "wrap_multiple_of"):
                if getattr(self, key) is not None:
                    raise user_error(f"'{key}' belongs to a torus, not to kind '{self.kind}'")
        for shape in self.shapes:
            if self.kind not in GRIDS and len(shape) != 1:
                raise user_error(
                    f"'{shape_text(shape)}' is not a number of chips", f"a {self.kind} has no axes"
                )
        return self

    @model_validator(mode="after")
    def _groups_are_slices(self) -> FabricConfig:
        if self.outer is not None and self.outer.of not in self.slices():
            raise user_error(f"outer.of: there is no shape '{shape_text(self.outer.of)}'")
        return self

    def slices(self) -> list[Axes]:
        """Shapes of one level, the listed ones first."""
        if self.cubes is None:
            return list(self.shapes)
        block = self.cubes
        return [*self.shapes, *cubes(block.edge, block.largest, block.max_chips)]

    def allowed(self) -> list[Axes]:
        """Every shape of the family; behind the slices those of several groups."""
        if self.outer is None:
            return self.slices()
        groups = range(2, self.outer.groups + 1)
        return [*self.slices(), *((*self.outer.of, count) for count in groups)]

    def build(self, family: str, chip: Chip, axes: Axes, twisted: bool) -> Fabric:
        """The fabric of a shape.

        Raises:
            InputError: the chip has too few links, or the shape cannot be twisted.
        """
        if self.outer is not None and axes not in self.slices():
            inner = self._level(family, chip, self.outer.of, False)
            direct = self.kind == self.outer.kind == "fully-connected"
            return nest("dragonfly" if direct else "hierarchy", inner, self.outer.build(axes[-1]))
        return self._level(family, chip, axes, twisted)

    def _level(self, family: str, chip: Chip, axes: Axes, twisted: bool) -> Fabric:
        link = chip.link
        if link is None:
            raise InputError(
                f"chip '{chip.name}' has no link ports, so system '{family}' cannot join "
                f"{math.prod(axes)} of them",
                hint="add a 'link:' section to the chip",
            )
        grid = self.kind in GRIDS
        needed = ports_needed(axes) if grid else 1
        if self.kind == "fully-connected":
            needed = axes[0] - 1
        if needed > link.count:
            raise InputError(
                f"shape {shape_text(axes)} needs {needed} links a chip, but chip "
                f"'{chip.name}' has {link.count}"
            )
        shared = self.kind in ("switch", "pcie")
        wrap = self._wraps(axes)
        twist = legal_twist(axes) if twisted and all(wrap) else None
        if twisted and twist is None:
            raise InputError(
                f"shape {shape_text(axes)} cannot be twisted",
                hint="all axes have to be k or 2k long, both have to occur, and all have to close",
            )
        return Fabric(
            kind="twisted-torus" if twist else self.kind,
            axes=axes,
            wrap=wrap,
            link_bandwidth_bytes_per_s=self.link_bandwidth
            or link.bandwidth_bytes_per_s * (link.count if shared else 1),
            hop_latency_ps=link.latency_ps if self.hop_latency is None else self.hop_latency,
            collective_overhead_ps=self.collective_overhead,
            reduce_bytes_per_s=self.reduce_bandwidth or 0,
            copy_bytes_per_s=self.copy_bandwidth or 0,
            in_network_efficiency=self.in_network_efficiency,
            in_network_from=self.in_network_from,
            in_network_startup_ps=self.in_network_startup,
            protocols=(protocols := self.protocols.build()),
            engine=self._engine(chip, protocols),
            twist=twist or (),
            ports=link.count if shared else 1,
            shared_bytes_per_s=self.shared_bandwidth or 0,
            shared_from=self.shared_from,
            host=self.host or (),
            pod=self._pod(),
        )

    def _engine(self, chip: Chip, protocols: tuple[Protocol, ...]) -> Engine | None:
        if self.engine is None:
            return None
        return self.engine.build(protocols[-1].efficiency, chip.hbm.bandwidth_bytes_per_s)

    def _wraps(self, axes: Axes) -> tuple[bool, ...]:
        if self.kind == "ring":
            return tuple(axis > 2 for axis in axes)
        if self.kind != "torus":
            return (False,) * len(axes)
        return wraps(axes, self.wrap_axis_of, self.wrap_multiple_of)

    def _pod(self) -> Pod | None:
        if self.cubes is None or self.cubes.pod is None:
            return None
        return Pod(self.cubes.pod, self.cubes.edge)
