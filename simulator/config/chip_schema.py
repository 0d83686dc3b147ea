"""Schema of a chip file, and the ``Chip`` that it becomes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from simulator.config.fields import (
    Bandwidth,
    Bytes,
    Count,
    Delay,
    Dtype,
    Fraction,
    Frequency,
    Name,
    Note,
    Percent,
    Price,
    Section,
    user_error,
)
from simulator.config.fused_schema import FusedKernelsConfig
from simulator.config.library_schema import LibraryName
from simulator.config.matrix_schema import MatrixConfig
from simulator.config.power_schema import PowerConfig
from simulator.config.sram_schema import SramConfig
from simulator.errors import did_you_mean
from simulator.hardware import (
    Chip,
    Dram,
    LinkPort,
    MatrixUnit,
    Validated,
    VectorUnit,
)


class VectorConfig(Section):
    """The vector unit of the whole chip."""

    ops_per_cycle: Count


class HbmConfig(Section):
    """Off-chip memory.

    Either ``efficiency``, the sustained share of the peak bandwidth, or ``dram``, the preset of
    the bank-level model that gives the share for each length of access.
    """

    capacity: Bytes
    bandwidth: Bandwidth
    latency: Delay
    efficiency: Fraction | None = None
    dram: str | None = None

    @model_validator(mode="after")
    def _one_model(self) -> HbmConfig:
        if self.dram is None:
            return self
        if self.efficiency is not None:
            raise user_error(
                "hbm has both 'efficiency' and 'dram'",
                "the bank-level model of a DRAM preset already contains the efficiency: "
                "expected one of the two",
            )
        from simulator.config.dram_schema import list_memories

        known = list_memories()
        if self.dram not in known:
            raise user_error(f"unknown memory '{self.dram}'", did_you_mean(self.dram, known))
        return self

    def build(self) -> Dram:
        """The memory's specification.

        ``timing.hbm`` simulates what a preset achieves where its file does not say it.
        """
        shares: tuple[float, ...] = ()
        if self.dram is not None:
            from simulator.config.loader import load_memory

            shares = load_memory(self.dram).run_efficiency
        return Dram(
            capacity_bytes=self.capacity,
            bandwidth_bytes_per_s=self.bandwidth,
            latency_ps=self.latency,
            efficiency=1.0 if self.efficiency is None else self.efficiency,
            preset=self.dram,
            run_efficiency=shares,
        )


class LinkConfig(Section):
    """Ports to other chips; bandwidth is per link and direction."""

    count: Count
    bandwidth: Bandwidth
    latency: Delay


class ValidatedConfig(Section):
    """A comparison with measurements, as ``chipsim validate`` reports it."""

    operator: Name
    dtype: Dtype | Literal["nvfp4"]
    table: Note
    count: Count
    mape_percent: Percent


class ChipConfig(Section):
    """A chip file."""

    kind: Literal["chip"]
    name: Name
    clock: Frequency
    matrix: MatrixConfig
    vector: VectorConfig
    sram: SramConfig
    hbm: HbmConfig
    link: LinkConfig | None = None
    operator_overhead: Delay = 0
    power: PowerConfig = PowerConfig()
    price: Price | None = None
    price_basis: Literal["rent", "ownership"] | None = None
    sustained_clock: Fraction = 1.0
    tile_overhead: Delay = 0
    validation: list[ValidatedConfig] = Field(default=[])
    fused_kernels: FusedKernelsConfig | None = None
    libraries: dict[LibraryName, str] = Field(default={})

    @model_validator(mode="after")
    def _fused_kernels_need_multiprocessors(self) -> ChipConfig:
        if self.fused_kernels is not None and self.matrix.kind != "tensor_core":
            raise user_error(
                "fused_kernels describe a GPU's software; this chip has no multiprocessors",
                "expected matrix kind 'tensor_core', or no fused_kernels",
            )
        return self

    @model_validator(mode="after")
    def _basis_is_of_a_price(self) -> ChipConfig:
        if self.price_basis is not None and self.price is None:
            raise user_error("price_basis without a price", "expected price: 2 $/h beside it")
        return self

    @model_validator(mode="after")
    def _libraries_need_multiprocessors(self) -> ChipConfig:
        if self.libraries and self.matrix.kind != "tensor_core":
            raise user_error(
                "libraries are a GPU's software; this chip has no multiprocessors",
                "expected matrix kind 'tensor_core', or no libraries",
            )
        return self

    @model_validator(mode="after")
    def _energies_cover_the_rates(self) -> ChipConfig:
        energy = self.power.energy
        if energy is not None and not self._has_power_model():
            if absent := energy.missing():
                raise _missing_keys(("power", "energy"), absent)
            missing = [dtype for dtype in self.matrix.build().rates if dtype not in energy.mac]
            if missing:
                raise user_error(
                    f"power.energy.mac has no energy for {', '.join(missing)}",
                    "every dtype with a rate needs one",
                )
        return self

    def _has_power_model(self) -> bool:
        """Whether ``timing.energy`` knows energies of this chip without being told."""
        matrix = self.matrix
        gpu = matrix.kind == "tensor_core" and matrix.kernels is not None
        return gpu and self.power.tdp is not None

    def build(self) -> Chip:
        """The chip's specification."""
        matrix: MatrixUnit = self.matrix.build()
        hbm, link, fused = self.hbm, self.link, self.fused_kernels
        launch_ps = self.operator_overhead + hbm.latency
        return Chip(
            name=self.name,
            clock_hz=self.clock,
            matrix=matrix,
            vector=VectorUnit(self.vector.ops_per_cycle),
            sram=self.sram.build(self.clock),
            hbm=hbm.build(),
            link=LinkPort(link.count, link.bandwidth, link.latency) if link else None,
            operator_overhead_ps=self.operator_overhead,
            power=self.power.build(matrix.rates),
            price_usd_per_hour=self.price,
            price_basis=self.price_basis,
            sustained_clock=self.sustained_clock,
            tile_overhead_ps=self.tile_overhead,
            validation=tuple(Validated(**entry.model_dump()) for entry in self.validation),
            fused=fused.build(launch_ps) if fused else None,
        )


def _missing_keys(section: tuple[str, ...], keys: list[str]) -> ValidationError:
    """Keys that a section needs on this chip, as faults at the place of the section."""
    lines = [InitErrorDetails(type="missing", loc=(*section, key), input={}) for key in keys]
    return ValidationError.from_exception_data("chip", lines)
