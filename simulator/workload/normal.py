"""The normal distribution and its truncated logarithmic form, as far as workloads need them."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# P. J. Acklam, "An algorithm for computing the inverse normal cumulative distribution function"
# (2003): rational approximations with a relative error below 1.15e-9.
_A = (-3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2,
      1.383577518672690e2, -3.066479806614716e1, 2.506628277459239e0)  # fmt: skip
_B = (-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2,
      6.680131188771972e1, -1.328068155288572e1, 1.0)  # fmt: skip
_C = (-7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838e0,
      -2.549732539343734e0, 4.374664141464968e0, 2.938163982698783e0)  # fmt: skip
_D = (7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996e0,
      3.754408661907416e0, 1.0)  # fmt: skip
_TAIL = 0.02425

# Of fitted parameters: a billionth of a logarithm is a billionth of a length.
_PRECISION = 1e-9


def normal_quantile(p: FloatArray) -> FloatArray:
    """The standard normal variate below which a share ``p`` (0 to 1) lies."""
    inside = np.clip(p, 1e-300, 1 - 2**-53)
    tail = np.minimum(inside, 1 - inside)
    centre = inside - 0.5
    square = centre * centre
    middle = np.polyval(_A, square) * centre / np.polyval(_B, square)
    root = np.sqrt(-2 * np.log(tail))
    outside = np.polyval(_C, root) / np.polyval(_D, root)
    result: FloatArray = np.where(tail > _TAIL, middle, np.where(inside < 0.5, outside, -outside))
    return result


def normal_share(a: float, b: float) -> float:
    """The share of a standard normal distribution between ``a`` and ``b``."""
    if a > 0:
        a, b = -b, -a
    root_half = math.sqrt(0.5)
    return 0.5 * (math.erfc(-b * root_half) - math.erfc(-a * root_half))


def truncated_mean(mu: float, sigma: float, low: float, high: float) -> float:
    """Mean of exp(normal(mu, sigma)) given that it lies between ``low`` and ``high``."""
    a, b = _standard(mu, sigma, low), _standard(mu, sigma, high)
    share = normal_share(a, b)
    return math.exp(mu + sigma * sigma / 2) * normal_share(a - sigma, b - sigma) / share


def fit_mu(median: float, sigma: float, low: float, high: float) -> float:
    """The mu with which the truncated log-normal distribution has this median."""
    if low <= 0 and math.isinf(high):
        return math.log(median)
    below = math.log(low if low > 0 else median) - 8 * sigma - 1
    above = math.log(median if math.isinf(high) else high) + 8 * sigma + 1
    while above - below > _PRECISION:
        mu = (below + above) / 2
        a, m, b = (_standard(mu, sigma, x) for x in (low, median, high))
        if normal_share(a, m) > normal_share(m, b):
            below = mu
        else:
            above = mu
    return (below + above) / 2


@functools.lru_cache(maxsize=64)
def fit_mean_median(
    mean: float, median: float, low: float, high: float
) -> tuple[float, float] | None:
    """(mu, sigma) of the log-normal distribution that has this mean and median once truncated.

    None where there is none: a mean not above the median, or more skewed than the bounds allow.
    """
    if mean <= median:
        return None
    if low <= 0 and math.isinf(high):
        return math.log(median), math.sqrt(2 * math.log(mean / median))
    small, large = 1e-3, 0.0
    for sigma in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0):
        if truncated_mean(fit_mu(median, sigma, low, high), sigma, low, high) >= mean:
            large = sigma
            break
        small = sigma
    if large == 0.0:
        return None
    while large - small > _PRECISION:
        sigma = (small + large) / 2
        if truncated_mean(fit_mu(median, sigma, low, high), sigma, low, high) < mean:
            small = sigma
        else:
            large = sigma
    sigma = (small + large) / 2
    return fit_mu(median, sigma, low, high), sigma


def _standard(mu: float, sigma: float, x: float) -> float:
    if x <= 0:
        return -math.inf
    return math.inf if math.isinf(x) else (math.log(x) - mu) / sigma
