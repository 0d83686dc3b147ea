"""The columns of aiconfigurator-core's tables in our words.

Read in its collectors: latencies are milliseconds; the ``message_size`` of a collective is in
elements; a decode step has ``step`` tokens cached before its own; a window of 0 is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.hardware.engine_kernels import engine_of
from simulator.hardware.fused_kernels import USUAL
from simulator.timing.evidence import BLOCKS, LATENT
from simulator.validation.table import Column, LeftOut, Table

Columns = Mapping[str, npt.NDArray[Any]]
Reader = Callable[[Columns, str, str, str], list[Table]]

BLOCK_SCALED = "fp8_block"
"""Their name for activations and weights that have scales in blocks."""

DTYPES = {
    "bfloat16": "bf16",
    "half": "bf16",
    "int8": "int8",
    "fp8": "fp8",
    BLOCK_SCALED: "fp8",
    "nvfp4": "nvfp4",
}
"""Data types of theirs that have a price here; the rest is left out by name."""

WEIGHT_COPIES = 6
"""Copies of the weights that vLLM's collector of matmuls cycles through."""

EAGER_BLOCKS = ("vllm",)
"""Stacks whose collectors run matmuls with scales in blocks without a captured graph, so that it is
the host that was timed (the same file)."""

ONE_COPY = {("vllm", "nvfp4")}
"""Stack and data type of matmuls of which its collector has one copy of the weights, and one matmul
in a captured graph (collector/vllm/collect_gemm.py)."""

EXPERT_FORMATS = {
    "bfloat16": ("bf16", "", ""),
    "fp8": ("fp8", "", ""),
    BLOCK_SCALED: ("fp8", "", BLOCKS),
    "nvfp4": ("fp4", "", " nvfp4"),
    "w4a8_mxfp4_mxfp8": ("fp8", "fp4", " mxfp4"),
    "w4a16_mxfp4": ("bf16", "fp4", " mxfp4"),
    "int4_wo": ("bf16", "int4", " int4"),
}
"""Data types of experts in their words: ours of the arithmetic, that of the weights where it is
another, and what stands behind the source's name."""

LATENT_RANK = 512
"""Of latent attention (DeepSeek-V3, beside a rotary part of 64)."""

ENGINE_NOTE = " all-reduce"
"""Behind the source of the serving engine's own kernels."""

OPS = {
    "all_reduce": "all-reduce",
    "all_gather": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "alltoall": "all-to-all",
}


def _by_dtype(kinds: Column) -> Iterator[tuple[str, Column, tuple[LeftOut, ...]]]:
    """(our data type, mask) of each one that has a price; the first carries what is left out."""
    names, counts = np.unique(kinds, return_counts=True)
    notes = tuple(
        LeftOut(f"no price for data type {name}", int(count))
        for name, count in zip(names, counts, strict=True)
        if name not in DTYPES
    )
    for name in names:
        if name in DTYPES:
            yield DTYPES[str(name)], kinds == name, notes
            notes = ()


def _tables(
    columns: Columns,
    chip: str,
    source: str,
    stack: str,
    operator: str,
    kinds: Column,
    inputs: Mapping[str, Column],
) -> list[Table]:
    found = []
    seconds = columns["latency"].astype(float) * 1e-3
    for dtype, mask, notes in _by_dtype(kinds):
        picked = {name: column[mask] for name, column in inputs.items()}
        table = Table(chip, operator, dtype, source, stack, picked, seconds[mask], notes)
        found.append(table)
    return found


