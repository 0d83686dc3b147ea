"""One chip: matrix unit, vector unit, on-chip memory, HBM, link ports, power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.hardware.fused_kernels import FusedKernels
from simulator.hardware.kernel_libraries import KernelLibraries
from simulator.hardware.matrix_unit import MatrixUnit


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """Elementwise arithmetic of the whole chip, in operations per cycle."""

    ops_per_cycle: int


@dataclass(frozen=True, slots=True)
class Sram:
    """The on-chip memory that feeds the matrix unit (VMEM of a TPU, L2 of a GPU).

    Its capacity is shared out by fixed fractions, so that more of it never makes anything slower:
    ``tile_fraction`` for double-buffered tiles, ``prefetch_fraction`` for weights of the next
    operator, ``activation_fraction`` for activations that stay on chip between operators.

    ``buffers``, where given, splits the tile share into separate memories for the input, the
    weights and the result of a matmul (bytes each, in that order), as in the first TPU; otherwise
    it is unified. ``write_bandwidth_bytes_per_s`` is a write port of its own: reads then have
    ``bandwidth_bytes_per_s`` for themselves, and the slower of the two sets the pace.
    """

    capacity_bytes: int
    bandwidth_bytes_per_s: int
    tile_fraction: float = 0.5
    prefetch_fraction: float = 0.25
    activation_fraction: float = 0.25
    buffers: tuple[int, int, int] | None = None
    write_bandwidth_bytes_per_s: int | None = None


SHORTEST_RUN_BYTES = 64
RUN_CLASSES = 12
"""Lengths of contiguous accesses that are told apart: 64 B, 128 B, ... 128 KiB and longer."""


@dataclass(frozen=True, slots=True)
class Dram:
    """The off-chip memory: a peak bandwidth, a sustained share of it, and a first-word latency.

    Either ``efficiency`` is the one share that every access achieves, or ``run_efficiency`` has
    the share for accesses in contiguous runs of ``SHORTEST_RUN_BYTES`` * 2**i bytes, the last entry
    being that of a stream; it comes from the bank-level model of the ``preset``.
    """

    capacity_bytes: int
    bandwidth_bytes_per_s: int
    latency_ps: int
    efficiency: float = 1.0
    preset: str | None = None
    run_efficiency: tuple[float, ...] = ()

    @property
    def sustained_bytes_per_s(self) -> int:
        """Bandwidth that a stream achieves, rounded down."""
        return self.run_bytes_per_s(RUN_CLASSES - 1)

    def run_bytes_per_s(self, index: int) -> int:
        """Bandwidth of runs of ``SHORTEST_RUN_BYTES`` * 2**index bytes, rounded down."""
        share = self.run_efficiency[index] if self.run_efficiency else self.efficiency
        return int(self.bandwidth_bytes_per_s * share)


@dataclass(frozen=True, slots=True)
class LinkPort:
    """Ports to the chip-to-chip fabric; bandwidth is per link and direction."""

    count: int
    bandwidth_bytes_per_s: int
    latency_ps: int


@dataclass(frozen=True, slots=True)
class Energy:
    """Dynamic energy by event, and what the chip draws when idle.

    ``basis`` says what the figures rest on, where they are not the chip's own.
    """

    mac_pj: Mapping[str, float]
    vector_op_pj: float
    sram_byte_pj: float
    hbm_byte_pj: float
    link_byte_pj: float
    idle_w: float
    basis: str | None = None


@dataclass(frozen=True, slots=True)
class Power:
    """Board power limit, and energies where they are known.

    ``stated`` are single energies of a GPU whose others are those of its power model: the name of a
    field of ``Energy`` (``mac_pj.bf16`` for that of a data type), and the figure.
    """

    tdp_w: float | None = None
    energy: Energy | None = None
    stated: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Validated:
    """How far prices of one operator were off on ``count`` measured rows of ``table``.

    ``chip`` is given where it is not clear from what holds the entry.
    """

    operator: str
    dtype: str
    table: str
    count: int
    mape_percent: float
    chip: str = ""


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip as its data sheet describes it.

    ``clock_hz`` is the clock of the published peak; under load the chip sustains the share
    ``sustained_clock`` of it. ``validation`` lists what its prices were compared with.

    ``operator_overhead_ps`` is paid once by every operator (kernel launch and tail on a GPU,
    instruction dispatch on a TPU), ``tile_overhead_ps`` by every tile of it after the first
    (the step of a software pipeline: semaphores, descriptors, address arithmetic). ``fused`` are
    the attention and expert kernels of a GPU's software; None: nothing but the bounds of the units
    is known of them. ``price_basis`` is what the price of an hour is: a ``rent``, or the cost of
    ``ownership``. ``libraries`` are the kernel libraries of a GPU; None: the usual ones.
    ``overridden``: the chip was compared with measurements, but not as overrides have made it.
    """

    name: str
    clock_hz: int
    matrix: MatrixUnit
    vector: VectorUnit
    sram: Sram
    hbm: Dram
    link: LinkPort | None
    operator_overhead_ps: int = 0
    power: Power = Power()
    price_usd_per_hour: float | None = None
    sustained_clock: float = 1.0
    tile_overhead_ps: int = 0
    validation: tuple[Validated, ...] = ()
    fused: FusedKernels | None = None
    price_basis: str | None = None
    libraries: KernelLibraries | None = None
    overridden: bool = False

    @property
    def sustained_clock_hz(self) -> int:
        """The clock at which the chip works, rounded down."""
        return int(self.clock_hz * self.sustained_clock)

    def peak_flops_per_s(self, dtype: str) -> int:
        """2 flops a multiply-accumulate, all units busy in every cycle."""
        return 2 * self.matrix.macs_per_cycle(dtype) * self.clock_hz
