"""Schema of a chip file, and the ``Chip`` that it becomes."""

from __future__ import annotations

from typing import Annotated, Literal

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
    FractionOrZero,
    Frequency,
    Name,
    Note,
    Percent,
    Price,
    Section,
    Shape,
    Watts,
    WattsOrZero,
    user_error,
)
from simulator.errors import did_you_mean
from simulator.hardware import (
    Chip,
    Dram,
    Energy,
    FusedKernels,
    GpuKernels,
    LinkPort,
    MatrixUnit,
    Power,
    Sram,
    SystolicArray,
    TensorCore,
    Validated,
    VectorUnit,
)
from simulator.hardware.fused_kernels import NO_LIMIT_BYTES_PER_S


def _some_dtype(rates: dict[Dtype, int], key: str) -> None:
    if not rates:
        raise user_error(f"{key} is empty", "expected a rate for at least one of bf16, fp8, int8")


class SystolicConfig(Section):
    """Systolic arrays; ``macs_per_cell`` in multiply-accumulates per cell and cycle."""

    kind: Literal["systolic"]
    rows: Count
    cols: Count
    count: Count
    macs_per_cell: dict[Dtype, Count]
    dataflow: Literal["ws", "os", "is"] = "ws"
    accumulators: Bytes | None = None
    weight_load: Literal["single", "double"] = "single"

    @model_validator(mode="after")
    def _has_a_rate(self) -> SystolicConfig:
        if max(self.rows, self.cols) > 1024:
            raise user_error(
                f"an array of {self.rows}x{self.cols} cells", "expected at most 1024x1024"
            )
        if self.weight_load == "double" and self.dataflow == "os":
            raise user_error(
                "weight_load 'double' needs a stationary operand; dataflow 'os' has none",
                "expected 'single', or dataflow 'ws' or 'is'",
            )
        _some_dtype(self.macs_per_cell, "macs_per_cell")
        return self

    def build(self) -> SystolicArray:
        """The matrix unit's specification."""
        return SystolicArray(
            rows=self.rows,
            cols=self.cols,
            count=self.count,
            macs_per_cell={str(dtype): rate for dtype, rate in self.macs_per_cell.items()},
            dataflow=self.dataflow,
            weight_load=self.weight_load,
            accumulator_bytes=self.accumulators,
        )


class KernelsConfig(Section):
    """How a GPU's matrix kernels run; see ``hardware.GpuKernels``."""

    tile: Delay
    step: Delay
    feed: Bandwidth
    issue_efficiency: Fraction
    split: Delay
    ramp: Delay
    mac_energy: EnergyPj
    persistent: Flag = True
    unsplit: list[Dtype] = Field(default_factory=list)
    l2_partitions: Count = 2
    smallest_tile: Count = 64
    largest_tile: Shape = (128, 256)

    @model_validator(mode="after")
    def _tiles_fit(self) -> KernelsConfig:
        if len(self.largest_tile) != 2:
            shown = "x".join(map(str, self.largest_tile))
            raise user_error(f"tile '{shown}' is not rows x columns", "for example 128x256")
        if self.smallest_tile**2 > self.largest_tile[0] * self.largest_tile[1]:
            raise user_error(
                f"the smallest tile, {self.smallest_tile}x{self.smallest_tile}, has more results "
                f"than the largest",
                "expected smallest_tile x smallest_tile to be at most largest_tile",
            )
        return self

    def build(self) -> GpuKernels:
        """The kernels' specification."""
        return GpuKernels(
            tile_ps=self.tile,
            step_ps=self.step,
            feed_bytes_per_s=self.feed,
            issue_efficiency=self.issue_efficiency,
            split_ps=self.split,
            ramp_ps=self.ramp,
            mac_pj=self.mac_energy,
            persistent=self.persistent,
            unsplit=tuple(str(dtype) for dtype in self.unsplit),
            l2_partitions=self.l2_partitions,
            smallest_tile=self.smallest_tile,
            largest_tile=(self.largest_tile[0], self.largest_tile[1]),
        )


