"""Time per output token of a server at a fixed number of users, from the prices of its steps.

A server that keeps ``batch`` requests in flight decodes each token of all of them together. While
one request gets its o output tokens, each of the other ``batch - 1`` places is refilled once, so
their prompts are prefilled between its tokens:

    TPOT = decode(batch, prompt + o/2) + (batch - 1) x prefill(1, prompt) / o

Both are prices of ``price_step``; the context is that of the middle of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from simulator import api
from simulator.errors import InfeasibleError
from simulator.validation.machine import Machine
from simulator.validation.table import Column, FloatArray


def server_seconds(machine: Machine, dtype: str, inputs: Mapping[str, Column]) -> FloatArray:
    """TPOT of each row (batch, prompt_tokens, output_tokens, tp, model), in seconds."""
    known: dict[tuple[str, str, int, int, int], float] = {}

    def step(phase: str, model: str, tp: int, batch: int, context: int) -> float:
        key = (phase, model, tp, batch, context)
        if key not in known:
            known[key] = _step_s(machine, dtype, key)
        return known[key]

    out = np.empty(len(inputs["batch"]))
    columns = ("model", "tp", "batch", "prompt_tokens", "output_tokens")
    for i, row in enumerate(zip(*(inputs[name].tolist() for name in columns), strict=True)):
        model, tp, batch, prompt, output = row
        out[i] = step("decode", model, tp, batch, prompt + output // 2)
        if batch > 1:
            out[i] += (batch - 1) * step("prefill", model, tp, 1, prompt) / output
    return out


def _step_s(machine: Machine, dtype: str, key: tuple[str, str, int, int, int]) -> float:
    """Seconds of one step; NaN where it does not fit HBM."""
    phase, model, tp, batch, context = key
    try:
        return api.price_step(
            machine.system(tp),
            model,
            phase=phase,
            batch=batch,
            context=context,
            weight_dtype=dtype,
            activation_dtype=dtype,
        ).time_s
    except InfeasibleError:
        return math.nan


def server_work(
    dtype: str, inputs: Mapping[str, Column]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Flops, bytes and chips of a decode step of each row: weights and KV cache read once."""
    models = {name: api.load_model(name) for name in sorted(set(inputs["model"].tolist()))}
    size = 1 if dtype in ("fp8", "int8") else 2
    batch = inputs["batch"].astype(float)
    context = inputs["prompt_tokens"] + inputs["output_tokens"] / 2
    weights = np.array([float(models[name].parameters) for name in inputs["model"]])
    kv = np.array([float(models[name].kv_elements_per_token) for name in inputs["model"]])
    return 2 * weights * batch, size * weights + 2 * kv * context * batch, inputs["tp"] * 1.0
