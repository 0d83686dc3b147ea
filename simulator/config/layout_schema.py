"""Schema of a layout file, and the ``Layout`` that it becomes; paths to such files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from simulator.config.config_files import kind_of_file
from simulator.config.fields import Count, CountOrZero, Flag, Name, Section, Shape, user_error
from simulator.config.provenance import unwrap
from simulator.config.validation import validate
from simulator.config.yaml_nodes import Mapping, parse_yaml, read_text
from simulator.errors import InputError
from simulator.model.layout import Layout


class AttentionConfig(Section):
    """Degrees for attention: heads, sequences, keys of a sequence."""

    tp: Count = 1
    dp: Count = 1
    sp: Count = 1


class FeedForwardConfig(Section):
    """Degrees for feed-forward networks: intermediate width, experts, tokens."""

    tp: Count = 1
    ep: Count = 1
    dp: Count = 1


class LayoutConfig(Section):
    """A layout file. Without ``ffn`` networks are cut over all chips of a stage."""

    kind: Literal["layout"]
    name: Name
    attention: AttentionConfig = AttentionConfig()
    ffn: FeedForwardConfig | None = None
    pp: Count = 1
    micro_batches: Count | None = None
    weights: Literal["stationary-1d", "stationary-2d", "gathered"] = "stationary-1d"
    grid: Shape | None = None
    pad_heads: Flag = False
    redundant_experts: CountOrZero = 0

    @model_validator(mode="after")
    def _grid_belongs_to_two_dimensions(self) -> LayoutConfig:
        stage = self.attention.tp * self.attention.dp * self.attention.sp
        if self.weights == "stationary-2d" and self.grid is None:
            raise user_error(
                "weights stationary-2d need a grid", "expected X x YZ chips, such as grid: 4x16"
            )
        if self.weights != "stationary-2d" and self.grid is not None:
            raise user_error(f"weights {self.weights} have no grid", "expected stationary-2d")
        if self.grid is not None and (len(self.grid) != 2 or self.grid[0] * self.grid[1] != stage):
            raise user_error(
                f"grid: found {'x'.join(str(axis) for axis in self.grid)}",
                f"expected two numbers whose product is the {stage} chips of a stage",
            )
        return self

    def build(self) -> Layout:
        """The layout."""
        attention = self.attention
        stage = attention.tp * attention.dp * attention.sp
        ffn = self.ffn or FeedForwardConfig.model_construct(tp=stage, ep=1, dp=1)
        return Layout(
            tp=attention.tp,
            dp=attention.dp,
            sp=attention.sp,
            ffn_tp=ffn.tp,
            ep=ffn.ep,
            ffn_dp=ffn.dp,
            pp=self.pp,
            micro_batches=self.micro_batches or self.pp,
            weights=self.weights,
            grid_x=self.grid[0] if self.grid else 1,
            pad_heads=self.pad_heads,
            redundant_experts=self.redundant_experts,
        )


def read_layout(path: str | Path) -> Layout:
    """The layout of a YAML file. Raises ``InputError`` for its first fault, with its place."""
    sourced = unwrap(parse_yaml(read_text(path), str(path)))
    kind = kind_of_file(sourced.node)
    if kind != "layout":
        assert isinstance(sourced.node, Mapping)
        location = sourced.node.entries["kind"].location
        raise InputError(f"this is a {kind} file, expected a layout file", location=location)
    return validate(sourced.node, LayoutConfig).build()
