"""What one chip's HBM holds: weights, activations, buffers, a reserve, and what is left for KV."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulator.errors import InfeasibleError
from simulator.hardware import System
from simulator.mapping.layout import padded
from simulator.mapping.shard import Sharded, shard
from simulator.mapping.stages import layers_of_stages
from simulator.model.layers import Attention as AttentionPart
from simulator.model.layers import GroupedQuery
from simulator.model.layout import Layout, tensor_parallel
from simulator.model.operators import (
    Attention,
    Collective,
    LatentAttention,
    Matmul,
    MoE,
    Operator,
)
from simulator.model.transformer import Transformer
from simulator.units import format_bytes

BITS = {
    "fp32": 32,
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "int8": 8,
    "fp4": 4,
    "int4": 4,
    "nvfp4": 4,
}
"""Bits an element of each data type, without scales."""

SCALED_ELEMENTS = {"nvfp4": 16}
"""Elements that share a scale of 8 bits (nvfp4: arXiv 2509.25149, section 2), by format."""


def stored_bits(dtype: str) -> float:
    """Bits of an element of a data type with its share of a scale."""
    shared = SCALED_ELEMENTS.get(dtype)
    return BITS[dtype] + (8 / shared if shared else 0)


LOGIT_BYTES = 4
"""Logits are kept in fp32 for sampling."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one chip's HBM, and what one cached token costs of them.

    ``buffers`` are those of gathered weights. ``kv_parts`` has (window or 0, bytes a token, how
    many layers) of every kind of attention on the chip that caches most.
    """

    capacity: int
    reserve: int
    weights: int
    activations: int
    kv_per_token: int
    buffers: int = 0
    kv_parts: tuple[tuple[int, int, int], ...] = ()
    context_ranks: int = 1

    @property
    def kv(self) -> int:
        """Bytes left for the KV cache; negative where the model does not fit."""
        return self.capacity - self.reserve - self.weights - self.activations - self.buffers

    def kv_of(self, context: int) -> int:
        """Bytes that a sequence of ``context`` tokens keeps; a window keeps its last."""
        own = -(-context // self.context_ranks)
        return sum(
            (min(own, window) if window else own) * size * layers
            for window, size, layers in self.kv_parts
        )

    def as_dict(self) -> dict[str, int]:
        """Bytes per chip by use."""
        return {
            "weights": self.weights,
            "activations": self.activations,
            **({"buffers": self.buffers} if self.buffers else {}),
            "reserve": self.reserve,
            "kv": self.kv,
        }


def kv_bytes_per_token(model: Transformer, tp: int, kv_bits: int) -> int:
    """Bytes of one token's cache on one chip of a tensor-parallel group, all layers."""
    return sum(n * _kv_bytes(x.attention, tp, kv_bits) for x, n in model.each_layer())


