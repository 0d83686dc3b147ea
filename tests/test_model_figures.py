"""Every shipped model against published totals and closed forms, and ``chipsim model``."""

import json
from math import prod

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cli.entry import main
from simulator.config import list_names
from simulator.config.loader import load_any_model, load_model
from simulator.mapping.weights import stored_weight_bytes
from simulator.model.convnet import ConvNet
from simulator.model.forward import draft_pass, forward_pass
from simulator.model.operators import Attention, LatentAttention, Matmul, MoE
from simulator.model.transformer import Transformer, visible_pairs
from simulator.timing.step import Batch

PUBLISHED = {
    # billions of parameters, of active ones (None: dense), elements a token leaves in the cache
    "llama2-7b": (6.74, None, 262144),
    "llama2-70b": (68.98, None, 163840),
    "llama3-8b": (8.03, None, 65536),
    "llama3-70b": (70.55, None, 163840),
    "llama3-405b": (405.85, None, 258048),
    "mixtral-8x7b": (46.7, 12.75, 65536),
    "deepseek-v3": (671.03, 36.62, 35136),
    "deepseek-r1": (671.03, 36.62, 35136),
    "qwen3-32b": (32.76, None, 131072),
    "qwen3-235b": (235.09, 21.57, 96256),
    "kimi-k2": (1026.41, 31.69, 35136),
    "gpt-oss-20b": (20.91, 3.61, 24576),
    "gpt-oss-120b": (116.83, 5.13, 36864),
    "palm-540b": (540.35, 540.35, 60416),
    "gpt3-175b": (174.6, 174.6, 2359296),
    "gemma3-27b": (27.01, 27.01, 253952),
}
DECODE_PAIRS = 1001


def closed_flops(name: str, tokens: int, pairs: int, near: int) -> int:
    """2 x (weights that a token meets, without head) x tokens + attention, written out; ``near``
    are the pairs in a sliding layer."""
    if name.startswith("llama") or name == "qwen3-32b":
        layers, h, q, kv, d, f = {
            "llama2-7b": (32, 4096, 32, 32, 128, 11008),
            "llama2-70b": (80, 8192, 64, 8, 128, 28672),
            "llama3-8b": (32, 4096, 32, 8, 128, 14336),
            "llama3-70b": (80, 8192, 64, 8, 128, 28672),
            "llama3-405b": (126, 16384, 128, 8, 128, 53248),
            "qwen3-32b": (64, 5120, 64, 8, 128, 25600),
        }[name]
        layer = 2 * h * d * (q + kv) + 3 * h * f
        return layers * (2 * layer * tokens + 4 * q * d * pairs)
    if name in ("mixtral-8x7b", "qwen3-235b"):
        layers, h, q, kv, e, k, f = {
            "mixtral-8x7b": (32, 4096, 32, 8, 8, 2, 14336),
            "qwen3-235b": (94, 4096, 64, 4, 128, 8, 1536),
        }[name]
        layer = 2 * h * 128 * (q + kv) + h * e + k * 3 * h * f
        return layers * (2 * layer * tokens + 4 * q * 128 * pairs)
    if name in ("deepseek-v3", "deepseek-r1", "kimi-k2"):
        heads, experts, dense = {"kimi-k2": (64, 384, 1)}.get(name, (128, 256, 3))
        h = 7168
        attention = h * 1536 + 1536 * heads * 192 + h * 576 + 512 * heads * 256 + heads * 128 * h
        wide = 3 * h * 18432
        sparse = h * experts + 9 * 3 * h * 2048
        weights = 61 * attention + dense * wide + (61 - dense) * sparse
        return 2 * weights * tokens + 61 * 2 * heads * (192 + 128) * pairs
    if name in ("gpt-oss-20b", "gpt-oss-120b"):
        layers, experts = {"gpt-oss-20b": (24, 32), "gpt-oss-120b": (36, 128)}[name]
        layer = 2880 * 64 * (64 + 16) + 4096 * 2880 + 2880 * experts + 4 * 3 * 2880**2
        return layers * 2 * layer * tokens + layers // 2 * 4 * 64 * 64 * (pairs + near)
    if name == "palm-540b":
        h = 18432
        layer = h * 256 * 50 + 48 * 256 * h + 3 * h * 4 * h
        return 118 * (2 * layer * tokens + 4 * 48 * 256 * pairs)
    if name == "gpt3-175b":
        return 96 * (2 * 12 * 12288**2 * tokens + 4 * 12288 * pairs)
    assert name == "gemma3-27b"
    layer = 2 * 5376 * 128 * (32 + 16) + 3 * 5376 * 21504
    return 62 * 2 * layer * tokens + 4 * 32 * 128 * (10 * pairs + 52 * near)


