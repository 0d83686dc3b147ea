"""The operators of a forward pass, in the order in which they run.

Shapes are given for a batch of rows that is not known yet: ``rows`` says whether an operator
works on every token of the batch or only on the positions that get logits. Nothing here knows
about chips; ``mapping.tensor_parallel`` turns a list into one chip's share of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.model.transformer import Transformer

Rows = Literal["tokens", "logits"]
Shard = Literal["none", "columns", "rows"]

NORM_OPS = 5
"""RMSNorm with the residual add: add, square, sum, scale by the root, scale by the weight."""

ROTARY_OPS = 3
"""Rotary embedding (Su et al., arXiv 2104.09864, eq. 34): two products and a sum an element."""

GATE_OPS = 5
"""SiLU(gate) x up: exponential, add, reciprocal, two products."""

SOFTMAX_OPS = 6
"""Online softmax a score: scale, max, subtract, exponential, sum, rescale (Dao et al., arXiv
2205.14135, algorithm 1)."""


@dataclass(frozen=True, slots=True)
class Matmul:
    """rows x k times k x n. ``stored_n`` columns of the result leave the unit (a fused gate halves
    them); ``shard`` says which dimension tensor parallelism cuts."""

    name: str
    k: int
    n: int
    stored_n: int
    shard: Shard
    rows: Rows = "tokens"


@dataclass(frozen=True, slots=True)
class Elementwise:
    """``ops`` vector operations, ``read`` and ``written`` elements a row.

    ``fused`` operators run as the epilogue of the one before: no launch and no traffic of their
    own. ``sharded`` ones shrink with tensor parallelism.
    """

    name: str
    ops: int
    read: int
    written: int
    fused: bool
    sharded: bool
    rows: Rows = "tokens"


@dataclass(frozen=True, slots=True)
class Gather:
    """One row of ``width`` weight elements read for each token (the embedding)."""

    name: str
    width: int
    rows: Rows = "tokens"


@dataclass(frozen=True, slots=True)
class Attention:
    """Causal grouped-query attention over each sequence's own context."""

    name: str
    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class Collective:
    """A collective over the tensor-parallel group, of ``width`` elements a row."""

    name: str
    op: Literal["all-reduce", "all-gather"]
    width: int
    rows: Rows = "tokens"


Operator = Matmul | Elementwise | Gather | Attention | Collective


@dataclass(frozen=True, slots=True)
class Section:
    """Operators that run ``repeat`` times over, such as a layer."""

    name: str
    repeat: int
    operators: tuple[Operator, ...]


def forward_pass(model: Transformer) -> tuple[Section, ...]:
    """Embedding, layers, output head."""
    h, d = model.hidden, model.head_dim
    q, kv = model.heads * d, 2 * model.kv_heads * d
    f = model.intermediate
    layer = (
        Elementwise("attention_norm", NORM_OPS * h, 2 * h, 2 * h, fused=False, sharded=False),
        Matmul("qkv", h, q + kv, q + kv, "columns"),
        Elementwise("rotary", ROTARY_OPS * (q + kv // 2), 0, 0, fused=True, sharded=True),
        Attention("attention", model.heads, model.kv_heads, d),
        Matmul("attention_output", q, h, h, "rows"),
        Elementwise("ffn_norm", NORM_OPS * h, 2 * h, 2 * h, fused=False, sharded=False),
        Matmul("gate_up", h, 2 * f, f, "columns"),
        Elementwise("gate", GATE_OPS * f, 0, 0, fused=True, sharded=True),
        Matmul("down", f, h, h, "rows"),
    )
    head = (
        Elementwise("final_norm", NORM_OPS * h, h, h, fused=False, sharded=False, rows="logits"),
        Matmul("logits", h, model.vocabulary, model.vocabulary, "columns", rows="logits"),
    )
    return (
        Section("", 1, (Gather("embedding", h),)),
        Section("layer", model.layers, layer),
        Section("", 1, head),
    )
