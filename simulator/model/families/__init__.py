"""Families of models in Hugging Face's form: one file each, and the registry that names them.

A family is a module with ``ARCHITECTURES`` and ``MODEL_TYPES``, the values of ``architectures`` and
``model_type`` that it answers to, and ``read(config: ConfigReader) -> Recipe``. A new one is its
file and its line in ``FAMILIES``.
"""

from __future__ import annotations

from typing import Protocol

from simulator.model.families import (
    deepseek,
    gemma3,
    gpt2,
    gpt_oss,
    llama,
    mistral,
    mixtral,
    palm,
    qwen2,
    qwen3,
    qwen3_moe,
)
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe


class Family(Protocol):
    """What a module of this folder offers."""

    @property
    def ARCHITECTURES(self) -> tuple[str, ...]:  # noqa: N802 -- a constant of a module
        """Values of ``architectures``."""
        ...

    @property
    def MODEL_TYPES(self) -> tuple[str, ...]:  # noqa: N802 -- as above
        """Values of ``model_type``."""
        ...

    def read(self, config: ConfigReader) -> Recipe:
        """The recipe of a ``config.json`` of this family."""
        ...


FAMILIES: tuple[Family, ...] = (
    llama,
    mistral,
    mixtral,
    qwen2,
    qwen3,
    qwen3_moe,
    deepseek,
    gpt_oss,
    gemma3,
    gpt2,
    palm,
)

BY_ARCHITECTURE = {name: family for family in FAMILIES for name in family.ARCHITECTURES}
BY_MODEL_TYPE = {name: family for family in FAMILIES for name in family.MODEL_TYPES}
