"""What a batch had to read: the weights of each replica, but experts that it cannot have met."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import load_model, simulate
from simulator.api import price_step
from simulator.timing.layout_options import LayoutOptions
from simulator.workload.request import Requests, Workload


@pytest.mark.parametrize("load", ["balanced", "power:1.2"])
@pytest.mark.parametrize(("batch", "tp"), [(8, 1), (9, 1), (16, 2), (17, 2), (64, 8)])
def test_a_step_reads_what_it_has_to(load: str, batch: int, tp: int) -> None:
    options = LayoutOptions(tp=tp, expert_load=load)
    step = price_step(
        "h100:8", "gpt-oss-20b", phase="decode", batch=batch, context=500, layout=options
    )
    assert step.min_bytes <= 1.001 * step.traffic_bytes["hbm_read"]
    assert step.mbu <= step.utilization["hbm"]


def test_every_replica_meets_the_experts_of_its_own_tokens() -> None:
    """Eight replicas with one sequence each: four experts of 32 a layer, eight times."""
    model = load_model("gpt-oss-20b")
    step = price_step("h100:8", model, phase="decode", batch=8, context=1, tp=1)
    cache = 8 * model.kv_elements(1)
    weights = 8 * (model.active_matmul_parameters + model.head_parameters)
    assert step.min_bytes == 2 * (weights + cache)


def test_a_run_counts_the_experts_of_each_iteration() -> None:
    """A long prompt meets all experts, the decode steps after it two of eight each."""
    prompts, outputs = np.array([2000, 3]), np.array([40, 40])
    traffic = Requests(np.array([0, 10**13]), prompts, outputs)
    model = load_model("mixtral-8x7b")
    result = simulate("h100:8", model, Workload("two", traffic))
    one, whole = model.active_matmul_parameters, model.matmul_parameters
    decodes = 2 * 39
    met = whole + model.touched_matmul_parameters(3) + decodes * one
    past = sum(range(2000, 2039)) + sum(range(3, 42))
    cache = model.kv_elements_per_token * past
    assert result.iterations == decodes + 2
    assert result.min_bytes == 2 * (met + result.iterations * model.head_parameters + cache)
    assert result.mbu <= result.utilization["hbm"]


def test_replicas_with_fewer_sequences_read_all_weights() -> None:
    """Three sequences on two replicas: twice the weights, and all else by the sequence."""
    even, uneven = (
        price_step("h100:2", "llama3-8b", phase="decode", batch=n, context=500, tp=1)
        for n in (4, 3)
    )
    model = load_model("llama3-8b")
    weights = 2 * 2 * (model.matmul_parameters + model.head_parameters)
    rest = even.traffic_bytes["hbm_read"] - weights
    assert rest > 0
    assert uneven.traffic_bytes["hbm_read"] == weights + round(rest * 3 / 4)
    assert uneven.min_bytes <= uneven.traffic_bytes["hbm_read"]
