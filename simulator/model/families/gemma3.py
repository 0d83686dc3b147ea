"""Gemma 3 (arXiv 2503.19786): five local layers and a global one in turn, norms before and after
each part, tied embeddings. Of a model that sees pictures, the part that reads and writes text."""

from __future__ import annotations

from simulator.model.families.common import (
    GELU,
    read_context,
    read_head_dim,
    read_kv_heads,
    read_layers,
    read_sights,
)
from simulator.model.families.quantization import read_quantization
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe, Sight

ARCHITECTURES = ("Gemma3ForConditionalGeneration", "Gemma3ForCausalLM")
MODEL_TYPES = ("gemma3", "gemma3_text")


def read(config: ConfigReader) -> Recipe:
    """Published files leave out what equals the defaults of transformers' ``Gemma3TextConfig``;
    hence those are the defaults here. Its context length is the stretched one already."""
    config.enter("text_config")
    config.choice("hidden_activation", GELU, default="gelu_pytorch_tanh")
    config.choice("hidden_act", GELU, default="gelu_pytorch_tanh")
    hidden = config.size("hidden_size")
    heads = config.size("num_attention_heads")
    layers = read_layers(config)
    period = config.size("sliding_window_pattern", default=6)
    turn: list[Sight] = ["sliding"] * (min(period, layers + 1) - 1)
    turn.append("full")
    bias = config.flag("attention_bias")
    return Recipe(
        name=config.name(),
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=read_kv_heads(config, heads),
        head_dim=read_head_dim(config, hidden, heads),
        intermediate=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size", default=262208),
        max_context=read_context(config, default=131072, extend=False),
        qk_norm=True,
        qkv_bias=bias,
        output_bias=bias,
        post_norms=True,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
        quantization=read_quantization(config),
        **read_sights(config, layers, tuple(turn)),
    )
