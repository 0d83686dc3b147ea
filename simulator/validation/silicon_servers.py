"""End-to-end rows of aiconfigurator-core: time per output token of real servers.

Dense models on aggregated servers in one pipeline stage; times to the first token are not compared,
because they include the queueing of a load that the rows do not describe.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from simulator.config.names import list_names
from simulator.validation.table import LeftOut, Table

MODELS = {
    "meta-llama/Llama-3.1-8B-Instruct": "llama3-8b",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "llama3-8b",
    "meta-llama/Llama-3.1-70B": "llama3-70b",
    "Qwen/Qwen3-32B": "qwen3-32b",
}
"""Dense models; Llama 3.1 has the dimensions of Llama 3."""

DTYPES = {"fp8": "fp8", "fp8_block": "fp8", "nvfp4": "nvfp4", "": "bf16"}
"""By the quantization of the matmuls; none named is bf16."""

PUBLISHED_RUNS = "source_file=2026-04-06.csv"
"""The source of the rows that are the nightly runs of InferenceMAX (Llama 70B, 29 October 2025)."""

COLUMNS = {
    "batch": "batch_size",
    "prompt_tokens": "isl",
    "output_tokens": "osl",
    "tp": "tp_size",
}


def load_servers(path: Path, chip: str, system: str) -> list[Table]:
    """Tables of one chip by data type."""
    known = set(list_names("models"))
    skipped: Counter[str] = Counter()
    rows: dict[str, list[dict[str, str]]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["system"] != system:
                continue
            reason = _refusal(row, known)
            if reason:
                skipped[reason] += 1
            else:
                rows.setdefault(DTYPES[row["gemm_quant_mode"]], []).append(row)
    notes = tuple(LeftOut(reason, count) for reason, count in sorted(skipped.items()))
    tables = []
    for dtype, picked in sorted(rows.items()):
        inputs = {
            ours: np.array([int(row[theirs]) for row in picked]) for ours, theirs in COLUMNS.items()
        }
        inputs["model"] = np.array([MODELS[row["model_path"]] for row in picked])
        inputs["engine"] = np.array([row["backend"] for row in picked])
        inputs["kv_dtype"] = np.array([_kv_dtype(row) for row in picked])
        seconds = np.array([float(row["silicon_tpot_ms"] or "nan") * 1e-3 for row in picked])
        source = "silicon_sample"
        tables.append(Table(chip, "server", dtype, source, source, inputs, seconds, notes))
        notes = ()
    return tables


def _kv_dtype(row: dict[str, str]) -> str:
    """Data type of the KV cache, which the table does not state.

    The scripts of InferenceMAX set it to fp8 for every fp8 and fp4 run, on H100, H200 and B200,
    under vLLM and TensorRT-LLM (github.com/SemiAnalysisAI/InferenceX, benchmarks/70b_fp*_*.sh).
    NVIDIA's own checkpoints ask for the same (``kv_cache_quant_algo`` of
    ``hf_quant_config.json``).
    """
    if row["gemm_quant_mode"] not in ("fp8", "nvfp4"):
        return "bf16"
    runs = row["silicon_data_source"].startswith(PUBLISHED_RUNS)
    checkpoint = row["model_path"].startswith("nvidia/")
    return "fp8" if runs or checkpoint else "bf16"


def _refusal(row: dict[str, str], known: set[str]) -> str | None:
    """Why a row is not compared, or None."""
    model = MODELS.get(row["model_path"])
    if model is None:
        return "not a dense model"
    if model not in known:
        return f"no model file {model}"
    if row["mode"] != "agg":
        return "prefill and decode on separate servers"
    if row["pp_size"] != "1" or row["attention_dp_size"] not in ("", "0", "1"):
        return "pipeline stages or data-parallel attention"
    if "dynamo_version" in row["silicon_data_source"]:
        return "behind a Dynamo router of servers whose number is not stated"
    if row["gemm_quant_mode"] not in DTYPES:
        return f"no price for data type {row['gemm_quant_mode']}"
    return None
