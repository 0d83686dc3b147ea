"""Shipped models, and Hugging Face's config.json."""

import json

import pytest

from simulator.config import load_model
from simulator.errors import InputError
from simulator.model.families import BY_ARCHITECTURE
from simulator.model.huggingface import parse_config

LLAMA3_8B = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 128000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rope_scaling": {"factor": 8.0, "rope_type": "llama3"},
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
LLAMA2_7B = {
    "_name_or_path": "meta-llama/llama2-7b",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "vocab_size": 32000,
}


@pytest.mark.parametrize(
    ("name", "billions"), [("llama3-8b", 8.03), ("llama3-70b", 70.55), ("llama2-7b", 6.74)]
)
def test_parameters_are_the_published_ones(name, billions):
    assert load_model(name).parameters / 1e9 == pytest.approx(billions, abs=0.005)


def test_parameters_of_the_toy_by_hand():
    # a layer: 16x(4+2*2)x4 + 16x16 + 3x16x32 + 2x16 norms; 2 tables of 64x16; a last norm
    assert load_model("llama-toy").parameters == 2 * (512 + 256 + 1536 + 32) + 2 * 1024 + 16


def write(folder, config):
    folder.mkdir(exist_ok=True)
    file = folder / "config.json"
    file.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
    return file


def test_a_config_json_gives_the_shipped_model(tmp_path):
    assert load_model(write(tmp_path / "llama3-8b", LLAMA3_8B)) == load_model("llama3-8b")
    assert load_model(write(tmp_path / "x", LLAMA2_7B)) == load_model("llama2-7b")


def test_heads_share_nothing_and_split_hidden_unless_told():
    model = parse_config(json.dumps(LLAMA2_7B), "llama.json")
    assert (model.kv_heads, model.head_dim) == (32, 128)
    told = LLAMA2_7B | {"head_dim": 64, "num_key_value_heads": 4}
    model = parse_config(json.dumps(told), "llama.json")
    assert (model.kv_heads, model.head_dim) == (4, 64)
    null = LLAMA2_7B | {"head_dim": None, "num_key_value_heads": None}
    assert parse_config(json.dumps(null), "llama.json").kv_heads == 32


def test_the_name_is_that_of_path_or_folder():
    bare = {key: value for key, value in LLAMA2_7B.items() if key != "_name_or_path"}
    assert parse_config(json.dumps(LLAMA2_7B), "x/config.json").name == "llama2-7b"
    assert parse_config(json.dumps(bare), "some/tiny/config.json").name == "tiny"
    assert parse_config(json.dumps(bare), "some/mine.json").name == "mine"


def test_overrides_act_on_a_config_json(tmp_path):
    model = load_model(write(tmp_path / "m", LLAMA3_8B), ["model.layers=2"])
    assert (model.layers, model.hidden) == (2, 4096)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "'MambaForCausalLM' is not supported"),
        ({"model_type": "mamba"}, "'mamba' is not supported"),
        ({"model_type": "qwen3"}, "'qwen3' is not the type of ['LlamaForCausalLM']"),
        ({"hidden_size": "4096"}, 'hidden_size: expected a whole number, found "4096"'),
        ({"hidden_size": 4096.0}, "hidden_size: expected a whole number, found 4096.0"),
        ({"hidden_size": True}, "hidden_size: expected a whole number, found true"),
        ({"vocab_size": None}, "vocab_size: expected a whole number, found null"),
        ({"num_hidden_layers": -1}, "num_hidden_layers: -1 is out of range"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: 0 is out of range"),
        ({"hidden_size": float("nan")}, "'NaN' is not a finite number"),
        ({"num_key_value_heads": 5}, "32 heads cannot share 5 key heads"),
        ({"hidden_size": 4100}, "4100 is not a multiple of 32 heads"),
        ({"attention_bias": "yes"}, 'attention_bias: expected true or false, found "yes"'),
        ({"hidden_act": "relu"}, 'hidden_act: "relu" is not supported'),
        ({"n_routed_experts": 64}, "n_routed_experts: 64 is not supported for llama"),
        ({"sliding_window": 4096}, "sliding_window: 4096 is not supported for llama"),
        ({"rope_scaling": {"rope_type": "spiral"}}, "rope_type 'spiral' is not supported"),
        ({"rope_scaling": {"type": "yarn"}}, "factor: expected a number from 1 on, found None"),
        ({"quantization_config": {"quant_method": "hqq"}}, "quant_method 'hqq' is not supported"),
        ({"num_hidden_layers": 5000}, "num_hidden_layers: 5000 is out of range"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings: expected true or false"),
    ],
)
def test_a_bad_config_json_is_shown_in_its_line(change, message):
    text = json.dumps(LLAMA3_8B | change, indent=2)
    with pytest.raises(InputError) as caught:
        parse_config(text, "config.json")
    assert message in caught.value.message
    location = caught.value.location
    assert location.text == text.splitlines()[location.line - 1]
    assert next(iter(change)) in location.text


def test_another_architecture_names_the_supported_ones():
    with pytest.raises(InputError) as caught:
        parse_config('{"architectures": ["MambaForCausalLM"]}', "config.json")
    assert "'MambaForCausalLM'" in caught.value.message
    assert caught.value.hint == "supported: " + ", ".join(BY_ARCHITECTURE)


def test_a_missing_key_names_its_misspelling():
    config = dict(LLAMA3_8B)
    config["hiden_size"] = config.pop("hidden_size")
    with pytest.raises(InputError, match="missing key 'hidden_size'") as caught:
        parse_config(json.dumps(config), "config.json")
    assert caught.value.hint == "did you mean 'hiden_size'?"


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ('{\n  "a": 1,\n}', "not valid JSON", (3, 1)),
        ('{"a": 1, "a": 2}', "duplicate key 'a'", (1, 10)),
        ("[1]", "expected a JSON object", (1, 1)),
        ("{}", "neither 'architectures' nor 'model_type'", (None, None)),
        ("", "is empty", (None, None)),
        ('{"a": ' + "[" * 100_000, "nested too deep", (None, None)),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON", (None, None)),
    ],
)
def test_bad_json(text, message, where):
    with pytest.raises(InputError) as caught:
        parse_config(text, "config.json")
    assert message in caught.value.message
    assert (caught.value.location.line, caught.value.location.column) == where


def test_a_directory_is_no_model(tmp_path):
    write(tmp_path / "m", LLAMA3_8B)
    with pytest.raises(InputError, match="is a directory") as caught:
        load_model(tmp_path / "m")
    assert "config.json" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers: 2", "layers: -2", "layers: '-2' is negative"),
        ("layers: 2", "layer: 2", "unknown key 'layer'"),
        ("kv_heads: 2", "kv_heads: 3", "4 heads cannot share 3 kv_heads"),
        ("false", "no", "tied_embeddings: expected true or false, found 'no'"),
    ],
)
def test_a_bad_model_file(tmp_path, old, new, message):
    text = "kind: model\nname: m\nlayers: 2\nhidden: 16\nheads: 4\nkv_heads: 2\nhead_dim: 4\n"
    text += "intermediate: 32\nvocabulary: 64\nmax_context: 128\ntied_embeddings: false\n"
    file = tmp_path / "m.yaml"
    file.write_text(text)
    assert load_model(file).layers == 2
    file.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_model(file)
    assert message in caught.value.message


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(InputError, match="unknown model 'llama3-8'") as caught:
        load_model("llama3-8")
    assert caught.value.hint == "did you mean 'llama3-8b'?"
