"""What the pools of a finished run did, and what moved between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.serving import fields
from simulator.serving.fitting import Fitted
from simulator.serving.metrics import distribution
from simulator.serving.pools import DECODE, PREFILL, SERVE
from simulator.serving.replica import Replica
from simulator.serving.results import Distribution, PoolResult, TransferResult
from simulator.serving.work import PS_PER_S, Work, shares, work_of

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster


def kv_of(fitted: Fitted, work: Work) -> dict[str, float]:
    """Blocks of one replica, and how full they were on all."""
    return {"blocks": fitted.blocks, "block_tokens": fields.BLOCK_TOKENS, **work.kv}


def by_role(cluster: Cluster) -> dict[str, list[Replica]]:
    """Every replica that was ever in a pool, by the pool's role."""
    return {
        pool.role: [r for r in cluster.replicas if r.prefills == (pool.role == PREFILL)]
        for pool in cluster.deployment.pools
    }


def pool_results(cluster: Cluster) -> dict[str, PoolResult]:
    """Each pool, by its role."""
    found = {}
    replicas = by_role(cluster)
    for pool in cluster.deployment.pools:
        work = work_of(replicas[pool.role])
        utilization, causes = shares(work.totals)
        plan = pool.members[0].plan
        fitted = cluster.fitted[id(plan)]
        current = cluster.back
        if pool.role == PREFILL and cluster.prefill is not None:
            current = cluster.prefill.replicas
        found[pool.role] = PoolResult(
            system=pool.name,
            replicas=pool.replicas,
            final_replicas=len(current),
            chips=pool.chips,
            tp=plan.tp,
            layout=plan.layout.text,
            utilization=utilization,
            mfu=work.mfu,
            mbu=work.mbu,
            flops=work.flops,
            min_bytes=work.min_bytes,
            bound_by=causes,
            iterations=work.iterations,
            serving_s=work.serving_s,
            mean_batch=work.mean(fields.SEQUENCE_SUM),
            preemptions=int(work.counters[fields.PREEMPTED]),
            kv=kv_of(fitted, work),
            memory_bytes=fitted.memory.as_dict(),
        )
    assert list(found) in ([SERVE], [PREFILL, DECODE])
    return found


def transfer_result(cluster: Cluster, simulated_s: float) -> TransferResult | None:
    """The KV caches that moved between pools; None with one pool."""
    if cluster.prefill is None:
        return None
    transfers = cluster.prefill.transfers
    log = transfers.log
    busiest = 0.0
    if transfers.limited and simulated_s:
        carried = transfers.network.carried
        rates = [link.bytes_per_s or 1 for link in transfers.links for _ in ("out", "in")]
        busiest = max(b / rate for b, rate in zip(carried, rates, strict=True)) / simulated_s
    exposed = _spread(log.exposed_ps)
    return TransferResult(
        transfers=len(log.sizes),
        bytes=sum(log.sizes),
        time_s=_spread(log.time_ps),
        queue_s=_spread(log.queue_ps),
        exposed_s=exposed.mean or 0.0,
        overlapped_s=_mean_overlap(log.time_ps, log.queue_ps, log.exposed_ps),
        link_utilization=busiest,
    )


def _mean_overlap(time_ps: list[int], queue_ps: list[int], exposed_ps: list[int]) -> float:
    """How much of waiting and moving took place while the prompt was still being computed."""
    hidden = [t + q - e for t, q, e in zip(time_ps, queue_ps, exposed_ps, strict=True)]
    return sum(hidden) / len(hidden) / PS_PER_S if hidden else 0.0


def _spread(values: list[int]) -> Distribution:
    return distribution(np.array(values, dtype=np.int64))
