"""What a replay may choose: limits of the batch, scheduler, cache, and what is recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.errors import InputError, did_you_mean
from simulator.serving import fields

SCHEDULERS = {
    "chunked": fields.CHUNKED,
    "prefill-first": fields.PREFILL_FIRST,
    "decode-first": fields.DECODE_FIRST,
    "static": fields.STATIC,
    "no-evict": fields.NO_EVICT,
}

PREEMPTIONS = {"recompute": fields.RECOMPUTE, "swap": fields.SWAP}

LONGEST_S = 9_000_000
"""About 104 days: simulated time is whole picoseconds in 64 bits."""

LARGEST_BATCH = 2**16
"""Sequences of one replica: their states are kept in arrays."""

LARGEST_BUDGET = 1 << 20
"""Largest token budget: the price table has a row for each possible number of tokens."""

MOST_SPECULATED = 64


@dataclass(frozen=True, slots=True)
class KvTiers:
    """Where the KV cache goes when HBM is full: bytes and bytes per second of one replica.

    ``host`` takes swapped sequences and evicted prefixes over the host link, ``pool`` (an SSD or
    memory on the network) the prefixes that the host evicts. Zero bytes: there is no such tier.
    """

    host_bytes: int = 0
    host_bytes_per_s: int = 0
    pool_bytes: int = 0
    pool_bytes_per_s: int = 0

    def __post_init__(self) -> None:
        for name in ("host", "pool"):
            size, rate = getattr(self, f"{name}_bytes"), getattr(self, f"{name}_bytes_per_s")
            if size < 0 or rate < 0 or (size > 0 and rate == 0):
                raise InputError(
                    f"a {name} tier of {size} B needs a bandwidth above zero, found {rate} B/s"
                )
        if self.pool_bytes and not self.host_bytes:
            raise InputError("a pool tier needs a host tier, through which its blocks pass")


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """Limits of the batch, what is left out of the statistics, and what is recorded.

    ``watermark`` is the fraction of KV blocks that an admission leaves free. ``speculate`` tokens
    are verified in each decode step beyond its own, each accepted with ``acceptance``. ``tiers``
    None is the host's memory where sequences are swapped, and nothing otherwise.
    """

    max_batch: int = 256
    token_budget: int = 8192
    warmup_s: float = 0.0
    seed: int = 0
    record_iterations: bool = False
    scheduler: str = "chunked"
    preemption: str = "recompute"
    prefix_cache: bool = False
    watermark: float = 0.0
    speculate: int = 0
    acceptance: float = 0.7
    tiers: KvTiers | None = None

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise InputError(f"--max-batch must be at least 1, found {self.max_batch}")
        if self.max_batch > LARGEST_BATCH:
            raise InputError(
                f"--max-batch must be at most {LARGEST_BATCH} sequences, found {self.max_batch}"
            )
        if not 1 <= self.token_budget <= LARGEST_BUDGET:
            raise InputError(
                f"--token-budget must be between 1 and {LARGEST_BUDGET}, found {self.token_budget}"
            )
        if not 0 <= self.warmup_s <= LONGEST_S:
            raise InputError(
                f"--warmup must be between 0 and {LONGEST_S} seconds, found {self.warmup_s}"
            )
        _known("scheduler", self.scheduler, SCHEDULERS)
        _known("preemption", self.preemption, PREEMPTIONS)
        _fraction("--watermark", self.watermark, below_one=True)
        _fraction("--acceptance", self.acceptance)
        if not 0 <= self.speculate <= MOST_SPECULATED:
            raise InputError(
                f"--speculate must be between 0 and {MOST_SPECULATED} tokens, "
                f"found {self.speculate}"
            )
        if self.speculate >= self.token_budget:
            raise InputError(
                f"--speculate {self.speculate} needs a --token-budget above it, "
                f"found {self.token_budget}"
            )


def _known(option: str, name: str, names: dict[str, int]) -> None:
    if name not in names:
        raise InputError(f"unknown {option} '{name}'", hint=did_you_mean(name, names))


def _fraction(option: str, value: float, *, below_one: bool = False) -> None:
    if not (math.isfinite(value) and 0 <= value <= 1) or (below_one and value == 1):
        raise InputError(f"{option} must be between 0 and 1, found {value}")
