"""How the fused kernels of a GPU's software stack run: attention and grouped expert matmuls.

Rates and latencies are fitted to measurements, the other fields describe the kernels; see
``docs/attention.md``. A chip without figures of its own has the neutral ones, which leave only the
bounds of its units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

NO_LIMIT_BYTES_PER_S = 1 << 50

DECODE_ROWS = 64
"""Most query rows of a decode tile; more of them, as with latent attention, make more tiles."""

USUAL = "usual"
"""The library of expert matmuls that an engine takes for the data types; others go by name."""

EXPERT_KERNELS = 7
"""Kernels of an expert layer: sort and permute, two matmuls, gate, two for the exchange, sum."""


@dataclass(frozen=True, slots=True)
class FusedKernels:
    """Of the kernels that work on tiles of queries or of an expert's tokens.

    ``launch_ps``: launch, first loads and tail of the operator. ``kernel_launch_ps``: each further
    kernel of it. ``expert_launch_ps``: all launches and tails of a layer of experts; those of
    ``EXPERT_KERNELS`` kernels unless given. ``tile_latency_ps``: what a multiprocessor needs for a
    tile of queries beside its keys (prologue, masked edge, epilogue).
    ``sm_bandwidth_bytes_per_s``: what one multiprocessor can fetch, with the loads that it keeps in
    flight. ``matrix_efficiency`` of the products and softmax of attention, ``expert_efficiency`` of
    grouped matmuls, ``stream_efficiency`` of HBM for prompts and for elementwise kernels, as shares
    of the peak or of the sustained bandwidth.

    ``row_tile``: rows to whose multiples the queries of a decode tile are padded, a divisor of
    ``DECODE_ROWS``; ``query_tile``: query rows of a prompt's tile, of all heads of a group if
    ``packs_groups``; ``most_splits`` of the keys of a sequence, for at least ``split_group`` query
    heads a key-value head; ``window_edges``: tile latencies of a windowed decode tile;
    ``quantizes_queries``: 8-bit attention begins with a kernel that converts its queries, and
    experts of 8 bits with one that converts their tokens; ``carries_absent``: Triton's expert
    kernels carry the rows of tokens for other ranks' experts along; ``expert_row_tile``: most rows
    of a tile of their matmuls; ``copies_groups``: decoding several sequences with several key-value
    heads and grouped queries begins and ends with a kernel that regroups queries and results;
    ``splits_prompts``: keys of a prompt are split as well where its tiles are fewer than the
    multiprocessors;
    ``narrow_query_tile``: the ``query_tile`` of heads of up to 64 elements, whose results take half
    the registers; the same unless given. ``softmax_efficiency``: share of its 16 exponentials a
    cycle that a multiprocessor reaches; ``overlaps_softmax``: other warps compute them while the
    tensor cores work on the next keys. ``scans_sequences``: the tile scheduler looks through the
    sequences of a batch. ``transposes_values``: 8-bit values are turned round in shared memory
    before they are multiplied. ``narrow_expert_launch_ps``: ``expert_launch`` of experts with
    activations of 8 bits or less, where another library runs them, which also scales blocks of
    activations after it has sorted them. ``gathers_rows``: matmuls of experts gather their rows and
    gate their results themselves. ``tile_of_mean``: the rows of their tiles follow from the mean of
    the tokens of an expert, not from what is fastest. ``generic_eight_bit``: heads in 8-bit caches
    whose elements are no power of two go to a kernel that takes any, in Triton.

    ``cache_arithmetic``: types of the cache to which queries are converted, so that attention
    multiplies in them; over others it multiplies in 16 bits. ``regroups_windows``: the query heads
    of a group share a tile while decoding with a window, too; else each has its own, one head after
    the other over the whole batch, and keys are not split. ``fits_tiles``: tiles have 16 or 64 rows
    where a sequence has no more, and 64 of heads of 256 elements. ``always_joins``: decoding ends
    with the kernel that joins parts even of keys that are not split. ``block_elements``: elements
    of a block of keys, which has a power of two of them and is computed whole; blocks of 128 keys
    unless given. ``splits_latent``: keys of latent attention are split, too.
    ``eight_bit_cache``: what is different for a cache of 8 bits, which another library reads.
    """

    launch_ps: int
    kernel_launch_ps: int = 0
    tile_latency_ps: int = 0
    sm_bandwidth_bytes_per_s: int = NO_LIMIT_BYTES_PER_S
    matrix_efficiency: float = 1.0
    expert_efficiency: float = 1.0
    stream_efficiency: float = 1.0
    row_tile: int = 64
    query_tile: int = 128
    most_splits: int = 32
    split_group: int = 1
    window_edges: int = 1
    packs_groups: bool = True
    quantizes_queries: bool = False
    carries_absent: bool = False
    copies_groups: bool = False
    splits_prompts: bool = False
    narrow_query_tile: int | None = None
    softmax_efficiency: float = 1.0
    overlaps_softmax: bool = False
    scans_sequences: bool = False
    transposes_values: bool = False
    expert_launch_ps: int | None = None
    expert_row_tile: int = 128
    narrow_expert_launch_ps: int | None = None
    gathers_rows: bool = False
    tile_of_mean: bool = False
    generic_eight_bit: bool = False
    cache_arithmetic: tuple[str, ...] = ()
    regroups_windows: bool = True
    fits_tiles: bool = False
    always_joins: bool = False
    splits_latent: bool = True
    block_elements: int | None = None
    eight_bit_cache: tuple[tuple[str, Any], ...] = ()

    def with_cache(self, bits: int) -> FusedKernels:
        """The kernels for a cache of so many bits an element."""
        return self if bits > 8 else replace(self, **dict(self.eight_bit_cache))

    @property
    def expert_launch(self) -> int:
        """Picoseconds of the launches of a layer of experts."""
        if self.expert_launch_ps is not None:
            return self.expert_launch_ps
        return self.launch_ps + (EXPERT_KERNELS - 1) * self.kernel_launch_ps
