"""What a layout computes more than once: replicated and padded work, operator by operator."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.mapping.shard import Sharded
from simulator.model.forward import forward_pass
from simulator.model.layout import Layout
from simulator.model.operators import Attention, LatentAttention, Matmul, MoE, Operator, Section
from simulator.model.transformer import Transformer


@dataclass(frozen=True, slots=True)
class Overhead:
    """All chips of a replica together compute ``factor`` times what one chip alone would.

    ``why`` is ``replicated`` where ranks do the same work, ``padded`` where shares round up.
    """

    name: str
    why: str
    factor: float


def overheads(model: Transformer, layout: Layout, sharded: Sharded) -> tuple[Overhead, ...]:
    """Operators whose shares add up to more than the whole; everything else is cut exactly.

    With two-dimensional weights the matrices of a parallel block are fused, and compared together.
    """
    whole = _work(forward_pass(model))
    parts: dict[str, float] = {}
    for section in sharded.sections:
        if section.name.startswith("draft"):
            continue
        for op in section.operators:
            # micro-batches are parts of the same batch
            share = layout.stage * layout.micro_batches / op.split
            context = op.context if isinstance(op, Attention | LatentAttention) else 1
            parts.setdefault(op.name, share * _size(op) / context)
    found = []
    for name, work in parts.items():
        alone = whole.get(name, _fused(name, whole))
        if alone and work > alone * (1 + 1e-12):
            factor = work / alone
            why = "replicated" if abs(factor - round(factor)) < 1e-9 else "padded"
            found.append(Overhead(name, why, factor))
    return tuple(found)


def _work(sections: tuple[Section, ...]) -> dict[str, float]:
    return {op.name: float(_size(op)) for section in sections for op in section.operators}


def _fused(name: str, whole: dict[str, float]) -> float:
    """The matrices that a fused one's name joins."""
    total = 0.0
    left = name
    for part in sorted(whole, key=len, reverse=True):
        if whole[part] and part in left:
            total += whole[part]
            left = left.replace(part, "", 1)
    return total if not left.strip("_") else 0.0


def _size(op: Operator) -> int:
    """Multiply-accumulates a row (of attention: a pair)."""
    if isinstance(op, Matmul):
        return op.k * op.n
    if isinstance(op, Attention):
        return op.heads * op.head_dim
    if isinstance(op, LatentAttention):
        return op.heads * (op.nope_dim + op.rope_dim + op.v_dim)
    if isinstance(op, MoE):
        return op.top_k * op.hidden * op.intermediate * (3 if op.gated else 2)
    return 0
