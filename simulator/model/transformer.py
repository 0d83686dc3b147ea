"""A decoder-only transformer by its dimensions: parameters, cache and arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from simulator.model.layers import Dense, Experts, GroupedQuery, Layer, Stack

__all__ = ["Quantization", "Transformer", "llama", "visible_pairs"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """Data types in which the published weights are stored.

    ``dense`` holds for attention, dense networks and shared experts, ``experts`` for routed
    experts; embedding, router and head stay in bf16. ``block`` weights share one scale of
    ``scale_bits`` (0: none to speak of).
    """

    dense: str = "bf16"
    experts: str = "bf16"
    block: int = 0
    scale_bits: int = 0


@dataclass(frozen=True, slots=True)
class Transformer:
    """``stacks`` of layers between an embedding and an output head.

    ``max_context`` is the longest sequence (prompt and output) that the model was made for,
    ``positions`` the rows of a learned position table (0: rotary), ``norm_bias`` says that norms
    are LayerNorms with a bias. ``mtp_layers`` modules of multi-token prediction (DeepSeek-V3,
    arXiv 2412.19437, section 2.2) come beside the model: they are no part of its parameters.
    """

    name: str
    hidden: int
    vocabulary: int
    max_context: int
    stacks: tuple[Stack, ...]
    tied_embeddings: bool = False
    positions: int = 0
    norm_bias: bool = False
    mtp_layers: int = 0
    quantization: Quantization = Quantization()

    def each_layer(self) -> Iterator[tuple[Layer, int]]:
        """(layer, how many of it) for every position of every stack, in order."""
        for stack in self.stacks:
            for layer in stack.layers:
                yield layer, stack.repeat

    @property
    def layers(self) -> int:
        """Number of layers."""
        return sum(count for _, count in self.each_layer())

    @property
    def first(self) -> Layer:
        """The first layer."""
        return self.stacks[0].layers[0]

    @property
    def heads(self) -> int:
        """Query heads of the first layer."""
        return self.first.attention.heads

    @property
    def kv_heads(self) -> int:
        """Key-value heads of the first layer (1 for latent attention)."""
        return self.first.attention.kv_heads

    @property
    def head_dim(self) -> int:
        """Width of a query head of the first layer."""
        return self.first.attention.head_dim

    @property
    def intermediate(self) -> int:
        """Width of the widest dense network, or of an expert where there is none."""
        dense = [x.ffn.intermediate for x, _ in self.each_layer() if isinstance(x.ffn, Dense)]
        return max(dense) if dense else self.experts.intermediate  # type: ignore[union-attr]

    @property
    def experts(self) -> Experts | None:
        """The mixture of experts of the first layer that has one."""
        for layer, _ in self.each_layer():
            if isinstance(layer.ffn, Experts):
                return layer.ffn
        return None

    @property
    def tokens_of_all_experts(self) -> int:
        """Tokens from which on every expert can be met; 1 without experts."""
        experts = self.experts
        return 1 if experts is None else -(-experts.experts // experts.top_k)

    @property
    def window(self) -> int | None:
        """The sliding window of the layers that have one (no model has two lengths)."""
        for layer, _ in self.each_layer():
            if layer.attention.window is not None:
                return layer.attention.window
        return None

    @property
    def matmul_parameters(self) -> int:
        """Weights of all layers that take part in matmuls, without the output head."""
        return sum(n * layer.matmul_parameters(self.hidden) for layer, n in self.each_layer())

    @property
    def active_matmul_parameters(self) -> int:
        """Those of ``matmul_parameters`` that one token meets."""
        return sum(
            n * layer.active_matmul_parameters(self.hidden) for layer, n in self.each_layer()
        )

    def touched_matmul_parameters(self, tokens: int) -> int:
        """Those of ``matmul_parameters`` that ``tokens`` tokens can meet at most."""
        total = 0
        for layer, count in self.each_layer():
            weights = layer.matmul_parameters(self.hidden)
            if isinstance(layer.ffn, Experts):
                idle = max(0, layer.ffn.experts - tokens * layer.ffn.top_k)
                weights -= idle * layer.ffn.expert_parameters(self.hidden)
            total += count * weights
        return total

    @property
    def expert_parameters(self) -> int:
        """Weights of all routed experts of all layers."""
        return sum(
            n * layer.ffn.experts * layer.ffn.expert_parameters(self.hidden)
            for layer, n in self.each_layer()
            if isinstance(layer.ffn, Experts)
        )

    @property
    def head_parameters(self) -> int:
        """Weights of the output head (the embedding itself where they are tied)."""
        return self.vocabulary * self.hidden

    @property
    def vector_parameters(self) -> int:
        """Norms, biases and sinks."""
        norms = sum(count * layer.norms for layer, count in self.each_layer()) + 1
        inner = sum(n * layer.vector_parameters(self.hidden) for layer, n in self.each_layer())
        return norms * self.hidden * (2 if self.norm_bias else 1) + inner

    @property
    def table_parameters(self) -> int:
        """Embedding, learned positions, and an output head of its own."""
        tables = self.head_parameters * (1 if self.tied_embeddings else 2)
        return tables + self.positions * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, without modules of multi-token prediction."""
        return self.matmul_parameters + self.vector_parameters + self.table_parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that one token meets.

        The input embedding is left out unless it is the output head too, and so is the table of
        positions: a token reads one row of either.
        """
        idle = sum(
            n * (x.vector_parameters(self.hidden) - x.active_vector_parameters(self.hidden))
            for x, n in self.each_layer()
        )
        vectors = self.vector_parameters - idle
        return self.active_matmul_parameters + vectors + self.head_parameters

    @property
    def mtp_parameters(self) -> int:
        """Weights of the modules of multi-token prediction: a layer like the last, the projection
        of two hidden states to one, three norms each; embedding and head are shared."""
        layer = self.stacks[-1].layers[-1]
        one = layer.matmul_parameters(self.hidden) + layer.vector_parameters(self.hidden)
        one += 2 * self.hidden * self.hidden + (layer.norms + 3) * self.hidden
        return self.mtp_layers * one

    @property
    def kv_elements_per_token(self) -> int:
        """Elements that one token leaves in the cache, all layers, windows not counted."""
        return sum(n * x.attention.kv_elements_per_token for x, n in self.each_layer())

    def kv_elements(self, context: int) -> int:
        """Elements in the cache of a sequence of ``context`` tokens: a window keeps its last."""
        total = 0
        for layer, count in self.each_layer():
            window = layer.attention.window
            kept = context if window is None else min(context, window)
            total += count * kept * layer.attention.kv_elements_per_token
        return total

    def flops(
        self,
        tokens: int,
        logit_positions: int,
        query_key_pairs: int,
        window_pairs: int | None = None,
    ) -> int:
        """Floating-point operations of a forward pass.

        ``query_key_pairs`` counts the unmasked pairs of one head in one layer that sees all,
        ``window_pairs`` those in one with a sliding window (as many, unless given). The formula is
        2 x active matmul parameters x tokens + 2 x head x positions + the arithmetic of a pair x
        pairs for each layer (Kaplan et al., arXiv 2001.08361, section 2.1, with attention
        counted): 4 x heads x head_dim, or 2 x heads x (nope + rope + v) for latent attention.
        """
        windowed = query_key_pairs if window_pairs is None else window_pairs
        attention = sum(
            n
            * layer.attention.flops_per_pair
            * (query_key_pairs if layer.attention.window is None else windowed)
            for layer, n in self.each_layer()
        )
        dense = 2 * self.active_matmul_parameters * tokens
        return dense + 2 * self.head_parameters * logit_positions + attention


def llama(
    name: str,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    intermediate: int,
    vocabulary: int,
    max_context: int,
    tied_embeddings: bool = False,
) -> Transformer:
    """A model of equal layers: grouped-query attention, a gated network, two norms."""
    layer = Layer(GroupedQuery(heads, kv_heads, head_dim), Dense(intermediate))
    stacks = (Stack("layer", layers, (layer,)),)
    return Transformer(name, hidden, vocabulary, max_context, stacks, tied_embeddings)


def visible_pairs(new: int, past: int, window: int | None = None) -> int:
    """Unmasked query-key pairs of ``new`` causal queries after ``past`` cached tokens."""
    if window is None or past + new <= window:
        return new * past + new * (new + 1) // 2
    whole = max(0, min(new, window - past))
    return visible_pairs(whole, past) + (new - whole) * window
