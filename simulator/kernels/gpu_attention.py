"""Attention on a GPU: tiles of queries over multiprocessors (FlashAttention-2 and -3, Dao, arXiv
2307.08691; Shah et al., arXiv 2407.08608; split keys: Flash-Decoding, Dao et al., 2023).

A multiprocessor works on one tile at a time. A tile costs its latency and, for each key, the
products with keys and values and the softmax of its rows, or what the multiprocessor can fetch if
that is slower. Queries of decoding fill one tile a key-value head; where there are fewer tiles than
multiprocessors their keys can be split, and another kernel joins the parts: a batch has the
shorter one of its times with and without.
A prompt's tiles see whole blocks of keys up to their last query, and fetch their queries and write
their results through the same port as the keys. The longest tiles go first, so that the last to end
are the shortest: half of one of those is lost where the tiles do not fill the multiprocessors
evenly.

All times are cycles of the chip, in float64: the kernels below only multiply and add.
"""

from __future__ import annotations

from simulator.hardware.fused_kernels import DECODE_ROWS
from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.attention import KV_BLOCK_TOKENS, Shape
from simulator.kernels.chip_vector import (
    ATTENTION_BITS,
    ATTENTION_RATE,
    CLOCK_HZ,
    FUSED_BLOCK_ELEMENTS,
    FUSED_EDGES,
    FUSED_FITS,
    FUSED_GENERIC,
    FUSED_MATRIX,
    FUSED_OVERLAPS,
    FUSED_PACKS,
    FUSED_ROW_TILE,
    FUSED_SM_BYTES_PER_S,
    FUSED_SOFTMAX,
    FUSED_SPLIT_GROUP,
    FUSED_SPLITS,
    FUSED_SPLITS_LATENT,
    FUSED_TILE_PS,
    FUSED_TRANSPOSES,
    PER_MILLION,
    PLAIN_RATE,
)
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    ATTENTION_CONVERTED,
    ATTENTION_EXPONENTIALS,
    ATTENTION_GENERIC,
    ATTENTION_SOFTMAX_OVERLAP,
    ATTENTION_TRANSPOSED,
)

NARROW_HEAD = 64
"""Elements of a head of which more query rows fit the registers."""

SHORT_TILE = 16
MIDDLE_TILE = 64
TILE_WARPS = 4
"""Rows of FlashInfer's tiles of few queries (FA2DetermineCtaTileQ, utils.cuh)."""

GENERIC_ROWS = 16
"""Least query rows of a program of Triton's kernel, which packs a group's heads (BLOCK_M of vLLM's
triton_unified_attention.py)."""

LEAST_BLOCK = 64
MOST_BLOCK = 256
"""Keys of a block where it has so many elements (FlashAttention-2, flash_fwd_launch_template.h)."""

GENERIC_KEYS = 32
"""Keys that it takes at a time (TILE_SIZE)."""

GENERIC_SPLITS = 16
"""Parts into which it splits the keys of a decoding sequence (NUM_PAR_SOFTMAX_SEGMENTS)."""

# Counted over a batch, float64[TILE_FIELDS]; once as if no keys were split, once as if all were
# that can be.
BUSY = 0
"""Cycles of all multiprocessors together that they work on keys."""
LONGEST_DECODE = 1
LONGEST_PROMPT = 2
PROMPT_TILES = 3
FED_BYTES = 4
"""Keys and values that the tiles take from L2."""
PARTS = 5
"""Tiles, with as many parts of their keys as they could have; 0 where keys are not split."""
MMA_CYCLES = 6
ROUNDS = 7
EXP_CYCLES = 8
PART_BYTES = 9
"""Results of a part of the keys of a tile, in 32 bits, written by the tile and read by the kernel
that joins the parts."""
SHORT_PROMPT = 10
"""Cycles of a prompt's tile with one block of keys."""
LATENCIES = 11
"""Cycles of all multiprocessors together in which tiles do nothing with keys, unless split."""
LATENCY = 12
"""The same of one tile."""
DECODE_BUSY = 13
"""What decodes have of ``BUSY`` and ``LATENCIES``."""
TILE_FIELDS = 14

DecodeTile = tuple[int, float, float, float, float, float, float, int, int]
"""(tiles of a sequence, cycles of the softmax for a key, cycles for a key, latency of a tile,
multiprocessors for a tile, cycles of the products for a key, bytes of a part of a split, keys of a
block, most parts)"""


