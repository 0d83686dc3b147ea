"""The terminal report of a run's pools, and of the KV caches that moved between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.report.console import make_table
from simulator.report.figures import MISSING, bytes_text, count, duration, percent, scaled
from simulator.timing.results import CAUSES, UNITS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from simulator.serving.results import PoolResult, RunResult, TransferResult


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
                _replicas(pool),
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


def _replicas(pool: PoolResult) -> str:
    """How many there were, at the start and at the end where replicas changed pools."""
    if pool.final_replicas == pool.replicas:
        return count(pool.replicas)
    return f"{count(pool.replicas)} to {count(pool.final_replicas)}"


def shown_causes(result: RunResult) -> list[str]:
    """What time may go to; bubbles only where something was laid out as a pipeline."""
    return [c for c in CAUSES if c != "bubble" or result.bound_by.get(c)]


def work_of_units(result: RunResult) -> dict[str, str]:
    """What each unit did in all."""
    traffic = result.traffic_bytes
    read, written = (bytes_text(traffic.get(f"hbm_{way}")) for way in ("read", "write"))
    return {
        "hbm": f"{read} read, {written} written",
        "fabric": bytes_text(traffic.get("fabric")),
        "matrix": scaled(result.flops, "FLOP"),
    }


def pool_units_table(result: RunResult, console: Console) -> Table:
    """As the units of one pool, pool by pool; the work is that of all."""
    moved = work_of_units(result)
    rows = []
    for cause in shown_causes(result):
        cells = [cause]
        for pool in result.pools.values():
            cells.append(percent(pool.utilization.get(cause)) if cause in UNITS else MISSING)
            cells.append(percent(pool.bound_by.get(cause, 0.0)))
        rows.append((*cells, moved.get(cause, "")))
    columns = ["unit"]
    for role in result.pools:
        columns += [f"{role} busy", "bound by"]
    spent = ", ".join(f"{role} {duration(pool.serving_s)}" for role, pool in result.pools.items())
    title = f"Units, in time of serving (sum of replicas): {spent}"
    return make_table(console, title, (*columns, "<work of all"), rows)


def pool_memory_table(result: RunResult, console: Console) -> Table:
    """What fills the HBM of a chip of each pool, and how full the KV cache was."""
    pools = list(result.pools.values())
    names = list(dict.fromkeys(name for pool in pools for name in pool.memory_bytes))
    rows = [(n, *(bytes_text(pool.memory_bytes.get(n)) for pool in pools)) for n in names]
    for label, key in (("peak", "peak_fraction"), ("mean", "mean_fraction")):
        rows.append((f"KV cache in use, {label}", *(percent(pool.kv[key]) for pool in pools)))
    blocks = (f"{int(p.kv['blocks']):,} x {int(p.kv['block_tokens'])} tokens" for p in pools)
    rows.append(("KV cache of a replica", *blocks))
    return make_table(console, "HBM of each chip", ("part", *result.pools), rows)


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
