"""Replays a workload on the replicas of one system."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

import numpy as np
import numpy.typing as npt
from simpy.events import Event

from simulator.engine.world import World
from simulator.errors import InfeasibleError
from simulator.kernels import executor
from simulator.mapping.memory import Memory, plan_memory
from simulator.serving import fields as loop
from simulator.serving import fields as sched
from simulator.serving import metrics
from simulator.serving.options import ServingOptions
from simulator.serving.price_table import PriceTable
from simulator.serving.replica import Replica
from simulator.serving.results import RequestCounts, RequestTable, RunResult
from simulator.serving.turns import Turns
from simulator.timing.energy import energy_j
from simulator.timing.plan import Plan
from simulator.timing.results import UNITS
from simulator.workload.request import ClosedLoop, Requests, Workload

Int64Array = npt.NDArray[np.int64]
Progress = Callable[[float], None]

COMPLETED = 0
REJECTED_KV = 1
REJECTED_CONTEXT = 2


def replay(
    plan: Plan,
    workload: Workload,
    options: ServingOptions,
    progress: Progress | None = None,
    copies: int = 1,
) -> RunResult:
    """Run a workload to its end on ``copies`` of a plan's system.

    Raises InfeasibleError where the model, or a single block of KV cache, does not fit.
    """
    memory, blocks = _kv_blocks(plan, options)
    requests, status = _request_rows(plan, workload, blocks)
    world = World()
    users = _Users(world, requests, status, workload, progress)
    prices = PriceTable(plan, options.token_budget)
    awaited = isinstance(workload.traffic, ClosedLoop) or workload.traffic.parent is not None
    replicas = [
        Replica(
            world,
            prices,
            requests,
            options=options,
            blocks=blocks,
            completed=users.completed if awaited else None,
        )
        for _ in range(plan.replicas * copies)
    ]
    users.start(replicas)
    world.run()
    result = _result(plan, workload, options, memory, blocks, requests, status, users, replicas)
    return metrics.observed(
        result,
        workload,
        requests,
        [replica.counters for replica in replicas],
        [replica.sums for replica in replicas],
        [blocks] * len(replicas),
    )


def _kv_blocks(plan: Plan, options: ServingOptions) -> tuple[Memory, int]:
    weight_bits, activation_bits, kv_bits = (int(b) for b in plan.bits)
    memory = plan_memory(
        plan.system,
        plan.model,
        tp=plan.tp,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        kv_bits=kv_bits,
        tokens=options.token_budget,
        logits=min(options.max_batch * (1 + options.speculate), options.token_budget),
    )
    blocks = memory.kv // (memory.kv_per_token * sched.BLOCK_TOKENS)
    if blocks < 1:
        raise InfeasibleError(
            f"{plan.model.name} on {plan.system.name} leaves {memory.kv} B of HBM a chip, "
            f"less than one KV block of {memory.kv_per_token * sched.BLOCK_TOKENS} B"
        )
    return memory, blocks


def _request_rows(plan: Plan, workload: Workload, blocks: int) -> tuple[Int64Array, Int64Array]:
    """Requests as the scheduler keeps them, and the status of those that can never fit.

    A sequence holds prompt + output - 1 tokens when it emits its last.
    """
    traffic = workload.traffic
    rows = np.zeros((len(traffic), sched.REQUEST_FIELDS), dtype=np.int64)
    rows[:, sched.PROMPT] = traffic.prompt_tokens
    rows[:, sched.OUTPUT] = traffic.output_tokens
    for column in (sched.SCHEDULED_AT, sched.FIRST_TOKEN_AT, sched.COMPLETED_AT):
        rows[:, column] = sched.NEVER
    if isinstance(traffic, Requests):
        rows[:, sched.ARRIVAL] = traffic.arrival_ps
    if traffic.priority is not None:
        rows[:, sched.PRIORITY] = traffic.priority
    longest = traffic.prompt_tokens + traffic.output_tokens
    status = np.zeros(len(traffic), dtype=np.int64)
    status[longest - 1 > blocks * sched.BLOCK_TOKENS] = REJECTED_KV
    status[longest > plan.model.max_context] = REJECTED_CONTEXT
    return rows, status


class _Users:
    """Sends requests into the world: on time (open loop) or one after another (closed loop)."""

    def __init__(
        self,
        world: World,
        requests: Int64Array,
        status: Int64Array,
        workload: Workload,
        progress: Progress | None,
    ) -> None:
        self.world = world
        self.requests = requests
        self.status = status
        self.traffic = workload.traffic
        self.replica_of = np.full(len(requests), -1, dtype=np.int64)
        self._progress = progress
        self._shown = time.monotonic()
        self._waiting: dict[int, Event] = {}
        self._replicas: list[Replica] = []
        self._sent = 0
        self._taken = 0
        self._turns: Turns | None = None
        if self.traffic.parent is not None:
            self._turns = Turns(world, self.traffic, self._send_turn)

    def start(self, replicas: list[Replica]) -> None:
        """Begin sending."""
        self._replicas = replicas
        if self._turns is not None:
            self._turns.start()
        elif isinstance(self.traffic, Requests):
            self.world.process(self._open(self.traffic))
        else:
            for _ in range(min(self.traffic.users, len(self.traffic))):
                self.world.process(self._closed(self.traffic))

    def completed(self, ended: list[int]) -> None:
        """Wake the users whose requests have been answered."""
        for request in ended:
            if self._turns is not None:
                self._turns.ended(request)
            else:
                self._waiting.pop(request).succeed()

    def _send_turn(self, request: int) -> None:
        self.requests[request, sched.ARRIVAL] = self.world.now
        self._send(request)
        if self.status[request] != COMPLETED and self._turns is not None:
            self._turns.ended(request)

    def _send(self, request: int) -> None:
        if self.status[request] != COMPLETED:
            return
        target = self._sent % len(self._replicas)
        self._sent += 1
        self.replica_of[request] = target
        self._replicas[target].submit(request)
        if self._progress is not None and time.monotonic() - self._shown > 0.05:
            self._shown = time.monotonic()
            self._progress(request / len(self.requests))

    def _open(self, traffic: Requests) -> Generator[Event, None, None]:
        world = self.world
        for request, arrival in enumerate(traffic.arrival_ps.tolist()):
            if arrival > world.now:
                yield world.timeout(arrival - world.now)
            self._send(request)

    def _closed(self, traffic: ClosedLoop) -> Generator[Event, None, None]:
        world = self.world
        while self._taken < len(traffic):
            request = self._taken
            self._taken += 1
            think = int(traffic.think_ps[request])
            if think:
                yield world.timeout(think)
            self.requests[request, sched.ARRIVAL] = world.now
            if self.status[request] == COMPLETED:
                answered = world.event()
                self._waiting[request] = answered
                self._send(request)
                yield answered


def _result(
    plan: Plan,
    workload: Workload,
    options: ServingOptions,
    memory: Memory,
    blocks: int,
    requests: Int64Array,
    status: Int64Array,
    users: _Users,
    replicas: list[Replica],
) -> RunResult:
    done = status == COMPLETED
    chips = len(replicas) * plan.tp
    warmup_ps = round(options.warmup_s * 1e12)
    counted = done & (requests[:, sched.ARRIVAL] >= warmup_ps)
    times = metrics.latencies(requests, counted)
    start = int(requests[:, sched.ARRIVAL].min())
    end = int(requests[done, sched.COMPLETED_AT].max()) if done.any() else start
    simulated_s = (end - start) / metrics.PS_PER_S
    since_s = max(0, end - max(start, warmup_ps)) / metrics.PS_PER_S
    totals = [sum(int(r.totals[i]) for r in replicas) for i in range(executor.TOTAL_FIELDS)]
    sums = sum((r.sums for r in replicas), start=np.zeros_like(replicas[0].sums))
    counters = sum((r.counters for r in replicas), start=np.zeros_like(replicas[0].counters))
    iterations = int(counters[sched.ITERATIONS])
    serving_s = int(totals[executor.TIME]) / metrics.PS_PER_S
    utilization, causes = metrics.shares(totals)
    flops, least = metrics.model_work(plan, sums, iterations)
    chip = plan.system.chip
    peak = serving_s * plan.tp * chip.peak_flops_per_s(plan.dtypes.activation)
    stream = serving_s * plan.tp * chip.hbm.bandwidth_bytes_per_s
    names = ("hbm_read", "hbm_write", "fabric")
    traffic = {n: int(totals[executor.BYTES + i]) * plan.tp for i, n in enumerate(names)}
    vector_s = int(totals[executor.BUSY + UNITS.index("vector")]) / metrics.PS_PER_S
    output = int(requests[counted, sched.OUTPUT].sum())
    price = chip.price_usd_per_hour
    time_ps = max(1.0, float(totals[executor.TIME]))
    peak_blocks = max(int(r.counters[sched.PEAK_BLOCKS]) for r in replicas)
    return RunResult(
        system=plan.system.name,
        model=plan.model.name,
        workload=workload.name,
        seed=options.seed,
        tp=plan.tp,
        replicas=len(replicas),
        chips=chips,
        dtypes=plan.dtypes.as_dict(),
        options={
            "max_batch": options.max_batch,
            "token_budget": options.token_budget,
            "warmup_s": options.warmup_s,
        },
        requests=RequestCounts(
            arrived=len(requests),
            completed=int(done.sum()),
            rejected=int((~done).sum()),
            prompt_tokens=int(requests[done, sched.PROMPT].sum()),
            output_tokens=int(requests[done, sched.OUTPUT].sum()),
            counted=int(counted.sum()),
            failed_calls=workload.failed_calls,
            rejected_because={
                "kv_capacity": int((status == REJECTED_KV).sum()),
                "context_length": int((status == REJECTED_CONTEXT).sum()),
            },
        ),
        simulated_s=simulated_s,
        serving_s=serving_s,
        ttft_s=times["ttft_s"],
        tpot_s=times["tpot_s"],
        e2e_s=times["e2e_s"],
        queue_s=times["queue_s"],
        output_tokens_per_s=output / since_s if since_s else 0.0,
        requests_per_s=int(counted.sum()) / since_s if since_s else 0.0,
        utilization=utilization,
        mfu=flops / peak if peak else 0.0,
        mbu=least / stream if stream else 0.0,
        bound_by=causes,
        traffic_bytes=traffic,
        iterations=iterations,
        preemptions=int(counters[sched.PREEMPTED]),
        mean_batch=float(sums[loop.SEQUENCE_SUM]) / max(1, iterations),
        mean_tokens_per_iteration=float(sums[loop.TOKEN_SUM]) / max(1, iterations),
        kv={
            "blocks": blocks,
            "block_tokens": sched.BLOCK_TOKENS,
            "peak_fraction": peak_blocks / blocks,
            "mean_fraction": float(sums[loop.BLOCK_PS]) / time_ps / blocks,
        },
        memory_bytes=memory.as_dict(),
        flops=flops,
        min_bytes=least,
        energy_j=energy_j(
            chip,
            plan.dtypes.activation,
            flops=flops,
            vector_ops=vector_s * plan.tp * chip.clock_hz * chip.vector.ops_per_cycle,
            traffic=traffic,
            chip_seconds=simulated_s * chips,
        ),
        cost_usd=None if price is None else price * chips * simulated_s / 3600,
        advice=metrics.advice(causes, times["queue_s"].p99, times["ttft_s"].p99),
        table=_table(requests, status, users.replica_of, start),
        log=metrics.iteration_log(replicas) if options.record_iterations else None,
    )


def _table(
    requests: Int64Array, status: Int64Array, replica: Int64Array, start: int
) -> RequestTable:
    def since(column: int) -> Int64Array:
        times = requests[:, column]
        return np.where(times == sched.NEVER, sched.NEVER, times - start)

    return RequestTable(
        arrival_ps=requests[:, sched.ARRIVAL] - start,
        prompt_tokens=requests[:, sched.PROMPT],
        output_tokens=requests[:, sched.OUTPUT],
        scheduled_ps=since(sched.SCHEDULED_AT),
        first_token_ps=since(sched.FIRST_TOKEN_AT),
        completed_ps=since(sched.COMPLETED_AT),
        preemptions=requests[:, sched.PREEMPTIONS],
        replica=replica,
        status=status,
    )
