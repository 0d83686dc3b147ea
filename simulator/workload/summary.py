"""A trace in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulator.workload.request import PS_PER_S, Int64Array, PrefixBlocks, Requests


@dataclass(frozen=True, slots=True)
class TokenSummary:
    """Tokens of all requests: mean, percentiles (linear), the largest, and the sum."""

    mean: float
    p50: float
    p90: float
    p99: float
    max: int
    total: int


@dataclass(frozen=True, slots=True)
class PrefixSummary:
    """Blocks that prompts begin with, all requests together.

    ``reused_fraction`` of them stood in an earlier prompt: what an endless cache would hit.
    """

    block_tokens: int
    blocks: int
    reused_fraction: float


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """``duration_s`` runs from the first arrival to the last.

    ``requests_per_s`` is the number of gaps over that duration, None where all arrive at once.
    ``classes`` has the number of requests of each class; ``sessions`` and ``prefix`` are None where
    the trace has none.
    """

    requests: int
    duration_s: float
    requests_per_s: float | None
    prompt_tokens: TokenSummary
    output_tokens: TokenSummary
    sessions: int | None = None
    classes: dict[str, int] = field(default_factory=dict)
    prefix: PrefixSummary | None = None


def summarize(requests: Requests) -> TraceSummary:
    """Summarize a trace of at least one request."""
    duration_ps = int(requests.arrival_ps[-1] - requests.arrival_ps[0])
    gaps = len(requests) - 1
    return TraceSummary(
        requests=len(requests),
        duration_s=duration_ps / PS_PER_S,
        requests_per_s=gaps * PS_PER_S / duration_ps if duration_ps else None,
        prompt_tokens=_tokens(requests.prompt_tokens),
        output_tokens=_tokens(requests.output_tokens),
        sessions=None if requests.session is None else len(np.unique(requests.session)),
        classes=_classes(requests),
        prefix=None if requests.prefix is None else _prefix(requests.prefix),
    )


def _classes(requests: Requests) -> dict[str, int]:
    if requests.slo_class is None:
        return {}
    counts = np.bincount(requests.slo_class, minlength=len(requests.classes)).tolist()
    return {kind.name: count for kind, count in zip(requests.classes, counts, strict=True)}


def _prefix(prefix: PrefixBlocks) -> PrefixSummary:
    total = int(prefix.counts.sum())
    different = len(np.unique(np.concatenate([prefix.of(i) for i in range(len(prefix))])))
    return PrefixSummary(prefix.block_tokens, total, 1 - different / total if total else 0.0)


def _tokens(tokens: Int64Array) -> TokenSummary:
    p50, p90, p99 = (float(value) for value in np.percentile(tokens, (50, 90, 99)))
    # Python's integers: a sum of 2**26 requests of 2**40 tokens would overflow 64 bits.
    total = sum(int(part.sum()) for part in np.array_split(tokens, 1 + len(tokens) // 2**20))
    return TokenSummary(total / len(tokens), p50, p90, p99, int(tokens.max()), total)
