"""A decoder-only transformer of the Llama family, by its dimensions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Transformer:
    """Dimensions as Hugging Face's ``config.json`` names them, in shorter words.

    ``intermediate`` is the width of the gated feed-forward network; ``max_context`` the longest
    sequence (prompt and output) that the model was trained for.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    max_context: int
    tied_embeddings: bool = False

    @property
    def layer_matmul_parameters(self) -> int:
        """Weights of one layer that take part in matmuls (QKV, output, gate, up, down)."""
        qkv = self.hidden * (self.heads + 2 * self.kv_heads) * self.head_dim
        out = self.heads * self.head_dim * self.hidden
        return qkv + out + 3 * self.hidden * self.intermediate

    @property
    def matmul_parameters(self) -> int:
        """Weights of all layers that take part in matmuls, without the output head."""
        return self.layers * self.layer_matmul_parameters

    @property
    def head_parameters(self) -> int:
        """Weights of the output head (the embedding itself where they are tied)."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters: matmuls, norms, embedding and an output head of its own."""
        norms = (2 * self.layers + 1) * self.hidden
        tables = self.head_parameters * (1 if self.tied_embeddings else 2)
        return self.matmul_parameters + norms + tables

    @property
    def kv_elements_per_token(self) -> int:
        """Elements of key and value that one token leaves in the cache, all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    def flops(self, tokens: int, logit_positions: int, query_key_pairs: int) -> int:
        """Floating-point operations of a forward pass.

        ``query_key_pairs`` counts unmasked pairs of one head in one layer. The formula is
        2 x matmul parameters x tokens + 2 x head x positions + 4 x heads x head_dim x pairs
        for each layer (Kaplan et al., arXiv 2001.08361, section 2.1, with attention counted).
        """
        attention = 4 * self.layers * self.heads * self.head_dim * query_key_pairs
        dense = 2 * self.matmul_parameters * tokens
        return dense + 2 * self.head_parameters * logit_positions + attention
