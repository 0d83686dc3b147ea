"""The parts of a transformer: attention, feed-forward networks, layers, and stacks of them.

Dimensions are named in the field's terms; every part knows its own weights, what a token leaves in
the cache, and its arithmetic, so that a model is a sum over its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class GroupedQuery:
    """Grouped-query attention (Ainslie et al., arXiv 2305.13245); multi-head where ``kv_heads`` =
    ``heads``, multi-query (Shazeer, arXiv 1911.02150) where it is 1.

    ``window`` is the number of keys that a query sees, its own among them; None sees all.
    ``sinks`` adds one learned logit a head to the softmax (gpt-oss), ``qk_norm`` an RMSNorm of each
    head's query and key (Qwen3, Gemma 3).
    """

    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    sinks: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False

    @property
    def qkv_width(self) -> int:
        """Columns of the joint query, key and value projection."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim

    def matmul_parameters(self, hidden: int) -> int:
        """Weights of the QKV and output projections."""
        return hidden * (self.qkv_width + self.heads * self.head_dim)

    def vector_parameters(self, hidden: int) -> int:
        """Biases, norms of queries and keys, sinks."""
        biases = self.qkv_width * self.qkv_bias + hidden * self.output_bias
        return biases + 2 * self.head_dim * self.qk_norm + self.heads * self.sinks

    @property
    def kv_elements_per_token(self) -> int:
        """Elements of key and value that a token leaves in the cache."""
        return 2 * self.kv_heads * self.head_dim

    @property
    def flops_per_pair(self) -> int:
        """Scores and weighted values of one unmasked query-key pair, all heads."""
        return 4 * self.heads * self.head_dim


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    The cache holds ``kv_rank`` elements of the latent and ``rope_dim`` of the shared rotary key.
    ``q_rank`` None projects queries directly.
    """

    heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int

    window: ClassVar[None] = None
    """Latent attention sees the whole context."""

    @property
    def head_dim(self) -> int:
        """Width of one head's query and key."""
        return self.nope_dim + self.rope_dim

    @property
    def kv_heads(self) -> int:
        """Key-value heads that tensor parallelism can cut: the latent is one for all heads."""
        return 1

    def matmul_parameters(self, hidden: int) -> int:
        """Weights of the down, up and output projections; W_UK and W_UV included."""
        width = self.heads * self.head_dim
        queries = hidden * width if self.q_rank is None else self.q_rank * (hidden + width)
        down = hidden * (self.kv_rank + self.rope_dim)
        up = self.kv_rank * self.heads * (self.nope_dim + self.v_dim)
        return queries + down + up + self.heads * self.v_dim * hidden

    def vector_parameters(self, hidden: int) -> int:
        """Norms of the two latents."""
        return (self.q_rank or 0) + self.kv_rank

    @property
    def kv_elements_per_token(self) -> int:
        """Elements of the latent and the rotary key that a token leaves in the cache."""
        return self.kv_rank + self.rope_dim

    @property
    def flops_per_pair(self) -> int:
        """One unmasked query-key pair, all heads, in the expanded form.

        The absorbed form works on ``kv_rank`` wide keys and values instead and takes more; W_UK and
        W_UV cost 2 x weights x tokens in either form and are counted with the weights.
        """
        return 2 * self.heads * (self.nope_dim + self.rope_dim + self.v_dim)


Attention = GroupedQuery | Latent


@dataclass(frozen=True, slots=True)
class Dense:
    """A feed-forward network: gated (three matrices, SwiGLU or GeGLU) or not (two, GELU)."""

    intermediate: int
    gated: bool = True
    bias: bool = False

    def matmul_parameters(self, hidden: int) -> int:
        """Weights of the up, gate and down projections."""
        return (3 if self.gated else 2) * hidden * self.intermediate

    def active_matmul_parameters(self, hidden: int) -> int:
        """Weights that one token meets: all."""
        return self.matmul_parameters(hidden)

    def vector_parameters(self, hidden: int) -> int:
        """Biases."""
        return ((2 if self.gated else 1) * self.intermediate + hidden) * self.bias

    def active_vector_parameters(self, hidden: int) -> int:
        """Biases that one token meets: all."""
        return self.vector_parameters(hidden)


@dataclass(frozen=True, slots=True)
class Experts:
    """A router that sends each token to ``top_k`` of ``experts`` networks of width
    ``intermediate``, and a shared one of width ``shared_intermediate`` that sees every token."""

    experts: int
    top_k: int
    intermediate: int
    shared_intermediate: int = 0
    gated: bool = True
    bias: bool = False
    router_bias: bool = False

    @property
    def matrices(self) -> int:
        """Matrices of one expert."""
        return 3 if self.gated else 2

    def expert_parameters(self, hidden: int) -> int:
        """Matmul weights of one routed expert."""
        return self.matrices * hidden * self.intermediate

    def shared_parameters(self, hidden: int) -> int:
        """Matmul weights that every token meets: router and shared expert."""
        return hidden * self.experts + self.matrices * hidden * self.shared_intermediate

    def matmul_parameters(self, hidden: int) -> int:
        """Weights of all experts, the shared one, and the router."""
        return self.experts * self.expert_parameters(hidden) + self.shared_parameters(hidden)

    def active_matmul_parameters(self, hidden: int) -> int:
        """Weights that one token meets."""
        return self.top_k * self.expert_parameters(hidden) + self.shared_parameters(hidden)

    def vector_parameters(self, hidden: int) -> int:
        """Biases of the experts and of the router."""
        return self.experts * (self._biases(hidden) + self.router_bias)

    def active_vector_parameters(self, hidden: int) -> int:
        """Biases that one token meets."""
        return self.top_k * self._biases(hidden) + self.experts * self.router_bias

    def _biases(self, hidden: int) -> int:
        return ((2 if self.gated else 1) * self.intermediate + hidden) * self.bias


FeedForward = Dense | Experts


@dataclass(frozen=True, slots=True)
class Layer:
    """Attention and a feed-forward network, one after the other, or ``parallel`` on the same input
    (PaLM, arXiv 2204.02311, section 2). ``norms`` counts the norms of width hidden; ``name`` tells
    the layers of a pattern apart."""

    attention: Attention
    ffn: FeedForward
    parallel: bool = False
    norms: int = 2
    name: str = ""

    def matmul_parameters(self, hidden: int) -> int:
        """Weights that take part in matmuls."""
        return self.attention.matmul_parameters(hidden) + self.ffn.matmul_parameters(hidden)

    def active_matmul_parameters(self, hidden: int) -> int:
        """Matmul weights that one token meets."""
        return self.attention.matmul_parameters(hidden) + self.ffn.active_matmul_parameters(hidden)

    def vector_parameters(self, hidden: int) -> int:
        """Biases, sinks, and norms inside attention; not the layer's own norms."""
        return self.attention.vector_parameters(hidden) + self.ffn.vector_parameters(hidden)

    def active_vector_parameters(self, hidden: int) -> int:
        """Those of ``vector_parameters`` that one token meets."""
        return self.attention.vector_parameters(hidden) + self.ffn.active_vector_parameters(hidden)


@dataclass(frozen=True, slots=True)
class Stack:
    """A pattern of layers that repeats, such as 18 x (sliding, full)."""

    name: str
    repeat: int
    layers: tuple[Layer, ...]
