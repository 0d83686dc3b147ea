"""Hugging Face's config.json of every family: the shipped model, or refused in its line."""

import dataclasses
import json

import pytest

from simulator.config import load_model
from simulator.errors import InputError
from simulator.model.families import BY_ARCHITECTURE, BY_MODEL_TYPE, FAMILIES
from simulator.model.huggingface import parse_config
from simulator.model.transformer import Quantization

FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
YARN = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}

DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": FP8,
    "rope_scaling": YARN,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "v_head_dim": 128,
    "vocab_size": 129280,
}
GPT_OSS = {
    "architectures": ["GptOssForCausalLM"],
    "model_type": "gpt_oss",
    "attention_bias": True,
    "head_dim": 64,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "quantization_config": {"quant_method": "mxfp4"},
    "rope_scaling": YARN | {"factor": 32.0},
    "sliding_window": 128,
    "vocab_size": 201088,
}
MIXTRAL = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "sliding_window": None,
    "vocab_size": 32000,
}
QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "head_dim": 128,
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "max_position_embeddings": 40960,
    "max_window_layers": 64,
    "num_attention_heads": 64,
    "num_hidden_layers": 64,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3_MOE = QWEN3 | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "decoder_sparse_step": 1,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "mlp_only_layers": [],
    "moe_intermediate_size": 1536,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 94,
    "num_key_value_heads": 4,
}
GEMMA3 = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "model_type": "gemma3",
    "hidden_size": 1,
    "text_config": {
        "head_dim": 128,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "model_type": "gemma3_text",
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152},
}
GPT3 = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_embd": 12288,
    "n_head": 96,
    "n_layer": 96,
    "n_positions": 2048,
    "vocab_size": 50257,
}
PALM = {
    "architectures": ["PaLMForCausalLM"],
    "model_type": "palm",
    "head_dim": 256,
    "hidden_size": 18432,
    "intermediate_size": 73728,
    "max_position_embeddings": 2048,
    "num_attention_heads": 48,
    "num_hidden_layers": 118,
    "vocab_size": 256000,
}
KIMI = DEEPSEEK | {
    "model_type": "kimi_k2",
    "first_k_dense_replace": 1,
    "max_position_embeddings": 131072,
    "n_routed_experts": 384,
    "num_attention_heads": 64,
    "num_nextn_predict_layers": 0,
    "rope_scaling": YARN | {"factor": 32.0},
    "vocab_size": 163840,
}
MISTRAL = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "vocab_size": 32000,
}
QWEN2 = MISTRAL | {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "max_window_layers": 28,
    "use_sliding_window": True,
}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("deepseek-v3", DEEPSEEK),
        ("gpt-oss-20b", GPT_OSS),
        ("mixtral-8x7b", MIXTRAL),
        ("qwen3-32b", QWEN3),
        ("qwen3-235b", QWEN3_MOE),
        ("gemma3-27b", GEMMA3),
        ("gpt3-175b", GPT3),
        ("palm-540b", PALM),
        ("kimi-k2", KIMI),
    ],
)
def test_a_config_json_gives_the_shipped_model(tmp_path, name, config):
    folder = tmp_path / name
    folder.mkdir()
    file = folder / "config.json"
    file.write_text(json.dumps(config, indent=2))
    assert load_model(file) == load_model(name)


def read(config, **changes):
    return parse_config(json.dumps(config | changes, indent=2), "config.json")


def test_windows_of_mistral_and_qwen2():
    mistral = read(MISTRAL).build()
    assert [layer.attention.window for layer, _ in mistral.each_layer()] == [4096]
    assert read(MISTRAL, sliding_window=None).build().window is None
    qwen2 = read(QWEN2).build()
    assert [(x.attention.window, n) for x, n in qwen2.each_layer()] == [(None, 1)] * 28 + [
        (4096, 1)
    ] * 4
    assert read(QWEN2, use_sliding_window=False).build().window is None
    # Mistral has no biases, Qwen2 has them on queries, keys and values
    biases = 32 * (32 + 2 * 8) * 128
    assert qwen2.parameters - mistral.parameters == biases


def test_layer_types_need_not_repeat():
    types = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    model = read(GPT_OSS, num_hidden_layers=4, layer_types=types).build()
    windows = [x.attention.window for s in model.stacks for x in s.layers for _ in range(s.repeat)]
    assert windows == [None, 128, 128, None]
    assert model.layers == 4


def test_sparse_layers_in_turn_and_first_dense_ones():
    every = read(QWEN3_MOE, decoder_sparse_step=2).build()
    assert [(s.repeat, len(s.layers)) for s in every.stacks] == [(47, 2)]
    dense = read(QWEN3_MOE, mlp_only_layers=[0, 1]).build()
    assert [(s.name, s.repeat) for s in dense.stacks] == [("dense", 2), ("moe", 92)]


