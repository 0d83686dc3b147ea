"""A model as model files and ``config.json`` describe it: flat dimensions, not yet layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from simulator.model.layers import Attention, Dense, Experts, GroupedQuery, Latent, Layer, Stack
from simulator.model.transformer import Quantization, Transformer

_PLAIN = Quantization()

Sight = Literal["full", "sliding"]


@dataclass(frozen=True, slots=True)
class LatentSpec:
    """Ranks and widths of latent attention; see ``layers.Latent``."""

    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int
    q_rank: int | None = None


@dataclass(frozen=True, slots=True)
class ExpertsSpec:
    """``count`` routed experts in every ``every``-th layer after the dense ones."""

    count: int
    top_k: int
    intermediate: int
    shared_intermediate: int = 0
    router_bias: bool = False
    every: int = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """The dimensions of a model, one value each.

    ``pattern`` says what each layer sees, repeated over the layers from the first; ``sliding`` ones
    see ``window`` tokens. The first ``dense_layers`` have no experts. Attention is grouped-query
    with ``kv_heads`` and ``head_dim``, or ``latent``.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    vocabulary: int
    max_context: int
    kv_heads: int | None = None
    head_dim: int | None = None
    latent: LatentSpec | None = None
    intermediate: int | None = None
    gated: bool = True
    experts: ExpertsSpec | None = None
    dense_layers: int = 0
    window: int | None = None
    pattern: tuple[Sight, ...] = ("full",)
    sinks: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    ffn_bias: bool = False
    parallel: bool = False
    post_norms: bool = False
    norm_bias: bool = False
    tied_embeddings: bool = False
    positions: int = 0
    mtp_layers: int = 0
    quantization: Quantization = _PLAIN

    @property
    def needs_intermediate(self) -> bool:
        """Whether some layer has a dense network, whose width must then be known."""
        return any(not self._is_sparse(index) for index in range(self.layers))

    @property
    def has_sparse_layers(self) -> bool:
        """Whether some layer has experts."""
        return any(self._is_sparse(index) for index in range(self.layers))

    def build(self) -> Transformer:
        """The transformer, its layers gathered into stacks."""
        return Transformer(
            name=self.name,
            hidden=self.hidden,
            vocabulary=self.vocabulary,
            max_context=self.max_context,
            stacks=_stacks([self._layer(index) for index in range(self.layers)]),
            tied_embeddings=self.tied_embeddings,
            positions=self.positions,
            norm_bias=self.norm_bias,
            mtp_layers=self.mtp_layers,
            quantization=self.quantization,
        )

    def _is_sparse(self, index: int) -> bool:
        if self.experts is None or index < self.dense_layers:
            return False
        return (index + 1) % self.experts.every == 0

    def _layer(self, index: int) -> Layer:
        sight = self.pattern[index % len(self.pattern)]
        norms = 1 if self.parallel else 4 if self.post_norms else 2
        ffn = self._experts() if self._is_sparse(index) else self._dense()
        name = sight if len(set(self.pattern)) > 1 else ""
        return Layer(self._attention(sight), ffn, self.parallel, norms, name)

    def _attention(self, sight: Sight) -> Attention:
        if self.latent is not None:
            x = self.latent
            return Latent(self.heads, x.q_rank, x.kv_rank, x.nope_dim, x.rope_dim, x.v_dim)
        assert self.kv_heads is not None and self.head_dim is not None
        return GroupedQuery(
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            window=self.window if sight == "sliding" else None,
            sinks=self.sinks,
            qk_norm=self.qk_norm,
            qkv_bias=self.qkv_bias,
            output_bias=self.output_bias,
        )

    def _dense(self) -> Dense:
        assert self.intermediate is not None
        return Dense(self.intermediate, self.gated, self.ffn_bias)

    def _experts(self) -> Experts:
        x = self.experts
        assert x is not None
        return Experts(
            experts=x.count,
            top_k=x.top_k,
            intermediate=x.intermediate,
            shared_intermediate=x.shared_intermediate,
            gated=self.gated,
            bias=self.ffn_bias,
            router_bias=x.router_bias,
        )


def _stacks(layers: Sequence[Layer]) -> tuple[Stack, ...]:
    """Layers as few repeating patterns: one period over all of them where there is one, otherwise
    one for the dense layers and one for those with experts."""
    whole = _period(layers)
    if 2 * whole <= len(layers) or len({type(layer.ffn) for layer in layers}) == 1:
        return _repeat(layers, whole, "layer")
    out: list[Stack] = []
    start = 0
    for end in range(1, len(layers) + 1):
        if end == len(layers) or type(layers[end].ffn) is not type(layers[start].ffn):
            part = layers[start:end]
            kind = "moe" if isinstance(part[0].ffn, Experts) else "dense"
            out += _repeat(part, _period(part), kind)
            start = end
    return tuple(out)


def _repeat(layers: Sequence[Layer], period: int, name: str) -> tuple[Stack, ...]:
    """The pattern as often as it fits, then what is left of it."""
    repeat, rest = divmod(len(layers), period)
    if period > 1:
        name = "block" if name == "layer" else f"{name}_block"
    stacks = [Stack(name, repeat, tuple(layers[:period]))]
    if rest:
        tail = tuple(layers[-rest:])
        if len(set(tail)) == 1:
            stacks.append(Stack("last", rest, tail[:1]))
        else:
            stacks.append(Stack("last", 1, tail))
    return tuple(stacks)


def _period(layers: Sequence[Layer]) -> int:
    """The shortest pattern whose repetition gives all layers; as long as they are at most."""
    for period in range(1, len(layers)):
        if all(layers[i] == layers[i - period] for i in range(period, len(layers))):
            return period
    return len(layers)
