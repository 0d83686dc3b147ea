"""Fields of attention kernels that stand in place of a chip's, for an engine or a type of cache."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from simulator.config.fields import Bandwidth, Count, Delay, Flag, Name, RowTile, Section
from simulator.hardware import EngineAttention

_FIELDS = {
    "launch": "launch_ps",
    "kernel_launch": "kernel_launch_ps",
    "tile_latency": "tile_latency_ps",
    "sm_bandwidth": "sm_bandwidth_bytes_per_s",
}
"""Names of ``hardware.FusedKernels`` that are not the keys of the file."""


class _InPlace(Section):
    row_tile: RowTile | None = None
    packs_groups: Flag | None = None
    splits_prompts: Flag | None = None

    def figures(self) -> tuple[tuple[str, Any], ...]:
        """Pairs of a field of ``hardware.FusedKernels`` and its value."""
        given = self.model_dump(exclude_none=True)
        return tuple((_FIELDS.get(name, name), value) for name, value in given.items())


class EngineAttentionConfig(_InPlace):
    """Attention kernels of an engine on the ``chips`` where they were measured; see
    ``hardware.FusedKernels``."""

    chips: list[Name] = Field(min_length=1)
    launch: Delay | None = None
    kernel_launch: Delay | None = None
    tile_latency: Delay | None = None
    sm_bandwidth: Bandwidth | None = None
    quantizes_queries: Flag | None = None
    scans_sequences: Flag | None = None
    transposes_values: Flag | None = None

    def build(self, cache: str) -> EngineAttention:
        """The kernels for a cache of one data type."""
        figures = tuple(pair for pair in self.figures() if pair[0] != "chips")
        return EngineAttention(cache, tuple(self.chips), figures)


class EightBitCacheConfig(_InPlace):
    """What is different of the kernels that read a cache of 8 bits."""

    query_tile: Count | None = None
    most_splits: Count | None = None
    split_group: Count | None = None
    copies_groups: Flag | None = None
    regroups_windows: Flag | None = None
    fits_tiles: Flag | None = None
    always_joins: Flag | None = None
    block_elements: Count | None = None