def _kv_bytes(attention: AttentionPart, tp: int, kv_bits: int) -> int:
    """One token's cache of one layer; key-value heads fewer than ranks, and latents, are kept by
    every rank."""
    if isinstance(attention, GroupedQuery):
        heads = max(1, -(-attention.kv_heads // tp))
        return -(-2 * heads * attention.head_dim * kv_bits // 8)
    return -(-attention.kv_elements_per_token * kv_bits // 8)


def memory_of(
    system: System,
    model: Transformer,
    layout: Layout,
    *,
    weight_bits: float,
    activation_bits: int,
    kv_bits: int,
    tokens: int,
    logits: int,
    sharded: Sharded | None = None,
) -> Memory:
    """Memory of the fullest chip for batches of at most ``tokens`` tokens and ``logits`` positions
    over a replica; what is left may be negative.

    Activations: the residual stream twice (input and output of an operator), the widest
    intermediate twice, and the logits of this chip's share of the vocabulary.
    """
    parts = sharded or shard(model, layout)
    hbm = system.chip.hbm
    scale = _with_scales(model, weight_bits)
    weights = max(
        sum(section.repeat * _weights(section.operators) for section in stage.sections)
        for stage in parts.stages
    )
    tables = -(-model.table_parameters // layout.stage)
    if not model.tied_embeddings:
        # the output head is among the matmuls
        tables -= min(tables, -(-model.head_parameters // layout.stage))
    operators = [op for section in parts.sections for op in section.operators]
    gathered = max((op.weights for op in operators if isinstance(op, Collective)), default=0)
    kv = _kv_parts(padded(model, layout), layout, kv_bits)
    stored = -(-int((weights + tables + model.vector_parameters) * scale) // 8)
    activations = _activations(model, layout, parts, tokens, logits, activation_bits)
    # matrices are multiplied shard by shard as they arrive: one in use, one on its way
    buffers = 2 * int(-(-gathered * weight_bits // (8 * layout.stage)))
    return Memory(
        capacity=hbm.capacity_bytes,
        reserve=system.reserve_bytes(hbm.capacity_bytes - stored - activations - buffers),
        weights=stored,
        activations=activations,
        kv_per_token=-(-sum(size * layers for _, size, layers in kv) // layout.sp),
        buffers=buffers,
        kv_parts=kv,
        context_ranks=layout.sp,
    )


def check_room(system: System, model: Transformer, layout: Layout, memory: Memory) -> None:
    """Raise InfeasibleError where nothing is left for the cache, with what is too much."""
    if memory.kv > 0:
        return
    need = memory.weights + memory.activations + memory.buffers
    have = memory.capacity - memory.reserve
    how = f"tensor parallelism {layout.tp}" if layout == tensor_parallel(layout.tp) else layout.text
    raise InfeasibleError(
        f"{model.name} does not fit {system.name} with {how}: "
        f"weights {format_bytes(memory.weights)} and activations "
        f"{format_bytes(memory.activations)} a chip exceed the {format_bytes(have)} "
        f"that HBM leaves, by {format_bytes(need - have)}",
        hint="use more chips, a smaller --weight-dtype, or smaller batches",
    )


def _with_scales(model: Transformer, weight_bits: float) -> float:
    """Bits of a weight with its share of a block's scale, where the model has block scales; those
    of a format that has its own are no whole number."""
    stored = model.quantization
    if stored.block and weight_bits <= 8 and weight_bits == int(weight_bits):
        return weight_bits + stored.scale_bits / stored.block
    return weight_bits


def _gathers(op: Operator) -> bool:
    return isinstance(op, Collective) and op.weights > 0


def _weights(operators: Iterable[Operator]) -> int:
    """Elements of weights that one chip keeps for some operators."""
    total = 0
    ops = list(operators)
    shared = {op.name.removesuffix("_weights"): op for op in ops if _gathers(op)}
    for op in ops:
        if isinstance(op, Matmul):
            own = op.k * op.n
            total += -(-own // op.split) if op.name in shared else own
        elif isinstance(op, MoE):
            own = op.hidden * op.intermediate * (3 if op.gated else 2)
            total += own * -(-op.experts // op.ranks)
        elif isinstance(op, LatentAttention):
            total += op.kv_rank * op.heads * (op.nope_dim + op.v_dim)
    return total


def _activations(
    model: Transformer, layout: Layout, parts: Sharded, tokens: int, logits: int, bits: int
) -> int:
    most = 0
    for section in parts.sections:
        for op in section.operators:
            rows = -(-tokens // getattr(op, "split", 1))
            if isinstance(op, Matmul) and op.rows == "tokens":
                # gathered weights come piece by piece, and a piece passes the gate at once
                wide = op.stored_n if layout.weights == "gathered" else op.n
                most = max(most, rows * (model.hidden + wide))
            elif isinstance(op, MoE):
                wide = op.intermediate * (2 if op.gated else 1)
                most = max(most, rows * (model.hidden + op.top_k * (model.hidden + wide)))
            elif isinstance(op, Attention):
                width = (op.heads + 2 * op.kv_heads) * op.head_dim
                most = max(most, rows * (model.hidden + width))
    head = -(-logits // layout.micro_batches) * -(-model.vocabulary // layout.stage)
    return -(-2 * most * bits // 8) + head * LOGIT_BYTES


def _kv_parts(model: Transformer, layout: Layout, kv_bits: int) -> tuple[tuple[int, int, int], ...]:
    """Of the stage that caches most: (window or 0, bytes a token, layers)."""
    best: tuple[tuple[int, int, int], ...] = ()
    most = -1
    for repeats in layers_of_stages(model, layout.pp):
        parts = []
        for stack, repeat in zip(model.stacks, repeats, strict=True):
            for layer in stack.layers:
                size = _kv_bytes(layer.attention, layout.tp, kv_bits)
                if repeat:
                    parts.append((layer.attention.window or 0, size, repeat))
        total = sum(size * layers for _, size, layers in parts)
        if total > most:
            best, most = tuple(parts), total
    return best
