"""Tiles of prompts on a GPU, and all tiles of a batch; decodes are in ``gpu_attention``."""

from __future__ import annotations

import math

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.attention import Shape
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    FUSED_NARROW_TILE,
    FUSED_PACKS,
    FUSED_QUERY_TILE,
    FUSED_SM_BYTES_PER_S,
    FUSED_SPLITS,
    FUSED_SPLITS_PROMPTS,
    FUSED_TILE_PS,
    PER_MILLION,
    UNIT_COUNT,
)
from simulator.kernels.gpu_attention import (
    BUSY,
    EXP_CYCLES,
    FED_BYTES,
    GENERIC_ROWS,
    LATENCIES,
    LATENCY,
    LONGEST_DECODE,
    LONGEST_PROMPT,
    MMA_CYCLES,
    NARROW_HEAD,
    PART_BYTES,
    PARTS,
    PROMPT_TILES,
    ROUNDS,
    SHORT_PROMPT,
    add_decode,
    cycles_of,
    decode_tile,
    decode_tiles,
    is_decode,
    is_generic,
    key_block,
    key_cycles,
    power_of_two,
    products,
    softmax,
)
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    ATTENTION_CLUSTER,
    ATTENTION_RESULT_SUMS,
    ATTENTION_WAVE_LOSS,
)


