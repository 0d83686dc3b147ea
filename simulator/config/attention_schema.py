"""Fields of attention kernels that stand in place of a chip's, for an engine or a type of cache."""

from __future__ import annotations

from typing import Any

from simulator.config.fields import Bandwidth, Count, Delay, Flag, RowTile, Section

_FIELDS = {
    "launch": "launch_ps",
    "kernel_launch": "kernel_launch_ps",
    "tile_latency": "tile_latency_ps",
    "sm_bandwidth": "sm_bandwidth_bytes_per_s",
}
"""Names of ``hardware.FusedKernels`` that are not the keys of the file."""


class AttentionFields(Section):
    """What may be different; see ``hardware.FusedKernels``."""

    launch: Delay | None = None
    kernel_launch: Delay | None = None
    tile_latency: Delay | None = None
    sm_bandwidth: Bandwidth | None = None
    row_tile: RowTile | None = None
    packs_groups: Flag | None = None
    splits_prompts: Flag | None = None
    quantizes_queries: Flag | None = None
    scans_sequences: Flag | None = None
    transposes_values: Flag | None = None

    def figures(self) -> tuple[tuple[str, Any], ...]:
        """Pairs of a field of ``hardware.FusedKernels`` and its value."""
        given = self.model_dump(exclude={"chips"}, exclude_none=True)
        return tuple((_FIELDS.get(name, name), value) for name, value in given.items())


class EightBitCacheConfig(Section):
    """What is different of the kernels that read a cache of 8 bits."""

    row_tile: RowTile | None = None
    query_tile: Count | None = None
    most_splits: Count | None = None
    split_group: Count | None = None
    packs_groups: Flag | None = None
    copies_groups: Flag | None = None
    splits_prompts: Flag | None = None
    regroups_windows: Flag | None = None
    fits_tiles: Flag | None = None
    always_joins: Flag | None = None
    block_elements: Count | None = None

    def figures(self) -> tuple[tuple[str, Any], ...]:
        """Pairs of a field of ``hardware.FusedKernels`` and its value."""
        return tuple(self.model_dump(exclude_none=True).items())
