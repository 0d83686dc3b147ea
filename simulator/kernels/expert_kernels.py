"""What the libraries of grouped expert matmuls on GPUs do: tiles, latencies, overlap.

Rules and shapes of a library hold for every chip, as do its rates and times, which are in
``configs/libraries`` (``docs/moe.md``).
"""

from __future__ import annotations

from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import FUSED_EXPERT_ROWS, FUSED_TILE_OF_MEAN, PER_MILLION
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    CUTLASS_LATENCIES,
    CUTLASS_OVERLAP,
    MARLIN_FULLEST,
    MARLIN_LATENCIES,
    TRITON_OVERLAP,
    TRITON_SHARERS,
    TRTLLM_OVERLAP,
)

PLAIN = 0
BLOCKS = 1
"""Activations share a scale in groups of ``BLOCK``, weights in squares of it (DeepSeek-V3, arXiv
2412.19437, section 3.3.2)."""
INTEGERS = 2
"""16-bit activations, 4-bit integer weights: the Marlin kernels of vLLM."""

TRITON = 0
"""The kernels that an engine takes for want of others; their best tile is looked for."""
CUTLASS = 1
"""Persistent kernels with warps for each task, tuned: a multiprocessor has one tile at a time, its
tiles are given out before, columns of a tile go up to 256, and the rows of an expert run beside
each other, so that its weights come once (TensorRT-LLM, ``cutlass_kernels/moe_gemm``)."""
TRTLLM = 2
"""trtllm-gen of FlashInfer; its tiles follow from the mean load where it is not tuned
(``tile_of_mean``)."""
MARLIN = 3
"""4-bit weights and 16-bit activations in vLLM; its tiles follow from the mean load, too."""
OPENAI = 4
"""The Triton kernels of gpt-oss, for 4-bit floats and 16-bit activations; so do theirs."""

LIBRARIES = ("triton", "cutlass", "trtllm", "marlin", "openai")
"""Names of the libraries, in the order of their numbers."""

MARLIN_FEWEST_ROWS = 8
"""Rows of its instruction, whose operands it swaps."""

SMALLEST_ROWS = 16
"""Fewest rows of a tile of a grouped matmul; the others are its doubles, up to the chip's
``expert_row_tile``."""

FEWEST_ROWS = 8
"""The same where the operands are swapped: tokens are the columns of an instruction of 128 rows."""

NARROW_COLUMNS = 64
WIDE_COLUMNS = 128
WIDEST_COLUMNS = 256
"""Output columns of a tile of a grouped matmul; the widest are CUTLASS's."""

TRTLLM_PADDING = 256
OPENAI_PADDING = 128
"""Both widths of a layer with 4-bit floats for 8- or 16-bit activations are rounded up to these
when an engine loads it (vLLM, ``mxfp4_round_up_hidden_size_and_intermediate_size``)."""


@inner
def overlap_order(chip: Int64Array, library: int) -> float:
    """Order of the norm that joins the times of arithmetic and of HBM."""
    order = chip[TRITON_OVERLAP]
    if library == TRTLLM:
        order = chip[TRTLLM_OVERLAP]
    elif library == CUTLASS:
        order = chip[CUTLASS_OVERLAP]
    return float(order / PER_MILLION)


@inner
def latencies(chip: Int64Array, library: int) -> float:
    """Latencies of a tile of which a multiprocessor takes the time."""
    if library == MARLIN:
        return float(chip[MARLIN_LATENCIES] / PER_MILLION)
    if library == CUTLASS:
        return float(chip[CUTLASS_LATENCIES] / PER_MILLION)
    return float(PER_MILLION / chip[TRITON_SHARERS])


@inner
def guesses(chip: Int64Array, library: int) -> bool:
    """Whether a library takes its tile by the mean load, not by what is fastest: trtllm-gen unless
    tuned."""
    if library == TRTLLM:
        untuned: bool = chip[FUSED_TILE_OF_MEAN] == 1
        return untuned
    return library in (MARLIN, OPENAI)


@inner
def first_rows(library: int) -> int:
    """Rows of the smallest tile."""
    return FEWEST_ROWS if library in (TRTLLM, MARLIN) else SMALLEST_ROWS


@inner
def next_rows(rows: int, library: int) -> int:
    """The next larger tile: twice the rows, but Marlin has one of 48, too."""
    if library == MARLIN and 32 <= rows < 64:
        return rows + 16
    return 2 * rows


@inner
def largest_load(chip: Int64Array, rows: int, library: int) -> float:
    """The largest mean load of an expert for which a library takes a tile of ``rows``.

    FlashInfer (``computeSelectedTileN``, ``selectDefaultTileN``) rounds the mean up to a power of
    two and, unless tuned, takes the size below; gpt-oss's kernels round it up (triton_kernels,
    ``opt_flags``); Marlin fills its share ``fullest``.
    """
    if library == OPENAI:
        return float(rows)
    if library == MARLIN:
        return float(chip[MARLIN_FULLEST] / PER_MILLION * rows)
    return 2.0 * rows


@inner
def most_rows(chip: Int64Array, bits: tuple[int, int], library: int) -> int:
    """Rows of the largest tile of a library.

    Unless tuned, trtllm-gen's go to 64 on Blackwell; to 128 with 4-bit weights and narrow
    activations, to 32 with 4-bit weights and 16-bit ones.
    """
    most: int = max(FEWEST_ROWS, chip[FUSED_EXPERT_ROWS])
    if library == MARLIN:
        return 64
    if library == TRTLLM and bits[1] <= 4:
        return most * 2 if bits[0] < 16 else max(FEWEST_ROWS, most // 2)
    return most


@inner
def padded(size: int, bits: tuple[int, int], library: int) -> int:
    """A width of the layer as an engine stores its weights; ``bits`` of (activations, weights)."""
    if bits[1] > 4 or bits[0] <= 4 or library not in (TRTLLM, OPENAI):
        return size
    step = TRTLLM_PADDING if library == TRTLLM else OPENAI_PADDING
    return (size + step - 1) // step * step
