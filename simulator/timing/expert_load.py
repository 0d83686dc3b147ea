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
from simulator.timing.expert_growth import GrowingLoads, capped
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

_TYPICAL_LOAD = 32
"""Tokens of the group for each expert with which the busiest rank is looked for."""

_SHUFFLE_SEED = 20240713
_SHUFFLES = 15


def balanced(experts: int, ranks: int) -> Float64Array:
    """Equal shares; float64[experts / ranks]."""
    return np.full(_local(experts, ranks), 1.0 / experts)


def random_choice(
    experts: int, ranks: int, tokens: int, top_k: int, spread: float = 0.0, copies: int = 0
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
    return _shares(_random(experts, top_k, spread), ranks, tokens, top_k, copies)


@lru_cache(maxsize=64)
def _random(experts: int, top_k: int, spread: float) -> GrowingLoads:
    return GrowingLoads(lambda n: _random_loads(experts, n, top_k, spread), experts, top_k)


def _random_loads(experts: int, tokens: int, top_k: int, spread: float) -> Float64Array:
    """Loads of all experts on average, falling; their sum is tokens x top_k."""
    levels = min(experts, _LEVELS) if spread else 1
    sizes = np.diff(np.arange(levels + 1) * experts // levels)
    parts = [_exceeding(tokens, float(c)) for c in _chances(sizes, top_k, spread)]
    least = min(low for low, _ in parts)
    # experts with more than least, least + 1, ... tokens
    above = np.zeros(max(low + len(beyond) for low, beyond in parts) - least)
    for size, (low, beyond) in zip(sizes, parts, strict=True):
        above[: low - least] += size
        above[low - least : low - least + len(beyond)] += size * beyond
    # each expert has as many tokens as there are numbers that more experts than it have
    whole = np.floor(above)
    loads = len(above) - np.searchsorted(np.sort(whole), np.arange(experts), side="right")
    parted = np.bincount(whole.astype(np.int64), weights=above - whole, minlength=experts)
    found: Float64Array = parted[:experts] + (least + loads)
    return found


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


def power_law(
    experts: int, ranks: int, alpha: float, tokens: int, top_k: int, copies: int = 0
) -> Float64Array:
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
    return _shares(_power(experts, top_k, alpha), ranks, tokens, top_k, copies)


@lru_cache(maxsize=64)
def _power(experts: int, top_k: int, alpha: float) -> GrowingLoads:
    return GrowingLoads(lambda n: _power_loads(experts, n, top_k, alpha), experts, top_k)


def _power_loads(experts: int, tokens: int, top_k: int, alpha: float) -> Float64Array:
    """Loads of all experts by the quantiles of the law, rising; their sum is tokens x top_k."""
    low, high = 1.0, MOST_OF_TOKENS * tokens
    if tokens * top_k <= experts or high <= low:
        low, high = 0.01, 2.0
    quantile = (np.arange(experts) + 0.5) / experts
    if abs(alpha - 1.0) < 1e-9:
        loads = low * (high / low) ** quantile
    else:
        power = 1.0 - alpha
        loads = (low**power + (high**power - low**power) * quantile) ** (1.0 / power)
    return capped(loads * (tokens * top_k / loads.sum()), tokens)


@lru_cache(maxsize=16)
def _counted(loads: tuple[float, ...], top_k: int) -> GrowingLoads:
    """Counted loads, one an expert in the order of their places, for any number of tokens.

    Raises InputError for loads that are negative, not finite or all zero.
    """
    counts = np.asarray(loads, dtype=np.float64)
    if not np.all(np.isfinite(counts)) or np.any(counts < 0) or counts.sum() <= 0:
        raise InputError("expert loads must be numbers from 0, not all of them 0")
    shares = counts / counts.sum()
    return GrowingLoads(lambda n: capped(shares * (n * top_k), n), len(counts), top_k)


def _shares(
    loads: GrowingLoads, ranks: int, tokens: int, top_k: int, copies: int = 0, shuffled: bool = True
) -> Float64Array:
    """Shares of the busiest rank's experts, falling; the busiest ``copies`` experts have a copy
    each that takes half of their tokens.

    Which experts and which rank are the busiest is the same for all numbers of tokens.
    """
    places, split = _busiest(loads, ranks, copies, shuffled)
    own = _with_copies(loads.of(tokens), split)[places]
    own[0] = max(own[0], 1 - own[1:].sum())  # some rank has the only token
    return np.sort(own / (tokens * top_k))[::-1].copy()


def _with_copies(loads: Int64Array, split: Int64Array) -> Int64Array:
    """Loads with those of copies of the experts ``split`` behind them."""
    halves = loads[split] // 2
    left = loads.copy()
    left[split] -= halves
    return np.concatenate([left, halves])


@lru_cache(maxsize=64)
def _busiest(
    loads: GrowingLoads, ranks: int, copies: int, shuffled: bool
) -> tuple[Int64Array, Int64Array]:
    """(places of the busiest rank's experts, experts with a copy); the rank is that of the median
    shuffle where experts are shuffled.

    Raises InputError for experts that do not divide over the ranks.
    """
    mean = loads.of(_TYPICAL_LOAD * loads.experts)
    split = np.argsort(-mean, kind="stable")[:copies]
    mean = _with_copies(mean, split)
    local = _local(len(mean), ranks)
    random = np.random.default_rng(_SHUFFLE_SEED)
    rounds = _SHUFFLES if shuffled and ranks > 1 else 0
    orders = [random.permutation(len(mean)) for _ in range(rounds)] or [np.arange(len(mean))]
    found = []
    for order in orders:
        members = order.reshape(ranks, local)
        found.append(members[mean[members].sum(axis=1).argmax()])
    found.sort(key=lambda rank: float(mean[rank].sum()))
    return found[len(found) // 2], split


def histogram(
    counts: Sequence[float], ranks: int, tokens: int, top_k: int, copies: int = 0
) -> Float64Array:
    """Shares of the busiest rank's experts for counted loads, one an expert; falling.

    Experts lie on ranks in blocks of their order; where the busiest have copies, by chance.

    Raises InputError for loads that are negative, not finite or all zero, and for experts that do
    not divide over the ranks.
    """
    return _shares(
        _counted(tuple(counts), top_k), ranks, tokens, top_k, copies, shuffled=copies > 0
    )


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


def parse_expert_load(
    text: str, experts: int, ranks: int, tokens: int, top_k: int, copies: int = 0
) -> Float64Array:
    """Shares by ``balanced``, ``random[:SPREAD]``, ``power:ALPHA``, or a file of loads.

    The busiest experts have ``copies`` beside them that take half of their tokens.

    Raises InputError for anything else, with file and line of a bad number.
    """
    if text == "balanced":
        return balanced(experts + copies, ranks)
    if text == "random" or text.startswith("random:"):
        _, colon, number = text.partition(":")
        spread = number if colon else "0"
        try:
            return random_choice(experts, ranks, tokens, top_k, float(spread), copies)
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
        return power_law(experts, ranks, alpha, tokens, top_k, copies)
    from simulator.workload.expert_histogram import read_histogram

    return histogram(read_histogram(text, experts), ranks, tokens, top_k, copies)


def _local(experts: int, ranks: int) -> int:
    if experts % ranks:
        raise InputError(f"{experts} experts do not divide over {ranks} expert-parallel chips")
    return experts // ranks
