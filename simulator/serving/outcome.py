"""What a run of a deployment says: sums over replicas, by pool and in all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from simulator.hardware import System
from simulator.serving import fields, metrics
from simulator.serving.pools import DECODE, PREFILL, SERVE, Pool
from simulator.serving.replica import Replica
from simulator.serving.results import (
    Distribution,
    PoolResult,
    RequestCounts,
    RequestTable,
    RunResult,
    TransferResult,
)
from simulator.serving.status import COMPLETED, LOST, REJECTED_CONTEXT, REJECTED_KV
from simulator.serving.tiers import tiers_of
from simulator.serving.timeline import timeline
from simulator.serving.work import PS_PER_S, Work, added, by_plan, shares, work_of
from simulator.timing.energy import energy_basis, energy_j

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster, Fitted

Int64Array = npt.NDArray[np.int64]


def outcome(cluster: Cluster) -> RunResult:
    """The result of a cluster that has run to its end."""
    deployment, options, requests = cluster.deployment, cluster.options, cluster.requests
    done = cluster.status == COMPLETED
    warmup_ps = round(options.warmup_s * 1e12)
    counted = done & (requests[:, fields.ARRIVAL] >= warmup_ps)
    times = metrics.latencies(requests, counted)
    start = int(requests[:, fields.ARRIVAL].min())
    end = int(requests[done, fields.COMPLETED_AT].max()) if done.any() else start
    simulated_s = (end - start) / PS_PER_S
    since_s = max(0, end - max(start, warmup_ps)) / PS_PER_S
    work = work_of(cluster.replicas)
    utilization, causes = shares(work.totals)
    output = int(requests[counted, fields.OUTPUT].sum())
    plan = deployment.pools[-1].members[0].plan
    fitted = cluster.fitted[id(plan)]
    systems = _systems(deployment.pools)
    pools = _pools(cluster)
    result = RunResult(
        system=_system_name(deployment.pools),
        model=plan.model.name,
        workload=cluster.workload.name,
        seed=options.seed,
        tp=plan.tp,
        layout=plan.layout.text,
        replicas=deployment.replicas,
        chips=deployment.chips,
        dtypes=plan.dtypes.as_dict(),
        accuracy=tuple(entry for system in systems for entry in system.validation),
        engine=plan.system.engine,
        options=_options(cluster),
        requests=_counts(cluster, done, counted),
        simulated_s=simulated_s,
        serving_s=work.serving_s,
        ttft_s=times["ttft_s"],
        tpot_s=times["tpot_s"],
        e2e_s=times["e2e_s"],
        queue_s=times["queue_s"],
        output_tokens_per_s=output / since_s if since_s else 0.0,
        requests_per_s=int(counted.sum()) / since_s if since_s else 0.0,
        utilization=utilization,
        mfu=work.mfu,
        mbu=work.mbu,
        bound_by=causes,
        traffic_bytes=work.traffic,
        iterations=work.iterations,
        preemptions=int(work.counters[fields.PREEMPTED]),
        mean_batch=work.mean(fields.SEQUENCE_SUM),
        mean_tokens_per_iteration=work.mean(fields.TOKEN_SUM),
        kv=_kv(fitted, work),
        memory_bytes=fitted.memory.as_dict(),
        flops=work.flops,
        min_bytes=work.min_bytes,
        energy_j=_energy(cluster, simulated_s),
        energy_basis=energy_basis(system.chip for system in systems),
        cost_usd=_cost(deployment.pools, simulated_s),
        advice=metrics.advice(pools, times["queue_s"].p99, times["ttft_s"].p99, simulated_s),
        table=_table(cluster, start),
        log=metrics.iteration_log(cluster.replicas) if options.record_iterations else None,
        lost_requests=int((cluster.status == LOST).sum()),
        failures=cluster.lives.failures,
        pool_changes=0 if cluster.rebalancer is None else cluster.rebalancer.moves,
        prefix_hit_rate=_hit_rate(cluster, work),
        pools=pools,
        kv_transfer=_transfers(cluster, simulated_s),
        speculation=_speculation(cluster, work),
        kv_tiers=_tiers(cluster),
    )
    return metrics.observed(
        result,
        cluster.workload,
        requests,
        added(fitted.prices.gaps for fitted in cluster.fitted.values()),
        timeline(_by_role(cluster), result.table, start) if done.any() else None,
    )


def _system_name(pools: Sequence[Pool]) -> str:
    if len(pools) == 1:
        return pools[0].name
    return " + ".join(f"{pool.name} ({pool.role})" for pool in pools)


def _options(cluster: Cluster) -> dict[str, Any]:
    deployment, options = cluster.deployment, cluster.options
    chosen: dict[str, Any] = {
        "max_batch": options.max_batch,
        "token_budget": options.token_budget,
        "warmup_s": options.warmup_s,
        "scheduler": options.scheduler,
        "router": deployment.router,
    }
    if len(deployment.pools) == 2:
        chosen["disaggregate"] = deployment.disaggregate
        if deployment.disaggregate == "uncached":
            chosen["disaggregate"] += f":{deployment.uncached_tokens}"
        rebalance = deployment.rebalance_ps
        chosen["rebalance_s"] = None if rebalance is None else rebalance / 10**12
    if deployment.faults:
        chosen["fail"] = [fault.text for fault in deployment.faults]
        chosen["on_failure"] = deployment.on_failure
        chosen["max_retries"] = deployment.max_retries
    return chosen


def _counts(
    cluster: Cluster, done: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_]
) -> RequestCounts:
    requests, status = cluster.requests, cluster.status
    kv, context = int((status == REJECTED_KV).sum()), int((status == REJECTED_CONTEXT).sum())
    return RequestCounts(
        arrived=len(requests),
        completed=int(done.sum()),
        rejected=kv + context,
        prompt_tokens=int(requests[done, fields.PROMPT].sum()),
        output_tokens=int(requests[done, fields.OUTPUT].sum()),
        counted=int(counted.sum()),
        failed_calls=cluster.workload.failed_calls,
        rejected_because={"kv_capacity": kv, "context_length": context},
    )


def _systems(pools: Sequence[Pool]) -> list[System]:
    """One system of each kind of chip in the pools."""
    members = (member for pool in pools for member in pool.members)
    return list({m.plan.system.chip.name: m.plan.system for m in members}.values())


def _energy(cluster: Cluster, simulated_s: float) -> float | None:
    """Of all chips: events of their replicas, and idle power for the whole run."""
    members = [member for pool in cluster.deployment.pools for member in pool.members]
    total = 0.0
    for plan, mine in by_plan(cluster.replicas):
        work = work_of(mine)
        energy = energy_j(
            plan.system.chip,
            plan.dtypes.activation,
            flops=work.flops,
            vector_ops=work.vector_ops,
            sram_bytes=work.sram_bytes,
            traffic=work.traffic,
            chip_seconds=simulated_s * sum(m.chips for m in members if m.plan is plan),
        )
        if energy is None:
            return None
        total += energy
    return total


def _cost(pools: Sequence[Pool], simulated_s: float) -> float | None:
    total = 0.0
    for member in (member for pool in pools for member in pool.members):
        price = member.plan.system.chip.price_usd_per_hour
        if price is None:
            return None
        total += price * member.chips * simulated_s / 3600
    return total


def _hit_rate(cluster: Cluster, work: Work) -> float | None:
    """Cached prompt tokens over prompt tokens; None without a prefix cache."""
    if not cluster.options.prefix_cache:
        return None
    prompts = int(work.counters[fields.PROMPT_TOKENS])
    return int(work.counters[fields.FOUND_TOKENS]) / prompts if prompts else 0.0


def _speculation(cluster: Cluster, work: Work) -> dict[str, float] | None:
    """What was chosen and what came of it; None without drafts."""
    options = cluster.options
    if options.speculate == 0:
        return None
    return {
        "drafts": options.speculate,
        "acceptance": options.acceptance,
        "verified_tokens": int(work.counters[fields.VERIFIED]),
        "emitted_tokens": int(work.counters[fields.DECODED]),
    }


def _tiers(cluster: Cluster) -> dict[str, int] | None:
    """The tiers of a decode replica, and what all replicas moved; None without any."""
    tiers = tiers_of(cluster.deployment.pools[-1].members[0].plan, cluster.options)
    if tiers.host_bytes == 0:
        return None
    moved = dict.fromkeys(("to_host_bytes", "from_host_bytes", "from_pool_bytes"), 0)
    columns = (fields.MOVED_OUT, fields.MOVED_IN, fields.MOVED_POOL)
    for replica in cluster.replicas:
        size = int(replica.settings[fields.BLOCK_BYTES])
        for name, column in zip(moved, columns, strict=True):
            moved[name] += int(replica.counters[column]) * size
    swaps = sum(int(replica.counters[fields.SWAPS]) for replica in cluster.replicas)
    return {**dataclasses.asdict(tiers), **moved, "swaps": swaps}


def _kv(fitted: Fitted, work: Work) -> dict[str, float]:
    """Blocks of one replica, and how full they were on all."""
    return {"blocks": fitted.blocks, "block_tokens": fields.BLOCK_TOKENS, **work.kv}


def _by_role(cluster: Cluster) -> dict[str, list[Replica]]:
    """Every replica that was ever in a pool, by the pool's role."""
    return {
        pool.role: [r for r in cluster.replicas if r.prefills == (pool.role == PREFILL)]
        for pool in cluster.deployment.pools
    }


