"""Schema of a chip file, and the ``Chip`` that it becomes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from simulator.config.attention_schema import EightBitCacheConfig
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
    RowTile,
    Section,
    Watts,
    WattsOrZero,
    user_error,
)
from simulator.config.library_schema import LibraryName
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
from simulator.hardware.fused_kernels import DECODE_ROWS, NO_LIMIT_BYTES_PER_S


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
    """Dynamic energies by event, and the idle power.

    All of them, but for a GPU with ``kernels`` and a power limit: what is not stated there is that
    of its power model.
    """

    mac: dict[Dtype, EnergyPj] = Field(default={})
    vector_op: EnergyPj | None = None
    sram_byte: EnergyPj | None = None
    hbm_byte: EnergyPj | None = None
    link_byte: EnergyPj | None = None
    idle: WattsOrZero | None = None
    basis: Note | None = None

    def missing(self) -> list[str]:
        """Keys of energies that are not stated."""
        keys = ("vector_op", "sram_byte", "hbm_byte", "link_byte", "idle")
        absent = [key for key in keys if getattr(self, key) is None]
        return absent if self.mac else ["mac", *absent]

    def stated(self) -> tuple[tuple[str, float], ...]:
        """What is stated, as ``hardware.Power`` has it."""
        pairs = (
            *((f"mac_pj.{dtype}", energy) for dtype, energy in self.mac.items()),
            ("vector_op_pj", self.vector_op),
            ("sram_byte_pj", self.sram_byte),
            ("hbm_byte_pj", self.hbm_byte),
            ("link_byte_pj", self.link_byte),
            ("idle_w", self.idle),
        )
        return tuple((name, energy) for name, energy in pairs if energy is not None)


class PowerConfig(Section):
    """Board power limit, and energies where they are known."""

    tdp: Watts | None = None
    energy: EnergyConfig | None = None


class ValidatedConfig(Section):
    """A comparison with measurements, as ``chipsim validate`` reports it."""

    operator: Name
    dtype: Dtype | Literal["nvfp4"]
    table: Note
    count: Count
    mape_percent: Percent


class FusedKernelsConfig(Section):
    """Attention and expert kernels of a GPU's software; see ``hardware.FusedKernels``."""

    launch: Delay
    kernel_launch: Delay | None = None
    tile_latency: Delay = 0
    sm_bandwidth: Bandwidth = NO_LIMIT_BYTES_PER_S
    matrix_efficiency: Fraction = 1.0
    expert_efficiency: Fraction = 1.0
    stream_efficiency: Fraction = 1.0
    row_tile: RowTile = DECODE_ROWS
    query_tile: Count = 128
    most_splits: Count = 32
    split_group: Count = 1
    window_edges: Count = 1
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
    generic_eight_bit: Flag = False
    cache_arithmetic: list[Dtype] = Field(default=[])
    regroups_windows: Flag = True
    fits_tiles: Flag = False
    always_joins: Flag = False
    splits_latent: Flag = True
    block_elements: Count | None = None
    eight_bit_cache: EightBitCacheConfig = EightBitCacheConfig()

    def build(self, matmul_launch_ps: int) -> FusedKernels:
        """The kernels' specification; a further kernel takes what a matmul's launch does,
        ``matmul_launch_ps``, unless the file says what it takes."""
        further = self.kernel_launch
        return FusedKernels(
            launch_ps=self.launch,
            kernel_launch_ps=matmul_launch_ps if further is None else further,
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
            generic_eight_bit=self.generic_eight_bit,
            cache_arithmetic=tuple(str(dtype) for dtype in self.cache_arithmetic),
            regroups_windows=self.regroups_windows,
            fits_tiles=self.fits_tiles,
            always_joins=self.always_joins,
            splits_latent=self.splits_latent,
            block_elements=self.block_elements,
            eight_bit_cache=self.eight_bit_cache.figures(),
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

    def _power(self) -> Power:
        energy = self.power.energy
        if energy is None:
            return Power(self.power.tdp)
        dtypes = self.matrix.build().rates
        if not energy.missing() and all(dtype in energy.mac for dtype in dtypes):
            return Power(self.power.tdp, _energy(energy))
        return Power(self.power.tdp, stated=energy.stated())

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
            power=self._power(),
            price_usd_per_hour=self.price,
            price_basis=self.price_basis,
            sustained_clock=self.sustained_clock,
            tile_overhead_ps=self.tile_overhead,
            validation=tuple(Validated(**entry.model_dump()) for entry in self.validation),
            fused=fused.build(launch_ps) if fused else None,
        )


def _energy(config: EnergyConfig) -> Energy:
    """All energies of a chip that states all of them."""
    single = {name: value for name, value in config.stated() if "." not in name}
    macs = {str(dtype): energy for dtype, energy in config.mac.items()}
    return Energy(mac_pj=macs, basis=config.basis, **single)


def _missing_keys(section: tuple[str, ...], keys: list[str]) -> ValidationError:
    """Keys that a section needs on this chip, as faults at the place of the section."""
    lines = [InitErrorDetails(type="missing", loc=(*section, key), input={}) for key in keys]
    return ValidationError.from_exception_data("chip", lines)
