"""Llama 2, 3.x and what has their form (Touvron et al., arXiv 2307.09288)."""

from __future__ import annotations

from simulator.model.families.common import read_llama_like
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe

ARCHITECTURES = ("LlamaForCausalLM",)
MODEL_TYPES = ("llama",)


def read(config: ConfigReader) -> Recipe:
    """Grouped-query attention and a gated network in every layer; biases where flagged."""
    bias = config.flag("attention_bias")
    return read_llama_like(
        config, qkv_bias=bias, output_bias=bias, ffn_bias=config.flag("mlp_bias")
    )
