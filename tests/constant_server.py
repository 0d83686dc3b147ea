"""A chip on which every iteration takes the same time, whatever is in it: a server of textbooks."""

from __future__ import annotations

import dataclasses

import numpy as np

from simulator.hardware import Chip, Dram, Fabric, Sram, System, SystolicArray, VectorUnit
from simulator.model.transformer import llama
from simulator.serving.cluster import replay
from simulator.serving.options import ServingOptions
from simulator.serving.results import RunResult
from simulator.timing.plan import Plan, make_plan
from simulator.workload.request import ClosedLoop, Requests, Workload

STEP_PS = 10**9
"""The host takes a millisecond for an iteration; the chip below takes well under a millionth."""

TINY = llama("tiny", 1, 4, 1, 1, 4, 4, 4, 4096)

FAST = Chip(
    name="fast",
    clock_hz=10**12,
    matrix=SystolicArray(256, 256, 1, {"bf16": 64}, weight_load="double"),
    vector=VectorUnit(10**6),
    sram=Sram(1 << 30, 10**18),
    hbm=Dram(10**12, 10**18, latency_ps=0),
    link=None,
    price_usd_per_hour=1.0,
)


def plan(host_ps: int = STEP_PS, replicas: int = 1) -> Plan:
    fabric = Fabric("none") if replicas == 1 else Fabric("torus", (replicas,), (False,), 10**10)
    system = System("server", "fast", FAST, fabric, host_ps)
    return make_plan(system, TINY, tp=1)


def serve(
    traffic: Requests | ClosedLoop | Workload,
    *,
    on: Plan | None = None,
    copies: int = 1,
    **options: object,
) -> RunResult:
    workload = traffic if isinstance(traffic, Workload) else Workload("test", traffic)
    chosen = dataclasses.replace(ServingOptions(max_batch=1), **options)  # type: ignore[arg-type]
    return replay(on or plan(), workload, chosen, None, copies)


def requests(arrival_ps: np.ndarray, prompt: int = 1, output: int | np.ndarray = 1) -> Requests:
    count = len(arrival_ps)
    return Requests(
        arrival_ps.astype(np.int64),
        np.full(count, prompt, dtype=np.int64),
        np.broadcast_to(np.asarray(output, dtype=np.int64), count).copy(),
    )


def poisson(rate_per_s: float, count: int, seed: int) -> np.ndarray:
    gaps = np.random.default_rng(seed).exponential(1e12 / rate_per_s, count)
    return np.cumsum(np.rint(gaps)).astype(np.int64)