def test_every_shipped_model_is_published():
    assert set(list_names("models")) == {*PUBLISHED, "llama-toy", "resnet-50"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    billions, active, _ = PUBLISHED[name]
    model = load_model(name)
    assert model.name == name
    assert model.parameters / 1e9 == pytest.approx(billions, abs=0.007)
    table = 0 if model.tied_embeddings else model.head_parameters / 1e9
    expected = billions - table if active is None else active
    assert model.active_parameters / 1e9 == pytest.approx(expected, abs=0.03)


def test_exact_totals_that_authors_state():
    # model cards: gpt-oss (20.9 B and 116.8 B), ResNet-50 of torchvision, DeepSeek-V3 without MTP
    assert load_model("llama3-8b").parameters == 8_030_261_248
    assert load_model("llama2-7b").parameters == 6_738_415_616
    assert load_model("mixtral-8x7b").parameters == 46_702_792_704
    assert load_model("qwen3-235b").parameters == 235_093_634_560
    resnet = load_any_model("resnet-50")
    assert isinstance(resnet, ConvNet)
    assert resnet.parameters == 25_557_032
    assert resnet.flops(1) / 2e9 == pytest.approx(4.089, abs=0.001)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(("new", "past"), [(1, DECODE_PAIRS - 1), (700, 0), (64, 2000)])
def test_flops_are_the_closed_form(name, new, past):
    model = load_model(name)
    pairs = visible_pairs(new, past)
    near = visible_pairs(new, past, model.window)
    head = 2 * model.hidden * model.vocabulary
    assert model.flops(new, 1, pairs, near) == closed_flops(name, new, pairs, near) + head


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_cache_is_the_closed_form(name):
    model = load_model(name)
    assert model.kv_elements_per_token == PUBLISHED[name][2]
    full = PUBLISHED[name][2] * 5000
    if name.startswith("gpt-oss"):
        full = PUBLISHED[name][2] * (5000 + 128) // 2
    elif name == "gemma3-27b":
        full = 2 * 16 * 128 * (10 * 5000 + 52 * 1024)
    assert model.kv_elements(5000) == full
    assert model.kv_elements(100) == PUBLISHED[name][2] * 100


@pytest.mark.parametrize("name", PUBLISHED)
def test_operators_hold_the_models_weights(name):
    model = load_model(name)
    sections = forward_pass(model)
    held = sum(section.repeat * weights(section.operators) for section in sections)
    assert held == model.matmul_parameters + model.head_parameters
    layers = sum(
        section.repeat
        * sum(isinstance(op, Attention | LatentAttention) for op in section.operators)
        for section in sections
    )
    assert layers == model.layers


def weights(operators):
    total = 0
    for op in operators:
        if isinstance(op, Matmul):
            total += op.k * op.n
        elif isinstance(op, MoE):
            total += op.experts * (3 if op.gated else 2) * op.hidden * op.intermediate
        elif isinstance(op, LatentAttention):
            total += op.kv_rank * op.heads * (op.nope_dim + op.v_dim)
    return total


def test_a_draft_module_is_a_layer_with_its_projection():
    model = load_model("deepseek-v3")
    held = sum(s.repeat * weights(s.operators) for s in draft_pass(model)) - model.head_parameters
    norms = (2 + 3) * 7168 + 1536 + 512 + 256
    assert model.mtp_parameters == held + norms
    # DeepSeek-V3's repository: 14 B with the shared embedding and head
    assert (model.mtp_parameters + 2 * model.head_parameters) / 1e9 == pytest.approx(13.5, abs=0.1)


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    # sizes of the published checkpoints: 12.8 GiB and 60.8 GiB (arXiv 2508.10925, table 1)
    [("gpt-oss-20b", 12.8 * 2**30 / 1e9), ("gpt-oss-120b", 60.8 * 2**30 / 1e9)],
)
def test_quantized_weights_have_the_published_size(name, gigabytes):
    assert stored_weight_bytes(load_model(name)) / 1e9 == pytest.approx(gigabytes, rel=5e-3)


def test_a_parallel_block_reduces_once():
    def reductions(name):
        cut = [op for op in forward_pass(load_model(name))[1].operators if isinstance(op, Matmul)]
        return [op.name for op in cut if op.shard == "rows" and not op.partial]

    assert reductions("palm-540b") == ["down"]
    assert reductions("llama3-70b") == ["attention_output", "down"]


def test_patterns_keep_the_order_of_layers():
    gemma = load_model("gemma3-27b")
    assert [(s.repeat, len(s.layers)) for s in gemma.stacks] == [(10, 6), (2, 1)]
    windows = [x.attention.window for x in gemma.stacks[0].layers]
    assert windows == [1024] * 5 + [None]
    assert gemma.stacks[1].layers[0].attention.window == 1024


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 40), st.integers(0, 60), st.none() | st.integers(1, 50))
def test_pairs_are_those_that_the_mask_leaves(new, past, window):
    seen = sum(
        1
        for query in range(past, past + new)
        for key in range(query + 1)
        if window is None or query - key < window
    )
    assert visible_pairs(new, past, window) == seen
    batch = Batch(np.array([new, 1]), np.array([past, past]), 2)
    assert batch.window_pairs(window) == seen + visible_pairs(1, past, window)


