"""The operators of a forward pass, in the order in which they run.

Shapes are given for a batch of rows that is not known yet: ``rows`` says whether an operator
works on every token of the batch or only on the positions that get logits. Nothing here knows
about chips; ``model.forward`` makes the list of a model, and ``mapping.shard`` turns it into one
chip's share of it. There ``split`` counts the ranks and micro-batches that share the rows: an
operator works on ceil(rows / split) of them, and attention on one of ``split`` parts of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rows = Literal["tokens", "logits"]
Shard = Literal["none", "columns", "rows"]
CollectiveOp = Literal["all-reduce", "all-gather", "reduce-scatter", "all-to-all", "p2p"]

NORM_OPS = 5
"""RMSNorm with the residual add: add, square, sum, scale by the root, scale by the weight."""

ROTARY_OPS = 3
"""Rotary embedding (Su et al., arXiv 2104.09864, eq. 34): two products and a sum an element."""

GATE_OPS = 5
"""SiLU(gate) x up: exponential, add, reciprocal, two products; GELU by its sigmoid form alike."""

ROUTER_OPS = 4
"""An expert's score a token: exponential, sum, compare, select."""

SOFTMAX_OPS = 6
"""Online softmax a score: scale, max, subtract, exponential, sum, rescale (Dao et al., arXiv
2205.14135, algorithm 1)."""


@dataclass(frozen=True, slots=True)
class Matmul:
    """rows x k times k x n. ``stored_n`` columns of the result leave the unit (a fused gate halves
    them); ``shard`` says which dimension tensor parallelism cuts.

    ``weights`` tells in which of the model's data types B is stored. The sum over ranks of a
    ``partial`` result is left to the next operator of the layer that reduces: a parallel block adds
    the outputs of attention and feed-forward network first, and so do shared and routed experts.
    """

    name: str
    k: int
    n: int
    stored_n: int
    shard: Shard
    rows: Rows = "tokens"
    weights: Literal["dense", "expert"] = "dense"
    partial: bool = False
    split: int = 1


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
    split: int = 1


@dataclass(frozen=True, slots=True)
class Gather:
    """One row of ``width`` weight elements read for each token (the embedding)."""

    name: str
    width: int
    rows: Rows = "tokens"
    split: int = 1


@dataclass(frozen=True, slots=True)
class Attention:
    """Causal grouped-query attention over each sequence's own context, the last ``window`` keys of
    it where there is one. ``context`` ranks share the keys of each sequence."""

    name: str
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    split: int = 1
    context: int = 1


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Causal latent attention with the products of W_UK and W_UV (kv_rank x heads x nope_dim and
    kv_rank x heads x v_dim weights), whose order its kernel chooses: absorbed into queries and
    outputs for decode, expanded into keys and values for prefill."""

    name: str
    heads: int
    kv_rank: int
    rope_dim: int
    nope_dim: int
    v_dim: int
    split: int = 1
    context: int = 1


@dataclass(frozen=True, slots=True)
class MoE:
    """The routed experts of a layer, from the router's choice to the weighted sum: dispatch,
    grouped matmuls with their gate, combine. Each token goes to ``top_k`` of ``experts``, which
    ``ranks`` expert-parallel ranks share."""

    name: str
    hidden: int
    intermediate: int
    experts: int
    top_k: int
    gated: bool = True
    rows: Rows = "tokens"
    split: int = 1
    ranks: int = 1


@dataclass(frozen=True, slots=True)
class Collective:
    """A collective over the ``group`` of a layout, of ``width`` elements a row.

    One of ``weights`` elements moves those, whatever the rows; it runs behind the operators before
    it, as far as the fabric is free (``background``).
    """

    name: str
    op: CollectiveOp
    width: int
    rows: Rows = "tokens"
    group: str = "tensor"
    split: int = 1
    weights: int = 0
    background: bool = False


Operator = Matmul | Elementwise | Gather | Attention | LatentAttention | MoE | Collective


@dataclass(frozen=True, slots=True)
class Section:
    """Operators that run ``repeat`` times over, such as a layer."""

    name: str
    repeat: int
    operators: tuple[Operator, ...]
