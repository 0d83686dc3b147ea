"""Attention and routed experts as measured rows: their prices and their least work.

The data type of attention rows is that of the KV cache; queries are bf16, and what attention
multiplies in follows from the chip (``mapping.attention_dtype``).
"""

from __future__ import annotations

import numpy as np

from simulator import api
from simulator.validation.machine import Machine
from simulator.validation.table import FloatArray
from simulator.validation.work import Inputs, Work, chip_work, dtype_bytes

ATTENTION_COLUMNS = (
    "batch",
    "heads",
    "kv_heads",
    "head_dim",
    "context",
    "window",
    "buffers",
    "latent",
)
"""``latent`` is the rank of the vectors that latent attention caches, 0 for other attention; the
rotary part is ``ROPE`` elements, a head's keys and values ``head_dim``."""
MOE_COLUMNS = (
    "tokens",
    "hidden",
    "intermediate",
    "experts",
    "top_k",
    "tp",
    "ep",
    "buffers",
    "gated",
    "blocks",
)
QUERY_DTYPE = "bf16"
ROPE = 64

SAME = "same"
"""Weights of the arithmetic's data type."""


def attention_seconds(machine: Machine, dtype: str, inputs: Inputs, phase: str) -> FloatArray:
    """Prices of attention rows; ``context`` of a decode row are the cached tokens."""
    if len(inputs["latent"]) and inputs["latent"].any():
        return _latent_seconds(machine, dtype, inputs, phase)
    rows = zip(*(inputs[name].tolist() for name in ATTENTION_COLUMNS[:-1]), strict=True)
    cases = [
        api.AttentionCase(
            batch,
            heads,
            kv_heads,
            head_dim,
            context,
            phase,
            dtype=QUERY_DTYPE,
            kv_dtype=dtype,
            window=window or None,
            buffers=buffers,
        )
        for batch, heads, kv_heads, head_dim, context, window, buffers in rows
    ]
    return np.array([priced.time_s for priced in api.price_attentions(machine.chip, cases)])


def _latent_seconds(machine: Machine, dtype: str, inputs: Inputs, phase: str) -> FloatArray:
    """Latent attention: absorbed while decoding, expanded in prompts; other rows as they are."""
    out = np.empty(len(inputs["latent"]))
    latent = inputs["latent"] > 0
    others = {name: column[~latent] for name, column in inputs.items()}
    if len(others["latent"]):
        out[~latent] = attention_seconds(machine, dtype, others, phase)
    columns = ("batch", "heads", "context", "latent", "head_dim", "buffers")
    cases = [
        api.LatentCase(
            batch,
            heads,
            context,
            phase,
            phase == "decode",
            rank,
            ROPE,
            head_dim,
            head_dim,
            QUERY_DTYPE,
            dtype,
            buffers,
        )
        for batch, heads, context, rank, head_dim, buffers in zip(
            *(inputs[name][latent].tolist() for name in columns), strict=True
        )
    ]
    out[latent] = api.price_latents(machine.chip, cases)
    return out


def decode_seconds(machine: Machine, dtype: str, inputs: Inputs) -> FloatArray:
    """Prices of decode steps: one query a sequence."""
    return attention_seconds(machine, dtype, inputs, "decode")


def prefill_seconds(machine: Machine, dtype: str, inputs: Inputs) -> FloatArray:
    """Prices of whole causal prompts."""
    return attention_seconds(machine, dtype, inputs, "prefill")


def _attention_sizes(inputs: Inputs) -> tuple[FloatArray, ...]:
    names = ("batch", "heads", "kv_heads", "head_dim", "context")
    return tuple(inputs[name].astype(float) for name in names)


def _seen(inputs: Inputs) -> FloatArray:
    """Keys that the last query sees."""
    context = inputs["context"].astype(float)
    return np.where(inputs["window"] > 0, np.minimum(context, inputs["window"]), context)


def decode_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    """Keys and values that are seen, once; queries and results."""
    batch, heads, kv_heads, dim, _ = _attention_sizes(inputs)
    seen = _seen(inputs)
    rank = inputs["latent"].astype(float)
    token = np.where(rank > 0, rank + ROPE, 2 * kv_heads * dim)
    both = np.where(rank > 0, 2 * rank + ROPE, 2 * dim)
    cache = batch * seen * token * dtype_bytes(dtype)
    ends = batch * heads * both * 2
    return chip_work(machine, QUERY_DTYPE, 2 * batch * heads * both * seen, cache + ends)


def prefill_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    """Unmasked pairs; queries, keys, values and results once."""
    batch, heads, kv_heads, dim, context = _attention_sizes(inputs)
    seen = _seen(inputs)
    pairs = seen * (seen + 1) / 2 + (context - seen) * seen
    latent = inputs["latent"] > 0
    token = np.where(latent, heads * 2 * dim, 2 * kv_heads * dim)
    both = np.where(latent, 2 * dim + ROPE, 2 * dim)
    cache = batch * token * context * dtype_bytes(dtype)
    ends = 2 * batch * heads * dim * context * 2
    # 8-bit prompts may be computed in 8 bits
    return chip_work(machine, QUERY_DTYPE, 2 * batch * heads * both * pairs, cache + ends)


def moe_seconds(machine: Machine, dtype: str, inputs: Inputs) -> FloatArray:
    """Prices of what the busiest rank computes, without the exchange of tokens.

    ``tokens`` are those of all ranks; ``tp`` ranks share the intermediate dimension.
    """
    columns = (*MOE_COLUMNS, "expert_load", "weights", "kernels")
    rows = zip(*(inputs[name].tolist() for name in columns), strict=True)
    cases = [
        api.MoeCase(
            tokens,
            hidden,
            -(-inter // tp),
            experts,
            top_k,
            ep=ep,
            expert_load=load,
            dtype=dtype,
            weight_dtype=None if weights == SAME else weights,
            exchange=False,
            gated=bool(gated),
            buffers=buffers,
            blocks=bool(blocks),
            kernels=kernels,
        )
        for tokens, hidden, inter, experts, top_k, tp, ep, *rest in rows
        for buffers, gated, blocks, load, weights, kernels in (rest,)
    ]
    return np.array([priced.time_s for priced in api.price_moes(machine.chip, cases)])


def moe_work(machine: Machine, dtype: str, inputs: Inputs) -> Work:
    """A rank's even share of the arithmetic, and the weights of as many experts as it can need."""
    names = ("tokens", "hidden", "intermediate", "experts", "top_k", "tp", "ep")
    tokens, hidden, inter, experts, top_k, tp, ep = (inputs[n].astype(float) for n in names)
    assigned = tokens * top_k / ep
    width = inter / tp
    # balanced or not, a rank with few assignments may find them all at a few of its experts
    busy = np.minimum(experts / ep, np.maximum(1.0, np.minimum(top_k, assigned)))
    matrices = 2.0 + (inputs["gated"] != 0)
    kinds, index = np.unique(inputs["weights"], return_inverse=True)
    each = np.array([dtype_bytes(dtype if kind == SAME else kind) for kind in kinds.tolist()])
    weights = busy * matrices * hidden * width * each[index]
    moved = weights + 2 * 2 * tokens * hidden / ep
    return chip_work(machine, dtype, 2 * matrices * assigned * hidden * width, moved)
