"""Work of attention and of latent attention on a GPU, as ``timing.attention_prices`` prices it.

launch + further kernels + the cache's update + what multiprocessors and HBM do side by side. Bytes
of decoding move at the sustained rate of HBM, those of prompts and of the cache's update, which are
written as much as read and in pieces of a head, at ``stream_efficiency`` of it.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.kernels.arithmetic import clear
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.attention import attended_pairs, needed_keys
from simulator.kernels.chip_vector import (
    ATTENTION_BITS,
    CLOCK_HZ,
    FUSED_COPIES,
    FUSED_JOINS,
    FUSED_KERNEL_PS,
    FUSED_LAUNCH_PS,
    FUSED_MATRIX,
    FUSED_OVERLAPS,
    FUSED_QUANTIZES,
    FUSED_REGROUPS,
    FUSED_STREAM,
    GPU_L2_BYTES,
    HBM_BYTES_PER_S,
    HBM_LATENCY_PS,
    PER_MILLION,
    SRAM_BYTES_PER_S,
    UNIT_COUNT,
    run_bandwidth,
)
from simulator.kernels.gpu_attention import (
    DECODE_BUSY,
    EXP_CYCLES,
    FED_BYTES,
    MMA_CYCLES,
    PART_BYTES,
    ROUNDS,
    TILE_FIELDS,
    cycles_of,
    is_decode,
    joined,
    result_bits,
)
from simulator.kernels.gpu_attention_batch import (
    add_batch,
    may_split,
    multiprocessor_cycles,
    part_count,
)
from simulator.kernels.gpu_batch import scan_cycles, update_cycles
from simulator.kernels.jit import inner
from simulator.kernels.latent_attention import absorbs, latent_projections
from simulator.kernels.library_vector import (
    ATTENTION_AHEAD_OVERLAP,
    ATTENTION_OVERLAP,
    ATTENTION_WARM_RAMP,
)
from simulator.timing.prices import (
    KV_BITS,
    PLAN_BUFFERS,
    PLAN_HEAD_DIM,
    PLAN_HEADS,
    PLAN_KV_HEADS,
    PLAN_KV_RANK,
    PLAN_NO_PREFETCH,
    PLAN_NO_UPDATE,
    PLAN_NOPE_DIM,
    PLAN_ROPE_DIM,
    PLAN_VALUE_DIM,
    PLAN_WINDOW,
    WEIGHT_BITS,
    resident,
)
from simulator.timing.work import (
    WORK_CYCLES,
    WORK_FLOPS,
    WORK_HBM,
    WORK_MATRIX,
    WORK_READ,
    WORK_ROUNDS,
    WORK_SRAM,
    WORK_SRAM_BYTES,
    WORK_VECTOR,
    WORK_WRITE,
)

# Bytes of a batch, float64[BYTE_FIELDS].
CACHED_DECODE = 0
CACHED_PROMPT = 1
QUERIES_DECODE = 2
QUERIES_PROMPT = 3
"""Queries and results of decoding sequences and of prompts; each counts once."""
NEW_READ = 4
NEW_WRITTEN = 5
RESULTS = 6
"""Of queries and results, what is written; counted there already."""
BYTE_FIELDS = 7


@inner
def warm_share(chip: Int64Array, size: float, buffers: int) -> float:
    """Share of ``size`` bytes that a cache holds when ``buffers`` copies are cycled through."""
    if buffers == 0:
        return 0.0
    kept = max(chip[GPU_L2_BYTES], 1)
    ramp: float = chip[ATTENTION_WARM_RAMP] / PER_MILLION
    free = 1.0 + ramp / 2.0 - size * buffers / float(kept)
    return max(0.0, min(1.0, free / ramp))


@inner
def count_bytes(
    chip: Int64Array,
    bits: Int64Array,
    group: int,
    widths: tuple[int, int, int, int, int],
    new: Int64Array,
    past: Int64Array,
    window: int,
    sizes: Float64Array,
) -> None:
    """Fill ``sizes`` for a batch; ``widths`` = elements a token of (cache, queries, results), bits
    of results and of new keys and values, bits of queries."""
    cache_bytes = widths[0] * bits[KV_BITS] / 8.0
    new_bytes = widths[0] * widths[3] / 8.0
    result = widths[2] * widths[3] / 8.0
    each = widths[1] * widths[4] / 8.0 + result
    for field in range(BYTE_FIELDS):
        sizes[field] = 0.0
    for i in range(len(new)):
        cached = needed_keys(new[i], past[i], window) * cache_bytes
        if is_decode(chip, new[i], group):
            sizes[CACHED_DECODE] += cached
            sizes[QUERIES_DECODE] += new[i] * each
        else:
            # prompts read their own keys back from the cache that they have just filled
            sizes[CACHED_PROMPT] += cached
            sizes[QUERIES_PROMPT] += new[i] * each
        sizes[RESULTS] += new[i] * result
        sizes[NEW_READ] += new[i] * new_bytes
        sizes[NEW_WRITTEN] += new[i] * cache_bytes


@inner
def settle(
    chip: Int64Array,
    row: Int64Array,
    run_bytes_per_s: int,
    batch: tuple[int, int, int, int, int],
    sizes: Float64Array,
    resident_tensors: tuple[bool, bool],
    kernels: int,
    both: Float64Array,
    extra: tuple[float, float],
    passes: tuple[int, float],
    work: Int64Array,
) -> None:
    """Turn counted tiles and bytes into ``work``.

    ``both`` are the tiles with keys that are not split, and with keys that are, if they can be: the
    faster way is taken, so that more of anything that both take longer for takes no less time.
    ``batch`` = (sequences, tokens that go to the cache, elements of a key, those of a token in the
    cache, bits of one).
    ``resident_tensors`` says whether (queries and results, new keys and values) stay on chip,
    ``kernels`` how many are launched beside the first, ``extra`` = cycles and HBM cycles of
    products before and after, ``passes`` = (heads that read the same keys one after the other,
    bytes that each reads).
    """
    tiles = both[0]
    clock = float(chip[CLOCK_HZ])
    near = clock / chip[SRAM_BYTES_PER_S]
    # what comes from HBM passes through L2: never faster than what lies there already
    stream = max(near, clock * PER_MILLION / chip[FUSED_STREAM] / chip[HBM_BYTES_PER_S])
    paged = max(near, clock / run_bytes_per_s)
    # a prompt of one token has no cached keys, and takes no longer than one of two
    decodes = sizes[CACHED_DECODE] > 0.0
    if resident_tensors[0]:
        sizes[QUERIES_DECODE] = 0.0
        sizes[QUERIES_PROMPT] = 0.0
        sizes[RESULTS] = 0.0
    if resident_tensors[1]:
        sizes[NEW_READ] = 0.0
    total = 0.0
    for field in range(RESULTS):
        total += sizes[field]
    warm = warm_share(chip, total, row[PLAN_BUFFERS])
    cold = 1.0 - warm
    prompt = sizes[CACHED_PROMPT] + sizes[QUERIES_PROMPT]
    again = 0.0
    if sizes[QUERIES_PROMPT] > 0.0 or sizes[CACHED_PROMPT] > 0.0:
        again = sizes[NEW_WRITTEN]
    decode = sizes[CACHED_DECODE] + sizes[QUERIES_DECODE]
    # what one head after the other reads comes from HBM again where L2 does not hold it meanwhile
    heads, share = passes
    missed = 1.0 - warm_share(chip, share, 1)
    anew = (heads - 1) * missed * sizes[CACHED_DECODE]
    decode += anew
    main = cold * (decode * paged + (prompt + again) * stream)
    moved = sizes[NEW_READ] + sizes[NEW_WRITTEN]
    blocks = update_cycles(chip, batch[1], batch[2], batch[3], batch[4])
    order = chip[ATTENTION_OVERLAP] / PER_MILLION
    update = 0.0
    if moved > 0.0:
        update = joined(cold * moved * stream + warm * moved * near, blocks, order)
    near_main = warm * (decode + prompt + again) * near
    fed = tiles[FED_BYTES] + sizes[QUERIES_DECODE] + sizes[QUERIES_PROMPT]
    fed += sizes[NEW_READ] + sizes[NEW_WRITTEN]
    # loads that a warp of their own issues run far ahead of the products
    if chip[FUSED_OVERLAPS] == 1:
        order = chip[ATTENTION_AHEAD_OVERLAP] / PER_MILLION
    body = np.inf
    for splits in range(2):
        own = both[splits]
        if own[ROUNDS] == 0.0:
            break
        busy = multiprocessor_cycles(chip, own) + scan_cycles(chip, batch[0])
        on_chip = max(busy, fed * near)
        if row[PLAN_NO_PREFETCH] == 1:
            waits = tiles[ROUNDS] / chip[UNIT_COUNT] * cycles_of(chip, chip[HBM_LATENCY_PS])
            time = on_chip + main + near_main + waits
        else:
            # heads that find their keys in L2 leave HBM idle
            alone = (1.0 - missed) * (heads - 1) / heads * own[DECODE_BUSY] / chip[UNIT_COUNT]
            time = alone + joined(on_chip - alone, main + near_main, order)
        if splits == 1:
            # parts of results are joined out of L2, by a kernel of its own
            time += part_count(chip, own) * own[PART_BYTES] * near
        if splits == 1 or (decodes and chip[FUSED_JOINS] == 1):
            time += cycles_of(chip, chip[FUSED_KERNEL_PS])
        body = min(body, time)
    fixed = cycles_of(chip, chip[FUSED_LAUNCH_PS] + kernels * chip[FUSED_KERNEL_PS])
    queries = sizes[QUERIES_DECODE] + sizes[QUERIES_PROMPT] - sizes[RESULTS]
    read = sizes[CACHED_DECODE] + anew + sizes[CACHED_PROMPT] + queries + sizes[NEW_READ] + again
    work[WORK_READ] += math.ceil(cold * read)
    work[WORK_WRITE] += math.ceil(cold * (sizes[RESULTS] + sizes[NEW_WRITTEN]))
    work[WORK_MATRIX] = math.ceil(tiles[MMA_CYCLES] / chip[UNIT_COUNT] + extra[0])
    work[WORK_VECTOR] = math.ceil(tiles[EXP_CYCLES] / chip[UNIT_COUNT])
    work[WORK_HBM] = math.ceil(main + cold * moved * stream + extra[1])
    work[WORK_SRAM] = math.ceil(fed * near)
    work[WORK_SRAM_BYTES] = math.ceil(fed)
    work[WORK_ROUNDS] = int(tiles[ROUNDS])
    around = max(extra[0] * PER_MILLION / chip[FUSED_MATRIX], extra[1])
    work[WORK_CYCLES] = math.ceil(fixed + body + update + around)


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
