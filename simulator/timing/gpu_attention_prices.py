"""Work of attention and of latent attention on a GPU, as ``timing.attention_prices`` prices it."""

from __future__ import annotations

import math

import numpy as np

from simulator.kernels.arithmetic import clear
from simulator.kernels.arrays import Int64Array
from simulator.kernels.attention import attended_pairs
from simulator.kernels.chip_vector import (
    ATTENTION_BITS,
    CLOCK_HZ,
    FUSED_COPIES,
    FUSED_QUANTIZES,
    FUSED_REGROUPS,
    FUSED_STREAM,
    HBM_BYTES_PER_S,
    PER_MILLION,
    UNIT_COUNT,
    run_bandwidth,
)
from simulator.kernels.gpu_attention import (
    TILE_FIELDS,
    result_bits,
)
from simulator.kernels.gpu_attention_batch import (
    add_batch,
    may_split,
)
from simulator.kernels.jit import inner
from simulator.kernels.latent_attention import absorbs, latent_projections
from simulator.timing.gpu_attention_bytes import (
    BYTE_FIELDS,
    CACHED_DECODE,
    CACHED_PROMPT,
    NEW_READ,
    NEW_WRITTEN,
    count_bytes,
)
from simulator.timing.gpu_attention_time import settle
from simulator.timing.prices import (
    KV_BITS,
    PLAN_BUFFERS,
    PLAN_HEAD_DIM,
    PLAN_HEADS,
    PLAN_KV_HEADS,
    PLAN_KV_RANK,
    PLAN_NO_UPDATE,
    PLAN_NOPE_DIM,
    PLAN_ROPE_DIM,
    PLAN_VALUE_DIM,
    PLAN_WINDOW,
    WEIGHT_BITS,
    resident,
)
from simulator.timing.work import (
    WORK_FLOPS,
    WORK_READ,
    WORK_WRITE,
)


