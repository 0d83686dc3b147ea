"""Schema of a model file, and the ``Transformer`` that it becomes."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from simulator.config.fields import Count, Flag, Name, Section, user_error
from simulator.model.transformer import Transformer, llama


class ModelConfig(Section):
    """A model file: the dimensions of a Llama-like transformer."""

    kind: Literal["model"]
    name: Name
    layers: Count
    hidden: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    intermediate: Count
    vocabulary: Count
    max_context: Count
    tied_embeddings: Flag = False

    @model_validator(mode="after")
    def _groups_are_whole(self) -> ModelConfig:
        if self.heads % self.kv_heads:
            raise user_error(
                f"{self.heads} heads cannot share {self.kv_heads} kv_heads",
                "heads must be a multiple of kv_heads",
            )
        return self

    def build(self) -> Transformer:
        """The model's specification."""
        return llama(
            name=self.name,
            layers=self.layers,
            hidden=self.hidden,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            intermediate=self.intermediate,
            vocabulary=self.vocabulary,
            max_context=self.max_context,
            tied_embeddings=self.tied_embeddings,
        )
