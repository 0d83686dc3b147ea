"""The data types in which a ``config.json`` says that weights are stored."""

from __future__ import annotations

from typing import Any

from simulator.model.families.reader import ConfigReader
from simulator.model.transformer import Quantization

_KEY = "quantization_config"
_METHODS = ("fp8", "mxfp4", "compressed-tensors", "modelopt", "gptq", "awq")
_PLAIN = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
_BY_TYPE = {
    ("float", 8): "fp8",
    ("float", 4): "fp4",
    ("int", 8): "int8",
    ("int", 4): "int4",
}


def read_quantization(config: ConfigReader) -> Quantization:
    """From ``quantization_config``, or the plain ``torch_dtype`` where there is none.

    Embedding and head stay plain. A scheme that leaves attention plain (gpt-oss, Kimi-K2.5) is one
    of experts only. Other methods are refused: their weights would have an unknown size.
    """
    for key in ("torch_dtype", "dtype"):
        if config.get(key) is not None:
            plain = _PLAIN[config.choice(key, tuple(_PLAIN))]
            break
    else:
        plain = "bf16"
    found = config.section(_KEY)
    if not found:
        return Quantization(plain, plain)
    method = found.get("quant_method")
    if method == "fp8":
        return _fp8(config, found)
    if method == "mxfp4":
        # 32 elements of 4 bits share a scale of 8 (OCP Microscaling Formats 1.0, section 5.3)
        return Quantization(plain, "fp4", 32, 8)
    if method in ("gptq", "awq"):
        kind = _type(config, "int", found.get("bits"))
        group = found.get("group_size")
        return Quantization(kind, kind, *_group(config, group))
    if method in ("compressed-tensors", "modelopt") or (not method and "config_groups" in found):
        return _compressed(config, found, plain)
    config.fail(_KEY, f"quant_method '{str(method)[:40]}' is not supported", ", ".join(_METHODS))


def _fp8(config: ConfigReader, found: dict[str, Any]) -> Quantization:
    """Block-wise scales of 32 bits (DeepSeek-V3), or one scale a matrix."""
    block = found.get("weight_block_size")
    if block is None:
        return Quantization("fp8", "fp8")
    whole = isinstance(block, list) and len(block) == 2
    if not whole or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in block):
        config.fail(_KEY, f"weight_block_size: expected two sizes, found {block!r:.40}")
    return Quantization("fp8", "fp8", block[0] * block[1], 32)


def _compressed(config: ConfigReader, found: dict[str, Any], plain: str) -> Quantization:
    groups = found.get("config_groups")
    parts = list(groups.values()) if isinstance(groups, dict) else []
    schemes = [part.get("weights") for part in parts if isinstance(part, dict)]
    if len(parts) != 1 or not schemes or not isinstance(schemes[0], dict):
        config.fail(_KEY, "config_groups: expected one group with weights")
    kind = _type(config, schemes[0].get("type"), schemes[0].get("num_bits"))
    ignored = found.get("ignore") or []
    if not isinstance(ignored, list):
        config.fail(_KEY, f"ignore: expected a list, found {ignored!r:.40}")
    only_experts = any("self_attn" in str(pattern) for pattern in ignored)
    group = schemes[0].get("group_size")
    return Quantization(plain if only_experts else kind, kind, *_group(config, group))


def _type(config: ConfigReader, kind: Any, bits: Any) -> str:
    found = _BY_TYPE.get((kind, bits)) if isinstance(kind, str) and isinstance(bits, int) else None
    if found is None:
        known = ", ".join(_BY_TYPE.values())
        config.fail(_KEY, f"weights of {bits!r:.20} bits ({kind!r:.20}) are not supported", known)
    return found


def _group(config: ConfigReader, group: Any) -> tuple[int, int]:
    """(weights that share a scale, bits of the scale); none, or -1, is one scale a column."""
    if group in (None, -1):
        return 0, 0
    if isinstance(group, bool) or not isinstance(group, int) or group < 1:
        config.fail(_KEY, f"group_size: expected a whole number, found {group!r:.40}")
    return group, 16
