"""What several families read alike: head shapes, context, windows, activations, quantization."""

from __future__ import annotations

from typing import Any

from simulator.model.families.quantization import read_quantization
from simulator.model.families.reader import LARGEST, ConfigReader
from simulator.model.recipe import Recipe, Sight

SILU = ("silu", "swish")
GELU = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh")

_SIGHTS: dict[str, Sight] = {"full_attention": "full", "sliding_attention": "sliding"}
_UNSCALED = ("default", "llama3", "longrope", "su")
_SCALED = ("linear", "dynamic", "yarn")


def read_llama_like(config: ConfigReader, **more: Any) -> Recipe:
    """The keys of transformers' ``LlamaConfig``, which most families took over.

    ``num_key_value_heads`` defaults to the number of heads and ``head_dim`` to hidden / heads, as
    it does there. ``more`` are further values of the recipe, or others in the place of these.
    """
    hidden = config.size("hidden_size")
    heads = config.size("num_attention_heads")
    values: dict[str, Any] = {
        "name": config.name(),
        "layers": read_layers(config),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": read_kv_heads(config, heads),
        "head_dim": read_head_dim(config, hidden, heads),
        "vocabulary": config.size("vocab_size"),
        "max_context": read_context(config),
        "tied_embeddings": config.flag("tie_word_embeddings"),
        "quantization": read_quantization(config),
    }
    if "intermediate" not in more:
        values["intermediate"] = config.size("intermediate_size")
    if "gated" not in more:
        config.choice("hidden_act", SILU, default="silu")
    return Recipe(**(values | more))


def read_layers(config: ConfigReader, key: str = "num_hidden_layers") -> int:
    """The number of layers, which are laid out one by one."""
    layers = config.size(key)
    if layers > 4096:
        config.fail(key, f"{layers} is out of range, expected 1 to 4096")
    return layers


def read_kv_heads(config: ConfigReader, heads: int) -> int:
    """Key-value heads, of which each serves a whole number of query heads."""
    kv_heads = config.size("num_key_value_heads", default=heads)
    if heads % kv_heads:
        config.fail("num_key_value_heads", f"{heads} heads cannot share {kv_heads} key heads")
    return kv_heads


def read_head_dim(config: ConfigReader, hidden: int, heads: int) -> int:
    """The width of a head, hidden / heads unless given."""
    if config.get("head_dim") is None and hidden % heads:
        config.fail("hidden_size", f"{hidden} is not a multiple of {heads} heads")
    return config.size("head_dim", default=max(1, hidden // heads))


def read_context(config: ConfigReader, default: int | None = None, extend: bool = True) -> int:
    """The longest sequence: ``max_position_embeddings``, times the factor of a rotary embedding
    that is stretched after training.

    Llama 3's and LongRoPE's ``max_position_embeddings`` is the stretched length already; YaRN
    counts from its ``original_max_position_embeddings``. vLLM derives the limit alike.
    """
    longest = config.size("max_position_embeddings", default=default)
    scaling = config.section("rope_scaling")
    if not scaling:
        return longest
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind in _UNSCALED:
        return longest
    if kind not in _SCALED:
        known = ", ".join((*_UNSCALED, *_SCALED))
        config.fail("rope_scaling", f"rope_type '{str(kind)[:40]}' is not supported", known)
    factor = scaling.get("factor")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= 2**20:
        config.fail("rope_scaling", f"factor: expected a number from 1 on, found {factor!r:.40}")
    if not extend:
        return longest
    original = scaling.get("original_max_position_embeddings") if kind == "yarn" else None
    if original is None:
        return int(longest * factor)
    if isinstance(original, bool) or not isinstance(original, int) or not 0 < original <= LARGEST:
        problem = (
            f"original_max_position_embeddings: expected a whole number, found {original!r:.40}"
        )
        config.fail("rope_scaling", problem)
    return max(longest, int(original * factor))


def read_sights(config: ConfigReader, layers: int, otherwise: tuple[Sight, ...]) -> dict[str, Any]:
    """``window`` and ``pattern`` of a recipe from ``sliding_window`` and ``layer_types``."""
    window = config.optional_size("sliding_window")
    types = config.words("layer_types", tuple(_SIGHTS))
    if types is None:
        pattern = otherwise
    elif len(types) != layers:
        config.fail("layer_types", f"{len(types)} types for {layers} layers")
    else:
        pattern = tuple(_SIGHTS[word] for word in types)
    if "sliding" not in pattern:
        return {}
    if window is None:
        config.fail("layer_types", "sliding_attention without a sliding_window")
    return {"window": window, "pattern": pattern}


def read_top_k(config: ConfigReader, experts: int, key: str = "num_experts_per_tok") -> int:
    """Experts of a token, no more than there are."""
    top_k = config.size(key)
    if top_k > experts:
        config.fail(key, f"{top_k} is more than the {experts} experts")
    return top_k
