"""One line after a run: what limits it, and what to try next."""

from __future__ import annotations

from simulator.serving.results import PoolResult, RunResult

NEAR_CAPACITY = 0.7
"""Share of the time in iterations, or of a link in use, from which on queues are due to the load
and not to bursts."""

LINK_FULL = 0.9
"""Share of a link in use from which on it limits the run, however little is seen to wait for it."""

SEEN_DELAY = 0.1
"""Share of a request's time that a delay is worth being named for."""

CACHE_FULL = 0.95
"""Share of the KV blocks at the peak from which on the next request may find no room."""

EMPTY_TILES = 0.1
"""MFU below which a matrix unit that limits the run works on tiles of mostly padding."""

ADVICE = {
    "hbm": "time goes to reading weights and KV from HBM: a smaller --weight-dtype or --kv-dtype, "
    "more bandwidth, or more tensor parallelism",
    "matrix": "time goes to arithmetic: a faster --dtype, more chips, or a smaller model",
    "vector": "time goes to vector work (softmax, norms): a chip with more vector throughput",
    "sram": "time goes to feeding the matrix unit from on-chip memory: more SRAM bandwidth",
    "fabric": "time goes to collectives: a smaller --tp, or faster links",
    "latency": "time goes to fixed costs of operators (launch, fill, first word): larger batches, "
    "or a smaller --tp",
    "host": "time goes to the host between iterations: larger batches, or a faster runtime",
    "bubble": "time goes to waiting for other stages of the pipeline: more requests at once, or a "
    "smaller --pp",
}
"""By what time may go to (``timing.results.CAUSES``)."""


def advice(result: RunResult, note: str = "", *, experts: bool = False) -> str:
    """One line: what keeps requests waiting, what limits each pool, and what to try next.

    A link that is full comes first, as nothing else helps before it; then a queue that grows, and
    promises that no request meets. ``note`` is said last; ``experts`` are those of the model.
    """
    several = len(result.pools) > 1
    lines = [_link(result)]
    if result.queue_growth is not None:
        lines.append(result.queue_growth.describe())
    if result.goodput is not None:
        lines += result.goodput.hopeless()
    for role, pool in result.pools.items():
        for line in (_cache(result, role, pool), _limit(pool, experts)):
            lines.append(f"{role} pool: {line}" if several and line else line)
    lines += [_queue(result), note]
    return "; ".join(filter(None, lines))


def _limit(pool: PoolResult, experts: bool) -> str:
    """What most of the time goes to, and what would help."""
    if not any(pool.bound_by.values()):
        return "nothing ran"
    worst = max(pool.bound_by, key=lambda cause: pool.bound_by[cause])
    share = f"{pool.bound_by[worst]:.0%} of the "
    if worst == "matrix" and pool.mfu < EMPTY_TILES:
        few = "small batches per expert" if experts else "small batches"
        return (
            f"{share}time goes to the matrix unit at an MFU of {pool.mfu:.1%}, for its tiles are "
            f"mostly empty ({few}): larger batches, or fewer ranks"
        )
    return share + ADVICE[worst]


def _link(result: RunResult) -> str:
    """The link between the pools, where it is what requests wait for."""
    moved = result.kv_transfer
    if moved is None:
        return ""
    seen = moved.exposed_s > SEEN_DELAY * (result.e2e_s.mean or 0.0)
    if moved.link_utilization < LINK_FULL and not (moved.link_utilization > NEAR_CAPACITY and seen):
        return ""
    return (
        f"the KV link between the pools is in use {moved.link_utilization:.1%} of the time, and "
        f"caches arrive {moved.exposed_s:.3g} s after the first token (mean): a faster --kv-link, "
        "a smaller --kv-dtype, or one pool for both phases"
    )


def _cache(result: RunResult, role: str, pool: PoolResult) -> str:
    """The KV cache of a pool, where requests wait for its blocks."""
    peak, mean = pool.kv["peak_fraction"], pool.kv["mean_fraction"]
    # with full batches requests would wait for their turn in any case
    blocked = (
        _waits(result, role)
        and mean > NEAR_CAPACITY
        and pool.mean_batch < NEAR_CAPACITY * result.options["max_batch"]
    )
    if peak < CACHE_FULL or not (pool.preemptions or blocked):
        return ""
    size = int(pool.kv["blocks"] * pool.kv["block_tokens"])
    back = f", {pool.preemptions:,} preemptions" if pool.preemptions else ""
    return (
        f"requests wait for room in the KV cache of {size:,} tokens (peak {peak:.0%}, mean "
        f"{mean:.0%}{back}): a smaller --kv-dtype or --weight-dtype, or more chips"
    )


def _waits(result: RunResult, role: str) -> bool:
    """Whether requests wait for long before a pool."""
    if role == "decode" and result.kv_transfer is not None:
        return (result.kv_transfer.queue_s.p99 or 0.0) > 1.0
    queue, first = result.queue_s.p99, result.ttft_s.p99
    return bool(queue and first and queue > max(1.0, 0.5 * first))


def _queue(result: RunResult) -> str:
    """How long requests queue, where that is most of what they wait for, and why."""
    role, pool = next(iter(result.pools.items()))
    if not _waits(result, role):
        return ""
    where = f" before the {role} pool" if len(result.pools) > 1 else ""
    line = f"requests queue{where} for up to {result.queue_s.p99:.2f} s (p99): "
    if result.queue_growth is not None:
        return f"{line}the load is beyond capacity"
    span = pool.replicas * result.simulated_s
    busy = pool.serving_s / span if span else 0.0
    if busy > NEAR_CAPACITY:
        return f"{line}the load is near capacity"
    return f"{line}they come in bursts, for its replicas work only {busy:.0%} of the time"
