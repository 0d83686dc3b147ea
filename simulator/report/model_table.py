"""``chipsim model`` as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.mapping.memory import BITS
from simulator.mapping.weights import stored_weight_bytes
from simulator.model.layers import Dense, Latent, Layer
from simulator.model.transformer import Transformer
from simulator.report.console import make_table, show
from simulator.report.figures import bytes_text, count, scaled
from simulator.report.model_json import (
    ModelFigures,
    layer_active_parameters,
    layer_parameters,
    layer_rows,
    operator_shapes,
    token_flops,
    whole_bytes,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_model(asked: ModelFigures, console: Console) -> None:
    """Figures with how they come about, layers, and the shapes of a layer's operators."""
    model = asked.model
    show(
        console,
        f"{model.name}: {count(model.layers, 'layers')}, hidden {model.hidden:,}, "
        f"vocabulary {model.vocabulary:,}, up to {count(model.max_context, 'tokens')}",
    )
    names = ("figure", "value", "<how it comes about")
    show(console, make_table(console, "Figures", names, _figures(asked)))
    show(console, _layers_table(model, console), _operators_table(model, console))


def _layers_table(model: Transformer, console: Console) -> Table:
    rows = [
        (
            row.name,
            str(row.repeat),
            _attention_text(row.layer),
            _ffn_text(row.layer),
            scaled(layer_parameters(model, row.layer), ""),
            scaled(layer_active_parameters(model, row.layer), ""),
        )
        for row in layer_rows(model)
    ]
    names = ("layer", "number", "<attention", "<network", "parameters", "active")
    return make_table(console, "Layers", names, rows)


def _operators_table(model: Transformer, console: Console) -> Table:
    rows = [
        (
            f"{row.name}.{shape['name']}",
            _shape_text(shape),
            scaled(shape["parameters"], ""),
            str(row.repeat),
        )
        for row in layer_rows(model)
        for shape in operator_shapes(model, row.layer)
    ]
    rows.append(
        (
            "logits",
            f"{model.hidden:,} x {model.vocabulary:,}",
            scaled(model.head_parameters, ""),
            "1",
        )
    )
    names = ("operator", "<shape (k x n of a matmul)", "weights", "number")
    return make_table(console, "Operators with weights, and attention", names, rows)


def _figures(asked: ModelFigures) -> list[tuple[str, str, str]]:
    model = asked.model
    tables = "embedding" if model.tied_embeddings else "embedding and head"
    q = model.quantization
    scales = f", scales of {q.scale_bits} bits for {q.block:,} weights" if q.block else ""
    stored = q.dense if q.dense == q.experts else f"{q.dense}, experts {q.experts}"
    rows = [
        (
            "parameters",
            scaled(model.parameters, ""),
            f"layers {scaled(model.matmul_parameters + model.vector_parameters, '')}, "
            f"{tables} {scaled(model.table_parameters, '')}",
        ),
        (
            "active parameters",
            scaled(model.active_parameters, ""),
            "those that one token meets, output head included",
        ),
        ("stored weights", bytes_text(stored_weight_bytes(model)), stored + scales),
        (
            "KV cache a token",
            bytes_text(whole_bytes(model.kv_elements_per_token * BITS[asked.kv_dtype] / 8)),
            f"{model.kv_elements_per_token:,} elements in {asked.kv_dtype}, all layers",
        ),
        (
            "FLOPs a token",
            scaled(token_flops(model, asked.context), "FLOP"),
            f"2 x (active matmul parameters + head), "
            f"attention to {count(asked.context + 1, 'keys')}",
        ),
    ]
    if asked.context:
        size = bytes_text(-(-model.kv_elements(asked.context) * BITS[asked.kv_dtype] // 8))
        windowed = f", {model.window:,} in sliding layers" if model.window else ""
        rows.insert(4, ("KV cache a sequence", size, f"{count(asked.context, 'tokens')}{windowed}"))
    if model.mtp_layers:
        text = scaled(model.mtp_parameters, "")
        rows.insert(1, ("multi-token prediction", text, "beside the model, not in its parameters"))
    return rows


def _shape_text(shape: dict[str, Any]) -> str:
    if shape["kind"] == "matmul":
        return f"{shape['k']:,} x {shape['n']:,}"
    if shape["kind"] == "attention":
        seen = f", {shape['window']:,} keys" if shape["window"] else ""
        return f"{shape['heads']}/{shape['kv_heads']} heads of {shape['head_dim']}{seen}"
    if shape["kind"] == "latent-attention":
        up = shape["heads"] * (shape["nope_dim"] + shape["v_dim"])
        return f"{shape['heads']} heads, up {shape['kv_rank']:,} x {up:,}"
    matrices = 3 if shape["gated"] else 2
    one = f"{matrices} x ({shape['hidden']:,} x {shape['intermediate']:,})"
    return f"{shape['top_k']} of {shape['experts']}, each {one}"


def _attention_text(layer: Layer) -> str:
    a = layer.attention
    if isinstance(a, Latent):
        return f"latent {a.kv_rank}+{a.rope_dim}, {a.heads} heads"
    seen = f", window {a.window:,}" if a.window else ""
    return f"{a.heads}/{a.kv_heads} heads of {a.head_dim}{seen}"


def _ffn_text(layer: Layer) -> str:
    f = layer.ffn
    if isinstance(f, Dense):
        return f"{'gated ' if f.gated else ''}{f.intermediate:,}"
    shared = f", shared {f.shared_intermediate:,}" if f.shared_intermediate else ""
    return f"{f.top_k} of {f.experts} experts of {f.intermediate:,}{shared}"
