"""Tensor parallelism: one chip's share of every operator, and the collectives between them.

The layout of Megatron-LM (Shoeybi et al., arXiv 1909.08053, section 3): columns of QKV, gate and
up, rows of the output and down projections, with an all-reduce after each of the latter; the
output head is cut by vocabulary and its logits are gathered.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.errors import InputError
from simulator.hardware import System
from simulator.model.operators import (
    Attention,
    Collective,
    Elementwise,
    Matmul,
    Operator,
    Section,
)
from simulator.model.transformer import Transformer


def check_degree(system: System, model: Transformer, tp: int | None) -> int:
    """The tensor-parallel degree, all chips unless given.

    Raises InputError where it does not divide the chips, the heads or the feed-forward width.
    """
    degree = system.chips if tp is None else tp
    if degree < 1:
        raise InputError(f"--tp must be at least 1, found {degree}")
    legal = [
        t
        for t in range(1, system.chips + 1)
        if system.chips % t == 0 and model.heads % t == 0 and model.intermediate % t == 0
    ]
    if degree in legal:
        return degree
    options = ", ".join(str(t) for t in legal)
    if system.chips % degree:
        reason = f"does not divide the {system.chips} chips of {system.name}"
    elif model.heads % degree:
        reason = f"does not divide the {model.heads} attention heads of {model.name}"
    else:
        reason = f"does not divide the feed-forward width {model.intermediate} of {model.name}"
    raise InputError(f"tensor parallelism {degree} {reason}", hint=f"--tp may be {options}")


def shard(sections: tuple[Section, ...], tp: int) -> tuple[Section, ...]:
    """One chip's share of a forward pass over ``tp`` chips."""
    return tuple(
        replace(section, operators=tuple(part for op in section.operators for part in _cut(op, tp)))
        for section in sections
    )


def _cut(op: Operator, tp: int) -> tuple[Operator, ...]:
    if tp == 1:
        return (op,)
    if isinstance(op, Matmul):
        return _cut_matmul(op, tp)
    if isinstance(op, Elementwise) and op.sharded:
        # The widest shard sets the pace, so widths round up.
        return (
            replace(op, ops=-(-op.ops // tp), read=-(-op.read // tp), written=-(-op.written // tp)),
        )
    if isinstance(op, Attention):
        # Fewer key-value heads than chips: they are replicated (Pope et al., arXiv 2211.05102).
        return (replace(op, heads=op.heads // tp, kv_heads=max(1, -(-op.kv_heads // tp))),)
    return (op,)


def _cut_matmul(op: Matmul, tp: int) -> tuple[Operator, ...]:
    if op.shard == "columns":
        cut = replace(op, n=-(-op.n // tp), stored_n=-(-op.stored_n // tp))
        if op.rows == "logits":
            return (cut, Collective(f"{op.name}_gather", "all-gather", op.stored_n, op.rows))
        return (cut,)
    if op.shard == "rows":
        cut = replace(op, k=-(-op.k // tp))
        if op.partial:
            return (cut,)
        return (cut, Collective(f"{op.name}_reduce", "all-reduce", op.n, op.rows))
    return (op,)
