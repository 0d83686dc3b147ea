"""How unevenly a router loads the experts: shares of the busiest rank's experts.

``balanced``: every expert gets as many tokens. ``random``: every token chooses its experts by
chance, whatever the others do, so that an expert's load is binomial; with ``random:SPREAD`` some
experts are more popular. ``power:ALPHA``: the loads follow a power law P(x) ~ x^-ALPHA between 1
and 0.8 times the tokens, as in the collector of AIConfigurator (power_law_logits_v3); here by the
quantiles of that law instead of random draws. A histogram: whatever was counted, one number an
expert.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from simulator.errors import InputError
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.workload.normal import normal_quantile

WORDS = ("balanced", "random")
"""Loads that a word says."""

MOST_OF_TOKENS = 0.8
"""Of all tokens, at most this share comes to the most popular expert of the power law."""

MOST_ALPHA = 100.0
"""Beyond it all tokens but a few go to one expert, and powers leave the range of numbers."""

MOST_SPREAD = 5.0
"""Beyond it one expert in a thousand gets nearly all tokens."""

_LEVELS = 8
"""Into which popularity is cut."""

_DEVIATIONS = 9.0
"""Standard deviations of a load beyond which no expert is."""

_SHUFFLE_SEED = 20240713
_SHUFFLES = 15


def balanced(experts: int, ranks: int) -> Float64Array:
    """Equal shares; float64[experts / ranks]."""
    return np.full(_local(experts, ranks), 1.0 / experts)


def random_choice(
    experts: int, ranks: int, tokens: int, top_k: int, spread: float = 0.0
) -> Float64Array:
    """Shares of the busiest rank when each token picks its experts by chance; float64[experts /
    ranks], falling.

    How popular an expert is has a log-normal distribution over the experts, ``spread`` being the
    standard deviation of its logarithm; without any all are alike. An expert's load is then
    Binomial(tokens, its chance), where the chances sum to ``top_k``: with one assignment an expert
    and no spread 37 % of them have none, where ``balanced`` would have each read its weights. Which
    experts share a rank is chance, too: the median over fixed shuffles, the same for all tokens.

    Raises InputError for a spread below 0 or above ``MOST_SPREAD``.
    """
    if not 0.0 <= spread <= MOST_SPREAD:
        raise InputError(
            f"the spread of experts' popularity must be 0 to {MOST_SPREAD:g}, found {spread:g}"
        )
    local = _local(experts, ranks)
    loads = _random_loads(experts, tokens, top_k, spread)
    if ranks > 1:
        # whichever is the busiest with this many tokens, more must not take less
        loads = loads[_busiest(experts, local, top_k, spread)]
    return loads / (tokens * top_k)


def _random_loads(experts: int, tokens: int, top_k: int, spread: float) -> Float64Array:
    """Whole loads of all experts, falling; their sum is tokens x top_k."""
    levels = min(experts, _LEVELS) if spread else 1
    sizes = np.diff(np.arange(levels + 1) * experts // levels)
    above = np.zeros(tokens)
    for size, chance in zip(sizes, _chances(sizes, top_k, spread), strict=True):
        low, beyond = _exceeding(tokens, float(chance))
        above[:low] += size
        above[low : low + len(beyond)] += size * beyond
    # experts with more than 0, 1, 2, ... tokens in whole numbers whose sum is right
    having = np.sort(np.diff(np.floor(np.cumsum(above) + 0.5), prepend=0.0))
    # each expert has as many tokens as there are numbers that more experts than it have
    loads = len(having) - np.searchsorted(having, np.arange(experts), side="right")
    return loads.astype(np.float64)


@lru_cache(maxsize=256)
def _busiest(experts: int, local: int, top_k: int, spread: float) -> Int64Array:
    """Places of a busy rank's experts in the order of their loads, ascending: the busiest one of
    the median shuffle, with as many tokens as there are experts."""
    loads = _random_loads(experts, experts, top_k, spread)
    random = np.random.default_rng(_SHUFFLE_SEED)
    found = []
    for _ in range(_SHUFFLES):
        ranks = random.permutation(experts).reshape(-1, local)
        found.append(ranks[loads[ranks].sum(axis=1).argmax()])
    found.sort(key=lambda rank: float(loads[rank].sum()))
    return np.sort(found[_SHUFFLES // 2])


def _chances(sizes: Int64Array, top_k: int, spread: float) -> Float64Array:
    """The chance that a token goes to an expert of each level of popularity, at most 1."""
    quantile = (np.cumsum(sizes) - 0.5 * sizes) / sizes.sum()
    weights = np.exp(spread * normal_quantile(quantile))
    chances = np.zeros(len(sizes))
    # what is above 1 goes to the others, until nothing is
    for full in range(len(sizes)):
        kept = len(sizes) - full
        left = top_k - sizes[kept:].sum()
        chances[kept:] = 1.0
        chances[:kept] = left * weights[:kept] / (sizes[:kept] @ weights[:kept])
        if chances[kept - 1] <= 1.0:
            break
    return np.minimum(1.0, chances)


def _exceeding(tokens: int, chance: float) -> tuple[int, Float64Array]:
    """(low, P(X > low), P(X > low + 1), ... while above 0) of X ~ Binomial(tokens, chance).

    P(X > j) is 1 for j below ``low``.
    """
    if chance >= 1.0:
        return tokens, np.empty(0)
    mean = tokens * chance
    reach = _DEVIATIONS * (math.sqrt(mean * (1.0 - chance)) + 1.0)
    low, high = max(0, math.floor(mean - reach)), min(tokens, math.ceil(mean + reach))
    # P(X = low + i), from the ratios of neighbours; the largest is 1 before they are scaled
    load = np.arange(low, high)
    ratios = np.log((tokens - load) / (load + 1.0)) + math.log(chance / (1.0 - chance))
    logs = np.concatenate([[0.0], np.cumsum(ratios)])
    parts = np.exp(logs - logs.max())
    return low, np.maximum(0.0, 1.0 - np.cumsum(parts / parts.sum())[:-1])


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
    if text in WORDS or text.startswith(("power:", "random:")):
        return None
    try:
        found = Path(text).stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def parse_expert_load(text: str, experts: int, ranks: int, tokens: int, top_k: int) -> Float64Array:
    """Shares by ``balanced``, ``random[:SPREAD]``, ``power:ALPHA``, or a file of loads.

    Raises InputError for anything else, with file and line of a bad number.
    """
    if text == "balanced":
        return balanced(experts, ranks)
    if text == "random" or text.startswith("random:"):
        _, colon, number = text.partition(":")
        spread = number if colon else "0"
        try:
            return random_choice(experts, ranks, tokens, top_k, float(spread))
        except ValueError:
            raise InputError(
                f"expert load: found '{text[:40]}', expected random:SPREAD such as random:1"
            ) from None
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