@inner
def prompt_heads(
    chip: Int64Array, kv_heads: int, shape: Shape, token_bytes: float
) -> tuple[int, int, float]:
    """(rows of a tile, heads that have tiles of their own, queries of a tile) of a prompt.

    A tile that packs a group's heads may begin and end between the heads of a query.
    """
    if is_generic(chip, shape, token_bytes):
        rows = max(GENERIC_ROWS, power_of_two(shape[0]))
        return rows, kv_heads, float(rows // shape[0])
    rows = chip[FUSED_QUERY_TILE]
    if shape[2] <= NARROW_HEAD:
        rows = chip[FUSED_NARROW_TILE]
    rows = min(rows, max(1, chip[ATTENTION_RESULT_SUMS] // shape[2]))
    if chip[FUSED_PACKS] == 1:
        return rows, kv_heads, rows / float(shape[0])
    return rows, kv_heads * shape[0], float(rows)


@inner
def query_blocks(new: int, queries: float) -> int:
    """Tiles of ``new`` queries of a head."""
    blocks: int = math.ceil(new / queries - 1e-9)
    return max(1, blocks)


@inner
def prompt_keys(
    new: int, past: int, window: int, queries: float, keys: int
) -> tuple[int, float, float]:
    """(blocks of queries, keys over all blocks, keys of the largest) of one causal prompt.

    Block i of ``queries`` tokens sees the keys up to its last query, and no more than the window
    and its own length; ``keys`` come together, in blocks of which the last is filled to between
    ``queries`` tokens and all, evenly spread.
    """
    blocks = query_blocks(new, queries)
    block = float(keys)
    unused = max(0.0, block - queries) / 2.0
    cap = float(ceil_div(past + new, keys) * keys)
    if window > 0:
        cap = min(cap, window + max(queries, block))
    growing = math.floor((cap - past - unused) / queries + 1e-9)
    growing = max(0, min(blocks - 1, growing))
    total = growing * (past + unused) + queries * (growing * (growing + 1) // 2)
    total += (blocks - growing) * cap
    return blocks, max(total, blocks * block), max(cap, block)


@inner
def add_prompt(
    chip: Int64Array,
    shape: Shape,
    kv_heads: int,
    bits: tuple[int, int],
    token_bytes: float,
    sequence: tuple[int, int, int],
    share: float,
    tiles: Float64Array,
) -> None:
    """Count ``sequence`` = (new, past, copies) equal prompts or chunks of them, where each tile has
    ``share`` multiprocessors. ``bits`` are those of the arithmetic and of the results."""
    new, past, copies = sequence
    group, window = shape[0], shape[3]
    rows, heads, queries = prompt_heads(chip, kv_heads, shape, token_bytes)
    block = key_block(chip, shape, token_bytes)
    blocks, total, longest = prompt_keys(new, past, window, queries, block)
    each = key_cycles(chip, rows, shape, bits[0], token_bytes)
    latency = cycles_of(chip, chip[FUSED_TILE_PS])
    lines = new * (kv_heads * group // heads)
    line = (shape[1] * bits[0] + shape[2] * bits[1]) / 8.0
    ends = line / float(chip[FUSED_SM_BYTES_PER_S]) * chip[CLOCK_HZ]
    count = float(copies * heads)
    parts = max(1.0, min(longest / float(block), float(chip[FUSED_SPLITS])))
    if chip[FUSED_SPLITS_PROMPTS] == 0:
        parts = 1.0
    if share > 1.0:
        tiles[PARTS] += count * blocks * parts
        if parts > 1.0:
            tiles[PART_BYTES] = max(tiles[PART_BYTES], min(rows, lines) * shape[2] * 8.0)
    still = latency + min(rows, lines) * ends
    tiles[BUSY] += count * total * each
    tiles[LATENCIES] += count * (blocks * latency + lines * ends)
    tiles[LATENCY] = max(tiles[LATENCY], still)
    one = still + longest / min(share, parts) * each
    tiles[LONGEST_PROMPT] = max(tiles[LONGEST_PROMPT], one)
    tiles[PROMPT_TILES] += count * blocks
    tiles[SHORT_PROMPT] = latency + block * each
    sharers = 1.0
    if not is_generic(chip, shape, token_bytes):
        sharers = chip[ATTENTION_CLUSTER] / PER_MILLION
    tiles[FED_BYTES] += count * total * token_bytes / sharers
    tiles[MMA_CYCLES] += count * total * products(chip, rows, shape)
    tiles[EXP_CYCLES] += count * total * softmax(chip, rows)
    tiles[ROUNDS] += count * (blocks + math.ceil(total / block))


@inner
def part_count(chip: Int64Array, tiles: Float64Array) -> float:
    """Parts of all tiles that run: as many as there are multiprocessors, if there can be."""
    return min(tiles[PARTS], float(chip[UNIT_COUNT]))


@inner
def multiprocessor_cycles(chip: Int64Array, tiles: Float64Array) -> float:
    """Cycles until all tiles are done."""
    count = float(chip[UNIT_COUNT])
    tail = 0.0
    waves = tiles[PROMPT_TILES] / count
    if waves > 1.0:
        idle = (math.ceil(waves) - waves) * (chip[ATTENTION_WAVE_LOSS] / PER_MILLION)
        tail = idle * tiles[SHORT_PROMPT]
    longest = max(tiles[LONGEST_PROMPT], tiles[LONGEST_DECODE])
    still = max(tiles[LATENCIES], part_count(chip, tiles) * tiles[LATENCY])
    return max(longest, (tiles[BUSY] + still) / count + tail)


@inner
def may_split(chip: Int64Array, shape: Shape, kv_heads: int, sequences: int) -> bool:
    """Whether a batch can have fewer tiles than there are multiprocessors."""
    fewest: int = sequences * kv_heads * decode_tiles(1, shape[0])
    return fewest < chip[UNIT_COUNT]


@inner
def add_batch(
    chip: Int64Array,
    shape: Shape,
    kv_heads: int,
    bits: tuple[int, int],
    token_bytes: float,
    new: Int64Array,
    past: Int64Array,
    splits: bool,
    tiles: Float64Array,
) -> None:
    """Count all sequences of a batch, runs of equal ones at once, with keys that are split or not.

    ``bits`` are those of the arithmetic and of the results. Sequences share the multiprocessors
    evenly, prompts by their tiles.
    """
    group = shape[0]
    decoding = 1.0
    prompting = 1.0
    if splits:
        _, heads, block = prompt_heads(chip, kv_heads, shape, token_bytes)
        each = kv_heads * decode_tiles(1, group)
        all_tiles = 0
        for i in range(len(new)):
            if is_decode(chip, new[i], group):
                all_tiles += each
            else:
                all_tiles += heads * query_blocks(new[i], block)
        decoding = max(1.0, chip[UNIT_COUNT] / float(len(new) * each))
        prompting = max(1.0, chip[UNIT_COUNT] / float(all_tiles))
    start = 0
    queries = 1
    tile = decode_tile(chip, shape, kv_heads, bits[0], token_bytes, queries, decoding)
    while start < len(new):
        end = start + 1
        while end < len(new) and new[end] == new[start] and past[end] == past[start]:
            end += 1
        sequence = (new[start], past[start], end - start)
        if is_decode(chip, new[start], group):
            if new[start] != queries:
                queries = new[start]
                tile = decode_tile(chip, shape, kv_heads, bits[0], token_bytes, queries, decoding)
            add_decode(chip, tile, shape[3], token_bytes, sequence, tiles)
        else:
            add_prompt(chip, shape, kv_heads, bits, token_bytes, sequence, prompting, tiles)
        start = end
