"""FLOPs and least bytes of a run of a model with windows and experts, against sums over its log."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.api import load_model, load_system
from simulator.model.transformer import visible_pairs
from simulator.serving.cluster import replay
from simulator.serving.options import ServingOptions
from simulator.serving.results import RunResult
from simulator.timing.choices import Dtypes
from simulator.timing.plan import make_plan
from simulator.workload.request import Requests, Workload

MODEL = load_model("gpt-oss-20b")
PROMPTS = (40, 300, 700, 5)
OUTPUTS = (200, 3, 60, 400)


@pytest.fixture(scope="module")
def result() -> RunResult:
    plan = make_plan(load_system("h100:1"), MODEL, dtypes=Dtypes())
    arrivals = np.array([0, 0, 10**10, 2 * 10**10], dtype=np.int64)
    traffic = Requests(arrivals, np.array(PROMPTS), np.array(OUTPUTS))
    options = ServingOptions(token_budget=256, record_iterations=True)
    return replay(plan, Workload("test", traffic), options)


def test_flops_count_the_pairs_within_the_window(result: RunResult) -> None:
    tokens = sum(PROMPTS) + sum(OUTPUTS) - len(PROMPTS)
    lengths = [p + o - 1 for p, o in zip(PROMPTS, OUTPUTS, strict=True)]
    pairs = sum(visible_pairs(length, 0) for length in lengths)
    window = MODEL.window
    assert window is not None
    seen = sum(visible_pairs(length, 0, window) for length in lengths)
    assert seen < pairs
    assert result.flops == MODEL.flops(tokens, sum(OUTPUTS), pairs, seen)


def test_least_bytes_count_the_experts_of_each_iteration(result: RunResult) -> None:
    log = result.log
    assert log is not None
    weights = sum(MODEL.touched_matmul_parameters(int(n)) for n in log.tokens)
    mean = MODEL.touched_matmul_parameters(int(log.tokens.sum()) // len(log.tokens))
    # one iteration of prompts among many of a few tokens: the mean would meet more experts
    assert mean * len(log.tokens) > weights
    lowest = 2 * weights
    heads = 2 * MODEL.head_parameters * len(log.tokens)
    cache = 2 * sum(
        MODEL.kv_elements(past)
        for p, o in zip(PROMPTS, OUTPUTS, strict=True)
        for past in range(p, p + o - 1)
    )
    assert lowest < result.min_bytes <= lowest + heads + cache + 2 * MODEL.kv_elements(700) * 8
