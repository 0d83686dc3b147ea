"""What a replayed workload consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from simulator.hardware import ServingEngine, Validated

if TYPE_CHECKING:
    from simulator.serving.goodput import Goodput
    from simulator.serving.stability import QueueGrowth
    from simulator.serving.timeline import Timeline

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Mean and percentiles (linear) over completed requests; None where there are none."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Requests by outcome, and the tokens of the completed ones.

    ``failed_calls`` of the trace were left out and count nowhere else.

    ``counted`` of the completed ones arrived after the warm-up: latencies and rates are theirs.
    """

    arrived: int
    completed: int
    rejected: int
    prompt_tokens: int
    output_tokens: int
    rejected_because: dict[str, int] = field(default_factory=dict)
    counted: int = 0
    failed_calls: int = 0


@dataclass(frozen=True, slots=True)
class RequestTable:
    """One row a request, in the order of the traffic; times in picoseconds since the first arrival.

    A time that was never reached is -1. ``status`` is 0 completed, 1 rejected for KV capacity,
    2 rejected for context length, 3 lost to a failure. ``replica`` is that which decoded the
    request, -1 where rejected.
    """

    arrival_ps: Int64Array
    prompt_tokens: Int64Array
    output_tokens: Int64Array
    scheduled_ps: Int64Array
    first_token_ps: Int64Array
    completed_ps: Int64Array
    preemptions: Int64Array
    replica: Int64Array
    status: Int64Array


@dataclass(frozen=True, slots=True)
class IterationLog:
    """One row an iteration: when it ran, on what, and how long each unit was busy in it.

    ``busy_ps`` is [iterations, units] in the order of ``timing.results.UNITS``. ``roles`` are the
    pools of the replicas (``serve``, ``prefill`` or ``decode``), by their number.
    """

    replica: Int64Array
    start_ps: Int64Array
    end_ps: Int64Array
    tokens: Int64Array
    sequences: Int64Array
    waiting: Int64Array
    kv_blocks: Int64Array
    busy_ps: Int64Array
    roles: tuple[str, ...] = ()
    transfers: tuple[MovedCache, ...] = ()


@dataclass(frozen=True, slots=True)
class MovedCache:
    """A KV cache on its way: whose it is, from and to which replica, when, and how large."""

    request: int
    source: int
    target: int
    start_ps: int
    end_ps: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PoolResult:
    """One pool: what its chips did. ``final_replicas`` differs where pools were rebalanced.

    Shares, ``mfu`` and ``mbu`` refer to ``serving_s``, the time in iterations of its replicas.
    ``tp``, ``layout``, ``memory_bytes`` and the ``blocks`` of ``kv`` are those of the first kind of
    replica in it.
    """

    system: str
    replicas: int
    final_replicas: int
    chips: int
    tp: int
    layout: str
    utilization: dict[str, float]
    mfu: float
    mbu: float
    flops: int
    min_bytes: int
    bound_by: dict[str, float]
    iterations: int
    serving_s: float
    mean_batch: float
    preemptions: int
    kv: dict[str, float]
    memory_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class TransferResult:
    """KV caches that moved from prefill to decode replicas.

    ``time_s`` runs from the first byte that may leave to the last that arrives, ``queue_s`` is the
    wait for blocks before it. ``exposed_s`` is the mean time between the first token and the
    arrival of the cache, ``overlapped_s`` what prefilling hid of both. ``link_utilization`` is
    that of the busiest link over the run.
    """

    transfers: int
    bytes: int
    time_s: Distribution
    queue_s: Distribution
    exposed_s: float
    overlapped_s: float
    link_utilization: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """A replayed workload; the JSON of ``chipsim run`` is made of these fields.

    ``serving_s`` is the time in which a replica had work, summed over replicas; utilizations,
    ``mfu``, ``mbu`` and ``bound_by`` are shares of it. ``kv`` has ``blocks`` (of one replica),
    ``block_tokens``, ``peak_fraction``, ``mean_fraction``. ``memory_bytes`` is per chip:
    ``weights``, ``activations``, ``reserve``, ``kv``. ``layout`` is a replica's, ``accuracy`` lists
    the measurements that prices of this chip were compared with, ``unvalidated`` what nobody
    compared (chip, operator), ``overridden`` the chips that were, but not with these overrides,
    ``engine`` is whose host it is (None: the system's), ``energy_basis`` says what its energies
    rest on. ``itl_s`` are the times between two tokens of a request; ``failures`` counts those of
    replicas and links, ``pool_changes`` replicas that changed from prefill to decode or back.
    ``goodput`` is None without an SLO, ``queue_growth`` where the queue is stable. ``speculation``
    has ``drafts`` and ``acceptance`` as chosen, and the tokens of decode steps: ``verified_tokens``
    computed, ``emitted_tokens`` of them kept. ``kv_tiers`` has the sizes and rates of a decode
    replica's tiers, the bytes that all replicas moved (``to_host_bytes``, ``from_host_bytes``, of
    these ``from_pool_bytes``) and ``swaps``.
    Both are None where there is no such thing.
    """

    system: str
    model: str
    workload: str
    seed: int
    tp: int
    replicas: int
    chips: int
    dtypes: dict[str, str]
    options: dict[str, Any]
    requests: RequestCounts
    simulated_s: float
    serving_s: float
    ttft_s: Distribution
    tpot_s: Distribution
    e2e_s: Distribution
    queue_s: Distribution
    output_tokens_per_s: float
    requests_per_s: float
    utilization: dict[str, float]
    mfu: float
    mbu: float
    bound_by: dict[str, float]
    traffic_bytes: dict[str, int]
    iterations: int
    preemptions: int
    mean_batch: float
    mean_tokens_per_iteration: float
    kv: dict[str, float]
    memory_bytes: dict[str, int]
    flops: int
    min_bytes: int
    energy_j: float | None
    cost_usd: float | None
    advice: str
    table: RequestTable
    log: IterationLog | None = None
    lost_requests: int = 0
    failures: int = 0
    pool_changes: int = 0
    prefix_hit_rate: float | None = None
    pools: dict[str, PoolResult] = field(default_factory=dict)
    kv_transfer: TransferResult | None = None
    accuracy: tuple[Validated, ...] = ()
    unvalidated: tuple[tuple[str, str], ...] = ()
    overridden: tuple[str, ...] = ()
    energy_basis: str | None = None
    cost_basis: dict[str, str | None] = field(default_factory=dict)
    engine: ServingEngine | None = None
    layout: str = ""
    itl_s: Distribution = Distribution(None, None, None, None, None)
    mean_requests_in_system: float = 0.0
    timeline: Timeline | None = None
    goodput: Goodput | None = None
    queue_growth: QueueGrowth | None = None
    speculation: dict[str, float] | None = None
    kv_tiers: dict[str, int] | None = None

    @property
    def output_tokens_per_s_per_chip(self) -> float:
        """Output tokens a second for each chip of the system."""
        return self.output_tokens_per_s / self.chips

    @property
    def output_tokens_per_s_per_user(self) -> float | None:
        """How fast an answer is written: the inverse of the mean time per output token."""
        return 1 / self.tpot_s.mean if self.tpot_s.mean else None
