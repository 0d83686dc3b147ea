"""The price of the attention kernel of latent attention as an operator of its own.

Either of the two forms of ``kernels.latent_attention``, without the products with W_UK and W_UV,
which are matmuls by themselves: absorbed, where all heads attend to the latent vectors of the
cache, or expanded, where every head has keys and values of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError
from simulator.hardware import Chip, TensorCore
from simulator.kernels.arithmetic import clear, ps_to_cycles
from simulator.kernels.arrays import Int64Array
from simulator.kernels.attention import attended_pairs
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.chip_vector import (
    ATTENTION_BITS,
    CLOCK_HZ,
    FUSED_KERNEL_PS,
    FUSED_QUANTIZES,
    run_bandwidth,
)
from simulator.kernels.gpu_attention import TILE_FIELDS, result_bits
from simulator.kernels.gpu_attention_batch import add_batch, may_split
from simulator.kernels.jit import kernel
from simulator.kernels.library_vector import ATTENTION_SMALL_KERNEL_PS
from simulator.mapping.memory import BITS
from simulator.timing import prices
from simulator.timing.attention_operator import LARGEST_WORK
from simulator.timing.attention_prices import KV_RUN_TOKENS
from simulator.timing.gpu_attention_bytes import BYTE_FIELDS, NEW_READ, NEW_WRITTEN, count_bytes
from simulator.timing.gpu_attention_time import settle
from simulator.timing.hbm import resolve_memory
from simulator.timing.operator_checks import check_dtypes, check_phase, price_by_kind
from simulator.timing.prices import KV_BITS
from simulator.timing.work import WORK_CYCLES, WORK_FIELDS, WORK_FLOPS


@dataclass(frozen=True, slots=True)
class LatentCase:
    """``batch`` whole prompts of ``context`` tokens (prefill), or one token each after ``context``
    cached ones (decode), of a chip's ``heads``.

    A token's cache is ``rank`` + ``rope`` elements; a head's keys have ``nope`` + ``rope``, its
    values ``value``. ``dtype`` is that of queries and arithmetic, ``kv_dtype`` (the same unless
    given) that of the cache; ``buffers`` as in ``AttentionCase``.
    """

    batch: int
    heads: int
    context: int
    phase: str
    absorbed: bool
    rank: int = 512
    rope: int = 64
    nope: int = 128
    value: int = 128
    dtype: str = "bf16"
    kv_dtype: str | None = None
    buffers: int = 0


def latent_seconds(chip: Chip, cases: Sequence[LatentCase]) -> list[float]:
    """Seconds of each case's kernel on one GPU, queries, results and cache in HBM.

    Raises InputError for a chip without multiprocessors, sizes out of range, an unknown phase or a
    dtype that the chip has no rate for.
    """
    if not isinstance(chip.matrix, TensorCore):
        raise InputError(f"chip '{chip.name}' has no multiprocessors, expected a GPU")
    chip = resolve_memory(chip)

    def kind(case: LatentCase) -> tuple[str, str]:
        _check(case, chip)
        return case.dtype, case.kv_dtype or case.dtype

    return price_by_kind(cases, kind, lambda key, members: _price_group(chip, key, members))


def _price_group(chip: Chip, dtypes: tuple[str, str], cases: Sequence[LatentCase]) -> list[float]:
    """Seconds of cases that have data types of arithmetic and cache in common."""
    dtype, kv_dtype = dtypes
    vector = pack_chip(chip, dtype, cache=kv_dtype)
    bits = np.array([BITS[dtype], BITS[dtype], BITS[kv_dtype]], dtype=np.int64)
    rows = np.zeros((len(cases), prices.PLAN_FIELDS), dtype=np.int64)
    batches = np.empty((len(cases), 4), dtype=np.int64)
    for place, case in enumerate(cases):
        _fill(case, rows[place], batches[place])
    work = np.zeros((len(cases), WORK_FIELDS), dtype=np.int64)
    count_latent_kernels(vector, bits, rows, batches, work)
    cycles = work[:, WORK_CYCLES].tolist()
    return [-(-each * 10**12 // chip.sustained_clock_hz) / 1e12 for each in cycles]


def _check(case: LatentCase, chip: Chip) -> None:
    check_phase(case.phase)
    sizes = ("batch", "heads", "context", "rank", "rope", "nope", "value")
    work = 1
    for name in sizes:
        if getattr(case, name) < 1:
            raise InputError(f"{name}: found {getattr(case, name)}, expected 1 or more")
        work *= getattr(case, name) if name in ("batch", "heads", "rank") else 1
    queries = case.context if case.phase == "prefill" else 1
    if work * case.context * queries > LARGEST_WORK:
        raise InputError("batch x heads x rank x query-key pairs is above 2^56")
    check_dtypes(chip, case.dtype, case.kv_dtype)


def _fill(case: LatentCase, row: Int64Array, batch: Int64Array) -> None:
    row[prices.PLAN_HEADS] = case.heads
    row[prices.PLAN_KV_RANK] = case.rank
    row[prices.PLAN_ROPE_DIM] = case.rope
    row[prices.PLAN_NOPE_DIM] = case.nope
    row[prices.PLAN_VALUE_DIM] = case.value
    row[prices.PLAN_BUFFERS] = case.buffers
    decode = case.phase == "decode"
    batch[0] = case.batch
    batch[1] = 1 if decode else case.context
    batch[2] = case.context if decode else 0
    batch[3] = int(case.absorbed)


@kernel
def count_latent_kernels(
    chip: Int64Array, bits: Int64Array, rows: Int64Array, batches: Int64Array, work: Int64Array
) -> None:
    """Work of many kernels: case i has batches[i] = (sequences, new, past, absorbed).

    ``rows`` is int64[cases, PLAN_FIELDS], ``work`` int64[cases, WORK_FIELDS]. The new latent
    vectors are written to the cache; expanded keys and values are read where another kernel has
    put them.
    """
    a_bytes = chip[ATTENTION_BITS] / 8.0
    for i in range(len(rows)):
        row = rows[i]
        heads, rank, rope = (
            row[prices.PLAN_HEADS],
            row[prices.PLAN_KV_RANK],
            row[prices.PLAN_ROPE_DIM],
        )
        nope, value = row[prices.PLAN_NOPE_DIM], row[prices.PLAN_VALUE_DIM]
        new = np.empty(batches[i, 0], dtype=np.int64)
        past = np.empty(batches[i, 0], dtype=np.int64)
        for sequence in range(len(new)):
            new[sequence] = batches[i, 1]
            past[sequence] = batches[i, 2]
        clear(work[i])
        tiles = np.zeros((2, TILE_FIELDS))
        sizes = np.empty(BYTE_FIELDS)
        key_dim, value_dim = nope + rope, value
        shape = (1, key_dim, value_dim, 0)
        kv_heads = heads
        token_bytes = (key_dim + value_dim) * a_bytes
        if batches[i, 3] == 1:
            key_dim, value_dim = rank + rope, rank
            shape = (heads, key_dim, value_dim, 0)
            kv_heads = 1
            token_bytes = key_dim * bits[KV_BITS] / 8.0
        a_bits = chip[ATTENTION_BITS]
        if batches[i, 3] == 1:
            a_bits = result_bits(a_bits)
        own = (a_bits, a_bits)
        add_batch(chip, shape, kv_heads, own, token_bytes, new, past, False, tiles[0])
        if may_split(chip, shape, kv_heads, len(new)):
            add_batch(chip, shape, kv_heads, own, token_bytes, new, past, True, tiles[1])
        widths = (rank + rope, heads * key_dim, heads * value_dim, a_bits, a_bits)
        count_bytes(chip, bits, shape[0], widths, new, past, 0, sizes)
        tokens = len(new) * batches[i, 1]
        if batches[i, 3] == 0:
            sizes[NEW_READ] += tokens * heads * (nope + value_dim) * a_bytes
        pairs = len(new) * attended_pairs(batches[i, 1], batches[i, 2], 0)
        work[i, WORK_FLOPS] = 2 * pairs * heads * (key_dim + value_dim)
        # prompts are rotated, and their latent vectors cached, by a kernel of their own
        kernels = 1 - batches[i, 3]
        if a_bits == 8 and chip[FUSED_QUANTIZES] == 1:
            kernels += 1
            # queries, and expanded keys and values, are read in 16 bits and written in 8
            each = key_dim + nope + value_dim
            sizes[NEW_READ] += 2.0 * tokens * heads * each
            sizes[NEW_WRITTEN] += 1.0 * tokens * heads * each
        rate = run_bandwidth(chip, int(KV_RUN_TOKENS * token_bytes))
        # the kernel that rotates a prompt writes its latent vectors, too
        written = tokens if batches[i, 3] == 1 else 0
        batch = (len(new), written, rank + rope, rank + rope, bits[KV_BITS])
        none = (False, False)
        settle(chip, row, rate, batch, sizes, none, kernels, tiles, (0.0, 0.0), (1, 0.0), work[i])
        waiting = kernels * max(0, chip[ATTENTION_SMALL_KERNEL_PS] - chip[FUSED_KERNEL_PS])
        work[i, WORK_CYCLES] += ps_to_cycles(waiting, chip[CLOCK_HZ])
