"""What a run of a deployment says, in all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from simulator.serving import fields, metrics
from simulator.serving.advice import advice
from simulator.serving.bill import cost_basis, cost_of, energy_of, kinds_of_chip
from simulator.serving.pool_results import by_role, kv_of, pool_results, transfer_result
from simulator.serving.pools import Pool
from simulator.serving.results import IterationLog, RequestCounts, RequestTable, RunResult
from simulator.serving.status import COMPLETED, LOST, REJECTED_CONTEXT, REJECTED_KV
from simulator.serving.tiers import tiers_of
from simulator.serving.timeline import timeline
from simulator.serving.work import PS_PER_S, Work, added, shares, work_of
from simulator.timing.energy import energy_basis
from simulator.timing.evidence import compared, uncompared
from simulator.timing.step import load_notes

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster

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
    systems = kinds_of_chip(deployment.pools)
    known = [compared(system, plan.model) for system in systems]
    names = [system.chip.name if len(systems) > 1 else "" for system in systems]
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
        accuracy=tuple(
            dataclasses.replace(entry, chip=name)
            for name, entries in zip(names, known, strict=True)
            for entry in entries
        ),
        unvalidated=tuple(
            (name, operator)
            for name, system, entries in zip(names, systems, known, strict=True)
            for operator in uncompared(system, plan.model, entries)
        ),
        overridden=tuple(
            name for name, system in zip(names, systems, strict=True) if system.chip.overridden
        ),
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
        kv=kv_of(fitted, work),
        memory_bytes=fitted.memory.as_dict(),
        flops=work.flops,
        min_bytes=work.min_bytes,
        energy_j=energy_of(cluster, simulated_s),
        energy_basis=energy_basis(system.chip for system in systems),
        cost_usd=cost_of(deployment.pools, simulated_s),
        cost_basis=cost_basis(deployment.pools),
        advice="",
        table=_table(cluster, start),
        log=_log(cluster) if options.record_iterations else None,
        lost_requests=int((cluster.status == LOST).sum()),
        failures=cluster.lives.failures,
        pool_changes=0 if cluster.rebalancer is None else cluster.rebalancer.moves,
        prefix_hit_rate=_hit_rate(cluster, work),
        pools=pool_results(cluster),
        kv_transfer=transfer_result(cluster, simulated_s),
        speculation=_speculation(cluster, work),
        kv_tiers=_tiers(cluster),
    )
    result = metrics.observed(
        result,
        cluster.workload,
        requests,
        added(fitted.prices.gaps for fitted in cluster.fitted.values()),
        timeline(by_role(cluster), result.table, start) if done.any() else None,
    )
    of_cache = next(filter(None, map(plan.dtypes.cache_note, (s.chip for s in systems))), "")
    note = "; ".join(filter(None, (of_cache, *load_notes(plan))))
    said = advice(result, note, experts=plan.model.experts is not None)
    return dataclasses.replace(result, advice=said)


def _log(cluster: Cluster) -> IterationLog:
    """What every replica did, by its pool, and what moved between them."""
    role_of = {r.number: role for role, of in by_role(cluster).items() for r in of}
    roles = [role_of[replica.number] for replica in cluster.replicas]
    moved = [] if cluster.prefill is None else cluster.prefill.transfers.log.moved
    return metrics.iteration_log(cluster.replicas, roles, moved)


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
