"""The price of latent attention on a chip, over a batch of sequences; see ``attention_prices``."""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import bits_to_bytes, clear, scale_up
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    ATTENTION_BITS,
    CLOCK_HZ,
    HBM_BYTES_PER_S,
    SYSTOLIC,
    UNIT_KIND,
    run_bandwidth,
)
from simulator.kernels.jit import inner, kernel
from simulator.kernels.latent_attention import absorbs, latent_projections
from simulator.timing.attention_prices import KV_RUN_TOKENS, add_sequences, finish, to_price
from simulator.timing.gpu_attention_prices import count_gpu_latent
from simulator.timing.prices import (
    KV_BITS,
    PLAN_HEADS,
    PLAN_KV_RANK,
    PLAN_NOPE_DIM,
    PLAN_ROPE_DIM,
    PLAN_VALUE_DIM,
    WEIGHT_BITS,
    resident,
)
from simulator.timing.work import (
    WORK_CYCLES,
    WORK_FIELDS,
    WORK_FLOPS,
    WORK_HBM,
    WORK_MATRIX,
    WORK_READ,
    WORK_SRAM_BYTES,
    WORK_WRITE,
)


@inner
def count_latent(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    new: Int64Array,
    past: Int64Array,
    absorb: bool,
    work: Int64Array,
) -> None:
    """Fill ``work`` for latent attention over a batch.

    A sequence whose scores are cheaper over the latent itself is absorbed (decode), as all are if
    they ``absorb``; the others expand keys and values from the latent first (prompts); see
    ``kernels.latent_attention``.
    """
    if chip[UNIT_KIND] != SYSTOLIC:
        count_gpu_latent(chip, bits, row, new, past, absorb, work)
        return
    a_bits = chip[ATTENTION_BITS]
    heads, rank, rope = row[PLAN_HEADS], row[PLAN_KV_RANK], row[PLAN_ROPE_DIM]
    nope, value = row[PLAN_NOPE_DIM], row[PLAN_VALUE_DIM]
    dims = (heads, rank, rope, nope, value)
    clear(work)
    tokens = 0
    absorbed = 0
    expanded = 0
    fed = 0
    kv_read = 0
    for i in range(len(new)):
        tokens += new[i]
        sequence = (new[i], past[i], 1)
        before = work[WORK_SRAM_BYTES]
        if absorb or absorbs(new[i], past[i], dims):
            absorbed += new[i]
            shape = (heads, rank + rope, rank, 0)
            kv_read += add_sequences(chip, shape, 1, a_bits, sequence, work)
            fed += (work[WORK_SRAM_BYTES] - before) * (rank + rope)
        else:
            expanded += past[i] + new[i]
            kv_read += past[i]
            shape = (1, nope + rope, value, 0)
            add_sequences(chip, shape, heads, a_bits, sequence, work)
            fed += (work[WORK_SRAM_BYTES] - before) * heads * (nope + rope + value)
    close_latent(chip, bits, row, (tokens, absorbed, expanded, fed), kv_read, work)


@inner
def close_latent(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    counts: tuple[int, int, int, int],
    kv_read: int,
    work: Int64Array,
) -> None:
    """Complete ``work`` that holds the sums of ``add_sequences`` over a batch.

    ``counts`` are tokens, of these absorbed ones, expanded tokens, and elements fed to the array.
    """
    tokens, absorbed, expanded, fed = counts
    a_bits, kv_bits = chip[ATTENTION_BITS], bits[KV_BITS]
    heads, rank, rope = row[PLAN_HEADS], row[PLAN_KV_RANK], row[PLAN_ROPE_DIM]
    nope, value = row[PLAN_NOPE_DIM], row[PLAN_VALUE_DIM]
    dims = (heads, rank, rope, nope, value)
    cycles, flops = latent_projections(chip, absorbed, expanded, dims)
    work[WORK_MATRIX] += cycles
    work[WORK_FLOPS] += flops
    clock = chip[CLOCK_HZ]
    token_bytes = bits_to_bytes((rank + rope) * kv_bits)
    if not resident(chip, tokens * (rank + rope), a_bits):
        kv_read += tokens
    work[WORK_READ] = kv_read * token_bytes
    work[WORK_WRITE] = tokens * token_bytes
    paged = run_bandwidth(chip, bits_to_bytes(KV_RUN_TOKENS * (rank + rope) * kv_bits))
    work[WORK_HBM] = scale_up(work[WORK_READ] + work[WORK_WRITE], clock, paged)
    streamed = bits_to_bytes(heads * rank * (nope + value) * bits[WEIGHT_BITS])
    work[WORK_READ] += streamed
    spilled = 0
    if not resident(chip, tokens * heads * (nope + rope + value) // 2, a_bits):
        spilled = bits_to_bytes(tokens * heads * (nope + rope + value) * a_bits)
        work[WORK_READ] += bits_to_bytes(tokens * heads * (nope + rope) * a_bits)
        work[WORK_WRITE] += bits_to_bytes(tokens * heads * value * a_bits)
    if not resident(chip, expanded * heads * (nope + value), a_bits):
        # the expanded keys and values are written by one product and read by the next
        each = bits_to_bytes(expanded * heads * (nope + value) * a_bits)
        spilled += 2 * each
        work[WORK_READ] += each
        work[WORK_WRITE] += each
    work[WORK_HBM] += scale_up(streamed + spilled, clock, chip[HBM_BYTES_PER_S])
    work[WORK_SRAM_BYTES] = (
        bits_to_bytes(fed * a_bits)
        + streamed
        + bits_to_bytes(tokens * heads * (nope + rope + value) * a_bits)
    )
    finish(chip, row, work)


@kernel
def price_latent(
    chip: Int64Array,
    bits: Int64Array,
    row: Int64Array,
    new: Int64Array,
    past: Int64Array,
    out: Int64Array,
) -> None:
    """Price of latent attention over a batch, with the products of W_UK and W_UV.

    ``row`` has PLAN_HEADS (this chip's share), PLAN_KV_RANK, PLAN_ROPE_DIM, PLAN_NOPE_DIM and
    PLAN_VALUE_DIM; ``out`` is int64[PRICE_FIELDS].
    """
    work = np.empty(WORK_FIELDS, dtype=np.int64)
    count_latent(chip, bits, row, new, past, True, work)
    to_price(chip, work, out)
    longest = 0
    for i in range(len(new)):
        longest = max(longest, new[i])
    if longest > 1:
        absorbed = work[WORK_CYCLES]
        count_latent(chip, bits, row, new, past, False, work)
        if work[WORK_CYCLES] < absorbed:
            to_price(chip, work, out)
