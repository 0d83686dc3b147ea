"""Time per output token of a server at a fixed number of users, from the prices of its steps.

A server that keeps ``batch`` requests in flight decodes each token of all of them together. While
one request gets its o output tokens, each of the other ``batch - 1`` places is refilled once, so
their prompts are prefilled between its tokens:

    TPOT = decode(batch, prompt + o/2) + host(batch) + w (batch - 1) x prefill(1, prompt) / o

Both are prices of ``price_step``; the context is that of the middle of the answer. The host's time
is that of the system under its serving engine (``System.host_ps``), w the engine's
``prompt_wait``. Engines multiply in 4 or 8 bits where the weights have them, and keep all else in
16: the activations between matmuls, the arithmetic of attention, and what the chips exchange. So
the matmuls of such a step are those of a step in as many bits, and its other operators those of a
step with 16-bit activations. The KV cache has a data type of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from simulator import api
from simulator.errors import InfeasibleError
from simulator.hardware import System
from simulator.timing.results import StepTiming
from simulator.validation.machine import Machine
from simulator.validation.table import Column, FloatArray
from simulator.validation.work import dtype_bytes

Key = tuple[str, str, int, str, str, int, int]
"""Phase, model, chips, data type of the KV cache, engine, batch, context."""

OF_ROW = ("model", "tp", "kv_dtype", "engine", "batch", "prompt_tokens", "output_tokens")


def server_seconds(machine: Machine, dtype: str, inputs: Mapping[str, Column]) -> FloatArray:
    """TPOT in seconds of each row (``OF_ROW``; without an engine the system's own host)."""
    chip, refill = chip_seconds(machine, dtype, inputs)
    rows = zip(*(inputs[name].tolist() for name in ("tp", "engine", "batch")), strict=True)
    for i, (tp, name, batch) in enumerate(rows):
        system = served_by(machine.system(tp), name)
        wait = 1.0 if system.engine is None else system.engine.prompt_wait
        chip[i] += system.host_ps(batch) / 1e12 + wait * refill[i]
    return chip


def served_by(system: System, engine: str) -> System:
    """The system under a serving engine; as it is where the name is empty.

    Raises:
        InputError: there is none of that name.
    """
    return system.under(api.load_engine(engine)) if engine else system


def chip_seconds(
    machine: Machine, dtype: str, inputs: Mapping[str, Column]
) -> tuple[FloatArray, FloatArray]:
    """What the chip alone takes for a token of each row, in seconds: (the decode step, the prompts
    of the other requests that come between two tokens); NaN where it does not fit HBM."""
    known: dict[Key, float] = {}

    def step(*key: str | int) -> float:
        if key not in known:
            known[key] = _chip_s(machine, dtype, key)  # type: ignore[index,arg-type]
        return known[key]  # type: ignore[index]

    decode = np.empty(len(inputs["batch"]))
    refill = np.zeros(len(decode))
    rows = zip(*(inputs[name].tolist() for name in OF_ROW), strict=True)
    for i, (model, tp, kv, engine, batch, prompt, output) in enumerate(rows):
        server = (model, tp, kv, engine)
        decode[i] = step("decode", *server, batch, prompt + output // 2)
        if batch > 1:
            refill[i] = (batch - 1) / output * step("prefill", *server, 1, prompt)
    return decode, refill


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
    phase, model, tp, kv, engine, batch, context = key
    return api.price_step(
        served_by(machine.system(tp), engine),
        model,
        phase=phase,
        batch=batch,
        context=context,
        weight_dtype=weights,
        activation_dtype=activations,
        kv_dtype=kv,
    )


def server_work(
    dtype: str, inputs: Mapping[str, Column]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Flops, bytes and chips of a decode step of each row: weights and KV cache read once."""
    models = {name: api.load_model(name) for name in sorted(set(inputs["model"].tolist()))}
    size = dtype_bytes(dtype)
    kv_size = np.where(inputs["kv_dtype"] == "bf16", 2, 1)
    batch = inputs["batch"].astype(float)
    context = inputs["prompt_tokens"] + inputs["output_tokens"] / 2
    weights = np.array([float(models[name].parameters) for name in inputs["model"]])
    kv = np.array([float(models[name].kv_elements_per_token) for name in inputs["model"]])
    read = size * weights + kv_size * kv * context * batch
    return 2 * weights * batch, read, inputs["tp"] * 1.0
