"""``chipsim model`` as the JSON document ``chipsim.model/1``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from simulator.mapping.memory import BITS
from simulator.mapping.weights import stored_weight_bytes
from simulator.model.forward import layer_operators
from simulator.model.layers import Dense, Latent, Layer
from simulator.model.operators import Attention, LatentAttention, Matmul, MoE, Operator
from simulator.model.transformer import Transformer

SCHEMA = "chipsim.model/1"


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """A model, and for what its figures are given: tokens in the cache and their data type."""

    model: Transformer
    context: int
    kv_dtype: str


def model_json(asked: ModelFigures) -> dict[str, Any]:
    """The document ``chipsim.model/1``; ``flops_per_token`` is that of one decoded token with its
    logits after ``context`` cached ones."""
    model = asked.model
    per_token = model.kv_elements_per_token * BITS[asked.kv_dtype] / 8
    cached = model.kv_elements(asked.context) * BITS[asked.kv_dtype]
    return {
        "schema": SCHEMA,
        "name": model.name,
        "architecture": "transformer",
        "hidden": model.hidden,
        "vocabulary": model.vocabulary,
        "max_context": model.max_context,
        "parameters": model.parameters,
        "active_parameters": model.active_parameters,
        "matmul_parameters": model.matmul_parameters,
        "active_matmul_parameters": model.active_matmul_parameters,
        "head_parameters": model.head_parameters,
        "table_parameters": model.table_parameters,
        "mtp_parameters": model.mtp_parameters,
        "stored_dtypes": {
            "dense": model.quantization.dense,
            "experts": model.quantization.experts,
            "weights_per_scale": model.quantization.block,
            "scale_bits": model.quantization.scale_bits,
        },
        "stored_weight_bytes": stored_weight_bytes(model),
        "kv_dtype": asked.kv_dtype,
        "kv_elements_per_token": model.kv_elements_per_token,
        "kv_bytes_per_token": whole_bytes(per_token),
        "context": asked.context,
        "kv_bytes": -(-cached // 8),
        "flops_per_token": token_flops(model, asked.context),
        "layers": [_layer_json(model, row, asked) for row in layer_rows(model)],
    }


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Equal layers of one stack: their name, how many, and the layer."""

    name: str
    repeat: int
    layer: Layer


def layer_rows(model: Transformer) -> list[LayerRow]:
    """The model's distinct layers, in the order of their first appearance."""
    rows: list[LayerRow] = []
    for stack in model.stacks:
        counts: dict[Layer, int] = {}
        for layer in stack.layers:
            counts[layer] = counts.get(layer, 0) + stack.repeat
        for layer, repeat in counts.items():
            name = f"{stack.name}.{layer.name}" if len(stack.layers) > 1 else stack.name
            rows.append(LayerRow(name.rstrip("."), repeat, layer))
    return rows


def _layer_json(model: Transformer, row: LayerRow, asked: ModelFigures) -> dict[str, Any]:
    layer = row.layer
    kv = layer.attention.kv_elements_per_token
    return {
        "name": row.name,
        "repeat": row.repeat,
        "attention": _attention_json(layer),
        "ffn": _ffn_json(layer),
        "parallel": layer.parallel,
        "norms": layer.norms,
        "parameters": layer_parameters(model, layer),
        "active_parameters": layer_active_parameters(model, layer),
        "kv_bytes_per_token": whole_bytes(kv * BITS[asked.kv_dtype] / 8),
        "operators": operator_shapes(model, layer),
    }


def _attention_json(layer: Layer) -> dict[str, Any]:
    kind = "latent" if isinstance(layer.attention, Latent) else "grouped-query"
    return {"kind": kind, **asdict(layer.attention)}


def _ffn_json(layer: Layer) -> dict[str, Any]:
    kind = "dense" if isinstance(layer.ffn, Dense) else "experts"
    return {"kind": kind, **asdict(layer.ffn)}


def operator_shapes(model: Transformer, layer: Layer) -> list[dict[str, Any]]:
    """Operators of one layer that hold weights, and attention, by their dimensions."""
    return [shape for op in layer_operators(model, layer) if (shape := _shape(op)) is not None]


def _shape(op: Operator) -> dict[str, Any] | None:
    if isinstance(op, Matmul):
        return {"name": op.name, "kind": "matmul", "k": op.k, "n": op.n, "parameters": op.k * op.n}
    if isinstance(op, Attention):
        kind, weights = "attention", 0
    elif isinstance(op, LatentAttention):
        kind, weights = "latent-attention", op.kv_rank * op.heads * (op.nope_dim + op.v_dim)
    elif isinstance(op, MoE):
        matrices = 3 if op.gated else 2
        kind, weights = "moe", op.experts * matrices * op.hidden * op.intermediate
    else:
        return None
    sizes = {key: value for key, value in asdict(op).items() if key not in ("name", "rows")}
    return {"name": op.name, "kind": kind, **sizes, "parameters": weights}


def layer_parameters(model: Transformer, layer: Layer) -> int:
    """All parameters of one layer, its norms included."""
    h = model.hidden
    own = layer.matmul_parameters(h) + layer.vector_parameters(h)
    return own + layer.norms * h * (2 if model.norm_bias else 1)


def layer_active_parameters(model: Transformer, layer: Layer) -> int:
    """Those that one token meets."""
    h = model.hidden
    idle = layer.matmul_parameters(h) - layer.active_matmul_parameters(h)
    idle += layer.vector_parameters(h) - layer.active_vector_parameters(h)
    return layer_parameters(model, layer) - idle


def token_flops(model: Transformer, context: int) -> int:
    """FLOPs of one decoded token with its logits after ``context`` cached ones."""
    window = model.window
    seen = context + 1
    return model.flops(1, 1, seen, seen if window is None else min(seen, window))


def whole_bytes(value: float) -> int | float:
    """As an integer where it is one; half a byte can be left with 4-bit caches."""
    return int(value) if value == int(value) else value
