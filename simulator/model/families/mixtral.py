"""Mixtral (Jiang et al., arXiv 2401.04088): Mistral with experts in every layer."""

from __future__ import annotations

from simulator.model.families.common import read_layers, read_llama_like, read_sights, read_top_k
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import ExpertsSpec, Recipe

ARCHITECTURES = ("MixtralForCausalLM",)
MODEL_TYPES = ("mixtral",)


def read(config: ConfigReader) -> Recipe:
    """``intermediate_size`` is that of an expert."""
    count = config.size("num_local_experts")
    experts = ExpertsSpec(count, read_top_k(config, count), config.size("intermediate_size"))
    slides = config.get("sliding_window") is not None
    sights = read_sights(config, read_layers(config), ("sliding",) if slides else ("full",))
    return read_llama_like(config, intermediate=None, experts=experts, **sights)
