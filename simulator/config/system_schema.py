"""Schema of a system file, and the ``System`` that it becomes for a shape."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import model_validator

from simulator.config.fabric_schema import FabricConfig
from simulator.config.fields import (
    Bandwidth,
    Bytes,
    Delay,
    FractionOrZero,
    Name,
    Section,
    user_error,
)
from simulator.config.shapes import TWISTED, Axes, shape_text
from simulator.hardware import Chip, Fabric, System
from simulator.hardware.network import Network


class NetworkConfig(Section):
    """What joins the system to others: one chip's share of its host's network cards."""

    kind: Name
    bandwidth: Bandwidth
    latency: Delay = 0

    def build(self) -> Network:
        """The network's specification."""
        return Network(self.kind, self.bandwidth, self.latency)


class SystemConfig(Section):
    """A system file: a family of slices of one chip."""

    kind: Literal["system"]
    name: Name
    chip: str
    fabric: FabricConfig
    host_overhead: Delay = 0
    hbm_reserve_fraction: FractionOrZero = 0.10
    network: NetworkConfig | None = None
    host_link: Bandwidth | None = None
    host_memory: Bytes | None = None

    @model_validator(mode="after")
    def _leaves_some_hbm(self) -> SystemConfig:
        if self.hbm_reserve_fraction >= 1:
            raise user_error("hbm_reserve_fraction leaves no HBM", "expected less than 1")
        if (self.host_link is None) != (self.host_memory is None):
            raise user_error(
                "host_link and host_memory belong together",
                "expected the bandwidth of a chip to its host, and its share of the host's memory",
            )
        return self

    def build(self, chip: Chip, shape: Axes | None, twisted: bool = False) -> System:
        """The system of a shape; None is one chip without a fabric."""
        axes = shape if shape is not None and math.prod(shape) > 1 else (1,)
        joined = math.prod(axes) > 1
        suffix = TWISTED if twisted else ""
        return System(
            name=self.name if shape is None else f"{self.name}:{shape_text(shape)}{suffix}",
            family=self.name,
            chip=chip,
            fabric=self.fabric.build(self.name, chip, axes, twisted) if joined else Fabric("none"),
            host_overhead_ps=self.host_overhead,
            hbm_reserve_fraction=self.hbm_reserve_fraction,
            network=None if self.network is None else self.network.build(),
            host_link_bytes_per_s=self.host_link or 0,
            host_memory_bytes=self.host_memory or 0,
            shapes=tuple(self.fabric.allowed()),
        )
