"""Schema of a chip file, and the ``Chip`` that it becomes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from simulator.config.fields import (
    Bandwidth,
    Bytes,
    Count,
    Delay,
    Dtype,
    EnergyPj,
    Flag,
    Fraction,
    Frequency,
    Name,
    Note,
    Percent,
    Price,
    Section,
    Watts,
    WattsOrZero,
    user_error,
)
from simulator.config.matrix_schema import MatrixConfig
from simulator.config.sram_schema import SramConfig
from simulator.errors import did_you_mean
from simulator.hardware import (
    Chip,
    Dram,
    Energy,
    FusedKernels,
    LinkPort,
    MatrixUnit,
    Power,
    Validated,
    VectorUnit,
)
from simulator.hardware.fused_kernels import NO_LIMIT_BYTES_PER_S


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


class EnergyConfig(Section):
    """Dynamic energies by event, and the idle power."""

    mac: dict[Dtype, EnergyPj]
    vector_op: EnergyPj
    sram_byte: EnergyPj
    hbm_byte: EnergyPj
    link_byte: EnergyPj
    idle: WattsOrZero
    basis: Note | None = None


class PowerConfig(Section):
    """Board power limit, and energies where they are known."""

    tdp: Watts | None = None
    energy: EnergyConfig | None = None


class ValidatedConfig(Section):
    """A comparison with measurements, as ``chipsim validate`` reports it."""

    operator: Name
    dtype: Dtype
    table: Note
    count: Count
    mape_percent: Percent


class FusedKernelsConfig(Section):
    """Attention and expert kernels of a GPU's software; see ``hardware.FusedKernels``."""

    launch: Delay
    kernel_launch: Delay = 0
    tile_latency: Delay = 0
    sm_bandwidth: Bandwidth = NO_LIMIT_BYTES_PER_S
    matrix_efficiency: Fraction = 1.0
    expert_efficiency: Fraction = 1.0
    stream_efficiency: Fraction = 1.0
    row_tile: Count = 64
    query_tile: Count = 128
    most_splits: Count = 32
    split_group: Count = 1
    window_edges: Count = 1
    eight_bit_rate: Fraction = 1.0
    packs_groups: Flag = True
    quantizes_queries: Flag = False
    carries_absent: Flag = False
    copies_groups: Flag = False
    splits_prompts: Flag = False
    narrow_query_tile: Count | None = None
    softmax_efficiency: Fraction = 1.0
    overlaps_softmax: Flag = False
    scans_sequences: Flag = False
    transposes_values: Flag = False
    expert_launch: Delay | None = None
    expert_row_tile: Count = 128
    narrow_expert_launch: Delay | None = None
    gathers_rows: Flag = False
    tile_of_mean: Flag = False

    def build(self) -> FusedKernels:
        """The kernels' specification."""
        return FusedKernels(
            launch_ps=self.launch,
            kernel_launch_ps=self.kernel_launch,
            tile_latency_ps=self.tile_latency,
            sm_bandwidth_bytes_per_s=self.sm_bandwidth,
            matrix_efficiency=self.matrix_efficiency,
            expert_efficiency=self.expert_efficiency,
            stream_efficiency=self.stream_efficiency,
            row_tile=self.row_tile,
            query_tile=self.query_tile,
            most_splits=self.most_splits,
            split_group=self.split_group,
            window_edges=self.window_edges,
            eight_bit_rate=self.eight_bit_rate,
            packs_groups=self.packs_groups,
            quantizes_queries=self.quantizes_queries,
            carries_absent=self.carries_absent,
            copies_groups=self.copies_groups,
            splits_prompts=self.splits_prompts,
            narrow_query_tile=self.narrow_query_tile,
            softmax_efficiency=self.softmax_efficiency,
            overlaps_softmax=self.overlaps_softmax,
            scans_sequences=self.scans_sequences,
            transposes_values=self.transposes_values,
            expert_launch_ps=self.expert_launch,
            expert_row_tile=self.expert_row_tile,
            narrow_expert_launch_ps=self.narrow_expert_launch,
            gathers_rows=self.gathers_rows,
            tile_of_mean=self.tile_of_mean,
        )


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
    sustained_clock: Fraction = 1.0
    tile_overhead: Delay = 0
    validation: list[ValidatedConfig] = Field(default=[])
    fused_kernels: FusedKernelsConfig | None = None

    @model_validator(mode="after")
    def _fused_kernels_need_multiprocessors(self) -> ChipConfig:
        if self.fused_kernels is not None and self.matrix.kind != "tensor_core":
            raise user_error(
                "fused_kernels describe a GPU's software; this chip has no multiprocessors",
                "expected matrix kind 'tensor_core', or no fused_kernels",
            )
        return self

    @model_validator(mode="after")
    def _energies_cover_the_rates(self) -> ChipConfig:
        energy = self.power.energy
        if energy is not None:
            missing = [dtype for dtype in self.matrix.build().dtypes if dtype not in energy.mac]
            if missing:
                raise user_error(
                    f"power.energy.mac has no energy for {', '.join(missing)}",
                    "every dtype with a rate needs one",
                )
        return self

    def build(self) -> Chip:
        """The chip's specification."""
        matrix: MatrixUnit = self.matrix.build()
        hbm, link = self.hbm, self.link
        return Chip(
            name=self.name,
            clock_hz=self.clock,
            matrix=matrix,
            vector=VectorUnit(self.vector.ops_per_cycle),
            sram=self.sram.build(self.clock),
            hbm=hbm.build(),
            link=LinkPort(link.count, link.bandwidth, link.latency) if link else None,
            operator_overhead_ps=self.operator_overhead,
            power=Power(self.power.tdp, _energy(self.power.energy)),
            price_usd_per_hour=self.price,
            sustained_clock=self.sustained_clock,
            tile_overhead_ps=self.tile_overhead,
            validation=tuple(Validated(**entry.model_dump()) for entry in self.validation),
            fused=self.fused_kernels.build() if self.fused_kernels else None,
        )


def _energy(config: EnergyConfig | None) -> Energy | None:
    if config is None:
        return None
    return Energy(
        mac_pj={str(dtype): energy for dtype, energy in config.mac.items()},
        vector_op_pj=config.vector_op,
        sram_byte_pj=config.sram_byte,
        hbm_byte_pj=config.hbm_byte,
        link_byte_pj=config.link_byte,
        idle_w=config.idle,
        basis=config.basis,
    )
