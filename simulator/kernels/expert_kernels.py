"""What the libraries of grouped expert matmuls on GPUs do: tiles, latencies, overlap.

The figures of a library hold for every chip; those that differ between chips are in their files.
What is fitted was fitted to tables of aiconfigurator-core 0.12.0, on half of the rows
(``docs/moe.md``).
"""

from __future__ import annotations

from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import FUSED_EXPERT_ROWS, FUSED_TILE_OF_MEAN
from simulator.kernels.jit import inner

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

MARLIN_MACS = 594
"""Multiply-accumulates a cycle and multiprocessor that Marlin reaches. It is made of the mma.sync
instructions of Ampere, 1,024 a cycle (NVIDIA A100 white paper), on newer chips, too. Fitted once
with the four figures that follow, on the tables of H100, H200 and four Blackwell chips."""

MARLIN_INTEGERS = 34.0
MARLIN_FLOATS = 24.0
"""Weights of 4 bits, integers with scales for 128 or floats with scales for 32, that a
multiprocessor converts in a cycle."""

MARLIN_OVERLAP = 2.0
"""Order of the norm by which its products and its conversions overlap within a multiprocessor."""

MARLIN_LATENCY = 0.36
"""Share of the latency of a tile: the stripes that a multiprocessor works off cross tiles."""

MARLIN_FEWEST_ROWS = 8
"""Rows of its instruction, whose operands it swaps."""

MARLIN_FULL = 0.9
"""Marlin takes the smallest tile of which the mean load fills less (vLLM, ``fused_marlin_moe``)."""

SMALLEST_ROWS = 16
"""Fewest rows of a tile of a grouped matmul; the others are its doubles, up to the chip's
``expert_row_tile``."""

FEWEST_ROWS = 8
"""The same where the operands are swapped: tokens are the columns of an instruction of 128 rows."""

NARROW_COLUMNS = 64
WIDE_COLUMNS = 128
WIDEST_COLUMNS = 256
"""Output columns of a tile of a grouped matmul; the widest are CUTLASS's."""

SHARERS = 2.0
"""Tiles that a multiprocessor works on at a time: half of the latency of each is hidden."""

CUTLASS_LATENCY = 1.5
"""Latencies of a tile of CUTLASS: nothing of one is hidden, and before it starts with another
expert it writes that expert's tensor maps and waits for them (1, 1.5 and 2 were tried)."""

OPENAI_WEIGHT_BITS = 10.0
"""Bits of a weight of which the loads take as long as those of 4 bits and their conversion to 16
(6, 8, 10 and 16 were tried on H100)."""

OVERLAP = 3.0
CUTLASS_OVERLAP = 2.0
TRTLLM_OVERLAP = 4.0
"""Order of the norm by which arithmetic and HBM overlap: one tile at a time hides less, warps with
tasks of their own hide more."""

TRTLLM_SCALED_PS = 73_000.0
"""A multiprocessor that scales a group of activations after the other, for trtllm-gen."""

TRTLLM_GATED_PS = 220_000.0
TRTLLM_ABSENT_PS = 40_000.0
"""A group that is gated and scaled, by a block of its own, and a block that finds that its copy
went to another rank. The three figures were fitted on B200."""

TRTLLM_ROUTE_PS = 270.0
"""An assignment that the kernels of trtllm-gen count and list by experts (B200)."""

TRTLLM_SUMMED = 0.63
"""Share of HBM's time that a row which they sum takes: L2 holds some of them, and those of other
ranks' experts are passed by (B200)."""

TRTLLM_PADDING = 256
OPENAI_PADDING = 128
"""Both widths of a layer with 4-bit floats for 8- or 16-bit activations are rounded up to these
when an engine loads it (vLLM, ``mxfp4_round_up_hidden_size_and_intermediate_size``)."""


@inner
def overlap_order(library: int) -> float:
    """Order of the norm that joins the times of arithmetic and of HBM."""
    if library == TRTLLM:
        return TRTLLM_OVERLAP
    return CUTLASS_OVERLAP if library == CUTLASS else OVERLAP


@inner
def latencies(library: int) -> float:
    """Latencies of a tile of which a multiprocessor takes the time."""
    if library == MARLIN:
        return MARLIN_LATENCY
    return CUTLASS_LATENCY if library == CUTLASS else 1.0 / SHARERS


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
def largest_load(rows: int, library: int) -> float:
    """The largest mean load of an expert for which a library takes a tile of ``rows``.

    FlashInfer (``computeSelectedTileN``, ``selectDefaultTileN``) rounds the mean up to a power of
    two and, unless tuned, takes the size below; gpt-oss's kernels round it up (triton_kernels,
    ``opt_flags``); Marlin see ``MARLIN_FULL``.
    """
    if library == OPENAI:
        return float(rows)
    return MARLIN_FULL * rows if library == MARLIN else 2.0 * rows


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
