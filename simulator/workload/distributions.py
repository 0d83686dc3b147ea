"""Distributions of lengths and times, each given by its quantile function.

A sample is the quantile of a uniform random number, so a seed means the same on every machine, and
a change of one distribution leaves the random numbers of the others as they were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulator.errors import InputError
from simulator.workload.normal import (
    FloatArray,
    fit_mean_median,
    fit_mu,
    normal_quantile,
    normal_share,
)


class Distribution(Protocol):
    """Anything that has a quantile function."""

    def quantile(self, u: FloatArray) -> FloatArray:
        """The values below which shares ``u`` (0 to 1, exclusive) of the distribution lie."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Always ``value``."""

    value: float

    def quantile(self, u: FloatArray) -> FloatArray:
        """``value``, as often as ``u`` is long."""
        return np.full(len(u), self.value)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Between ``low`` and ``high``, all alike."""

    low: float
    high: float

    def quantile(self, u: FloatArray) -> FloatArray:
        """low + (high - low) * u."""
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True, slots=True)
class Exponential:
    """``low`` plus an exponential time of mean ``scale``, cut off at ``high``."""

    scale: float
    low: float = 0.0
    high: float = math.inf

    def quantile(self, u: FloatArray) -> FloatArray:
        """low - scale * ln(1 - u * F), with F the share of the uncut distribution that is left."""
        share = -math.expm1(-(self.high - self.low) / self.scale)
        return self.low - self.scale * np.log1p(-u * share)

    @classmethod
    def from_mean(cls, mean: float, low: float = 0.0, high: float = math.inf) -> Exponential:
        """The one that has this mean once it is cut off."""
        if math.isinf(high):
            return cls(mean - low, low)
        span, wanted = high - low, mean - low
        if not 0 < wanted < span / 2:
            raise InputError(
                f"no falling exponential between {low:g} and {high:g} has the mean {mean:g}",
                hint=f"expected a mean between {low:g} and {low + span / 2:g}",
            )
        # mean of the cut distribution: scale - span / (exp(span / scale) - 1), rising with scale
        small, large = 0.0, wanted
        while _cut_mean(large, span) < wanted:
            large *= 2
        for _ in range(100):
            scale = (small + large) / 2
            small, large = (scale, large) if _cut_mean(scale, span) < wanted else (small, scale)
        return cls((small + large) / 2, low, high)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """exp(normal(mu, sigma)), with what lies outside ``low`` to ``high`` left out."""

    mu: float
    sigma: float
    low: float = 0.0
    high: float = math.inf

    def quantile(self, u: FloatArray) -> FloatArray:
        """exp(mu + sigma * z), z being the quantile of the truncated normal distribution."""
        a = (math.log(self.low) - self.mu) / self.sigma if self.low > 0 else -math.inf
        b = (math.log(self.high) - self.mu) / self.sigma if self.high < math.inf else math.inf
        below, share = normal_share(-math.inf, a), normal_share(a, b)
        z = normal_quantile(below + u * share)
        values: FloatArray = np.exp(self.mu + self.sigma * z)
        return values

    @classmethod
    def from_mean_median(
        cls, mean: float, median: float, low: float = 0.0, high: float = math.inf
    ) -> LogNormal:
        """The one that has this mean and median once it is truncated."""
        fit = fit_mean_median(mean, median, low, high)
        if fit is None:
            reason = (
                "a log-normal mean lies above the median"
                if mean <= median
                else f"none between {low:g} and {high:g} is as skewed"
            )
            raise InputError(
                f"no log-normal distribution has the mean {mean:g} and the median {median:g}",
                hint=reason,
            )
        return cls(*fit, low, high)

    @classmethod
    def from_median(
        cls, median: float, sigma: float, low: float = 0.0, high: float = math.inf
    ) -> LogNormal:
        """The one of this ``sigma`` that has this median once it is truncated."""
        return cls(fit_mu(median, sigma, low, high), sigma, low, high)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """An empirical distribution: (share, value) from share 0 to share 1, straight in between."""

    points: tuple[tuple[float, float], ...]

    def quantile(self, u: FloatArray) -> FloatArray:
        """Linear interpolation in the table."""
        shares, values = zip(*self.points, strict=True)
        result: FloatArray = np.interp(u, shares, values)
        return result


def geometric(mean: float) -> Exponential:
    """The geometric distribution on 1, 2, ... as the exponential one that rounds to it.

    0.5 + Exp(s) rounds to 1 + floor(Exp(s)), which is geometric with p = 1 - exp(-1 / s).
    """
    return Exponential(-1 / math.log1p(-1 / mean), low=0.5)


def _cut_mean(scale: float, span: float) -> float:
    ratio = span / scale
    return scale - (span / math.expm1(ratio) if ratio < 700 else 0.0)
