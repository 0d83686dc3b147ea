"""What attention on a GPU pays for each sequence and each token of a batch, whatever they hold: the
search of the tile scheduler, and the kernel that writes new keys and values to the cache.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import CLOCK_HZ, FUSED_SCANS, UNIT_COUNT
from simulator.kernels.jit import inner

SCANNED = 31
"""Sequences that a warp looks through at once: a lane each, and one for the next
(VarlenDynamicPersistentTileScheduler of FlashAttention-3)."""

SCAN_PS = 430_000.0
"""For these: loads from L2 and prefix sums over the lanes. H100 and H200 agree within a tenth."""

MOST_SCANNED = 992
"""Of larger batches nobody sorts the sequences beforehand, and none is looked through (the same,
prepare_varlen_num_blocks); the price stays that of 992, so that more sequences cost no less."""

UPDATE_PS = 2_500_000.0
"""A block of threads that writes the keys and values of one token to the cache: read where they
belong, read them, convert, write. It is latency: A100, H100, H200 and B200 agree within a fifth."""

UPDATE_EIGHT_BIT_PS = 1_000_000.0
"""The same where elements are scaled and rounded to 8 bits, which is counted apart. Least error, in
steps of 50 ns, over one half of the fp8 prompts of H100, H200 and B200 (vLLM 0.24.0) together."""

UPDATE_EIGHT_BIT_REGISTERS = 80
"""Registers of a thread of that kernel. Inferred: on H100 and B200 prompts with blocks of 512
threads wait two to three times as long as with 256, of which three fit where one of 512 does."""

ROUNDED_ELEMENTS = 2.8
"""Elements that a multiprocessor scales and rounds to 8 bits in a cycle; the kernel divides each by
the scale (vLLM, quant_utils.cuh). Fitted with ``UPDATE_EIGHT_BIT_PS``, in steps of 0.2."""

UPDATE_THREADS = 512
"""Most threads of such a block; fewer where a token has fewer elements (vLLM, cache_kernels.cu)."""

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
    return steps * SCAN_PS * 1e-12 * chip[CLOCK_HZ]


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
        return tokens * share * UPDATE_PS * 1e-12 * chip[CLOCK_HZ]
    padded = ceil_div(threads, WARP) * WARP
    blocks = min(RESIDENT_BLOCKS, REGISTERS // (UPDATE_EIGHT_BIT_REGISTERS * padded))
    one = UPDATE_EIGHT_BIT_PS * 1e-12 * chip[CLOCK_HZ] / blocks + written / ROUNDED_ELEMENTS
    return float(tokens * one / chip[UNIT_COUNT])
