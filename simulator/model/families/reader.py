"""A ``config.json`` with its text, so that every fault can be shown in its line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from simulator.errors import InputError, Location, did_you_mean

LARGEST = 2**40

STRUCTURAL = (
    *("num_local_experts", "num_experts", "n_routed_experts", "n_shared_experts"),
    *("shared_expert_intermediate_size", "moe_intermediate_size", "first_k_dense_replace"),
    *("moe_layer_freq", "decoder_sparse_step", "mlp_only_layers", "num_experts_per_tok"),
    *("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"),
    *("sliding_window", "use_sliding_window", "sliding_window_pattern", "layer_types"),
    *("attention_chunk_size", "quantization_config", "compression_config"),
    *("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers"),
    *("attention_bias", "mlp_bias", "use_qk_norm", "qk_layernorm", "use_bias", "qkv_bias"),
    *("hidden_act", "hidden_activation", "activation_function", "rope_scaling"),
    *("is_encoder_decoder", "add_cross_attention", "cross_attention_layers"),
    *("parallel_attn", "use_parallel_residual", "multi_query", "alibi"),
    *("index_topk", "full_attention_interval", "linear_num_key_heads", "mamba_num_heads"),
    *("hybrid_override_pattern", "block_configs", "layers_block_type", "num_kv_shared_layers"),
)
"""Keys that change what is computed. A family that does not read one must not find it set."""

_NEUTRAL: tuple[Any, ...] = (None, False, 0, [], {}, "")


class ConfigReader:
    """Typed values of a ``config.json`` by key; faults are ``InputError`` with line and column.

    ``data`` is the object that holds the dimensions: the whole file, or its ``text_config`` after
    ``enter``.
    """

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.family = ""
        self._read: set[str] = set()
        self._section = ""
        self.root = self._parse()
        self.data = self.root

    def enter(self, key: str) -> None:
        """Read from the object under ``key`` from now on, where the file has one."""
        inner = self.data.get(key)
        if isinstance(inner, dict):
            self.data = inner
            self._section = key

    def get(self, key: str) -> Any:
        """The raw value, None where there is none."""
        self._read.add(key)
        return self.data.get(key)

    def size(self, key: str, default: int | None = None) -> int:
        """A whole number of at least 1; ``default`` stands for null and absence."""
        value = self.get(key)
        if value is None:
            if default is not None:
                return default
            if key in self.data:
                self.fail(key, "expected a whole number, found null")
            self._missing(key)
        return self._whole(key, value, 1)

    def count(self, key: str, default: int = 0) -> int:
        """A whole number, zero included."""
        value = self.get(key)
        return default if value is None else self._whole(key, value, 0)

    def optional_size(self, key: str) -> int | None:
        """A whole number of at least 1, None for null and absence."""
        value = self.get(key)
        return None if value is None else self._whole(key, value, 1)

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(key, f"expected true or false, found {json.dumps(value)[:40]}")
        return bool(value)

    def choice(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        """One of the ``known`` words."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if value is None and key not in self.data:
            self._missing(key)
        if value not in known:
            self.fail(key, f"{json.dumps(value)[:40]} is not supported", ", ".join(known))
        return str(value)

    def words(self, key: str, known: Sequence[str]) -> list[str] | None:
        """A list of ``known`` words, None for null and absence."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not value:
            self.fail(key, f"expected a list, found {json.dumps(value)[:40]}")
        for item in value:
            if item not in known:
                self.fail(key, f"{json.dumps(item)[:40]} is not supported", ", ".join(known))
        return [str(item) for item in value]

    def section(self, key: str) -> dict[str, Any] | None:
        """An object, None for null and absence."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.fail(key, f"expected an object, found {json.dumps(value)[:40]}")
        return dict(value)

    def name(self) -> str:
        """The last part of ``_name_or_path``, or else the folder's name, or the file's if that is
        not ``config.json``."""
        given = self.root.get("_name_or_path")
        name = given.rstrip("/").split("/")[-1] if isinstance(given, str) else ""
        if not name:
            path = Path(self.file)
            name = path.resolve().parent.name if path.name == "config.json" else path.stem
        return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-._+")[:80] or "model"

    def refuse_unread(self) -> None:
        """An error for the first structural key that is set and that the family did not read."""
        for key in STRUCTURAL:
            if key not in self._read and self.data.get(key) not in _NEUTRAL:
                shown = json.dumps(self.data[key])[:40]
                self.fail(key, f"{shown} is not supported for {self.family}")

    def fail(self, key: str, problem: str, supported: str | None = None) -> NoReturn:
        """An error at the key."""
        hint = f"supported: {supported}" if supported else None
        raise InputError(f"{key}: {problem}", location=self._locate(key), hint=hint)

    def _whole(self, key: str, value: Any, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(key, f"expected a whole number, found {json.dumps(value)[:40]}")
        if not least <= value <= LARGEST:
            self.fail(key, f"{str(value)[:40]} is out of range, expected {least} to {LARGEST}")
        return int(value)

    def _missing(self, key: str) -> NoReturn:
        near = did_you_mean(key, (known for known in self.data if known != key))
        raise InputError(
            f"missing key '{key}'",
            location=Location(self.file),
            hint=near if near.startswith("did") else None,
        )

    def _parse(self) -> dict[str, Any]:
        if not self.text.strip():
            raise InputError(f"{self.file} is empty", location=Location(self.file))
        try:
            data = json.loads(
                self.text,
                parse_constant=self._refuse_constant,
                object_pairs_hook=self._refuse_duplicates,
            )
        except json.JSONDecodeError as error:
            line = self.text.splitlines()[error.lineno - 1 : error.lineno]
            place = Location(self.file, error.lineno, error.colno, line[0] if line else "")
            raise InputError(f"not valid JSON: {error.msg}", location=place) from None
        except RecursionError:
            raise InputError(
                "not valid JSON: nested too deep", location=Location(self.file)
            ) from None
        except ValueError as error:
            # an integer of more digits than Python converts
            raise InputError(f"not valid JSON: {error}", location=Location(self.file)) from None
        if not isinstance(data, dict):
            raise InputError(
                "expected a JSON object, as in a Hugging Face config.json",
                location=Location(self.file, 1, 1, self.text.splitlines()[0]),
            )
        return data

    def _refuse_constant(self, constant: str) -> NoReturn:
        at = self.text.find(constant)
        raise InputError(
            f"'{constant}' is not a finite number", location=self._place(at, len(constant))
        )

    def _refuse_duplicates(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in pairs:
            if key in data:
                raise InputError(f"duplicate key '{key}'", location=self._locate(key, last=True))
            data[key] = value
        return data

    def _locate(self, key: str, last: bool = False) -> Location:
        """The first (or last) place where the key stands as a key, after that of the section."""
        start = 0
        if self._section:
            section = re.search(rf"{re.escape(json.dumps(self._section))}\s*:", self.text)
            start = section.end() if section else 0
        pattern = rf"{re.escape(json.dumps(key))}\s*:"
        matches = [x for x in re.finditer(pattern, self.text) if x.start() >= start]
        if not matches:
            return Location(self.file)
        return self._place(matches[-1 if last else 0].start(), len(key) + 2)

    def _place(self, at: int, length: int) -> Location:
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        line = self.text[start : end if end >= 0 else len(self.text)]
        number = self.text.count("\n", 0, at) + 1
        return Location(self.file, number, at - start + 1, line, length)
