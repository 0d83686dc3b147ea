"""One line after a run: what limits it, and what to try next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from simulator.hardware import System
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
    converting: str = "",
) -> str:
    """One line: what limits each pool and what to try next, and whether requests queue for long.

    ``converting`` is the 8-bit type of attention that reads a cache of 16 (``converts_cache``).
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
    if converting:
        lines.append(f"{CONVERTING}: --kv-dtype {converting} avoids that")
    return "; ".join(lines)


CONVERTING = (
    "attention of 8 bits converts a cache of 16 as it reads it, and may take longer than with 16 "
    "bits for both"
)


def converts_cache(systems: Iterable[System], dtypes: Mapping[str, str]) -> str:
    """The 8-bit type to which attention kernels of a GPU turn a 16-bit cache; "" without."""
    activation = dtypes.get("activation", "bf16")
    wide = dtypes.get("kv", "bf16") == "bf16" and any(s.chip.fused is not None for s in systems)
    return activation if wide and activation != "bf16" else ""


def _limit(bound_by: dict[str, float]) -> str:
    """What most of the time goes to, and what would help."""
    if not any(bound_by.values()):
        return "nothing ran"
    worst = max(bound_by, key=lambda cause: bound_by[cause])
    line = f"{bound_by[worst]:.0%} of {ADVICE[worst]}"
    return line.replace("of time goes", "of the time goes", 1)
