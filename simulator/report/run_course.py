"""The terminal report of a run's course over time: its timeline in a few rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from simulator.report.console import make_table
from simulator.report.figures import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from simulator.serving.timeline import Timeline

    FloatArray = npt.NDArray[np.float64]

ROWS = 10


def course_table(line: Timeline, console: Console) -> Table:
    """At most ten rows of equally many points; shares of a pool's work refer to its busy time."""
    parts = np.array_split(np.arange(len(line.time_s)), min(ROWS, len(line.time_s)))
    rows = []
    for part in parts:
        span = line.duration_s[part]
        cells = [
            duration(float(line.time_s[part[0]])),
            f"{_mean(line.running[part], span):,.1f}",
            f"{_mean(line.waiting[part], span):,.1f}",
            f"{_mean(line.tokens_per_s[part], span):,.0f}",
        ]
        for pool in line.pools.values():
            busy = span * pool.busy_fraction[part]
            cells += [
                _percent(_mean(pool.busy_fraction[part], span)),
                _percent(_mean(pool.mfu[part], busy)),
                _percent(_mean(pool.mbu[part], busy)),
                _percent(_mean(pool.kv_fraction[part], span)),
            ]
        rows.append(tuple(cells))
    columns = ["from", "running", "waiting", "tokens/s"]
    for role in line.pools:
        columns += [f"{role} busy %", "MFU %", "MBU %", "KV %"]
    return make_table(console, "Over time (means of equal intervals)", tuple(columns), rows)


def _percent(share: float) -> str:
    """Per cent without the sign, which is in the head of the column: there are many columns."""
    return f"{100 * share:.1f}"


def _mean(values: FloatArray, weights: FloatArray) -> float:
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total else 0.0
