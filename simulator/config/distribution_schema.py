"""Schemas of distributions: of token counts, and of times.

Both come in the same families. Times are validated to picoseconds and tokens to plain numbers, so
that one ``build`` serves both; tokens are widened by half a token at each bound, since they are
rounded to whole ones after they are drawn.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from simulator.config.fields import Duration, Latency, Section, user_error
from simulator.errors import InputError
from simulator.workload import distributions as dist

_NUMBER = re.compile(r"[+-]?(\d{1,15}\.?\d{0,15}|\.\d{1,15})([eE][+-]?\d{1,2})?", re.ASCII)


def _number(value: Any) -> float:
    """A finite number, without a unit."""
    if not isinstance(value, str):
        raise user_error("expected a number, found a mapping or list")
    if not _NUMBER.fullmatch(value.strip()):
        raise user_error(f"'{value}' is not a finite number", "expected a number such as 1155")
    return float(value)


def _positive(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise user_error(f"'{value}' is not above 0", "expected a positive number")
    return number


def _tokens(value: Any) -> float:
    number = _positive(value)
    if not 1 <= number <= 2**40:
        raise user_error(f"'{value}' tokens", "expected between 1 and 2**40")
    return number


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise user_error(f"share '{value}' is out of range", "expected between 0 and 1")
    return number


Number = Annotated[float, BeforeValidator(_number)]
PositiveNumber = Annotated[float, BeforeValidator(_positive)]
Tokens = Annotated[float, BeforeValidator(_tokens)]
Share = Annotated[float, BeforeValidator(_share)]

Value = TypeVar("Value")


class Constant(Section, Generic[Value]):
    """Always the same."""

    distribution: Literal["constant"]
    at: Value

    def build(self, half: float) -> dist.Distribution:
        """The distribution."""
        return dist.Constant(float(self.at))  # type: ignore[arg-type]


class Uniform(Section, Generic[Value]):
    """All values from min to max alike."""

    distribution: Literal["uniform"]
    min: Value
    max: Value

    @model_validator(mode="after")
    def _in_order(self) -> Uniform[Value]:
        _check_bounds(self.min, self.max)
        return self

    def build(self, half: float) -> dist.Distribution:
        """The distribution."""
        return dist.Uniform(*_bounds(self.min, self.max, half))


class Exponential(Section, Generic[Value]):
    """Falling from min on; the mean is that of what is left between min and max."""

    distribution: Literal["exponential"]
    mean: Value
    min: Value | None = None
    max: Value | None = None

    @model_validator(mode="after")
    def _has_the_mean(self) -> Exponential[Value]:
        _check_bounds(self.min, self.max)
        if self.min is not None and float(self.mean) <= float(self.min):  # type: ignore[arg-type]
            raise user_error("the mean is not above min", "expected min < mean")
        _explained(lambda: self.build(0.0))
        return self

    def build(self, half: float) -> dist.Distribution:
        """The distribution."""
        low, high = _bounds(self.min, self.max, half)
        return dist.Exponential.from_mean(float(self.mean), low, high)  # type: ignore[arg-type]


class Geometric(Section, Generic[Value]):
    """Whole tokens or turns from 1 on, each as likely to be the last as the one before."""

    distribution: Literal["geometric"]
    mean: Value

    @model_validator(mode="after")
    def _above_one(self) -> Geometric[Value]:
        if float(self.mean) <= 1:  # type: ignore[arg-type]
            raise user_error("the mean is not above 1", "expected a mean above 1")
        return self

    def build(self, half: float) -> dist.Distribution:
        """The distribution."""
        return dist.geometric(float(self.mean))  # type: ignore[arg-type]


class LogNormal(Section, Generic[Value]):
    """By mean and median (of what is left between min and max), median and sigma, or mu and sigma.

    ``mu`` is the mean of the natural logarithm of the number of tokens.
    """

    distribution: Literal["lognormal"]
    mean: Value | None = None
    median: Value | None = None
    mu: Number | None = None
    sigma: PositiveNumber | None = None
    min: Value | None = None
    max: Value | None = None

    @model_validator(mode="after")
    def _determined(self) -> LogNormal[Value]:
        given = tuple(k for k in ("mean", "median", "mu", "sigma") if getattr(self, k) is not None)
        if given not in (("mean", "median"), ("median", "sigma"), ("mu", "sigma")):
            raise user_error(
                f"a lognormal distribution cannot be made of {' and '.join(given) or 'nothing'}",
                "expected mean and median, median and sigma, or mu and sigma",
            )
        _check_bounds(self.min, self.max)
        if self.median is not None:
            low, high = _bounds(self.min, self.max, 0.0)
            if not low < float(self.median) < high:  # type: ignore[arg-type]
                raise user_error("the median is not between min and max")
        if self.sigma is not None and self.sigma > 10:
            raise user_error(f"sigma {self.sigma:g} is too large", "expected at most 10")
        if self.mu is not None and abs(self.mu) > 40:
            raise user_error(f"mu {self.mu:g} is out of range", "expected between -40 and 40")
        _explained(lambda: self.build(0.0))
        return self

    def build(self, half: float) -> dist.Distribution:
        """The distribution."""
        low, high = _bounds(self.min, self.max, half)
        median: Any = self.median
        mean: Any = self.mean
        if mean is not None:
            return dist.LogNormal.from_mean_median(float(mean), float(median), low, high)
        assert self.sigma is not None
        if median is not None:
            return dist.LogNormal.from_median(float(median), self.sigma, low, high)
        assert self.mu is not None
        return dist.LogNormal(self.mu, self.sigma, low, high)


class Quantiles(Section, Generic[Value]):
    """An empirical table from share to value, such as 0.5 for the median; straight in between."""

    distribution: Literal["quantiles"]
    table: dict[Share, Value]

    @model_validator(mode="after")
    def _rising(self) -> Quantiles[Value]:
        shares: list[float] = list(self.table)
        values: list[Any] = list(self.table.values())
        if len(shares) < 2 or shares[0] != 0 or shares[-1] != 1:
            raise user_error("the table of quantiles must run from 0 to 1")
        if any(b <= a for a, b in itertools.pairwise(shares)):
            raise user_error("the shares of the table of quantiles must rise")
        if any(b < a for a, b in itertools.pairwise(values)):
            raise user_error("the values of the table of quantiles must not fall")
        return self

    def build(self, half: float) -> dist.Distribution:
        """The distribution."""
        values: list[Any] = list(self.table.values())
        return dist.Quantiles(tuple((s, float(v)) for s, v in zip(self.table, values, strict=True)))


def _check_bounds(low: Any, high: Any) -> None:
    if low is not None and high is not None and low >= high:
        raise user_error("min is not below max", "expected min < max")


def _bounds(low: Any, high: Any, half: float) -> tuple[float, float]:
    """The bounds of the continuous distribution; without min, tokens begin at half a token."""
    below = half if low is None else float(low) - half
    return below, math.inf if high is None else float(high) + half


def _explained(build: Any) -> None:
    """Turn the refusal of a distribution into one that pydantic reports at its place."""
    try:
        build()
    except InputError as error:
        raise user_error(error.message, error.hint) from None


def _shorthand(value: Any) -> Any:
    """A bare value is a constant."""
    return {"distribution": "constant", "at": value} if isinstance(value, str) else value


TokenDistribution = Annotated[
    Constant[Tokens]
    | Uniform[Tokens]
    | Exponential[Tokens]
    | Geometric[Tokens]
    | LogNormal[Tokens]
    | Quantiles[Tokens],
    Field(discriminator="distribution"),
    BeforeValidator(_shorthand),
]
"""A number of tokens or turns."""

TimeDistribution = Annotated[
    Constant[Latency]
    | Uniform[Latency]
    | Exponential[Duration]
    | LogNormal[Duration]
    | Quantiles[Latency],
    Field(discriminator="distribution"),
    BeforeValidator(_shorthand),
]
"""A duration."""


def build_tokens(section: TokenDistribution) -> dist.Distribution:
    """A distribution whose values are rounded to whole tokens."""
    return section.build(0.5)


def build_time(section: TimeDistribution) -> dist.Distribution:
    """A distribution in picoseconds."""
    return section.build(0.0)
