"""Schema of a model file, and the ``Transformer`` that it becomes."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from simulator.config.fields import Count, CountOrZero, Flag, Name, Quantity, Section, user_error
from simulator.model.recipe import ExpertsSpec, LatentSpec, Recipe, Sight
from simulator.model.transformer import Quantization, Transformer

LayerCount = Annotated[int, BeforeValidator(Quantity("count", at_most=4096))]
"""Layers are laid out one by one, so their number is bounded."""

WeightType = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]


class LatentConfig(Section):
    """Latent attention: ranks of the latents, widths of a head's parts."""

    q_rank: Count | None = None
    kv_rank: Count
    nope_dim: Count
    rope_dim: Count
    v_dim: Count


class ExpertsConfig(Section):
    """Routed experts and a shared one."""

    count: Count
    top_k: Count
    intermediate: Count
    shared_intermediate: CountOrZero = 0
    router_bias: Flag = False
    every: Count = 1

    @model_validator(mode="after")
    def _enough_experts(self) -> ExpertsConfig:
        if self.top_k > self.count:
            raise user_error(
                f"top_k {self.top_k} is more than the {self.count} experts",
                "a token goes to each expert at most once",
            )
        return self


class QuantizationConfig(Section):
    """Data types of the published weights."""

    dense: WeightType = "bf16"
    experts: WeightType = "bf16"
    block: CountOrZero = 0
    scale_bits: CountOrZero = 0

    @model_validator(mode="after")
    def _blocks_have_scales(self) -> QuantizationConfig:
        if bool(self.block) != bool(self.scale_bits):
            raise user_error("block and scale_bits go together", "give both or neither")
        return self


class ModelConfig(Section):
    """A model file: the dimensions of a transformer."""

    kind: Literal["model"]
    architecture: Literal["transformer", "convnet"] = "transformer"
    name: Name
    layers: LayerCount
    hidden: Count
    heads: Count
    kv_heads: Count | None = None
    head_dim: Count | None = None
    latent: LatentConfig | None = None
    intermediate: Count | None = None
    gated: Flag = True
    experts: ExpertsConfig | None = None
    dense_layers: CountOrZero = 0
    window: Count | None = None
    pattern: list[Sight] = Field(default=["full"])
    sinks: Flag = False
    qk_norm: Flag = False
    qkv_bias: Flag = False
    output_bias: Flag = False
    ffn_bias: Flag = False
    parallel: Flag = False
    post_norms: Flag = False
    norm_bias: Flag = False
    vocabulary: Count
    max_context: Count
    tied_embeddings: Flag = False
    positions: CountOrZero = 0
    mtp_layers: CountOrZero = 0
    quantization: QuantizationConfig = QuantizationConfig()

    @model_validator(mode="after")
    def _is_a_transformer(self) -> ModelConfig:
        if self.architecture != "transformer":
            raise user_error("architecture cannot be changed", "write a file of its own")
        return self

    @model_validator(mode="after")
    def _attention_is_whole(self) -> ModelConfig:
        grouped = [key for key in ("kv_heads", "head_dim") if getattr(self, key) is not None]
        if self.latent is not None:
            flags = ("window", "sinks", "qk_norm", "qkv_bias", "output_bias")
            extra = grouped + [key for key in flags if getattr(self, key)]
            if extra:
                raise user_error(f"latent attention has no {extra[0]}", "leave it out")
            return self
        if len(grouped) < 2:
            absent = "kv_heads" if self.kv_heads is None else "head_dim"
            raise user_error(
                f"missing key '{absent}'", "attention needs kv_heads and head_dim, or latent"
            )
        assert self.kv_heads is not None
        if self.heads % self.kv_heads:
            raise user_error(
                f"{self.heads} heads cannot share {self.kv_heads} kv_heads",
                "heads must be a multiple of kv_heads",
            )
        return self

    @model_validator(mode="after")
    def _windows_are_used(self) -> ModelConfig:
        if not self.pattern:
            raise user_error("pattern is empty", "for example [sliding, full]")
        if self.window is not None and "sliding" not in self.pattern:
            raise user_error("window: no layer of the pattern is sliding", "pattern: [sliding]")
        if self.window is None and "sliding" in self.pattern:
            raise user_error("missing key 'window'", "sliding layers need their length")
        return self

    @model_validator(mode="after")
    def _networks_are_whole(self) -> ModelConfig:
        if self.experts is None and self.dense_layers:
            raise user_error("dense_layers without experts", "leave it out")
        if self.dense_layers >= self.layers:
            raise user_error(
                f"dense_layers {self.dense_layers} leave none of {self.layers} layers to experts",
                "fewer, or no experts",
            )
        if self.parallel and (self.experts is not None or self.post_norms):
            raise user_error("a parallel block has a dense network and one norm", None)
        if self.experts is not None and not self._recipe().has_sparse_layers:
            raise user_error(
                f"experts: every {self.experts.every} leaves none of {self.layers} layers to them",
                "smaller, or no experts",
            )
        if self.intermediate is None and self._recipe().needs_intermediate:
            raise user_error("missing key 'intermediate'", "the width of a dense layer's network")
        return self

    @model_validator(mode="after")
    def _positions_reach(self) -> ModelConfig:
        if self.positions and self.positions < self.max_context:
            raise user_error(
                f"max_context {self.max_context} is beyond the {self.positions} learned positions",
                "no more than positions",
            )
        return self

    def build(self) -> Transformer:
        """The model's specification."""
        return self._recipe().build()

    def _recipe(self) -> Recipe:
        plain = {x.name: getattr(self, x.name) for x in fields(Recipe)}
        plain["pattern"] = tuple(self.pattern)
        plain["quantization"] = Quantization(**self.quantization.model_dump())
        if self.latent is not None:
            plain["latent"] = LatentSpec(**self.latent.model_dump())
        if self.experts is not None:
            plain["experts"] = ExpertsSpec(**self.experts.model_dump())
        return Recipe(**plain)