def matmuls(columns: Columns, chip: str, source: str, stack: str) -> list[Table]:
    """``gemm_perf``."""
    inputs = {name: columns[name] for name in ("m", "k", "n")}
    kinds = columns["gemm_dtype"].astype(object)
    blocks = kinds == BLOCK_SCALED
    eager = blocks & (stack in EAGER_BLOCKS)
    alone = np.isin(kinds, [kind for of, kind in ONE_COPY if of == stack])
    inputs["buffers"] = np.where(alone, 1, WEIGHT_COPIES)
    inputs["replay"] = alone.astype(np.int64)
    # layers of 4 and 8 bits quantize their activations as they come
    inputs["quantize"] = np.isin(kinds, ["fp8", "nvfp4", BLOCK_SCALED]).astype(np.int64)
    inputs["blocks"] = blocks.astype(np.int64)

    def part(rows: Column, note: str) -> list[Table]:
        own = {name: column[rows] for name, column in columns.items()}
        picked = {name: column[rows] for name, column in inputs.items()}
        return _tables(own, chip, source + note, stack, "matmul", kinds[rows], picked)

    found = part(~blocks, "")
    if found and eager.any():
        note = LeftOut(f"{BLOCK_SCALED} run eagerly, outside of a captured graph", int(eager.sum()))
        found[0] = replace(found[0], left_out=(*found[0].left_out, note))
    return found + part(blocks & ~eager, BLOCKS)


def _attention(
    columns: Columns, chip: str, source: str, stack: str, operator: str, context: Column
) -> list[Table]:
    inputs = {
        "batch": columns["batch_size"],
        "heads": columns["num_heads"],
        "kv_heads": columns["num_key_value_heads"],
        "head_dim": columns["head_dim"],
        "context": context,
        # older tables have none with a window
        "window": columns.get("window_size", np.zeros(len(context), dtype=np.int64)),
        "buffers": np.ones(len(context), dtype=np.int64),
        "latent": np.zeros(len(context), dtype=np.int64),
    }
    inputs["kv_heads"] = np.where(inputs["kv_heads"] == 0, inputs["heads"], inputs["kv_heads"])
    kinds = columns["kv_cache_dtype"].copy()
    plain = np.isin(columns["attn_dtype"], ["bfloat16", "float16"])
    mixed = np.array(
        [f"{a} with KV cache {k}" for a, k in zip(columns["attn_dtype"], kinds, strict=True)]
    )
    kinds = np.where(plain, kinds, mixed)
    return _tables(columns, chip, source, stack, operator, kinds, inputs)


def decode_attention(columns: Columns, chip: str, source: str, stack: str) -> list[Table]:
    """``generation_attention_perf``: the data type is that of the KV cache."""
    context = np.maximum(1, columns["isl"] + columns["step"] - 1)
    return _attention(columns, chip, source, stack, "attention-decode", context)


def prefill_attention(columns: Columns, chip: str, source: str, stack: str) -> list[Table]:
    """``context_attention_perf``: the data type is that of the KV cache."""
    return _attention(columns, chip, source, stack, "attention-prefill", columns["isl"])


def _latent(
    columns: Columns, chip: str, source: str, stack: str, operator: str, context: Column
) -> list[Table]:
    count = len(context)
    inputs = {
        "batch": columns["batch_size"],
        "heads": columns["num_heads"],
        "kv_heads": np.ones(count, dtype=np.int64),
        "head_dim": np.full(count, 128),
        "context": context,
        "window": np.zeros(count, dtype=np.int64),
        "buffers": np.ones(count, dtype=np.int64),
        "latent": np.full(count, LATENT_RANK),
    }
    kinds = columns["kv_cache_dtype"]
    return _tables(columns, chip, source + LATENT, stack, operator, kinds, inputs)


def latent_decode(columns: Columns, chip: str, source: str, stack: str) -> list[Table]:
    """``generation_mla_perf``: the attention kernel over latent vectors, absorbed."""
    context = np.maximum(1, columns["isl"] + columns["step"] - 1)
    return _latent(columns, chip, source, stack, "attention-decode", context)


def latent_prefill(columns: Columns, chip: str, source: str, stack: str) -> list[Table]:
    """``context_mla_perf``: the attention kernel of prompts, keys and values expanded."""
    return _latent(columns, chip, source, stack, "attention-prefill", columns["isl"])


def _ungated(columns: Columns) -> npt.NDArray[np.bool_]:
    """Rows of the Nemotron 3 models, whose experts are two matrices with a squared ReLU between
    (the models' configurations, mlp_hidden_act = relu2); the tables do not say it."""
    nano = (columns["num_experts"] == 128) & (columns["topk"] == 6)
    nano &= columns["hidden_size"] == 2688
    return np.asarray(nano | (columns["topk"] == 22), dtype=np.bool_)