@inner
def cycles_of(chip: Int64Array, ps: int) -> float:
    """Picoseconds in cycles of the chip."""
    return float(ps) * chip[CLOCK_HZ] / 1e12


@inner
def joined(first: float, second: float, order: float) -> float:
    """Time of two streams of work that overlap, but not where one waits for the other.

    The norm of an order: the longer one where they differ; never below either, growing with both.
    """
    longer = max(first, second)
    if longer == 0.0:
        return 0.0
    return float(longer * (1.0 + (min(first, second) / longer) ** order) ** (1.0 / order))


@inner
def is_decode(chip: Int64Array, new: int, group: int) -> bool:
    """Whether the queries of a sequence are one decode tile for each key-value head.

    Where a tile packs the heads of a group it can be that of several queries, too."""
    return new == 1 or (chip[FUSED_PACKS] == 1 and new * group <= DECODE_ROWS)


@inner
def decode_tiles(new: int, group: int) -> int:
    """Tiles of one key-value head while decoding, before its keys are split."""
    return ceil_div(new * group, DECODE_ROWS)


@inner
def is_generic(chip: Int64Array, shape: Shape, token_bytes: float) -> bool:
    """Whether a kernel that takes any head runs: 8-bit keys whose elements are no power of two."""
    dim = shape[1]
    eight = dim == shape[2] and token_bytes <= 2 * dim
    return chip[FUSED_GENERIC] == 1 and eight and dim & (dim - 1) != 0


@inner
def power_of_two(least: int) -> int:
    """The least power of two that is not below ``least``."""
    power = 1
    while power < least:
        power *= 2
    return power


@inner
def fitting_keys(rows: int, dim: int) -> int:
    """Keys of a block of FlashInfer's tiles of 64 or 128 rows: what registers hold of the scores,
    and shared memory of heads of 256 elements (prefill.cuh, max_num_mma_kv_reg and _smem)."""
    if rows > MIDDLE_TILE:
        return 64
    return 128 if dim < 256 else 32


