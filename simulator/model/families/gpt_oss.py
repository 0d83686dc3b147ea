"""gpt-oss-20b and -120b (OpenAI, arXiv 2508.10925): sliding and full layers in turn, attention
sinks, biases everywhere, experts in MXFP4."""

from __future__ import annotations

from simulator.model.families.common import read_layers, read_llama_like, read_sights, read_top_k
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import ExpertsSpec, Recipe

ARCHITECTURES = ("GptOssForCausalLM",)
MODEL_TYPES = ("gpt_oss",)


def read(config: ConfigReader) -> Recipe:
    """``intermediate_size`` is that of an expert; layers slide in turn unless ``layer_types`` says
    otherwise, as in transformers' ``GptOssConfig``."""
    count = config.size("num_local_experts")
    experts = ExpertsSpec(
        count, read_top_k(config, count), config.size("intermediate_size"), router_bias=True
    )
    bias = config.flag("attention_bias", default=True)
    return read_llama_like(
        config,
        intermediate=None,
        experts=experts,
        sinks=True,
        qkv_bias=bias,
        output_bias=bias,
        ffn_bias=True,
        **read_sights(config, read_layers(config), ("sliding", "full")),
    )
