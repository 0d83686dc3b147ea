"""Time per output token of a server at a fixed number of users, from the prices of its steps.

A server that keeps ``batch`` requests in flight decodes each token of all of them together. While
one request gets its o output tokens, each of the other ``batch - 1`` places is refilled once, so
their prompts are prefilled between its tokens:

    TPOT = decode(batch, prompt + o/2) + host(batch) + w (batch - 1) x prefill(1, prompt) / o

Both are prices of ``price_step``; the context is that of the middle of the answer; the host's time
and w depend on the engine (``validation.engines``). Engines multiply in 8 bits where the weights
have them, and keep all else in 16: the activations between matmuls, attention, and what the chips
exchange. So the matmuls of such a step are those of a step in 8 bits, and its other operators those
of a step with 16-bit activations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from simulator import api
from simulator.errors import InfeasibleError
from simulator.timing.results import StepTiming
from simulator.validation.engines import find_engine
from simulator.validation.machine import Machine
from simulator.validation.table import Column, FloatArray

Key = tuple[str, str, int, int, int]
"""Phase, model, chips, batch, context."""


def server_seconds(machine: Machine, dtype: str, inputs: Mapping[str, Column]) -> FloatArray:
    """TPOT of each row (batch, prompt_tokens, output_tokens, tp, model, engine), in seconds."""
    known: dict[Key, float] = {}

    def step(phase: str, model: str, tp: int, batch: int, context: int) -> float:
        key = (phase, model, tp, batch, context)
        if key not in known:
            known[key] = _chip_s(machine, dtype, key)
        return known[key]

    out = np.empty(len(inputs["batch"]))
    columns = ("model", "tp", "batch", "prompt_tokens", "output_tokens", "engine")
    for i, row in enumerate(zip(*(inputs[name].tolist() for name in columns), strict=True)):
        model, tp, batch, prompt, output, name = row
        engine = find_engine(name, machine.system(tp).host_overhead_ps / 1e12)
        out[i] = step("decode", model, tp, batch, prompt + output // 2)
        out[i] += engine.step_s + batch * engine.sequence_s
        if batch > 1:
            refills = engine.waits_for * (batch - 1) / output
            out[i] += refills * step("prefill", model, tp, 1, prompt)
    return out


def _chip_s(machine: Machine, dtype: str, key: Key) -> float:
    """Seconds of one step without the host; NaN where it does not fit HBM."""
    try:
        whole = _step(machine, dtype, dtype, key)
        if dtype == "bf16":
            return (whole.time_ps - whole.host_ps) / 1e12
        rest = _step(machine, dtype, "bf16", key)
    except InfeasibleError:
        return math.nan
    matmuls = sum(span.duration_ps for span in whole.operators if span.kind == "matmul")
    others = sum(span.duration_ps for span in rest.operators if span.kind != "matmul")
    return (matmuls + others) / 1e12


def _step(machine: Machine, weights: str, activations: str, key: Key) -> StepTiming:
    phase, model, tp, batch, context = key
    return api.price_step(
        machine.system(tp),
        model,
        phase=phase,
        batch=batch,
        context=context,
        weight_dtype=weights,
        activation_dtype=activations,
    )


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
