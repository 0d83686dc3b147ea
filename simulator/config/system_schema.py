"""Schema of a system file, and the ``System`` that it becomes for a shape."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from simulator.config.fields import (
    Bandwidth,
    Count,
    FractionOrZero,
    Latency,
    Name,
    Section,
    Shape,
    user_error,
)
from simulator.config.shapes import Axes, cubes, ports_needed, shape_text, wraps
from simulator.errors import InputError
from simulator.hardware import Chip, Fabric, System


class CubesConfig(Section):
    """Shapes made of whole cubes of chips."""

    edge: Count
    largest: Shape
    max_chips: Count

    @model_validator(mode="after")
    def _can_be_listed(self) -> CubesConfig:
        if math.prod(axis // self.edge for axis in self.largest) > 2**16:
            raise user_error("there are too many shapes", "expected a larger edge or smaller axes")
        return self


class FabricConfig(Section):
    """The fabric of a family, and the shapes that it comes in.

    ``link_bandwidth`` is per link and direction on a torus, per chip and direction on a switch;
    it and ``hop_latency`` default to the chip's link ports.
    """

    kind: Literal["none", "torus", "switch"]
    shapes: list[Shape] = Field(default_factory=list)
    cubes: CubesConfig | None = None
    wrap_axis_of: Count | None = None
    wrap_multiple_of: Count | None = None
    link_bandwidth: Bandwidth | None = None
    hop_latency: Latency | None = None
    collective_overhead: Latency = 0

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
            if self.kind == "switch" and len(shape) != 1:
                raise user_error(
                    f"'{shape_text(shape)}' is not a number of chips", "a switch has no axes"
                )
        return self

    def allowed(self) -> list[Axes]:
        """Every shape of the family, the listed ones first."""
        if self.cubes is None:
            return list(self.shapes)
        block = self.cubes
        return [*self.shapes, *cubes(block.edge, block.largest, block.max_chips)]


class SystemConfig(Section):
    """A system file: a family of slices of one chip."""

    kind: Literal["system"]
    name: Name
    chip: str
    fabric: FabricConfig
    host_overhead: Latency = 0
    hbm_reserve_fraction: FractionOrZero = 0.10

    @model_validator(mode="after")
    def _leaves_some_hbm(self) -> SystemConfig:
        if self.hbm_reserve_fraction >= 1:
            raise user_error("hbm_reserve_fraction leaves no HBM", "expected less than 1")
        return self

    def build(self, chip: Chip, shape: Axes | None) -> System:
        """The system of a shape; None is one chip without a fabric."""
        axes = shape if shape is not None and math.prod(shape) > 1 else (1,)
        return System(
            name=self.name if shape is None else f"{self.name}:{shape_text(shape)}",
            family=self.name,
            chip=chip,
            fabric=self._fabric(chip, axes) if math.prod(axes) > 1 else Fabric("none"),
            host_overhead_ps=self.host_overhead,
            hbm_reserve_fraction=self.hbm_reserve_fraction,
        )

    def _fabric(self, chip: Chip, axes: Axes) -> Fabric:
        fabric, link = self.fabric, chip.link
        if link is None:
            raise InputError(
                f"chip '{chip.name}' has no link ports, so system '{self.name}' cannot join "
                f"{math.prod(axes)} of them",
                hint="add a 'link:' section to the chip",
            )
        torus = fabric.kind == "torus"
        if torus and ports_needed(axes) > link.count:
            raise InputError(
                f"shape {shape_text(axes)} needs {ports_needed(axes)} links a chip, but chip "
                f"'{chip.name}' has {link.count}"
            )
        per_chip = link.bandwidth_bytes_per_s * (1 if torus else link.count)
        wrap = wraps(axes, fabric.wrap_axis_of, fabric.wrap_multiple_of)
        return Fabric(
            kind=fabric.kind,
            axes=axes,
            wrap=wrap if torus else (False,),
            link_bandwidth_bytes_per_s=fabric.link_bandwidth or per_chip,
            hop_latency_ps=link.latency_ps if fabric.hop_latency is None else fabric.hop_latency,
            collective_overhead_ps=fabric.collective_overhead,
        )
