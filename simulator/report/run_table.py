"""The terminal report of a replayed workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.report.accuracy import rests_on
from simulator.report.console import make_table, show
from simulator.report.figures import (
    MISSING,
    bytes_text,
    count,
    duration,
    groups,
    mean,
    percent,
    price_basis,
    rate,
    scaled,
    usd,
)
from simulator.report.run_course import course_table
from simulator.report.run_pools import (
    pool_memory_table,
    pool_units_table,
    pools_table,
    shown_causes,
    transfer_table,
    work_of_units,
)
from simulator.timing.results import UNITS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from simulator.serving.goodput import Goodput
    from simulator.serving.results import RunResult


def print_run(result: RunResult, console: Console, *, over_time: bool = False) -> None:
    """Latency, throughput, units, memory, and what to try next; its course where it is wanted."""
    show(console, *heading(result))
    show(console, latency_table(result, console))
    if result.goodput is not None:
        show(console, slo_table(result.goodput, console))
    show(console, throughput_table(result, console))
    if len(result.pools) > 1:
        show(console, pools_table(result, console), pool_units_table(result, console))
        show(console, pool_memory_table(result, console))
    else:
        show(console, units_table(result, console), memory_table(result, console))
    if result.kv_transfer is not None:
        show(console, transfer_table(result.kv_transfer, console))
    if over_time and result.timeline is not None:
        show(console, course_table(result.timeline, console))
    show(console, f"\nlimit: {result.advice}", rests_on(result))


def heading(result: RunResult) -> list[str]:
    """Which system, model and workload, and how many requests came through."""
    counts = result.requests
    types = " ".join(f"{what} {dtype}" for what, dtype in result.dtypes.items())
    engine = "" if result.engine is None else f"; engine {result.engine.name}"
    lines = [
        f"{result.model} on {result.system} ({_whole(result)}), workload {result.workload}",
        f"data types: {types}{engine}; seed {result.seed}",
        f"requests: {count(counts.arrived)} arrived, {count(counts.completed)} completed, "
        f"{count(counts.rejected)} rejected; {count(counts.prompt_tokens)} prompt tokens and "
        f"{count(counts.output_tokens)} output tokens in {duration(result.simulated_s)}",
    ]
    if counts.counted < counts.completed:
        lines.append(
            f"  latencies and rates: of the {count(counts.counted, 'requests')} that arrived after "
            f"the warm-up of {duration(result.options['warmup_s'])}"
        )
    if counts.failed_calls:
        lines.append(f"  left out: {count(counts.failed_calls, 'failed calls')} of the trace")
    if result.lost_requests or result.failures:
        lines.append(
            f"  {count(result.failures, 'failures')}; lost: "
            f"{count(result.lost_requests, 'requests')}"
        )
    if result.pool_changes:
        lines.append(f"  {count(result.pool_changes, 'changes')} of a replica's pool")
    for reason, number in sorted(counts.rejected_because.items()):
        if number:
            lines.append(f"  rejected: {count(number, 'requests')}: {reason}")
    return [*lines, _scheduling(result)]


def _scheduling(result: RunResult) -> str:
    """What an iteration may hold, and what chooses the replica where there are several."""
    chosen = result.options
    text = (
        f"scheduler {chosen['scheduler']}: an iteration of a replica has at most "
        f"{count(chosen['max_batch'], 'sequences')} and {count(chosen['token_budget'], 'tokens')}"
    )
    several = any(pool.replicas > 1 for pool in result.pools.values())
    return f"{text}; router {chosen['router']}" if several else text


def _whole(result: RunResult) -> str:
    """All chips as replicas, pool by pool where they are not alike."""
    if len({(pool.tp, pool.layout) for pool in result.pools.values()}) > 1:
        parts = [
            f"{role} {count(pool.chips, 'chips')} = {groups(pool.replicas, pool.tp, pool.layout)}"
            for role, pool in result.pools.items()
        ]
        return f"{count(result.chips, 'chips')}: {', '.join(parts)}"
    each = groups(result.replicas, result.tp, result.layout)
    return f"{count(result.chips, 'chips')} = {each}"


def latency_table(result: RunResult, console: Console) -> Table:
    """TTFT, TPOT, end-to-end and queueing; mean and percentiles."""
    named = (
        ("time to first token (TTFT)", result.ttft_s),
        ("time per output token (TPOT)", result.tpot_s),
        ("between two tokens (ITL)", result.itl_s),
        ("end to end", result.e2e_s),
        ("queueing", result.queue_s),
    )
    rows = [
        (name, *(duration(value) for value in (d.mean, d.p50, d.p90, d.p95, d.p99)))
        for name, d in named
    ]
    columns = ("of a request", "mean", "p50", "p90", "p95", "p99")
    return make_table(console, "Latency", columns, rows)


def slo_table(goodput: Goodput, console: Console) -> Table:
    """By class: what was promised, how many requests were served so, and what the others missed."""
    rows = []
    for name, entry in goodput.classes.items():
        limits = ", ".join(f"{k} <= {duration(v)}" for k, v in entry.limits_s.items())
        missed = ", ".join(f"{k} {count(v)}" for k, v in entry.missed.items() if v)
        rows.append(
            (
                name,
                limits or MISSING,
                count(entry.requests),
                percent(entry.attainment),
                rate(entry.goodput_requests_per_s, "requests"),
                missed or MISSING,
            )
        )
    title = f"Service level: {percent(goodput.attainment)} of the requests met it, goodput " + rate(
        goodput.goodput_requests_per_s, "requests"
    )
    columns = ("class", "<limits", "requests", "met", "goodput", "<missed requests")
    return make_table(console, title, columns, rows)


def throughput_table(result: RunResult, console: Console) -> Table:
    """Rates, efficiencies, and what the run cost."""
    hits = result.prefix_hit_rate
    rows = [
        ("requests", rate(result.requests_per_s, "requests")),
        ("output tokens", rate(result.output_tokens_per_s, "tokens")),
        ("output tokens of a chip", rate(result.output_tokens_per_s_per_chip, "tokens")),
        ("output tokens of a user", rate(result.output_tokens_per_s_per_user, "tokens")),
        ("in the system, mean", mean(result.mean_requests_in_system, "requests")),
        ("MFU (of peak arithmetic)", percent(result.mfu)),
        ("MBU (of peak HBM bandwidth)", percent(result.mbu)),
        ("iterations", count(result.iterations, "iterations")),
        ("batch, mean", f"{result.mean_batch:,.1f} sequences"),
        ("tokens of an iteration, mean", f"{result.mean_tokens_per_iteration:,.1f} tokens"),
        ("preemptions", count(result.preemptions, "preemptions")),
        *([("prompt tokens from the prefix cache", percent(hits))] if hits is not None else []),
        *_energy_and_cost(result),
    ]
    return make_table(console, "Throughput and efficiency", ("figure", "value"), rows)


def units_table(result: RunResult, console: Console) -> Table:
    """How long each unit was busy and how long the run was bound by it, while serving."""
    moved = work_of_units(result)
    rows = []
    for cause in shown_causes(result):
        busy = percent(result.utilization.get(cause)) if cause in UNITS else MISSING
        bound = percent(result.bound_by.get(cause, 0.0))
        rows.append((cause, busy, bound, moved.get(cause, "")))
    title = f"Units, in {duration(result.serving_s)} of serving (sum of replicas)"
    return make_table(console, title, ("unit", "busy", "bound by", "<work"), rows)


def memory_table(result: RunResult, console: Console) -> Table:
    """What fills the HBM of one chip, and how full the KV cache was."""
    rows = [(name, bytes_text(size)) for name, size in result.memory_bytes.items()]
    kv = result.kv
    if "peak_fraction" in kv:
        rows.append(("KV cache in use, peak", percent(kv["peak_fraction"])))
    if "mean_fraction" in kv:
        rows.append(("KV cache in use, mean", percent(kv["mean_fraction"])))
    if "blocks" in kv:
        size = int(kv.get("block_tokens", 0))
        rows.append(("KV cache of a replica", f"{int(kv['blocks']):,} blocks of {size} tokens"))
    title = "HBM of each chip"
    first, *others = result.system.split(" + ")
    if others:
        title += f" of the first kind of system, {first}"
    return make_table(console, title, ("part", "size"), rows)


def _energy_and_cost(result: RunResult) -> list[tuple[str, str]]:
    """In all and by output token, as far as the chip files have energies and prices."""
    tokens = result.requests.output_tokens
    rows = []
    if result.energy_j is None:
        rows.append(("energy", f"{MISSING} (the chip file states no energies)"))
    else:
        label = "energy, estimated" if result.energy_basis else "energy"
        rows.append((label, scaled(result.energy_j, "J")))
        if tokens:
            rows.append((f"{label}, of an output token", scaled(result.energy_j / tokens, "J")))
    if result.cost_usd is None:
        rows.append(("cost", f"{MISSING} (the chip file states no price)"))
    else:
        hours = result.simulated_s / 3600 * result.chips
        each = f", at {usd(result.cost_usd / hours)} a chip-hour" if hours else ""
        basis = price_basis(result.cost_basis)
        label = f"cost{each} ({basis})" if basis else f"cost{each}"
        rows.append((label, usd(result.cost_usd)))
        if tokens:
            each = usd(result.cost_usd / tokens * 1e6)
            rows.append(("cost of a million output tokens", each))
    return rows