@pytest.mark.parametrize(
    ("scaling", "longest"),
    [
        (None, 4096),
        ({"rope_type": "llama3", "factor": 8.0}, 4096),
        ({"type": "linear", "factor": 4.0}, 16384),
        ({"type": "dynamic", "factor": 2}, 8192),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
        ({"type": "yarn", "factor": 4.0}, 16384),
    ],
)
def test_stretched_positions_make_the_context_longer(scaling, longest):
    llama = MISTRAL | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    llama |= {"sliding_window": None, "max_position_embeddings": 4096}
    assert read(llama, rope_scaling=scaling).max_context == longest


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128}
INT4 = {"type": "int", "num_bits": 4, "group_size": 32}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, Quantization()),
        ({"quant_method": "fp8"}, Quantization("fp8", "fp8")),
        (FP8, Quantization("fp8", "fp8", 16384, 32)),
        ({"quant_method": "mxfp4"}, Quantization("bf16", "fp4", 32, 8)),
        (
            AWQ,
            Quantization("int4", "int4", 128, 16),
        ),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, Quantization("int8", "int8")),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": INT4}},
                "ignore": ["lm_head", "re:.*self_attn.*"],
            },
            Quantization("bf16", "int4", 32, 16),
        ),
    ],
)
def test_quantization_is_read(found, expected):
    assert read(MIXTRAL, quantization_config=found).quantization == expected


def test_biases_of_llama_are_counted():
    llama = MISTRAL | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    llama["sliding_window"] = None
    plain = read(llama).build().parameters
    biased = read(llama, attention_bias=True, mlp_bias=True).build().parameters
    assert biased - plain == 32 * ((32 + 16) * 128 + 4096 + 2 * 14336 + 4096)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (DEEPSEEK, {"moe_layer_freq": 2}, "moe_layer_freq: 2 is not supported"),
        (DEEPSEEK, {"num_experts_per_tok": 300}, "300 is more than the 256 experts"),
        (DEEPSEEK, {"index_topk": 2048}, "index_topk: 2048 is not supported for deepseek_v3"),
        (DEEPSEEK, {"q_lora_rank": "x"}, 'q_lora_rank: expected a whole number, found "x"'),
        (DEEPSEEK, {"attention_bias": True}, "latent attention with a bias"),
        (GPT_OSS, {"layer_types": ["full_attention"]}, "layer_types: 1 types for 24 layers"),
        (GPT_OSS, {"layer_types": ["chunked"] * 24}, '"chunked" is not supported'),
        (MIXTRAL, {"quantization_config": "fp8"}, "quantization_config: expected an object"),
        (MIXTRAL, {"quantization_config": {"config_groups": {"a": 3}}}, "one group with weights"),
        (MIXTRAL, {"quantization_config": AWQ | {"bits": 3}}, "weights of 3 bits"),
        (MIXTRAL, {"quantization_config": AWQ | {"group_size": "x"}}, "group_size: expected a"),
        (MIXTRAL, {"rope_scaling": YARN | {"factor": 0.5}}, "expected a number from 1 on"),
        (
            MIXTRAL,
            {"rope_scaling": YARN | {"original_max_position_embeddings": 10**400}},
            "original_max_position_embeddings: expected a whole number",
        ),
        (MIXTRAL, {"torch_dtype": "float8"}, 'torch_dtype: "float8" is not supported'),
        (MIXTRAL, {"is_encoder_decoder": True}, "is_encoder_decoder: true is not supported"),
        (QWEN3, {"num_key_value_heads": 7}, "64 heads cannot share 7 key heads"),
        (QWEN3_MOE, {"mlp_only_layers": [3]}, "expected the first layers"),
        (GPT3, {"activation_function": "relu"}, 'activation_function: "relu" is not supported'),
        (GPT3, {"n_head": 7}, "12288 is not a multiple of 7 heads"),
    ],
)
def test_what_a_family_does_not_know_is_refused_in_its_line(config, change, message):
    text = json.dumps(config | change, indent=2)
    with pytest.raises(InputError) as caught:
        parse_config(text, "config.json")
    assert message in caught.value.message
    location = caught.value.location
    assert location.text == text.splitlines()[location.line - 1]


def test_a_fault_in_text_config_is_shown_there():
    config = json.loads(json.dumps(GEMMA3))
    config["text_config"]["hidden_size"] = 0
    text = json.dumps(config, indent=2)
    with pytest.raises(InputError, match="0 is out of range") as caught:
        parse_config(text, "config.json")
    assert caught.value.location.line == text[: text.index('"hidden_size": 0')].count("\n") + 1


def test_every_family_has_a_name_of_its_own():
    assert len(BY_ARCHITECTURE) == sum(len(family.ARCHITECTURES) for family in FAMILIES)
    assert len(BY_MODEL_TYPE) == sum(len(family.MODEL_TYPES) for family in FAMILIES)


def test_overrides_act_on_sections(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(DEEPSEEK))
    model = load_model(file, ["model.experts.count=64", "model.layers=10"])
    assert model.layers == 10
    assert model.experts.experts == 64
    assert dataclasses.replace(model, name="x").stacks[1].repeat == 7
