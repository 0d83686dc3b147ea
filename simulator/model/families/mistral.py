"""Mistral (Jiang et al., arXiv 2310.06825): Llama with a window in every layer, or in none."""

from __future__ import annotations

from simulator.model.families.common import read_layers, read_llama_like, read_sights
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe

ARCHITECTURES = ("MistralForCausalLM",)
MODEL_TYPES = ("mistral",)


def read(config: ConfigReader) -> Recipe:
    """All layers slide where there is a ``sliding_window``."""
    slides = config.get("sliding_window") is not None
    sights = read_sights(config, read_layers(config), ("sliding",) if slides else ("full",))
    return read_llama_like(config, **sights)
