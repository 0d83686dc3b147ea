"""GPT-2 and GPT-3 (Brown et al., arXiv 2005.14165): multi-head attention, GELU, learned positions,
biases everywhere."""

from __future__ import annotations

from simulator.model.families.common import GELU, read_layers
from simulator.model.families.quantization import read_quantization
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe

ARCHITECTURES = ("GPT2LMHeadModel",)
MODEL_TYPES = ("gpt2",)


def read(config: ConfigReader) -> Recipe:
    """The key names of transformers' ``GPT2Config``; ``n_inner`` defaults to four times hidden."""
    config.choice("activation_function", GELU, default="gelu_new")
    hidden = config.size("n_embd")
    heads = config.size("n_head")
    if hidden % heads:
        config.fail("n_embd", f"{hidden} is not a multiple of {heads} heads")
    positions = config.size("n_positions")
    return Recipe(
        name=config.name(),
        layers=read_layers(config, "n_layer"),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        intermediate=config.size("n_inner", default=4 * hidden),
        gated=False,
        vocabulary=config.size("vocab_size"),
        max_context=positions,
        positions=positions,
        qkv_bias=True,
        output_bias=True,
        ffn_bias=True,
        norm_bias=True,
        tied_embeddings=config.flag("tie_word_embeddings", default=True),
        quantization=read_quantization(config),
    )
