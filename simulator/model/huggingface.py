"""Hugging Face ``config.json`` of the Llama family to ``Transformer``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from simulator.errors import InputError, Location, did_you_mean
from simulator.model.transformer import Transformer, llama

ARCHITECTURES = ("LlamaForCausalLM",)
MODEL_TYPES = ("llama",)

_LARGEST = 2**40


def parse_config(text: str, file: str) -> Transformer:
    """The transformer that a ``config.json`` describes.

    ``num_key_value_heads`` defaults to the number of heads and ``head_dim`` to hidden / heads, as
    transformers' ``LlamaConfig`` does; every other dimension must be there. The name is the last
    part of ``_name_or_path``, or else the folder's (the file's, if that is not ``config.json``).

    Raises ``InputError`` for bad JSON, another architecture, and a missing or bad dimension.
    """
    return _Reader(text, file).transformer()


class _Reader:
    """The parsed object with its text, so that a fault can be shown in its line."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.data = self._parse()

    def transformer(self) -> Transformer:
        self._check_architecture()
        hidden = self._size("hidden_size")
        heads = self._size("num_attention_heads")
        kv_heads = self._size("num_key_value_heads", default=heads)
        head_dim = self._size("head_dim", default=hidden // heads)
        if self.data.get("head_dim") is None and hidden % heads:
            self._fail("hidden_size", f"{hidden} is not a multiple of {heads} heads")
        if heads % kv_heads:
            self._fail("num_key_value_heads", f"{heads} heads cannot share {kv_heads} key heads")
        for bias in ("attention_bias", "mlp_bias"):
            if self._flag(bias):
                self._fail(bias, "projections with a bias are not supported, expected false")
        return llama(
            name=self._name(),
            layers=self._size("num_hidden_layers"),
            hidden=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            intermediate=self._size("intermediate_size"),
            vocabulary=self._size("vocab_size"),
            max_context=self._size("max_position_embeddings"),
            tied_embeddings=self._flag("tie_word_embeddings"),
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

    def _check_architecture(self) -> None:
        found = self.data.get("architectures")
        supported = ", ".join(ARCHITECTURES)
        if found is not None:
            names = found if isinstance(found, list) else [found]
            for name in names:
                if name not in ARCHITECTURES:
                    self._fail("architectures", f"'{name}' is not supported", supported)
        kind = self.data.get("model_type")
        if kind is not None and kind not in MODEL_TYPES:
            self._fail("model_type", f"'{kind}' is not supported", ", ".join(MODEL_TYPES))
        if not found and kind is None:
            raise InputError(
                "neither 'architectures' nor 'model_type' says what this model is",
                location=Location(self.file),
                hint=f"supported: {supported}",
            )

    def _size(self, key: str, default: int | None = None) -> int:
        value = self.data.get(key)
        if value is None:
            if default is not None:
                return default
            if key in self.data:
                self._fail(key, "expected a whole number, found null")
            near = did_you_mean(key, (known for known in self.data if known != key))
            raise InputError(
                f"missing key '{key}'",
                location=Location(self.file),
                hint=near if near.startswith("did") else None,
            )
        if isinstance(value, bool) or not isinstance(value, int):
            self._fail(key, f"expected a whole number, found {json.dumps(value)[:40]}")
        if not 0 < value <= _LARGEST:
            self._fail(key, f"{str(value)[:40]} is out of range, expected 1 to {_LARGEST}")
        return int(value)

    def _flag(self, key: str) -> bool:
        value = self.data.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            self._fail(key, f"expected true or false, found {json.dumps(value)[:40]}")
        return bool(value)

    def _name(self) -> str:
        given = self.data.get("_name_or_path")
        name = given.rstrip("/").split("/")[-1] if isinstance(given, str) else ""
        if not name:
            path = Path(self.file)
            name = path.resolve().parent.name if path.name == "config.json" else path.stem
        return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-._+")[:80] or "model"

    def _fail(self, key: str, problem: str, supported: str | None = None) -> NoReturn:
        hint = f"supported: {supported}" if supported else None
        raise InputError(f"{key}: {problem}", location=self._locate(key), hint=hint)

    def _locate(self, key: str, last: bool = False) -> Location:
        """The first (or last) place where the key stands as a key."""
        matches = list(re.finditer(rf"{re.escape(json.dumps(key))}\s*:", self.text))
        if not matches:
            return Location(self.file)
        return self._place(matches[-1 if last else 0].start(), len(key) + 2)

    def _place(self, at: int, length: int) -> Location:
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        line = self.text[start : end if end >= 0 else len(self.text)]
        number = self.text.count("\n", 0, at) + 1
        return Location(self.file, number, at - start + 1, line, length)
