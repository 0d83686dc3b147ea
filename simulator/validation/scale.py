"""The scale on which parameters are fitted: 0 at the lower bound, 1 at the upper one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.validation.parameter import Parameter
from simulator.validation.table import FloatArray


def to_scale(parameters: Sequence[Parameter], values: Sequence[float]) -> FloatArray:
    """Values on a scale from 0 at ``low`` to 1 at ``high``."""
    return np.array(
        [
            (v - p.low) / (p.high - p.low)
            if is_linear(p)
            else np.log(max(v, p.low) / p.low) / np.log(p.high / p.low)
            for p, v in zip(parameters, values, strict=True)
        ]
    )


def from_scale(parameters: Sequence[Parameter], shares: FloatArray) -> list[float]:
    """The inverse of ``to_scale``."""
    found = []
    for parameter, share in zip(parameters, shares.tolist(), strict=True):
        span = parameter.high - parameter.low
        ratio = parameter.high / parameter.low
        even = parameter.low + share * span
        found.append(even if is_linear(parameter) else parameter.low * ratio**share)
    return found


def slope_at(parameter: Parameter, value: float) -> float:
    """Change of a value, in its unit, over the whole scale at the pace that it has there."""
    if is_linear(parameter):
        return parameter.high - parameter.low
    return value * float(np.log(parameter.high / parameter.low))


def is_linear(parameter: Parameter) -> bool:
    """Whether the range is narrow enough for a linear scale; wide ones are logarithmic."""
    return parameter.high < 5 * parameter.low
