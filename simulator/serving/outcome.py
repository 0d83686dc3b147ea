"""What a run of a deployment says: sums over replicas, by pool and in all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from simulator.hardware.chip import Validated
from simulator.kernels import executor
from simulator.serving import fields, metrics
from simulator.serving.pools import DECODE, PREFILL, SERVE, Pool
from simulator.serving.population import exact_sum
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
from simulator.timing import step
from simulator.timing.energy import energy_j
from simulator.timing.plan import Plan

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster

Int64Array = npt.NDArray[np.int64]

_WAYS = ("hbm_read", "hbm_write", "fabric")


@dataclass(frozen=True, slots=True)
class Work:
    """What some replicas did: sums over their iterations, and what their chips could have done.

    ``peak`` are FLOPs at peak rate, ``stream`` bytes at HBM bandwidth, both in the time in
    iterations; ``room_ps`` is KV blocks x time.
    """

    totals: list[int]
    sums: npt.NDArray[np.float64]
    counters: Int64Array
    flops: int
    min_bytes: int
    peak: float
    stream: float
    room_ps: float
    peak_fraction: float
    vector_ops: float
    sram_bytes: float
    traffic: dict[str, int]

    @property
    def serving_s(self) -> float:
        """Time in iterations, summed over replicas."""
        return int(self.totals[executor.TIME]) / metrics.PS_PER_S

    @property
    def iterations(self) -> int:
        """Iterations of all replicas."""
        return int(self.counters[fields.ITERATIONS])

    @property
    def mfu(self) -> float:
        """FLOPs of the model over those at peak rate."""
        return self.flops / self.peak if self.peak else 0.0

    @property
    def mbu(self) -> float:
        """Least bytes over those at HBM bandwidth."""
        return self.min_bytes / self.stream if self.stream else 0.0

    def mean(self, field: int) -> float:
        """A running sum over the number of iterations."""
        return float(self.sums[field]) / max(1, self.iterations)

    @property
    def kv(self) -> dict[str, float]:
        """How full the KV cache was, at most and in the mean over the time in iterations."""
        held = float(self.sums[fields.BLOCK_PS])
        return {"peak_fraction": self.peak_fraction, "mean_fraction": held / max(1.0, self.room_ps)}


def outcome(cluster: Cluster) -> RunResult:
    """The result of a cluster that has run to its end."""
    deployment, options, requests = cluster.deployment, cluster.options, cluster.requests
    done = cluster.status == COMPLETED
    warmup_ps = round(options.warmup_s * 1e12)
    counted = done & (requests[:, fields.ARRIVAL] >= warmup_ps)
    times = metrics.latencies(requests, counted)
    start = int(requests[:, fields.ARRIVAL].min())
    end = int(requests[done, fields.COMPLETED_AT].max()) if done.any() else start
    simulated_s = (end - start) / metrics.PS_PER_S
    since_s = max(0, end - max(start, warmup_ps)) / metrics.PS_PER_S
    work = work_of(cluster.replicas)
    utilization, causes = metrics.shares(work.totals)
    output = int(requests[counted, fields.OUTPUT].sum())
    plan = deployment.pools[-1].members[0].plan
    fitted = cluster.fitted[id(plan)]
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
        accuracy=_accuracy(deployment.pools),
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
        kv={"blocks": fitted.blocks, "block_tokens": fields.BLOCK_TOKENS, **work.kv},
        memory_bytes=fitted.memory.as_dict(),
        flops=work.flops,
        min_bytes=work.min_bytes,
        energy_j=_energy(cluster, simulated_s),
        cost_usd=_cost(deployment.pools, simulated_s),
        advice=metrics.advice(causes, times["queue_s"].p99, times["ttft_s"].p99),
        table=_table(cluster, start),
        log=metrics.iteration_log(cluster.replicas) if options.record_iterations else None,
        lost_requests=int((cluster.status == LOST).sum()),
        failures=cluster.lives.failures,
        pool_changes=0 if cluster.rebalancer is None else cluster.rebalancer.moves,
        prefix_hit_rate=_hit_rate(cluster, work),
        pools=_pools(cluster),
        kv_transfer=_transfers(cluster, simulated_s),
        speculation=_speculation(cluster, work),
        kv_tiers=_tiers(cluster),
    )
    return metrics.observed(
        result,
        cluster.workload,
        requests,
        metrics.added(fitted.prices.gaps for fitted in cluster.fitted.values()),
        [replica.sums for replica in cluster.replicas if len(replica.sums) > fields.SUMS],
        [replica.blocks for replica in cluster.replicas],
    )


def work_of(replicas: Sequence[Replica]) -> Work:
    """Sums over replicas, whatever their plans."""
    # most of a large deployment may never have run: there is nothing to add
    ran = [r for r in replicas if r.counters[fields.ITERATIONS]] or replicas[:1]
    totals = _totals(ran)
    flops, least, peak, stream, vector_ops, sram_bytes = 0, 0, 0.0, 0.0, 0.0, 0.0
    traffic = dict.fromkeys(_WAYS, 0)
    for plan, mine in _by_plan(ran):
        own = _totals(mine)
        sums = metrics.added(r.sums[: fields.SUMS] for r in mine)
        iterations = sum(int(r.counters[fields.ITERATIONS]) for r in mine)
        done, need = metrics.model_work(plan, sums, iterations)
        flops += done
        chip, chips = plan.system.chip, plan.layout.chips
        busy = own[executor.TIME] / metrics.PS_PER_S
        peak += busy * chips * chip.peak_flops_per_s(plan.dtypes.activation)
        stream += busy * chips * chip.hbm.bandwidth_bytes_per_s
        moved = [own[executor.BYTES + index] * chips for index in range(len(_WAYS))]
        for way, size in zip(_WAYS, moved, strict=True):
            traffic[way] += size
        # skewed loads meet fewer experts, and windows keep fewer keys: the prices know how many
        least += min(need, moved[0])
        vector_ops += step.vector_ops(plan, own) * chips
        sram_bytes += step.sram_bytes(plan, own) * chips
    return Work(
        totals=totals,
        sums=metrics.added(r.sums[: fields.SUMS] for r in ran),
        counters=metrics.added(r.counters for r in ran),
        flops=flops,
        min_bytes=least,
        peak=peak,
        stream=stream,
        room_ps=sum(float(r.totals[executor.TIME]) * r.blocks for r in ran),
        peak_fraction=max(int(r.counters[fields.PEAK_BLOCKS]) / r.blocks for r in ran),
        vector_ops=vector_ops,
        sram_bytes=sram_bytes,
        traffic=traffic,
    )


def _totals(replicas: Sequence[Replica]) -> list[int]:
    """The totals of all iterations of some replicas; together they may leave 64 bits."""
    rows = np.stack([r.totals for r in replicas])
    return [exact_sum(rows[:, field]) for field in range(executor.TOTAL_FIELDS)]


def _by_plan(replicas: Iterable[Replica]) -> list[tuple[Plan, list[Replica]]]:
    groups: dict[int, tuple[Plan, list[Replica]]] = {}
    for replica in replicas:
        groups.setdefault(id(replica.plan), (replica.plan, []))[1].append(replica)
    return list(groups.values())


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


def _accuracy(pools: Sequence[Pool]) -> tuple[Validated, ...]:
    """What the chips' prices were compared with, each chip once."""
    found: dict[str, tuple[Validated, ...]] = {}
    for member in (member for pool in pools for member in pool.members):
        found[member.plan.system.chip.name] = member.plan.system.validation
    return tuple(item for items in found.values() for item in items)