def _libraries(sources: Column) -> Column:
    """Which library ran, where a row names one that an engine does not always take: an activation,
    which no column has, can decide it."""
    found = np.full(len(sources), USUAL, dtype="<U8")
    for name in ("marlin", "cutlass"):
        found[np.char.find(sources, name) >= 0] = name
    return found


def moe_layers(columns: Columns, chip: str, source: str, stack: str) -> list[Table]:
    """``moe_perf``: one rank's share of a layer of routed experts, without communication."""
    inputs = {
        "tokens": columns["num_tokens"],
        "hidden": columns["hidden_size"],
        "intermediate": columns["inter_size"],
        "experts": columns["num_experts"],
        "top_k": columns["topk"],
        "tp": columns["moe_tp_size"],
        "ep": columns["moe_ep_size"],
        "buffers": np.ones(len(columns["topk"]), dtype=np.int64),
        "gated": np.where(_ungated(columns), 0, 1),
        "expert_load": np.array(
            [str(text).replace("power_law_", "power:") for text in columns["distribution"]]
        ),
    }
    found = []
    seconds = columns["latency"].astype(float) * 1e-3
    kinds = columns["moe_dtype"]
    names, counts = np.unique(kinds, return_counts=True)
    notes = tuple(
        LeftOut(f"no price for data type {name}", int(count))
        for name, count in zip(names, counts, strict=True)
        if name not in EXPERT_FORMATS
    )
    for name, (dtype, weights, note) in EXPERT_FORMATS.items():
        mask = kinds == name
        if mask.any():
            picked = {column: values[mask] for column, values in inputs.items()}
            picked["weights"] = np.full(int(mask.sum()), weights or dtype)
            picked["kernels"] = _libraries(columns["kernel_source"][mask].astype(str))
            picked["blocks"] = np.full(int(mask.sum()), int(name == BLOCK_SCALED))
            times = seconds[mask]
            found.append(Table(chip, "moe", dtype, source + note, stack, picked, times, notes))
            notes = ()
    return found


def collectives(columns: Columns, chip: str, source: str, stack: str) -> list[Table]:
    """``nccl_perf``: all four collectives of the library."""
    kinds = columns["nccl_dtype"]
    size = np.where(kinds == "half", 2, 1)
    inputs = {
        "bytes": columns["message_size"] * size,
        "op": np.array([OPS.get(str(name), str(name)) for name in columns["op_name"]]),
        "ranks": columns["num_gpus"].astype(str),
        "engine": np.full(len(kinds), ""),
    }
    return _tables(columns, chip, source, stack, "collective", kinds, inputs)


def engine_all_reduces(columns: Columns, chip: str, source: str, stack: str) -> list[Table]:
    """``custom_allreduce_perf``: the serving engine's own kernels, in captured graphs."""
    graph = ~np.char.endswith(columns["kernel_source"].astype(str), "_eager")
    count = int(graph.sum())
    inputs = {
        "bytes": columns["message_size"][graph] * 2,
        "op": np.full(count, "all-reduce"),
        "ranks": columns["num_gpus"][graph].astype(str),
        "engine": np.full(count, engine_of(stack, source) or "engine"),
    }
    kept = {"latency": columns["latency"][graph]}
    kinds = np.full(count, "half")
    found = _tables(kept, chip, source + ENGINE_NOTE, stack, "collective", kinds, inputs)
    eager = len(graph) - count
    if found and eager:
        note = LeftOut("run eagerly, outside of a captured graph", eager)
        found = [_with_note(found[0], note), *found[1:]]
    return found


def _with_note(table: Table, note: LeftOut) -> Table:
    from dataclasses import replace

    return replace(table, left_out=(*table.left_out, note))


READERS: dict[str, Reader] = {
    "matmul": matmuls,
    "attention-decode": decode_attention,
    "attention-prefill": prefill_attention,
    "attention-decode-latent": latent_decode,
    "attention-prefill-latent": latent_prefill,
    "moe": moe_layers,
    "collective": collectives,
    "collective-engine": engine_all_reduces,
}
