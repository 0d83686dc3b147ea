"""DeepSeek-V2, V3 and R1 (arXiv 2405.04434, 2412.19437) and Kimi-K2 (arXiv 2507.20534), which has
their form: latent attention, routed and shared experts, dense first layers."""

from __future__ import annotations

from simulator.model.families.common import SILU, read_context, read_layers, read_top_k
from simulator.model.families.quantization import read_quantization
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import ExpertsSpec, LatentSpec, Recipe

ARCHITECTURES = (
    "DeepseekV3ForCausalLM",
    "DeepseekV2ForCausalLM",
    "KimiK25ForConditionalGeneration",
)
MODEL_TYPES = ("deepseek_v3", "deepseek_v2", "kimi_k2", "kimi_k25")


def read(config: ConfigReader) -> Recipe:
    """Of a model that sees pictures (Kimi-K2.5), the part that reads and writes text."""
    config.enter("text_config")
    config.choice("hidden_act", SILU, default="silu")
    if config.flag("attention_bias"):
        config.fail("attention_bias", "latent attention with a bias is not supported")
    heads = config.size("num_attention_heads")
    return Recipe(
        name=config.name(),
        layers=read_layers(config),
        hidden=config.size("hidden_size"),
        heads=heads,
        latent=LatentSpec(
            q_rank=config.optional_size("q_lora_rank"),
            kv_rank=config.size("kv_lora_rank"),
            nope_dim=config.size("qk_nope_head_dim"),
            rope_dim=config.size("qk_rope_head_dim"),
            v_dim=config.size("v_head_dim"),
        ),
        intermediate=config.size("intermediate_size"),
        experts=_experts(config),
        dense_layers=config.count("first_k_dense_replace"),
        vocabulary=config.size("vocab_size"),
        max_context=read_context(config),
        tied_embeddings=config.flag("tie_word_embeddings"),
        mtp_layers=config.count("num_nextn_predict_layers"),
        quantization=read_quantization(config),
    )


def _experts(config: ConfigReader) -> ExpertsSpec:
    count = config.size("n_routed_experts")
    width = config.size("moe_intermediate_size")
    frequency = config.size("moe_layer_freq", default=1)
    if frequency != 1:
        config.fail("moe_layer_freq", f"{frequency} is not supported", "1")
    balanced = config.get("topk_method") == "noaux_tc"
    return ExpertsSpec(
        count=count,
        top_k=read_top_k(config, count),
        intermediate=width,
        shared_intermediate=width * config.count("n_shared_experts"),
        router_bias=balanced,
    )
