"""A model as the operators of one forward pass, section by section."""

from __future__ import annotations

from dataclasses import replace

from simulator.model.layers import Dense, Experts, GroupedQuery, Latent, Layer, Stack
from simulator.model.operators import (
    GATE_OPS,
    NORM_OPS,
    ROTARY_OPS,
    ROUTER_OPS,
    Attention,
    Elementwise,
    Gather,
    LatentAttention,
    Matmul,
    MoE,
    Operator,
    Section,
)
from simulator.model.transformer import Transformer


def forward_pass(model: Transformer) -> tuple[Section, ...]:
    """Embedding, one section a stack of layers, output head.

    A stack whose pattern has several layers is one section that holds the whole pattern; its
    operators carry the layers' names (``sliding.qkv``, ``full.qkv``).
    """
    h = model.hidden
    head: tuple[Operator, ...] = (
        Elementwise("final_norm", NORM_OPS * h, h, h, fused=False, sharded=False, rows="logits"),
        Matmul("logits", h, model.vocabulary, model.vocabulary, "columns", rows="logits"),
    )
    first: list[Operator] = [Gather("embedding", h)]
    if model.positions:
        first.append(Gather("positions", h))
    return (
        Section("", 1, tuple(first)),
        *(_stack(model, stack) for stack in model.stacks),
        Section("", 1, head),
    )


def draft_pass(model: Transformer) -> tuple[Section, ...]:
    """One module of multi-token prediction: it drafts a token from the last hidden state and the
    embedding of the next token (DeepSeek-V3, arXiv 2412.19437, eq. 21 to 23)."""
    h = model.hidden
    layer = model.stacks[-1].layers[-1]
    operators: tuple[Operator, ...] = (
        Gather("embedding", h),
        _norm("draft_norm", 2 * h),
        Matmul("draft_projection", 2 * h, h, h, "none"),
        *layer_operators(model, layer),
    )
    return (Section("draft", 1, operators), forward_pass(model)[-1])


def _stack(model: Transformer, stack: Stack) -> Section:
    operators: list[Operator] = []
    for layer in stack.layers:
        prefix = f"{layer.name}." if len(stack.layers) > 1 and layer.name else ""
        operators += [replace(op, name=prefix + op.name) for op in layer_operators(model, layer)]
    return Section(stack.name, stack.repeat, tuple(operators))


def layer_operators(model: Transformer, layer: Layer) -> list[Operator]:
    """The operators of one layer, in order."""
    rotary = not model.positions
    if isinstance(layer.attention, Latent):
        attend = _latent(layer.attention, model.hidden)
    else:
        attend = _grouped(layer.attention, model.hidden, rotary)
    h = model.hidden
    output = Matmul(
        "attention_output",
        _value_width(layer.attention),
        h,
        h,
        "rows",
        partial=layer.parallel,
    )
    ffn = _experts(layer.ffn, h) if isinstance(layer.ffn, Experts) else _dense(layer.ffn, h)
    if layer.parallel:
        # Both halves read the same normed input; their outputs are summed before the all-reduce.
        return [_norm("norm", h), *attend, *ffn[:-1], output, ffn[-1]]
    sandwich = layer.norms > 2
    after_attention = [_norm("attention_post_norm", h)] if sandwich else []
    after_ffn = [_norm("ffn_post_norm", h)] if sandwich else []
    return [
        _norm("attention_norm", h),
        *attend,
        output,
        *after_attention,
        _norm("ffn_norm", h),
        *ffn,
        *after_ffn,
    ]


def _norm(name: str, width: int) -> Elementwise:
    """Reads and writes the residual stream besides the normed copy."""
    return Elementwise(name, NORM_OPS * width, 2 * width, 2 * width, fused=False, sharded=False)


def _value_width(attention: GroupedQuery | Latent) -> int:
    width = attention.v_dim if isinstance(attention, Latent) else attention.head_dim
    return attention.heads * width


def _grouped(a: GroupedQuery, hidden: int, rotary: bool) -> list[Operator]:
    q, kv = a.heads * a.head_dim, 2 * a.kv_heads * a.head_dim
    ops = (ROTARY_OPS if rotary else 0) * (q + kv // 2)
    ops += NORM_OPS * (q + kv // 2) if a.qk_norm else 0
    ops += q + kv if a.qkv_bias else 0
    epilogue = [Elementwise("rotary", ops, 0, 0, fused=True, sharded=True)] if ops else []
    return [
        Matmul("qkv", hidden, q + kv, q + kv, "columns"),
        *epilogue,
        Attention("attention", a.heads, a.kv_heads, a.head_dim, a.window),
    ]


def _latent(a: Latent, hidden: int) -> list[Operator]:
    """Latents of queries and keys come from one joint projection, which every rank computes."""
    latent = a.kv_rank + a.rope_dim
    width = a.heads * a.head_dim
    if a.q_rank is None:
        down = [
            Matmul("q", hidden, width, width, "columns"),
            Matmul("kv_down", hidden, latent, latent, "none"),
        ]
        normed, up = a.kv_rank, []
    else:
        joint = a.q_rank + latent
        down = [Matmul("qkv_down", hidden, joint, joint, "none")]
        normed = a.q_rank + a.kv_rank
        up = [Matmul("q_up", a.q_rank, width, width, "columns")]
    rotary = ROTARY_OPS * (a.heads + 1) * a.rope_dim
    return [
        *down,
        Elementwise("latent_norm", NORM_OPS * normed, normed, normed, fused=False, sharded=False),
        *up,
        Elementwise("rotary", rotary, 0, 0, fused=True, sharded=True),
        LatentAttention("attention", a.heads, a.kv_rank, a.rope_dim, a.nope_dim, a.v_dim),
    ]


def _dense(ffn: Dense, hidden: int, name: str = "") -> list[Operator]:
    f = ffn.intermediate
    into, act = ("gate_up", "gate") if ffn.gated else ("up", "gelu")
    wide = 2 * f if ffn.gated else f
    ops = GATE_OPS * f + (wide if ffn.bias else 0)
    return [
        Matmul(f"{name}{into}", hidden, wide, f, "columns"),
        Elementwise(f"{name}{act}", ops, 0, 0, fused=True, sharded=True),
        Matmul(f"{name}down", f, hidden, hidden, "rows"),
    ]


def _experts(ffn: Experts, hidden: int) -> list[Operator]:
    e = ffn.experts
    shared: list[Operator] = []
    if ffn.shared_intermediate:
        *into, down = _dense(Dense(ffn.shared_intermediate, ffn.gated), hidden, "shared_")
        assert isinstance(down, Matmul)
        shared = [*into, replace(down, partial=True)]
    return [
        Matmul("router", hidden, e, e, "none"),
        Elementwise("top_k", ROUTER_OPS * e, 0, 0, fused=True, sharded=False),
        *shared,
        MoE("experts", hidden, ffn.intermediate, e, ffn.top_k, ffn.gated),
    ]
