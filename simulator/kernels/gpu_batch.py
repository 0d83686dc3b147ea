"""What attention on a GPU pays for each sequence and each token of a batch, whatever they hold: the
search of the tile scheduler, and the kernel that writes new keys and values to the cache.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import CLOCK_HZ, FUSED_SCANS, PER_MILLION, UNIT_COUNT
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    ATTENTION_ROUNDED,
    ATTENTION_SCAN_PS,
    ATTENTION_UPDATE_EIGHT_BIT_PS,
    ATTENTION_UPDATE_PS,
    ATTENTION_UPDATE_REGISTERS,
)

SCANNED = 31
"""Sequences that a warp looks through at once: a lane each, and one for the next
(VarlenDynamicPersistentTileScheduler of FlashAttention-3)."""

MOST_SCANNED = 992
"""Of larger batches nobody sorts the sequences beforehand, and none is looked through (the same,
prepare_varlen_num_blocks); the price stays that of 992, so that more sequences cost no less."""

UPDATE_THREADS = 512
"""Most threads of a block that writes a token to the cache; fewer where a token has fewer elements
(vLLM, cache_kernels.cu)."""

RESIDENT_THREADS = 2048
"""Threads that a multiprocessor has at once (CUDA programming guide, compute capabilities 8.0 to
10.0)."""

REGISTERS = 65536
"""Of a multiprocessor (the same guide)."""

RESIDENT_BLOCKS = 32
"""Blocks of threads that a multiprocessor has at once (the same, 9.0 and 10.0)."""

WARP = 32
"""Threads."""


@inner
def scan_cycles(chip: Int64Array, sequences: int) -> float:
    """Cycles that the tile scheduler spends on looking through the sequences of a batch."""
    if chip[FUSED_SCANS] == 0:
        return 0.0
    steps = min(sequences, MOST_SCANNED) / float(SCANNED)
    return steps * chip[ATTENTION_SCAN_PS] * 1e-12 * chip[CLOCK_HZ]


@inner
def update_cycles(
    chip: Int64Array, tokens: int, elements: int, written: int, kv_bits: int
) -> float:
    """Cycles of the kernel that writes ``tokens`` to the cache, if it moved nothing: a block of
    threads a token, as many at once as the multiprocessors have room for.

    A block has as many threads as a key, or a latent vector, has ``elements``, and writes
    ``written`` elements."""
    threads = min(elements, UPDATE_THREADS)
    if kv_bits != 8:
        share = threads / float(RESIDENT_THREADS * chip[UNIT_COUNT])
        return float(tokens * share * chip[ATTENTION_UPDATE_PS] * 1e-12 * chip[CLOCK_HZ])
    padded = ceil_div(threads, WARP) * WARP
    blocks = min(RESIDENT_BLOCKS, REGISTERS // (chip[ATTENTION_UPDATE_REGISTERS] * padded))
    one = chip[ATTENTION_UPDATE_EIGHT_BIT_PS] * 1e-12 * chip[CLOCK_HZ] / blocks
    one += written / (chip[ATTENTION_ROUNDED] / PER_MILLION)
    return float(tokens * one / chip[UNIT_COUNT])