@pytest.mark.parametrize("name", ["deepseek-v3", "mixtral-8x7b", "llama3-8b"])
def test_tokens_touch_no_more_experts_than_they_can(name):
    model = load_model(name)
    assert model.touched_matmul_parameters(1) == model.active_matmul_parameters
    touched = [model.touched_matmul_parameters(n) for n in (1, 2, 8, 64, 10**6)]
    assert touched == sorted(touched)
    assert touched[-1] == model.matmul_parameters


def run(*words):
    result = CliRunner().invoke(_command(), list(words))
    assert result.exit_code == 0, result.output
    return result.output


def _command():
    from simulator.cli.entry import cli

    return cli


@pytest.mark.parametrize("name", [*PUBLISHED, "llama-toy"])
def test_the_documents_layers_add_up(name):
    model = load_model(name)
    document = json.loads(run("model", name, "--format", "json"))
    assert document["schema"] == "chipsim.model/1"
    assert document["parameters"] == model.parameters
    assert document["kv_bytes_per_token"] == 2 * model.kv_elements_per_token
    assert document["flops_per_token"] == model.flops(1, 1, 1)
    layers = document["layers"]
    assert sum(row["repeat"] for row in layers) == model.layers
    final_norm = model.hidden * (2 if model.norm_bias else 1)
    total = sum(row["repeat"] * row["parameters"] for row in layers)
    assert total + model.table_parameters + final_norm == model.parameters
    active = sum(row["repeat"] * row["active_parameters"] for row in layers)
    assert active + model.head_parameters + final_norm == model.active_parameters
    kv = sum(row["repeat"] * row["kv_bytes_per_token"] for row in layers)
    assert kv == document["kv_bytes_per_token"]


def test_context_and_cache_type_are_counted():
    plain = json.loads(run("model", "gpt-oss-20b", "--format", "json"))
    words = ("model", "gpt-oss-20b", "--context", "1000", "--kv-dtype", "fp4", "--format", "json")
    document = json.loads(run(*words))
    assert document["kv_bytes_per_token"] == 24576 // 2
    assert document["kv_bytes"] == 12 * 2 * 8 * 64 * (1000 + 128) // 2
    more = document["flops_per_token"] - plain["flops_per_token"]
    assert more == 12 * 4 * 64 * 64 * (1000 + 127)


def test_convolutions_are_lowered_to_their_matmuls():
    document = json.loads(run("model", "resnet-50", "--format", "json"))
    assert document["parameters"] == 25_557_032
    shapes = [(row["repeat"], row["operators"][0]) for row in document["layers"]]
    total = sum(n * 2 * prod(op[key] for key in ("rows_per_image", "k", "n")) for n, op in shapes)
    assert total == document["flops_per_token"]
    assert sum(n for n, _ in shapes) == 54
    assert "12544x147x64" in run("model", "resnet-50")


def test_tables_say_what_a_model_is():
    text = run("model", "deepseek-v3", "--context", "4096")
    for part in ("671.0 G", "8 of 256 experts", "latent 512+64", "fp8", "multi-token prediction"):
        assert part in text
    assert "64/8 heads of 64, 128 keys" in run("model", "gpt-oss-20b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model", "llama2-7b", "--context", "5000"], "beyond the 4096 tokens"),
        (["model", "resnet-50", "--context", "1"], "is a convolutional network"),
        (["model", "deepsek-v3"], "did you mean 'deepseek-v3'?"),
        (["model", "llama3-8b", "--set", "model.architecture=convnet"], "cannot be changed"),
        (["model", "deepseek-v3", "--set", "model.window=9"], "latent attention has no window"),
        (["model", "gpt-oss-20b", "--set", "model.pattern=[full]"], "no layer of the pattern"),
        (["model", "gpt-oss-20b", "--set", "model.pattern=[]"], "pattern is empty"),
        (["model", "gpt-oss-20b", "--set", "model.pattern=[near]"], "unknown value 'near'"),
        (["model", "mixtral-8x7b", "--set", "model.experts.every=33"], "leaves none of 32 layers"),
        (["model", "mixtral-8x7b", "--set", "model.dense_layers=1"], "missing key 'intermediate'"),
        (["model", "resnet-50", "--set", "model.convolutions=[]"], "convolutions is empty"),
        (["model", "mixtral-8x7b", "--set", "model.experts.top_k=9"], "more than the 8 experts"),
        (["model", "deepseek-v3", "--set", "model.dense_layers=61"], "leave none of 61 layers"),
        (["model", "gpt3-175b", "--set", "model.max_context=4096"], "2048 learned positions"),
        (["model", "palm-540b", "--set", "model.post_norms=true"], "a parallel block"),
        (["model", "llama3-8b", "--set", "model.layers=9999"], "more than 4096"),
        (["run", "toy", "resnet-50", "chat"], "expected a transformer"),
    ],
)
def test_bad_models_are_refused(capsys, words, message):
    assert main(words) == 3
    assert message in capsys.readouterr().err


def test_all_shipped_models_are_what_their_kind_says():
    for name in list_names("models"):
        assert isinstance(load_any_model(name), ConvNet if name == "resnet-50" else Transformer)