def _energy(cluster: Cluster, simulated_s: float) -> float | None:
    """Of all chips: events of their replicas, and idle power for the whole run."""
    members = [member for pool in cluster.deployment.pools for member in pool.members]
    total = 0.0
    for plan, mine in _by_plan(cluster.replicas):
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


def _pools(cluster: Cluster) -> dict[str, PoolResult]:
    found = {}
    for pool in cluster.deployment.pools:
        mine = [r for r in cluster.replicas if r.prefills == (pool.role == PREFILL)]
        work = work_of(mine)
        utilization, causes = metrics.shares(work.totals)
        fitted = cluster.fitted[id(pool.members[0].plan)]
        current = cluster.back
        if pool.role == PREFILL and cluster.prefill is not None:
            current = cluster.prefill.replicas
        found[pool.role] = PoolResult(
            system=pool.name,
            replicas=pool.replicas,
            final_replicas=len(current),
            chips=pool.chips,
            utilization=utilization,
            mfu=work.mfu,
            mbu=work.mbu,
            bound_by=causes,
            iterations=work.iterations,
            serving_s=work.serving_s,
            mean_batch=work.mean(fields.SEQUENCE_SUM),
            preemptions=int(work.counters[fields.PREEMPTED]),
            kv=work.kv,
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
    return sum(hidden) / len(hidden) / metrics.PS_PER_S if hidden else 0.0


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
