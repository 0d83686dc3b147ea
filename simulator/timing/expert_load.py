"""How unevenly a router loads the experts: shares of the busiest rank's experts.

``balanced``: every expert gets as many tokens. ``random``: every token chooses its experts by
chance, whatever the others do, so that an expert's load is binomial. ``power:ALPHA``: the loads
follow a power law P(x) ~ x^-ALPHA between 1 and 0.8 times the tokens, as in the collector of
AIConfigurator (power_law_logits_v3); here by the quantiles of that law instead of random draws. A
histogram: whatever was counted, one number an expert.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simulator.errors import InputError
from simulator.kernels.arrays import Float64Array

WORDS = ("balanced", "random")
"""Loads that a word says."""

MOST_OF_TOKENS = 0.8
"""Of all tokens, at most this share comes to the most popular expert of the power law."""

MOST_ALPHA = 100.0
"""Beyond it all tokens but a few go to one expert, and powers leave the range of numbers."""

_SPREADS = 9.0
"""Standard deviations of a load beyond which no expert is."""

_SHUFFLE_SEED = 20240713
_SHUFFLES = 15


def balanced(experts: int, ranks: int) -> Float64Array:
    """Equal shares; float64[experts / ranks]."""
    return np.full(_local(experts, ranks), 1.0 / experts)


def random_choice(experts: int, ranks: int, tokens: int, top_k: int) -> Float64Array:
    """Shares of the busiest rank when each token picks its experts by chance; float64[experts /
    ranks], falling.

    An expert's load is then Binomial(tokens, top_k / experts). As many experts have j tokens as
    are expected to, in whole numbers: with one assignment an expert 37 % of them have none, where
    ``balanced`` would have each read its weights. Which experts share a rank is chance, too: the
    median over fixed shuffles.
    """
    chance = min(1.0, top_k / experts)
    mean, spread = tokens * chance, math.sqrt(tokens * chance * (1.0 - chance))
    low = max(0, math.floor(mean - _SPREADS * spread - _SPREADS))
    high = min(tokens, math.ceil(mean + _SPREADS * spread + _SPREADS))
    # P(load = low + i), from the ratios of neighbours; the largest is 1 before they are scaled
    load = np.arange(low, high)
    if chance < 1.0 and high > low:
        ratios = np.log((tokens - load) / (load + 1.0)) + math.log(chance / (1.0 - chance))
        logs = np.concatenate([[0.0], np.cumsum(ratios)])
        parts = np.exp(logs - logs.max())
    else:
        parts = np.zeros(high - low + 1)
        parts[-1] = 1.0
    # experts with more than low + i tokens; below that all have them
    above = experts * (1.0 - np.cumsum(parts / parts.sum()))[:-1]
    until = np.floor(np.concatenate([[0.0], np.cumsum(np.maximum(above, 0.0))]) + 0.5)
    having = np.sort(np.diff(until))
    # each expert has as many tokens as there are numbers that more experts than it have
    loads = low + len(having) - np.searchsorted(having, np.arange(experts), side="right")
    return histogram(loads.astype(np.float64), ranks, shuffled=True)


def power_law(experts: int, ranks: int, alpha: float, tokens: int, top_k: int) -> Float64Array:
    """Shares of the busiest rank when loads follow a power law; float64[experts / ranks], falling.

    ``tokens`` of the whole group. With fewer assignments than experts the law runs from 0.01 to 2,
    as in the collector. Which experts share a rank is chance: the median over fixed shuffles.

    Raises InputError where alpha is not above 0 and at most ``MOST_ALPHA``.
    """
    if not (math.isfinite(alpha) and alpha > 0):
        raise InputError(f"the exponent of a power law must be above 0, found {alpha:g}")
    if alpha > MOST_ALPHA:
        raise InputError(
            f"the exponent of a power law must be at most {MOST_ALPHA:g}, found {alpha:g}"
        )
    low, high = 1.0, MOST_OF_TOKENS * tokens
    if tokens * top_k <= experts or high <= low:
        low, high = 0.01, 2.0
    quantile = (np.arange(experts) + 0.5) / experts
    if abs(alpha - 1.0) < 1e-9:
        loads = low * (high / low) ** quantile
    else:
        power = 1.0 - alpha
        loads = (low**power + (high**power - low**power) * quantile) ** (1.0 / power)
    return histogram(loads, ranks, shuffled=True)


def histogram(
    loads: Sequence[float] | Float64Array, ranks: int, *, shuffled: bool = False
) -> Float64Array:
    """Shares of the busiest rank's experts for counted loads, one an expert; falling.

    Experts lie on ranks in blocks of their order, or are ``shuffled``.

    Raises InputError for loads that are negative, not finite or all zero, and for experts that do
    not divide over the ranks.
    """
    counts = np.asarray(loads, dtype=np.float64)
    local = _local(len(counts), ranks)
    if not np.all(np.isfinite(counts)) or np.any(counts < 0) or counts.sum() <= 0:
        raise InputError("expert loads must be numbers from 0, not all of them 0")
    shares = counts / counts.sum()
    placements = [shares.reshape(ranks, local)]
    if shuffled and ranks > 1:
        random = np.random.default_rng(_SHUFFLE_SEED)
        placements = [random.permutation(shares).reshape(ranks, local) for _ in range(_SHUFFLES)]
    busiest = sorted((p[p.sum(axis=1).argmax()] for p in placements), key=lambda rank: rank.sum())
    return np.sort(busiest[len(busiest) // 2])[::-1].copy()


def version_of(text: str) -> tuple[int, int] | None:
    """What tells one content of a file of loads from another, for those who keep its shares.

    None for loads that are no file, and for a file that cannot be read.
    """
    if text in WORDS or text.startswith("power:"):
        return None
    try:
        found = Path(text).stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def parse_expert_load(text: str, experts: int, ranks: int, tokens: int, top_k: int) -> Float64Array:
    """``balanced``, ``random``, ``power:ALPHA``, or a file with one number an expert, as shares.

    Raises InputError for anything else, with file and line of a bad number.
    """
    if text == "balanced":
        return balanced(experts, ranks)
    if text == "random":
        return random_choice(experts, ranks, tokens, top_k)
    if text.startswith("power:"):
        try:
            alpha = float(text.removeprefix("power:"))
        except ValueError:
            raise InputError(
                f"expert load: found '{text[:40]}', expected power:ALPHA such as power:1.2"
            ) from None
        return power_law(experts, ranks, alpha, tokens, top_k)
    from simulator.workload.expert_histogram import read_histogram

    return histogram(read_histogram(text, experts), ranks)


def _local(experts: int, ranks: int) -> int:
    if experts % ranks:
        raise InputError(f"{experts} experts do not divide over {ranks} expert-parallel chips")
    return experts // ranks
