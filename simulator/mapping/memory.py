"""What one chip's HBM holds: weights, activations, a reserve, and what is left for KV."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import InfeasibleError
from simulator.hardware import System
from simulator.model.transformer import Transformer
from simulator.units import format_bytes

BITS = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp4": 4, "int4": 4}
"""Bits an element of each data type."""

LOGIT_BYTES = 4
"""Logits are kept in fp32 for sampling."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one chip's HBM, and what one cached token costs of them."""

    capacity: int
    reserve: int
    weights: int
    activations: int
    kv_per_token: int

    @property
    def kv(self) -> int:
        """Bytes left for the KV cache; negative where the model does not fit."""
        return self.capacity - self.reserve - self.weights - self.activations

    def as_dict(self) -> dict[str, int]:
        """Bytes per chip by use."""
        return {
            "weights": self.weights,
            "activations": self.activations,
            "reserve": self.reserve,
            "kv": self.kv,
        }


def kv_bytes_per_token(model: Transformer, tp: int, kv_bits: int) -> int:
    """Bytes of one token's keys and values on one chip, all layers."""
    heads = max(1, -(-model.kv_heads // tp))
    return -(-2 * model.layers * heads * model.head_dim * kv_bits // 8)


def plan_memory(
    system: System,
    model: Transformer,
    *,
    tp: int,
    weight_bits: int,
    activation_bits: int,
    kv_bits: int,
    tokens: int,
    logits: int,
) -> Memory:
    """Memory of one chip for batches of at most ``tokens`` tokens and ``logits`` positions.

    Activations: the residual stream twice (input and output of an operator), the widest sharded
    intermediate twice, and the logits of this chip's share of the vocabulary.
    Raises InfeasibleError where the weights and activations do not fit.
    """
    hbm = system.chip.hbm
    kv_heads = max(1, -(-model.kv_heads // tp))
    qkv = model.heads // tp * model.head_dim + 2 * kv_heads * model.head_dim
    widest = max(qkv, 2 * -(-model.intermediate // tp))
    activations = -(-2 * tokens * (model.hidden + widest) * activation_bits // 8)
    activations += logits * -(-model.vocabulary // tp) * LOGIT_BYTES
    memory = Memory(
        capacity=hbm.capacity_bytes,
        reserve=int(hbm.capacity_bytes * system.hbm_reserve_fraction),
        weights=-(-model.parameters * weight_bits // (8 * tp)),
        activations=activations,
        kv_per_token=kv_bytes_per_token(model, tp, kv_bits),
    )
    if memory.kv <= 0:
        need = memory.weights + memory.activations
        have = memory.capacity - memory.reserve
        raise InfeasibleError(
            f"{model.name} does not fit {system.name} with tensor parallelism {tp}: "
            f"weights {format_bytes(memory.weights)} and activations "
            f"{format_bytes(memory.activations)} a chip exceed the {format_bytes(have)} "
            f"that HBM leaves, by {format_bytes(need - have)}",
            hint="use more chips, a smaller --weight-dtype, or smaller batches",
        )
    return memory
