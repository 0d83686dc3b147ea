"""Attention over a batch of sequences of different lengths, fused (the scores stay on chip).

For each key-value head the unit multiplies blocks of queries with all keys that they see, and the
resulting weights with the values. A block is as many queries as keep the array streaming for as
long as its next operand takes to load. Keys and values are read from HBM once for each pass over
the queries; more than one pass is needed only where the queries and their partial outputs do not
fit half of the tile share of SRAM (FlashAttention-2, Dao, arXiv 2307.08691, section 3.1).

A sliding window w lets a query see the last w keys, itself included (Beltagy et al., arXiv
2004.05150, section 3.1); blocks of keys that no query of a block sees are skipped.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    COLS,
    DATAFLOW,
    ROWS,
    SYSTOLIC,
    TILE_BYTES,
    UNIT_KIND,
    UNIT_RATE,
)
from simulator.kernels.jit import inner
from simulator.kernels.matrix_unit import ACCUMULATOR_BYTES, fold_stream
from simulator.kernels.systolic import OS

WARP_ROWS = 64
"""Rows of the smallest tensor-core instruction tile (wgmma m64, PTX ISA 8.0, section 9.7.14)."""

TENSOR_CORE_QUERIES = 128
"""Query rows of a block on a tensor core (FlashAttention-3, arXiv 2407.08608, section 3.1)."""

KV_BLOCK_TOKENS = 128
"""Keys that are fetched, multiplied and dropped together."""

Shape = tuple[int, int, int, int]
"""Of one key-value head: query heads that share it, key and value dimension, window (0: none)."""


@inner
def attended_pairs(new: int, past: int, window: int) -> int:
    """Unmasked query-key pairs of one head: query i of ``new`` sees min(past + i, window) keys."""
    if window == 0 or past + new <= window:
        return new * past + new * (new + 1) // 2
    growing = max(0, window - past)
    return growing * past + growing * (growing + 1) // 2 + (new - growing) * window


@inner
def needed_keys(new: int, past: int, window: int) -> int:
    """Cached keys that some of ``new`` queries sees."""
    if window == 0:
        return past
    return min(past, window - 1)


@inner
def block_keys(last: int, size: int, window: int) -> int:
    """Keys that a block of ``size`` queries sees, the last of them being key number ``last``."""
    if window == 0:
        return last
    return min(last, window + size - 1)


@inner
def product_cycles(chip: Int64Array, rows: int, k: int, n: int) -> int:
    """Cycles of one array (or multiprocessor) for rows x k times k x n, either operand held."""
    rate = chip[UNIT_RATE]
    if chip[UNIT_KIND] != SYSTOLIC:
        padded = ceil_div(rows, WARP_ROWS) * WARP_ROWS
        return ceil_div(padded * k * n, rate)
    r, c = chip[ROWS], chip[COLS]
    if chip[DATAFLOW] == OS:
        return ceil_div(rows, r) * ceil_div(n, c) * (ceil_div(k, rate) + r + c - 2)
    depth = ceil_div(k, r)
    held_n = depth * ceil_div(n, c) * fold_stream(chip, ceil_div(rows, rate))
    held_rows = depth * ceil_div(rows, c) * fold_stream(chip, ceil_div(n, rate))
    return min(held_n, held_rows)


@inner
def query_block(chip: Int64Array, group: int) -> int:
    """Query tokens of one block, when ``group`` query heads share a key-value head."""
    if chip[UNIT_KIND] == SYSTOLIC:
        return max(1, ceil_div(chip[ROWS] * chip[UNIT_RATE], group))
    return max(1, TENSOR_CORE_QUERIES // group)


@inner
def sequence_cycles(
    chip: Int64Array, new: int, past: int, shape: Shape
) -> tuple[int, int, int, int]:
    """(unit cycles, scores, keys fed, key blocks) of one key-value head of one sequence.

    ``new`` query tokens see ``past`` keys and, causally, each other. Scores and keys count whole
    blocks of queries.
    """
    group, key_dim, value_dim, window = shape
    block = query_block(chip, group)
    cycles = 0
    scores = 0
    fed = 0
    blocks = 0
    start = 0
    while start < new:
        size = min(block, new - start)
        keys = block_keys(past + start + size, size, window)
        rows = size * group
        cycles += product_cycles(chip, rows, key_dim, keys)
        cycles += product_cycles(chip, rows, keys, value_dim)
        scores += rows * keys
        fed += keys
        blocks += ceil_div(keys, KV_BLOCK_TOKENS)
        start += size
    return cycles, scores, fed, blocks


@inner
def kv_passes(chip: Int64Array, new: int, group: int, value_dim: int, bits: int) -> int:
    """How often a sequence's keys and values are read from HBM."""
    size = new * group * value_dim * (bits_to_bytes(bits) + ACCUMULATOR_BYTES)
    return max(1, ceil_div(2 * size, chip[TILE_BYTES]))