@inner
def count_gpu_attention(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    new: Int64Array,
    past: Int64Array,
    work: Int64Array,
) -> None:
    """Fill ``work`` for grouped-query attention over a batch on a GPU."""
    a_bits = chip[ATTENTION_BITS]
    heads, kv_heads, dim = row[PLAN_HEADS], row[PLAN_KV_HEADS], row[PLAN_HEAD_DIM]
    window = row[PLAN_WINDOW]
    group = (heads + kv_heads - 1) // kv_heads
    clear(work)
    tiles = np.zeros((2, TILE_FIELDS))
    sizes = np.empty(BYTE_FIELDS)
    shape = (group, dim, dim, window)
    r_bits = result_bits(a_bits)
    token_bytes = 2 * dim * bits[KV_BITS] / 8.0
    alone = window > 0 and group > 1 and chip[FUSED_REGROUPS] == 0
    apart = heads if alone else kv_heads
    if alone:
        shape = (1, dim, dim, window)
    own = (a_bits, r_bits)
    add_batch(chip, shape, apart, own, token_bytes, new, past, False, tiles[0])
    if may_split(chip, shape, apart, len(new)):
        add_batch(chip, shape, apart, own, token_bytes, new, past, True, tiles[1])
    widths = (2 * kv_heads * dim, heads * dim, heads * dim, r_bits, a_bits)
    count_bytes(chip, bits, group, widths, new, past, window, sizes)
    tokens = 0
    for i in range(len(new)):
        tokens += new[i]
        work[WORK_FLOPS] += 4 * attended_pairs(new[i], past[i], window) * heads * dim
    kernels = 0
    written = tokens
    if row[PLAN_NO_UPDATE] == 1:
        kernels = -1
        written = 0
        sizes[NEW_READ] = 0.0
        sizes[NEW_WRITTEN] = 0.0
    if a_bits == 8 and chip[FUSED_QUANTIZES] == 1:
        kernels += 1
        # queries are read in 16 bits and written in 8
        sizes[NEW_READ] += 2.0 * tokens * heads * dim
        sizes[NEW_WRITTEN] += 1.0 * tokens * heads * dim
    if chip[FUSED_COPIES] == 1 and not alone and group > 1 and kv_heads > 1 and len(new) > 1:
        # a prompt's chunk as well, so that a token more never saves them
        kernels += 2 if sizes[CACHED_DECODE] + sizes[CACHED_PROMPT] > 0.0 else 0
    fit = row[PLAN_BUFFERS] == 0
    near = (
        fit and resident(chip, tokens * heads * dim, (a_bits + r_bits) // 2),
        fit and resident(chip, tokens * 2 * kv_heads * dim, r_bits),
    )
    rate = run_bandwidth(chip, 2 * dim * bits[KV_BITS])
    batch = (len(new), written, kv_heads * dim, 2 * kv_heads * dim, bits[KV_BITS])
    passes = (group, sizes[CACHED_DECODE] / kv_heads) if alone else (1, 0.0)
    settle(chip, row, rate, batch, sizes, near, kernels, tiles, (0.0, 0.0), passes, work)


@inner
def count_gpu_latent(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    new: Int64Array,
    past: Int64Array,
    absorb: bool,
    work: Int64Array,
) -> None:
    """Fill ``work`` for latent attention over a batch on a GPU, where all prompts ``absorb`` or
    each as has fewer flops; W_UK and W_UV are kernels of their own, whose weights come from HBM."""
    a_bits = chip[ATTENTION_BITS]
    heads, rank, rope = row[PLAN_HEADS], row[PLAN_KV_RANK], row[PLAN_ROPE_DIM]
    nope, value = row[PLAN_NOPE_DIM], row[PLAN_VALUE_DIM]
    dims = (heads, rank, rope, nope, value)
    # absorbed queries are multiplied in 16 bits whatever the cache holds
    plain = result_bits(a_bits)
    clear(work)
    tiles = np.zeros((2, TILE_FIELDS))
    sizes = np.empty(BYTE_FIELDS)
    absorbing = np.empty(len(new), dtype=np.int64)
    absorbed_past = np.empty(len(new), dtype=np.int64)
    expanding = np.empty(len(new), dtype=np.int64)
    expanded_past = np.empty(len(new), dtype=np.int64)
    several = 0
    others = 0
    absorbed = 0
    expanded = 0
    for i in range(len(new)):
        pairs = attended_pairs(new[i], past[i], 0)
        if absorb or absorbs(new[i], past[i], dims):
            absorbing[several], absorbed_past[several] = new[i], past[i]
            several += 1
            absorbed += new[i]
            work[WORK_FLOPS] += 2 * pairs * heads * (2 * rank + rope)
        else:
            expanding[others], expanded_past[others] = new[i], past[i]
            others += 1
            expanded += past[i] + new[i]
            work[WORK_FLOPS] += 2 * pairs * heads * (nope + rope + value)
    a_bytes = a_bits / 8.0
    latent_bytes = (rank + rope) * bits[KV_BITS] / 8.0
    own = (a_bits, a_bits)
    wide = (plain, plain)
    one = (heads, rank + rope, rank, 0)
    other = (1, nope + rope, value, 0)
    each = (nope + rope + value) * a_bytes
    for splits in range(2):
        if splits == 1 and not (
            may_split(chip, one, 1, several) and may_split(chip, other, heads, others)
        ):
            break
        into = tiles[splits]
        if several > 0:
            queries, cached = absorbing[:several], absorbed_past[:several]
            add_batch(chip, one, 1, wide, latent_bytes, queries, cached, splits == 1, into)
        if others > 0:
            queries, cached = expanding[:others], expanded_past[:others]
            add_batch(chip, other, heads, own, each, queries, cached, splits == 1, into)
    cycles, flops = latent_projections(chip, absorbed, expanded, dims)
    work[WORK_FLOPS] += flops
    widths = (
        rank + rope,
        heads * (nope + rope),
        heads * value,
        a_bits,
        plain if several > 0 else a_bits,
    )
    count_bytes(chip, bits, heads, widths, new, past, 0, sizes)
    tokens = 0
    for i in range(len(new)):
        tokens += new[i]
    weights = heads * rank * (nope + value) * bits[WEIGHT_BITS] / 8.0
    spread = 0.0
    if not resident(chip, expanded * heads * (nope + value), a_bits):
        # the expanded keys and values are written by one kernel and read by the next
        spread = expanded * heads * (nope + value) * a_bytes
    work[WORK_READ] = math.ceil(weights + spread)
    work[WORK_WRITE] = math.ceil(spread)
    clock = float(chip[CLOCK_HZ])
    moved = weights * clock / chip[HBM_BYTES_PER_S]
    moved += 2.0 * spread * clock * PER_MILLION / chip[FUSED_STREAM] / chip[HBM_BYTES_PER_S]
    extra = (cycles / float(chip[UNIT_COUNT]), moved)
    kernels = (2 if several > 0 else 0) + (1 if others > 0 else 0)
    fit = row[PLAN_BUFFERS] == 0
    near = (
        fit and resident(chip, tokens * heads * (nope + rope + value) // 2, a_bits),
        fit and resident(chip, tokens * (rank + rope), a_bits),
    )
    rate = run_bandwidth(chip, int(16 * latent_bytes))
    batch = (len(new), tokens, rank + rope, rank + rope, bits[KV_BITS])
    settle(chip, row, rate, batch, sizes, near, kernels, tiles, extra, (1, 0.0), work)
