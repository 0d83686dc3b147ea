"""Time of attention on a GPU, from counted tiles and bytes.

launch + further kernels + the cache's update + what multiprocessors and HBM do side by side. Bytes
of decoding move at the sustained rate of HBM, those of prompts and of the cache's update, which are
written as much as read and in pieces of a head, at ``stream_efficiency`` of it.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    FUSED_JOINS,
    FUSED_KERNEL_PS,
    FUSED_LAUNCH_PS,
    FUSED_MATRIX,
    FUSED_OVERLAPS,
    FUSED_STREAM,
    GPU_L2_BYTES,
    HBM_BYTES_PER_S,
    HBM_LATENCY_PS,
    PER_MILLION,
    SRAM_BYTES_PER_S,
    UNIT_COUNT,
)
from simulator.kernels.gpu_attention import (
    DECODE_BUSY,
    EXP_CYCLES,
    FED_BYTES,
    MMA_CYCLES,
    PART_BYTES,
    ROUNDS,
    cycles_of,
    joined,
)
from simulator.kernels.gpu_attention_batch import (
    multiprocessor_cycles,
    part_count,
)
from simulator.kernels.gpu_batch import scan_cycles, update_cycles
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    ATTENTION_AHEAD_OVERLAP,
    ATTENTION_OVERLAP,
    ATTENTION_WARM_RAMP,
)
from simulator.timing.gpu_attention_bytes import (
    CACHED_DECODE,
    CACHED_PROMPT,
    NEW_READ,
    NEW_WRITTEN,
    QUERIES_DECODE,
    QUERIES_PROMPT,
    RESULTS,
)
from simulator.timing.prices import (
    PLAN_BUFFERS,
    PLAN_NO_PREFETCH,
)
from simulator.timing.work import (
    WORK_CYCLES,
    WORK_HBM,
    WORK_MATRIX,
    WORK_READ,
    WORK_ROUNDS,
    WORK_SRAM,
    WORK_SRAM_BYTES,
    WORK_VECTOR,
    WORK_WRITE,
)


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