class TensorCoreConfig(Section):
    """Multiprocessors with tensor cores; ``tiles`` are shapes such as ``128x256``.

    ``kernels`` takes the place of ``tiles`` where it is known how the chip's kernels run.
    """

    kind: Literal["tensor_core"]
    count: Count
    macs_per_sm: dict[Dtype, Count]
    tiles: tuple[Shape, ...] = ()
    tile_k: Count = 64
    kernels: KernelsConfig | None = None

    @model_validator(mode="after")
    def _has_rates_and_tiles(self) -> TensorCoreConfig:
        _some_dtype(self.macs_per_sm, "macs_per_sm")
        if not self.tiles and self.kernels is None:
            raise user_error(
                "tiles is empty", "expected at least one tile such as 128x128, or kernels"
            )
        for tile in self.tiles:
            if len(tile) != 2:
                shown = "x".join(map(str, tile))
                raise user_error(f"tile '{shown}' is not rows x columns", "for example 128x256")
        return self

    def build(self) -> TensorCore:
        """The matrix unit's specification."""
        return TensorCore(
            count=self.count,
            macs_per_sm={str(dtype): rate for dtype, rate in self.macs_per_sm.items()},
            tiles=tuple((tile[0], tile[1]) for tile in self.tiles),
            tile_k=self.tile_k,
            kernels=None if self.kernels is None else self.kernels.build(),
        )


MatrixConfig = Annotated[SystolicConfig | TensorCoreConfig, Field(discriminator="kind")]


class VectorConfig(Section):
    """The vector unit of the whole chip."""

    ops_per_cycle: Count


class BuffersConfig(Section):
    """Separate memories for the operands of a matmul, in place of a unified tile share."""

    input: Bytes
    weights: Bytes
    result: Bytes


class BanksConfig(Section):
    """Banks that work side by side: bandwidth = count x ports x width x clock.

    Tiles are laid out across all banks, so none conflicts with another.
    """

    count: Count
    ports: Count = 1
    width: Bytes


class SramConfig(Section):
    """On-chip memory and how it is shared out; see ``hardware.Sram``."""

    capacity: Bytes
    bandwidth: Bandwidth | None = None
    banks: BanksConfig | None = None
    write_bandwidth: Bandwidth | None = None
    buffers: BuffersConfig | None = None
    tile_fraction: Fraction = 0.5
    prefetch_fraction: FractionOrZero = 0.25
    activation_fraction: FractionOrZero = 0.25

    @model_validator(mode="after")
    def _shares_fit(self) -> SramConfig:
        total = self.tile_fraction + self.prefetch_fraction + self.activation_fraction
        if total > 1 + 1e-9:
            raise user_error(
                f"the fractions of the SRAM sum to {total:g}",
                "tile_fraction + prefetch_fraction + activation_fraction must not exceed 1",
            )
        if (self.bandwidth is None) == (self.banks is None):
            raise user_error(
                "sram needs either 'bandwidth' or 'banks'",
                "banks: {count: 32, ports: 1, width: 64 B} gives count x ports x width a cycle",
            )
        if self.buffers is not None:
            split = self.buffers.input + self.buffers.weights + self.buffers.result
            if split > self.capacity * self.tile_fraction:
                raise user_error(
                    f"the buffers take {split} B",
                    f"expected at most the tile share, {int(self.capacity * self.tile_fraction)} B",
                )
        return self

    def build(self, clock_hz: int) -> Sram:
        """The memory's specification on a chip of this clock."""
        bandwidth = self.bandwidth
        if self.banks is not None:
            bandwidth = self.banks.count * self.banks.ports * self.banks.width * clock_hz
        split = self.buffers
        return Sram(
            capacity_bytes=self.capacity,
            bandwidth_bytes_per_s=bandwidth or 0,
            tile_fraction=self.tile_fraction,
            prefetch_fraction=self.prefetch_fraction,
            activation_fraction=self.activation_fraction,
            buffers=None if split is None else (split.input, split.weights, split.result),
            write_bandwidth_bytes_per_s=self.write_bandwidth,
        )


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
            from simulator.config.dram_schema import load_memory

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
    )
