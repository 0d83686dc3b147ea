"""PaLM (Chowdhery et al., arXiv 2204.02311): attention and network side by side, multi-query
attention, SwiGLU, tied embeddings. Google published no ``config.json``; the keys are Llama's."""

from __future__ import annotations

from simulator.model.families.common import SILU, read_llama_like
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe

ARCHITECTURES = ("PaLMForCausalLM",)
MODEL_TYPES = ("palm",)


def read(config: ConfigReader) -> Recipe:
    """One key-value head and tied embeddings unless the file says otherwise."""
    config.choice("hidden_act", SILU, default="silu")
    heads = config.size("num_attention_heads")
    kv_heads = config.size("num_key_value_heads", default=1)
    if heads % kv_heads:
        config.fail("num_key_value_heads", f"{heads} heads cannot share {kv_heads} key heads")
    return read_llama_like(
        config,
        kv_heads=kv_heads,
        parallel=True,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
    )