def _pools(cluster: Cluster) -> dict[str, PoolResult]:
    found = {}
    by_role = _by_role(cluster)
    for pool in cluster.deployment.pools:
        work = work_of(by_role[pool.role])
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
            kv=_kv(fitted, work),
            memory_bytes=fitted.memory.as_dict(),
        )
    assert list(found) in ([SERVE], [PREFILL, DECODE])
    return found


def _transfers(cluster: Cluster, simulated_s: float) -> TransferResult | None:
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
    return metrics.distribution(np.array(values, dtype=np.int64))


def _table(cluster: Cluster, start: int) -> RequestTable:
    requests = cluster.requests

    def since(column: int) -> Int64Array:
        times = requests[:, column]
        return np.where(times == fields.NEVER, fields.NEVER, times - start)

    completed = since(fields.COMPLETED_AT)
    return RequestTable(
        arrival_ps=requests[:, fields.ARRIVAL] - start,
        prompt_tokens=requests[:, fields.PROMPT],
        output_tokens=requests[:, fields.OUTPUT],
        scheduled_ps=since(fields.SCHEDULED_AT),
        first_token_ps=since(fields.FIRST_TOKEN_AT),
        completed_ps=completed,
        preemptions=requests[:, fields.PREEMPTIONS],
        replica=np.where(cluster.replica_of < 0, cluster.prefill_of, cluster.replica_of),
        status=cluster.status,
    )
