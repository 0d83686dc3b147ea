"""Schema of the attention and expert kernels that a GPU's software has."""

from __future__ import annotations

from pydantic import Field

from simulator.config.attention_schema import EightBitCacheConfig
from simulator.config.fields import Bandwidth, Count, Delay, Dtype, Flag, Fraction, RowTile, Section
from simulator.hardware import FusedKernels
from simulator.hardware.fused_kernels import DECODE_ROWS, NO_LIMIT_BYTES_PER_S


class FusedKernelsConfig(Section):
    """Attention and expert kernels of a GPU's software; see ``hardware.FusedKernels``."""

    launch: Delay
    kernel_launch: Delay | None = None
    tile_latency: Delay = 0
    sm_bandwidth: Bandwidth = NO_LIMIT_BYTES_PER_S
    matrix_efficiency: Fraction = 1.0
    expert_efficiency: Fraction = 1.0
    stream_efficiency: Fraction = 1.0
    row_tile: RowTile = DECODE_ROWS
    query_tile: Count = 128
    most_splits: Count = 32
    split_group: Count = 1
    window_edges: Count = 1
    packs_groups: Flag = True
    quantizes_queries: Flag = False
    carries_absent: Flag = False
    copies_groups: Flag = False
    splits_prompts: Flag = False
    narrow_query_tile: Count | None = None
    softmax_efficiency: Fraction = 1.0
    overlaps_softmax: Flag = False
    scans_sequences: Flag = False
    transposes_values: Flag = False
    expert_launch: Delay | None = None
    expert_row_tile: Count = 128
    narrow_expert_launch: Delay | None = None
    gathers_rows: Flag = False
    tile_of_mean: Flag = False
    generic_eight_bit: Flag = False
    cache_arithmetic: list[Dtype] = Field(default=[])
    regroups_windows: Flag = True
    fits_tiles: Flag = False
    always_joins: Flag = False
    splits_latent: Flag = True
    block_elements: Count | None = None
    eight_bit_cache: EightBitCacheConfig = EightBitCacheConfig()

    def build(self, matmul_launch_ps: int) -> FusedKernels:
        """The kernels' specification; a further kernel takes what a matmul's launch does,
        ``matmul_launch_ps``, unless the file says what it takes."""
        further = self.kernel_launch
        return FusedKernels(
            launch_ps=self.launch,
            kernel_launch_ps=matmul_launch_ps if further is None else further,
            tile_latency_ps=self.tile_latency,
            sm_bandwidth_bytes_per_s=self.sm_bandwidth,
            matrix_efficiency=self.matrix_efficiency,
            expert_efficiency=self.expert_efficiency,
            stream_efficiency=self.stream_efficiency,
            row_tile=self.row_tile,
            query_tile=self.query_tile,
            most_splits=self.most_splits,
            split_group=self.split_group,
            window_edges=self.window_edges,
            packs_groups=self.packs_groups,
            quantizes_queries=self.quantizes_queries,
            carries_absent=self.carries_absent,
            copies_groups=self.copies_groups,
            splits_prompts=self.splits_prompts,
            narrow_query_tile=self.narrow_query_tile,
            softmax_efficiency=self.softmax_efficiency,
            overlaps_softmax=self.overlaps_softmax,
            scans_sequences=self.scans_sequences,
            transposes_values=self.transposes_values,
            expert_launch_ps=self.expert_launch,
            expert_row_tile=self.expert_row_tile,
            narrow_expert_launch_ps=self.narrow_expert_launch,
            gathers_rows=self.gathers_rows,
            tile_of_mean=self.tile_of_mean,
            generic_eight_bit=self.generic_eight_bit,
            cache_arithmetic=tuple(str(dtype) for dtype in self.cache_arithmetic),
            regroups_windows=self.regroups_windows,
            fits_tiles=self.fits_tiles,
            always_joins=self.always_joins,
            splits_latent=self.splits_latent,
            block_elements=self.block_elements,
            eight_bit_cache=self.eight_bit_cache.figures(),
        )
