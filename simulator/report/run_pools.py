"""The terminal report of a run's pools, and of the KV caches that moved between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.report.console import make_table
from simulator.report.figures import bytes_text, count, duration, percent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from simulator.serving.results import RunResult, TransferResult


def pools_table(result: RunResult, console: Console) -> Table:
    """What the chips of each pool did while they had work."""
    rows = []
    for role, pool in result.pools.items():
        bound = max(pool.bound_by, key=lambda cause: pool.bound_by[cause])
        share = f"{bound} {percent(pool.bound_by[bound])}" if pool.iterations else ""
        rows.append(
            (
                role,
                pool.system,
                count(pool.replicas),
                count(pool.iterations),
                f"{pool.mean_batch:,.1f}",
                percent(pool.mfu),
                percent(pool.mbu),
                percent(pool.kv["peak_fraction"]),
                share,
            )
        )
    columns = (
        "pool",
        "<system",
        "replicas",
        "iterations",
        "batch",
        "MFU",
        "MBU",
        "KV peak",
        "<bound by",
    )
    return make_table(console, "Pools", columns, rows)


def transfer_table(moved: TransferResult, console: Console) -> Table:
    """How long KV caches took from prefill to decode replicas."""
    rows = [
        ("moved", f"{bytes_text(moved.bytes)} in {count(moved.transfers, 'transfers')}"),
        ("time, mean", duration(moved.time_s.mean)),
        ("time, p99", duration(moved.time_s.p99)),
        ("wait for blocks, mean", duration(moved.queue_s.mean)),
        ("hidden behind the prefill, mean", duration(moved.overlapped_s)),
        ("after the first token, mean", duration(moved.exposed_s)),
        ("busiest link in use", percent(moved.link_utilization)),
    ]
    return make_table(console, "KV transfer", ("figure", "value"), rows)
