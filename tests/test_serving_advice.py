"""The line of advice after a run names what limits it, and not what only looks like it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import result_samples as samples

from simulator.cli.entry import main
from simulator.serving.advice import advice
from simulator.serving.results import Distribution, PoolResult, RunResult, TransferResult

QUICK = Distribution(0.001, 0.001, 0.002, 0.003, 0.004)
LONG = Distribution(9.0, 8.0, 20.0, 22.0, 24.0)


def pool(**changes: Any) -> PoolResult:
    """A pool that reads weights most of the time, with an empty cache."""
    result = PoolResult(
        system="sample:2", replicas=1, final_replicas=1, chips=2, tp=2, layout="tp2",
        utilization={}, mfu=0.3, mbu=0.6, flops=10, min_bytes=10,
        bound_by={"matrix": 0.2, "hbm": 0.7, "host": 0.1},
        iterations=12, serving_s=0.3, mean_batch=8.0, preemptions=0,
        kv={"blocks": 1000, "block_tokens": 16, "peak_fraction": 0.5, "mean_fraction": 0.25},
        memory_bytes={},
    )  # fmt: skip
    return dataclasses.replace(result, **changes)


def run(serve: PoolResult, **changes: Any) -> RunResult:
    calm = {"pools": {"serve": serve}, "queue_growth": None, "goodput": None, "queue_s": QUICK}
    return samples.run(**{**calm, **changes})


def moved(link: float, exposed_s: float) -> TransferResult:
    return TransferResult(30, 10**10, LONG, QUICK, exposed_s, 0.05, link)


def full(**changes: Any) -> PoolResult:
    cache = {"blocks": 866, "block_tokens": 16, "peak_fraction": 1.0, "mean_fraction": 0.88}
    return pool(kv=cache, **changes)


def test_a_run_without_waits_says_where_time_goes() -> None:
    assert advice(run(pool())).startswith("70% of the time goes to reading weights and KV from HBM")
    assert advice(run(pool()), "a note").endswith("; a note")
    assert advice(run(pool(bound_by={"hbm": 0.0}))) == "nothing ran"


def test_a_full_link_comes_first() -> None:
    pools = {"prefill": pool(), "decode": pool()}
    said = advice(samples.run(pools=pools, kv_transfer=moved(0.998, 55.5), e2e_s=LONG))
    first, *others = said.split("; ")
    assert first.startswith("the KV link between the pools is in use 99.8% of the time")
    assert "--kv-link" in first and "55.5 s after the first token" in first
    assert others[0].startswith("the queue grows without bound")
    assert sum("pool: 70% of the time" in line for line in others) == 2


@pytest.mark.parametrize(
    ("link", "exposed_s", "named"),
    [(0.95, 0.0, True), (0.8, 2.0, True), (0.8, 0.01, False), (0.3, 2.0, False)],
)
def test_a_link_is_named_where_it_is_full_or_busy_and_felt(
    link: float, exposed_s: float, named: bool
) -> None:
    said = advice(run(pool(), kv_transfer=moved(link, exposed_s), e2e_s=LONG))
    assert ("the KV link" in said) == named


def test_a_slow_link_is_named_by_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    where = ["run", "llama-toy", "chat", "--prefill", "toy", "--decode", "toy", "--limit", "20"]
    said = {}
    for rate in ("1Mb/s", "1000GB/s"):
        assert main([*where, "--kv-link", rate, "--format", "json"]) == 0
        document = json.loads(capsys.readouterr().out)
        full_link = document["kv_transfer"]["link_utilization"] > 0.9
        said[rate] = document["advice"]
        assert said[rate].startswith("the KV link") == full_link
    assert said["1Mb/s"].startswith("the KV link")


def test_a_full_cache_is_named_with_its_preemptions() -> None:
    said = advice(run(full(preemptions=14)))
    assert "room in the KV cache of 13,856 tokens (peak 100%, mean 88%, 14 preemptions)" in said
    assert "room in the KV cache" not in advice(run(pool(preemptions=0)))


def test_a_full_cache_without_preemptions_is_named_where_it_blocks() -> None:
    """Not where nobody waits, and not where the batch is as full as the cache."""
    waits: dict[str, Any] = {"queue_s": LONG, "ttft_s": LONG}
    assert "room in the KV cache" in advice(run(full(), **waits))
    assert "room in the KV cache" not in advice(run(full()))
    assert "room in the KV cache" not in advice(run(full(mean_batch=250.0), **waits))


def test_a_queue_without_bound_is_not_near_capacity() -> None:
    busy = pool(serving_s=50.0)
    waits: dict[str, Any] = {"queue_s": LONG, "ttft_s": LONG, "simulated_s": 51.0}
    assert "the load is near capacity" in advice(run(busy, **waits))
    said = advice(run(busy, **waits, queue_growth=samples.run().queue_growth))
    assert "near capacity" not in said
    assert "(p99): the load is beyond capacity" in said


def test_empty_tiles_are_no_reason_for_faster_arithmetic() -> None:
    causes = {"matrix": 0.6, "hbm": 0.4}
    assert "a faster --dtype" in advice(run(pool(bound_by=causes, mfu=0.4)))
    said = advice(run(pool(bound_by=causes, mfu=0.02)), experts=True)
    assert said == (
        "60% of the time goes to the matrix unit at an MFU of 2.0%, for its tiles are mostly "
        "empty (small batches per expert): larger batches, or fewer ranks"
    )
    assert "per expert" not in advice(run(pool(bound_by=causes, mfu=0.02)))
    # a small MFU where the matrix unit does not limit says nothing of its tiles
    assert "empty" not in advice(run(pool(mfu=0.02)))
