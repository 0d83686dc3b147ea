"""Qwen2 and Qwen2.5 (arXiv 2407.10671): Llama with biases on queries, keys and values."""

from __future__ import annotations

from typing import Any

from simulator.model.families.common import read_layers, read_llama_like, read_sights
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe, Sight

ARCHITECTURES = ("Qwen2ForCausalLM",)
MODEL_TYPES = ("qwen2",)


def read(config: ConfigReader) -> Recipe:
    """The biases have no flag: they are always there."""
    return read_llama_like(config, qkv_bias=True, **qwen_sights(config))


def qwen_sights(config: ConfigReader) -> dict[str, Any]:
    """The first ``max_window_layers`` see all and the others slide, if ``use_sliding_window``."""
    layers = read_layers(config)
    if not config.flag("use_sliding_window"):
        config.get("sliding_window")
        types = config.words("layer_types", ("full_attention", "sliding_attention"))
        if types is not None and "sliding_attention" in types:
            config.fail("layer_types", "sliding_attention without use_sliding_window")
        return {}
    whole = min(layers, config.count("max_window_layers", default=layers))
    pattern: list[Sight] = ["full"] * whole
    pattern += ["sliding"] * (layers - whole)
    return read_sights(config, layers, tuple(pattern))
