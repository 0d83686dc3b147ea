"""Qwen3, dense (arXiv 2505.09388): Llama with norms of queries and keys."""

from __future__ import annotations

from simulator.model.families.common import read_llama_like
from simulator.model.families.qwen2 import qwen_sights
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe

ARCHITECTURES = ("Qwen3ForCausalLM",)
MODEL_TYPES = ("qwen3",)


def read(config: ConfigReader) -> Recipe:
    """One RMSNorm for the queries and one for the keys of all heads."""
    bias = config.flag("attention_bias")
    return read_llama_like(
        config,
        qk_norm=config.flag("use_qk_norm", default=True),
        qkv_bias=bias,
        output_bias=bias,
        **qwen_sights(config),
    )
