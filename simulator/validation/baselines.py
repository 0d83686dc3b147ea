"""What a simple method reaches on the same rows: fits and lookups, each judged on rows unseen.

Every baseline learns from one half of a table and predicts the other, and the reverse, so that
each row has a prediction that did not know it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.validation.operators import Operator
from simulator.validation.table import Column, FloatArray, Table
from simulator.validation.work import Work

FIT_ROWS = 2000
"""A fit of three figures needs no more rows."""

NEIGHBOURS = 4
BRUTE_FORCE_ROWS = 4000
"""Without scipy's tree, larger halves would take minutes."""


def halves(count: int, seed: int, share: float = 0.5) -> npt.NDArray[np.bool_]:
    """A mask of a random ``share`` of the rows; the same seed gives the same mask."""
    mask = np.zeros(count, dtype=bool)
    mask[np.random.default_rng(seed).permutation(count)[: round(count * share)]] = True
    return mask


def two_efficiencies(work: Work, measured: FloatArray, seed: int) -> FloatArray:
    """max(compute / e1, transfer / e2) + c, the best in relative error on the other half."""
    out = np.full(len(measured), np.nan)
    half = halves(len(measured), seed)
    for known in (half, ~half):
        if known.any():
            fitted = _fit(work.compute_s[known], work.transfer_s[known], measured[known])
            first, second, constant = fitted
            rest = ~known
            out[rest] = constant + np.maximum(
                work.compute_s[rest] / first, work.transfer_s[rest] / second
            )
    return out


def _fit(compute: FloatArray, transfer: FloatArray, measured: FloatArray) -> tuple[float, ...]:
    """Coarse to fine over both efficiencies; the constant is a weighted median."""
    if len(measured) > FIT_ROWS:
        picked = np.random.default_rng(0).permutation(len(measured))[:FIT_ROWS]
        compute, transfer, measured = compute[picked], transfer[picked], measured[picked]
    best = (np.inf, 1.0, 1.0, 0.0)
    centre, width = (0.5, 0.5), 0.45
    for _ in range(4):
        steps = np.linspace(-width, width, 9)
        grid = ([min(1.0, max(0.02, c + s)) for s in steps] for c in centre)
        for first, second in product(*grid):
            shape = np.maximum(compute / first, transfer / second)
            constant = max(0.0, _weighted_median(measured - shape, 1 / measured))
            error = float(np.abs((shape + constant) / measured - 1).mean())
            best = min(best, (error, first, second, constant))
        centre, width = (best[1], best[2]), width / 3
    return best[1:]


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])


def lookup(
    operator: Operator, inputs: Mapping[str, Column], work: Work, measured: FloatArray, seed: int
) -> FloatArray | None:
    """The nearest measured shapes in log space, weighted by their distance.

    What is interpolated is the ratio to the roofline's time. Rows of which no relative is in the
    other half stay NaN; None where the table is too large for the libraries at hand.
    """
    tree = _tree()
    if tree is None and len(measured) > 2 * BRUTE_FORCE_ROWS:
        return None
    place = np.log(np.column_stack([inputs[name].astype(float) for name in operator.scales]))
    ratio = np.log(measured / np.maximum(work.roofline_s, 1e-12))
    half = halves(len(measured), seed)
    out = np.full(len(measured), np.nan)
    for members in _relatives(operator, inputs, len(measured)):
        for known, asked in ((half, ~half), (~half, half)):
            have, want = members[known[members]], members[asked[members]]
            if len(have) and len(want):
                near, distance = _nearest(tree, place[have], place[want])
                weight = 1 / (distance + 1e-3) ** 2
                value = (weight * ratio[have][near]).sum(axis=1) / weight.sum(axis=1)
                out[want] = np.exp(value) * work.roofline_s[want]
    return out


def _relatives(
    operator: Operator, inputs: Mapping[str, Column], count: int
) -> list[npt.NDArray[np.int64]]:
    """Indices of rows that agree in every column that is no scale."""
    others = [inputs[n] for n in (*operator.columns, *operator.words) if n not in operator.scales]
    code = np.zeros(count, dtype=np.int64)
    for column in others:
        _, index = np.unique(column, return_inverse=True)
        code = code * (int(index.max(initial=0)) + 1) + index
        _, code = np.unique(code, return_inverse=True)
    order = np.argsort(code, kind="stable")
    edges = np.flatnonzero(np.diff(code[order])) + 1
    return np.split(order, edges)


def _nearest(tree: Any, have: FloatArray, want: FloatArray) -> tuple[Column, FloatArray]:
    count = min(NEIGHBOURS, len(have))
    if tree is not None:
        distance, near = tree(have).query(want, k=count)
        return near.reshape(len(want), count), distance.reshape(len(want), count)
    near = np.empty((len(want), count), dtype=np.int64)
    distance = np.empty((len(want), count))
    for start in range(0, len(want), 256):
        part = want[start : start + 256]
        apart = np.sqrt(((part[:, None, :] - have[None, :, :]) ** 2).sum(axis=2))
        closest = np.argsort(apart, axis=1, kind="stable")[:, :count]
        near[start : start + 256] = closest
        distance[start : start + 256] = np.take_along_axis(apart, closest, axis=1)
    return near, distance


def _tree() -> Any:
    try:
        from scipy.spatial import cKDTree
    except ImportError:
        return None
    return cKDTree


def second_stack(table: Table, others: Sequence[Table]) -> FloatArray | None:
    """What another software stack took for the same rows; NaN where it has none.

    The first of ``others`` with a tenth of the rows counts; None where there is no such.
    """
    # stacks differ by the kernels that they run
    keys = table.keys("kernels")
    for other in others:
        if other.stack == table.stack or other.dtype != table.dtype:
            continue
        known = dict(zip(other.keys("kernels"), other.measured_s.tolist(), strict=True))
        found = np.array([known.get(key, np.nan) for key in keys])
        found[~(found > 0)] = np.nan
        if np.isfinite(found).sum() * 10 >= len(keys):
            return found
    return None
