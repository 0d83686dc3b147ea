"""What a priced operator and a priced step consist of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.hardware import ServingEngine, Validated
from simulator.mapping.overheads import Overhead

UNITS = ("matrix", "vector", "hbm", "sram", "fabric")
"""The units whose busy time is kept, in the order of every array of busy times."""

CAUSES = ("matrix", "vector", "hbm", "sram", "fabric", "latency", "host", "bubble")
"""What a span of time can be bound by; ``latency`` is pipeline fill, drain, first-word latency
and operator overhead, ``host`` the overhead that the host adds to an iteration, ``bubble`` the wait
for the other stages of a pipeline."""


@dataclass(frozen=True, slots=True)
class MatmulTiming:
    """The price of C[m,n] = A[m,k] B[k,n] with operands and result in HBM.

    ``cycles`` = ``compute_cycles`` + ``stall_cycles``. ``tile`` is the block of (m, k, n) that is
    held on chip; ``runner_up`` the next best (cycles, tile m, k, n, loop order) or None.
    ``busy_cycles`` is by unit; ``limits_cycles`` are the lower bounds that the price is held
    against: ``peak`` = flops over peak rate, ``hbm`` = bytes over bandwidth, ``sram`` likewise.
    """

    chip: str
    m: int
    k: int
    n: int
    dtype: str
    clock_hz: int
    cycles: int
    compute_cycles: int
    time_s: float
    bound_by: str
    tile: tuple[int, int, int] | None
    loop_order: str
    hbm_read_bytes: int
    hbm_write_bytes: int
    sram_bytes: int
    flops: int
    busy_cycles: dict[str, int]
    utilization: float
    limits_cycles: dict[str, int]
    runner_up: tuple[int, int, int, int, str] | None = None

    @property
    def stall_cycles(self) -> int:
        """Cycles in which the matrix unit did not work on this operator."""
        return self.cycles - self.compute_cycles

    @property
    def hbm_bytes(self) -> int:
        """Bytes read from and written to HBM."""
        return self.hbm_read_bytes + self.hbm_write_bytes


@dataclass(frozen=True, slots=True)
class CopyTiming:
    """The price of a copy inside HBM: ``size_bytes`` are read and as many written.

    ``bandwidth_bytes_per_s`` counts both directions, as memory benchmarks do.
    """

    chip: str
    size_bytes: int
    cycles: int
    clock_hz: int
    time_s: float
    bound_by: str
    hbm_read_bytes: int
    hbm_write_bytes: int
    bandwidth_bytes_per_s: float
    hbm_utilization: float


@dataclass(frozen=True, slots=True)
class OperatorSpan:
    """One operator of a step on one chip, as the executor placed it.

    ``busy_ps`` has one entry for each of ``UNITS``, between start and end. Weights that were
    fetched ahead kept HBM busy for ``fetch_ps`` from ``fetch_start_ps`` on, before the start.
    ``detail`` says in a few words which shape was priced, such as ``64x4096x6144``.
    """

    name: str
    kind: str
    detail: str
    start_ps: int
    end_ps: int
    busy_ps: tuple[int, ...]
    bound_by: str
    flops: int
    hbm_read_bytes: int
    hbm_write_bytes: int
    fabric_bytes: int
    fetch_bytes: int
    fetch_start_ps: int
    fetch_ps: int

    @property
    def duration_ps(self) -> int:
        """End minus start."""
        return self.end_ps - self.start_ps


@dataclass(frozen=True, slots=True)
class CollectiveShare:
    """One collective of a step, summed over the layers of a chip of the slowest stage.

    ``size_bytes`` is the buffer of one call, ``count`` the calls; ``exposed_ps`` is what of
    ``time_ps`` nothing else of the chip was done in.
    """

    name: str
    op: str
    size_bytes: int
    ranks: int
    count: int
    time_ps: int
    exposed_ps: int


@dataclass(frozen=True, slots=True)
class StepTiming:
    """One iteration on one replica.

    ``time_ps`` includes the host's overhead, which comes after the last operator. ``flops`` and
    ``min_bytes`` (weights and KV cache read once) are of the whole system, for MFU and MBU;
    ``traffic_bytes`` is what all chips of the system moved, ``memory_bytes`` what each holds.
    ``overheads`` lists what the layout computes more than once.
    ``operators`` are those of one micro-batch in the slowest stage. ``tokens`` counts accepted
    drafts as far as they are expected. ``accuracy`` lists the measurements that prices of this
    chip were compared with, ``unvalidated`` what nobody compared (chip, operator), ``overridden``
    the chips that were, but not with these overrides, ``engine`` is whose host it is (None: the
    system's), ``energy_basis`` says what its energies rest on.
    """

    system: str
    model: str
    phase: str
    batch: int
    context: int
    tp: int
    replicas: int
    dtypes: dict[str, str]
    tokens: float
    time_ps: int
    host_ps: int
    flops: int
    min_bytes: int
    mfu: float
    mbu: float
    utilization: dict[str, float]
    bound_by: dict[str, float]
    traffic_bytes: dict[str, int]
    memory_bytes: dict[str, int]
    operators: Sequence[OperatorSpan]
    layout: str = ""
    parallelism: dict[str, int | str | bool] = field(default_factory=dict)
    collectives: tuple[CollectiveShare, ...] = ()
    overheads: tuple[Overhead, ...] = ()
    speculation: dict[str, float] = field(default_factory=dict)
    energy_j: float | None = None
    energy_basis: str | None = None
    notes: tuple[str, ...] = field(default=())
    accuracy: tuple[Validated, ...] = ()
    unvalidated: tuple[tuple[str, str], ...] = ()
    overridden: tuple[str, ...] = ()
    engine: ServingEngine | None = None

    @property
    def time_s(self) -> float:
        """Duration in seconds."""
        return self.time_ps / 1e12
