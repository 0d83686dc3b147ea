"""Small made-up results with round numbers, for the tests of reports and commands."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from simulator.hardware import Chip, Dram, Energy, Fabric, Power, Sram, System, SystolicArray
from simulator.hardware.chip import LinkPort, VectorUnit
from simulator.model.transformer import Transformer, llama
from simulator.serving.goodput import ClassGoodput, Goodput
from simulator.serving.results import (
    Distribution,
    IterationLog,
    RequestCounts,
    RequestTable,
    RunResult,
)
from simulator.serving.stability import QueueGrowth
from simulator.timing.results import MatmulTiming, OperatorSpan, StepTiming

MS = 10**9


def chip() -> Chip:
    """1 TFLOP/s of bf16 (500 multiply-accumulates at 1 GHz), 100 GB/s of HBM."""
    return Chip(
        name="sample",
        clock_hz=10**9,
        matrix=SystolicArray(rows=10, cols=50, count=1, macs_per_cell={"bf16": 1, "int8": 2}),
        vector=VectorUnit(ops_per_cycle=8),
        sram=Sram(capacity_bytes=10**6, bandwidth_bytes_per_s=10**12),
        hbm=Dram(10**10, 10**11, latency_ps=500_000, efficiency=0.9),
        link=LinkPort(2, 10**9, 10**6),
        power=Power(tdp_w=100.0, energy=Energy({"bf16": 1.0}, 1.0, 1.0, 10.0, 10.0, 0.5)),
        price_usd_per_hour=1.5,
    )


def system() -> System:
    fabric = Fabric("torus", (2,), (True,), 10**9, 10**6)
    return System("sample:2", "sample", chip(), fabric, host_overhead_ps=5 * MS)


def model() -> Transformer:
    return llama("tiny", 2, 16, 4, 2, 4, 32, 64, 4096)


def matmul(**changes: Any) -> MatmulTiming:
    result = MatmulTiming(
        chip="sample",
        m=4,
        k=8,
        n=12,
        dtype="bf16",
        clock_hz=10**9,
        cycles=200,
        compute_cycles=150,
        time_s=2e-7,
        bound_by="hbm",
        tile=(4, 8, 12),
        loop_order="mnk",
        hbm_read_bytes=320,
        hbm_write_bytes=96,
        sram_bytes=832,
        flops=768,
        busy_cycles={"matrix": 150, "vector": 0, "hbm": 180, "sram": 20, "fabric": 0},
        utilization=0.00384,
        limits_cycles={"peak": 1, "hbm": 5, "sram": 1},
        runner_up=(210, 4, 4, 12, "nmk"),
    )
    return dataclasses.replace(result, **changes)


def span(name: str, start: int, end: int, **changes: Any) -> OperatorSpan:
    busy = (end - start, 0, (end - start) // 2, 10, 0)
    counts = (768, 320, 96, 0, 0, 0, 0)
    plain = OperatorSpan(name, "matmul", "4x8x12", start, end, busy, "matrix", *counts)
    return dataclasses.replace(plain, **changes)


def step(**changes: Any) -> StepTiming:
    spans = (
        span("embedding", 0, 100, kind="gather", bound_by="hbm", busy_ps=(0, 0, 100, 0, 0)),
        span("layer0.qkv", 100, 400),
        span("layer0.attention", 400, 500, bound_by="hbm", busy_ps=(50, 20, 100, 0, 0)),
        span("layer1.qkv", 500, 800),
        span("layer1.attention", 800, 900, bound_by="hbm", busy_ps=(50, 20, 100, 0, 0)),
    )
    result = StepTiming(
        system="sample:2",
        model="tiny",
        phase="decode",
        batch=4,
        context=128,
        tp=2,
        replicas=1,
        dtypes={"weight": "bf16", "activation": "bf16", "kv": "bf16"},
        tokens=4,
        time_ps=1000,
        host_ps=100,
        flops=1000,
        min_bytes=100,
        mfu=0.5,
        mbu=0.25,
        utilization={"matrix": 0.7, "vector": 0.04, "hbm": 0.6, "sram": 0.02, "fabric": 0.0},
        bound_by={"matrix": 0.6, "hbm": 0.3, "host": 0.1},
        traffic_bytes={"hbm_read": 1600, "hbm_write": 480, "fabric": 0},
        memory_bytes={"weights": 1000, "activations": 100, "reserve": 1000, "kv": 7900},
        operators=spans,
    )
    return dataclasses.replace(result, **changes)


def table() -> RequestTable:
    """Two completed requests (the second with one token) and a rejected one."""

    def column(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    return RequestTable(
        arrival_ps=column(0, 10 * MS, 20 * MS),
        prompt_tokens=column(100, 50, 99999),
        output_tokens=column(5, 1, 7),
        scheduled_ps=column(MS, 15 * MS, -1),
        first_token_ps=column(101 * MS, 215 * MS, -1),
        completed_ps=column(301 * MS, 215 * MS, -1),
        preemptions=column(0, 2, 0),
        replica=column(0, 0, -1),
        status=column(0, 0, 2),
    )


def log() -> IterationLog:
    """Three iterations of replica 0 and one of replica 1."""

    def column(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    busy = np.zeros((4, 5), dtype=np.int64)
    busy[:, 0] = (50, 60, 70, 80)
    busy[:, 2] = 100
    return IterationLog(
        replica=column(0, 0, 1, 0),
        start_ps=column(0, 1_234_567, 5, 2_000_000),
        end_ps=column(100, 1_234_667, 105, 2_000_100),
        tokens=column(64, 2, 3, 2),
        sequences=column(1, 2, 3, 2),
        waiting=column(4, 3, 0, 1),
        kv_blocks=column(8, 9, 10, 11),
        busy_ps=busy,
    )


def run(**changes: Any) -> RunResult:
    result = RunResult(
        system="sample:2",
        model="tiny",
        workload="made-up",
        seed=7,
        tp=2,
        replicas=1,
        chips=2,
        dtypes={"weight": "bf16", "activation": "bf16", "kv": "bf16"},
        options={
            "max_batch": 256,
            "token_budget": 8192,
            "warmup_s": 0.0,
            "scheduler": "chunked",
            "router": "round-robin",
        },
        requests=RequestCounts(3, 2, 1, 150, 6, {"context": 1}),
        simulated_s=0.301,
        serving_s=0.3,
        ttft_s=Distribution(0.153, 0.153, 0.1962, 0.20034, 0.20448),
        tpot_s=Distribution(0.05, 0.05, 0.05, 0.05, 0.05),
        e2e_s=Distribution(0.253, 0.253, 0.2914, 0.29572, 0.30004),
        queue_s=Distribution(0.003, 0.003, 0.0046, 0.00478, 0.00496),
        output_tokens_per_s=19.93,
        requests_per_s=6.64,
        utilization={"matrix": 0.4, "vector": 0.1, "hbm": 0.8, "sram": 0.2, "fabric": 0.05},
        mfu=0.3,
        mbu=0.6,
        bound_by={"matrix": 0.2, "hbm": 0.7, "host": 0.1},
        traffic_bytes={"hbm_read": 10**10, "hbm_write": 10**8, "fabric": 10**6},
        iterations=12,
        preemptions=2,
        mean_batch=1.5,
        mean_tokens_per_iteration=13.0,
        kv={"blocks": 1000, "block_tokens": 16, "peak_fraction": 0.5, "mean_fraction": 0.25},
        memory_bytes={"weights": 10**9, "activations": 10**8, "reserve": 10**9, "kv": 7 * 10**9},
        flops=180_000_000_000,
        min_bytes=36_000_000_000,
        energy_j=12.0,
        cost_usd=0.00025,
        advice="bound by HBM in 70 % of the time: a larger batch shares the weights",
        table=table(),
        itl_s=Distribution(0.05, 0.05, 0.05, 0.05, 0.05),
        mean_requests_in_system=1.7,
        goodput=Goodput(
            0.5,
            3.322,
            {
                "all": ClassGoodput(
                    {"ttft": 0.2}, 0, 2, 1, {"served": 0, "ttft": 1}, {"ttft": 0.1}, 3.322
                )
            },
        ),
        queue_growth=QueueGrowth(1.5, 4.0, 2.5, 120),
    )
    return dataclasses.replace(result, **changes)