@inner
def key_block(chip: Int64Array, shape: Shape, token_bytes: float, rows: int) -> int:
    """Keys that a tile of so many rows fetches and multiplies together."""
    if is_generic(chip, shape, token_bytes):
        return GENERIC_KEYS
    if chip[FUSED_FITS] == 1 and rows > SHORT_TILE:
        return fitting_keys(rows, shape[1])
    if chip[FUSED_BLOCK_ELEMENTS] == 0:
        return KV_BLOCK_TOKENS
    most = chip[FUSED_BLOCK_ELEMENTS] // shape[1]
    return max(LEAST_BLOCK, min(MOST_BLOCK, power_of_two(most // 2 + 1)))


@inner
def result_bits(bits: int) -> int:
    """Bits of an element of the results of attention in ``bits``, and of new keys and values, which
    come from other operators: 16, or more."""
    return max(16, bits)


@inner
def products(chip: Int64Array, rows: int, shape: Shape, bits: int) -> float:
    """Cycles of one multiprocessor for the products of ``rows`` queries with one key and value, all
    of ``bits``: those that attention multiplies in, or 16."""
    rate = chip[ATTENTION_RATE] if bits == chip[ATTENTION_BITS] else chip[PLAIN_RATE]
    return rows * (shape[1] + shape[2]) / float(rate)


@inner
def softmax(chip: Int64Array, rows: int) -> float:
    """Cycles of one multiprocessor for the softmax of ``rows`` queries and one key."""
    return rows * float(PER_MILLION) / chip[ATTENTION_EXPONENTIALS] / chip[FUSED_SOFTMAX]


@inner
def key_cycles(chip: Int64Array, rows: int, shape: Shape, bits: int, token_bytes: float) -> float:
    """Cycles of one multiprocessor for one key: products and softmax, or its fetch.

    Warps that wait for each other's results do both one after the other, others side by side,
    with waits in between.
    """
    matrix = products(chip, rows, shape, bits)
    scores = softmax(chip, rows)
    arithmetic = matrix + scores
    if chip[FUSED_OVERLAPS] == 1:
        arithmetic = joined(matrix, scores, chip[ATTENTION_SOFTMAX_OVERLAP] / PER_MILLION)
    fetched = token_bytes / float(chip[FUSED_SM_BYTES_PER_S]) * chip[CLOCK_HZ]
    time = arithmetic * PER_MILLION / chip[FUSED_MATRIX]
    if bits == 8 and chip[FUSED_TRANSPOSES] == 1:
        # values come, are turned round in shared memory, and go to the tensor cores
        time += shape[2] / (chip[ATTENTION_TRANSPOSED] / PER_MILLION)
        fetched *= 2.0
    if bits > 8 and shape[1] == shape[2] and token_bytes <= 2 * shape[1]:
        # every warp converts the keys and values that it multiplies its 16 or 32 rows with
        warps = 1 if rows <= SHORT_TILE else TILE_WARPS
        time += warps * (shape[1] + shape[2]) / (chip[ATTENTION_CONVERTED] / PER_MILLION)
    if is_generic(chip, shape, token_bytes):
        each = chip[ATTENTION_GENERIC] / PER_MILLION
        time = max(time, 2 * power_of_two(shape[1]) / each)
    return max(time, fetched)


@inner
def fitting_rows(rows: int) -> int:
    """Rows of the least tile that holds ``rows``, or the largest of those below 128."""
    return SHORT_TILE if rows <= SHORT_TILE else MIDDLE_TILE


@inner
def decode_tile(
    chip: Int64Array,
    shape: Shape,
    kv_heads: int,
    bits: int,
    token_bytes: float,
    new: int,
    share: float,
) -> DecodeTile:
    """What the decoding sequences of a batch with ``new`` queries each have in common.

    ``share`` are the multiprocessors for each tile; ``token_bytes`` are those of one key and value
    of one head.
    """
    group = shape[0]
    parts = decode_tiles(new, group)
    step = chip[FUSED_ROW_TILE]
    rows = min(DECODE_ROWS, ceil_div(ceil_div(new * group, parts), step) * step)
    if chip[FUSED_FITS] == 1:
        rows = fitting_rows(rows)
    each = key_cycles(chip, rows, shape, bits, token_bytes)
    cost = products(chip, rows, shape, bits)
    latency = cycles_of(chip, chip[FUSED_TILE_PS])
    partial = new * group / float(parts) * shape[2] * 8.0
    scores = softmax(chip, rows)
    block = key_block(chip, shape, token_bytes, rows)
    most = chip[FUSED_SPLITS]
    if block == GENERIC_KEYS:
        most = min(most, GENERIC_SPLITS)
    latent = shape[1] != shape[2]
    if group < chip[FUSED_SPLIT_GROUP] or (latent and chip[FUSED_SPLITS_LATENT] == 0):
        share = 1.0
    return kv_heads * parts, scores, each, latency, share, cost, partial, block, most


@inner
def add_decode(
    chip: Int64Array,
    tile: DecodeTile,
    window: int,
    token_bytes: float,
    sequence: tuple[int, int, int],
    tiles: Float64Array,
) -> None:
    """Count ``sequence`` = (new, past, copies) equal decoding sequences."""
    heads, scores, each, latency, share, cost, partial, block, most = tile
    new, past, copies = sequence
    keys = past + new
    if chip[FUSED_BLOCK_ELEMENTS] > 0:
        first = 0 if window == 0 else max(0, keys - window - new + 1)
        keys = (ceil_div(keys, block) - first // block) * block
    elif 0 < window < keys:
        # a window that begins inside a block touches one block more
        keys = window + new - 1 + block
        latency = chip[FUSED_EDGES] * latency
    parts = max(1.0, min(keys / float(block), float(most)))
    count = float(copies * heads)
    if share > 1.0:
        tiles[PARTS] += count * parts
        tiles[PART_BYTES] = max(tiles[PART_BYTES], partial)
    one = latency + max(keys / min(share, parts), float(block)) * each
    tiles[BUSY] += count * max(keys, block) * each
    tiles[LATENCIES] += count * latency
    tiles[LATENCY] = max(tiles[LATENCY], latency)
    tiles[DECODE_BUSY] += count * (latency + max(keys, block) * each)
    tiles[LONGEST_DECODE] = max(tiles[LONGEST_DECODE], one)
    tiles[FED_BYTES] += count * keys * token_bytes
    tiles[MMA_CYCLES] += count * keys * cost
    tiles[EXP_CYCLES] += count * keys * scores
    tiles[ROUNDS] += count * (1 + ceil_div(keys, block))
