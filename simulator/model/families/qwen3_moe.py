"""Qwen3 with experts (arXiv 2505.09388), such as Qwen3-235B-A22B."""

from __future__ import annotations

from simulator.model.families.common import read_llama_like, read_top_k
from simulator.model.families.qwen2 import qwen_sights
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import ExpertsSpec, Recipe

ARCHITECTURES = ("Qwen3MoeForCausalLM",)
MODEL_TYPES = ("qwen3_moe",)


def read(config: ConfigReader) -> Recipe:
    """Every ``decoder_sparse_step``-th layer has experts, but for those of ``mlp_only_layers``."""
    count = config.size("num_experts")
    experts = ExpertsSpec(
        count,
        read_top_k(config, count),
        config.size("moe_intermediate_size"),
        every=config.size("decoder_sparse_step", default=1),
    )
    bias = config.flag("attention_bias")
    return read_llama_like(
        config,
        qk_norm=config.flag("use_qk_norm", default=True),
        qkv_bias=bias,
        output_bias=bias,
        experts=experts,
        dense_layers=_dense_layers(config),
        **qwen_sights(config),
    )


def _dense_layers(config: ConfigReader) -> int:
    """``mlp_only_layers`` as a number of first layers; other lists are refused."""
    listed = config.get("mlp_only_layers") or []
    if not isinstance(listed, list) or sorted(map(str, listed)) != sorted(
        map(str, range(len(listed)))
    ):
        config.fail("mlp_only_layers", "expected the first layers, counted from 0")
    return len(listed)
