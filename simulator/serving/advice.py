"""One line after a run: what limits it, and what to try next."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.serving.results import PoolResult

NEAR_CAPACITY = 0.7
"""Share of the time in iterations from which on queues are due to the load and not to bursts."""

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


def advice(
    pools: Mapping[str, PoolResult],
    queue_p99_s: float | None,
    ttft_p99_s: float | None,
    simulated_s: float,
    note: str = "",
) -> str:
    """One line: what limits each pool and what to try next, and whether requests queue for long.

    ``note`` is said last.
    """
    lines = [
        (f"{role} pool: " if len(pools) > 1 else "") + _limit(pool.bound_by)
        for role, pool in pools.items()
    ]
    if queue_p99_s and ttft_p99_s and queue_p99_s > max(1.0, 0.5 * ttft_p99_s):
        role, first = next(iter(pools.items()))
        busy = first.serving_s / (first.replicas * simulated_s) if simulated_s else 0.0
        where = f" before the {role} pool" if len(pools) > 1 else ""
        line = f"requests queue{where} for up to {queue_p99_s:.2f} s (p99): "
        if busy > NEAR_CAPACITY:
            line += "the load is near capacity"
        else:
            line += f"they come in bursts, for its replicas work only {busy:.0%} of the time"
        lines.append(line)
    if note:
        lines.append(note)
    return "; ".join(lines)


def _limit(bound_by: dict[str, float]) -> str:
    """What most of the time goes to, and what would help."""
    if not any(bound_by.values()):
        return "nothing ran"
    worst = max(bound_by, key=lambda cause: bound_by[cause])
    line = f"{bound_by[worst]:.0%} of {ADVICE[worst]}"
    return line.replace("of time goes", "of the time goes", 1)
