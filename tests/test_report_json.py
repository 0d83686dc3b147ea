from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import result_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.report.json_out import flatten, plain, run_json, seconds, step_json, to_json
from simulator.report.metrics import RUN_METRICS, STEP_METRICS, canonical_name, metric_values
from simulator.report.operator_json import op_json
from simulator.serving.results import Distribution

# fmt: off
RUN_KEYS = [
    "system", "model", "workload", "seed", "requests", "simulated_s", "ttft_s", "tpot_s",
    "e2e_s", "output_tokens_per_s", "requests_per_s", "utilization", "mfu", "mbu",
    "bound_by", "traffic_bytes", "iterations", "energy_j", "tp", "replicas", "dtypes",
    "queue_s", "kv", "memory_bytes", "preemptions", "cost_usd", "advice",
]
STEP_KEYS = [
    "time_s", "tokens", "mfu", "mbu", "utilization", "bound_by", "traffic_bytes",
    "operators",
]
OPERATOR_KEYS = [
    "name", "kind", "time_s", "start_s", "bound_by", "flops", "hbm_bytes",
]
OP_KEYS = [
    "m", "k", "n", "dtype", "cycles", "time_s", "bound_by", "utilization",
    "compute_cycles", "stall_cycles", "tile", "hbm_bytes", "sram_bytes", "flops",
]
# fmt: on


def test_run_has_the_keys_of_the_contract():
    document = run_json(samples.run())
    assert document["schema"] == "chipsim.run/1"
    assert set(RUN_KEYS) <= set(document)
    assert document["requests"]["rejected_because"] == {"context": 1}
    assert list(document["ttft_s"]) == ["mean", "p50", "p90", "p95", "p99"]
    assert document["traffic_bytes"]["hbm_read"] == 10**10


def test_step_has_the_keys_of_the_contract():
    document = step_json(samples.step())
    assert set(STEP_KEYS) <= set(document)
    assert all(set(OPERATOR_KEYS) <= set(row) for row in document["operators"])
    first = document["operators"][1]
    assert (first["name"], first["start_s"], first["time_s"]) == ("layer0.qkv", 1e-10, 3e-10)
    assert first["hbm_bytes"] == 416
    assert document["tokens_per_s"] == pytest.approx(4e9)


def test_op_has_the_keys_of_the_contract():
    document = op_json(samples.matmul())
    assert set(OP_KEYS) <= set(document)
    assert document["cycles"] == document["compute_cycles"] + document["stall_cycles"] == 200
    assert document["tile"] == {"m": 4, "k": 8, "n": 12}
    assert document["runner_up"]["tile"] == {"m": 4, "k": 4, "n": 12}
    empty = op_json(samples.matmul(tile=None, runner_up=None))
    assert empty["tile"] is None
    assert empty["runner_up"] is None


def test_numpy_values_and_nan_become_plain_json():
    document = {"a": np.int64(3), "b": np.float64(0.5), "c": math.nan, "d": (math.inf, 1)}
    assert json.loads(to_json(document)) == {"a": 3, "b": 0.5, "c": None, "d": [None, 1]}
    with pytest.raises(TypeError, match="object"):
        plain(object())


def test_the_same_result_gives_the_same_bytes_whatever_the_order_of_reasons():
    counts = samples.run().requests
    one = samples.run(requests=dataclasses.replace(counts, rejected_because={"kv": 2, "ctx": 1}))
    two = samples.run(requests=dataclasses.replace(counts, rejected_because={"ctx": 1, "kv": 2}))
    assert to_json(run_json(one)) == to_json(run_json(two))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_the_text(value):
    assert json.loads(to_json({"x": value}))["x"] == value


def test_flatten_joins_keys():
    nested = {"tile": {"m": 1, "deep": {"k": 2}}, "cycles": 3}
    assert flatten(nested) == {"tile_m": 1, "tile_deep_k": 2, "cycles": 3}


def test_seconds_are_correctly_rounded():
    assert seconds(3) == 3e-12
    assert seconds(np.int64(1_500_000_000_000)) == 1.5


def test_every_metric_of_a_run_has_a_value():
    values = metric_values(run_json(samples.run()), RUN_METRICS)
    assert set(values) == set(RUN_METRICS)
    # a run of one pool without a prefix cache has none of these
    others = ("pools_", "kv_transfer_", "prefix_hit_rate")
    missing = [name for name, value in values.items() if value is None]
    assert [name for name in missing if not name.startswith(others)] == []
    assert values["ttft_p99"] == 0.20448
    assert values["completed"] == 2
    assert values["bound_by_vector"] == 0.0
    assert values["utilization_hbm"] == 0.8


def test_every_metric_of_a_step_has_a_value():
    values = metric_values(step_json(samples.step(energy_j=1.0)), STEP_METRICS)
    assert [name for name, value in values.items() if value is None] == []
    assert values["time_s"] == pytest.approx(1e-9)


def test_a_missing_percentile_is_a_missing_metric():
    empty = Distribution(None, None, None, None, None)
    values = metric_values(run_json(samples.run(tpot_s=empty)), RUN_METRICS)
    assert values["tpot_p99"] is None


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("ttft_p99", "ttft_p99"),
        ("ttft_s_p99", "ttft_p99"),
        ("requests_completed", "completed"),
        ("requests_per_s", "requests_per_s"),
        ("simulated", "simulated_s"),
        ("ttft", None),
    ],
)
def test_metrics_have_aliases(name, metric):
    assert canonical_name(name, RUN_METRICS) == metric
