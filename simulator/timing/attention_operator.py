"""The price of attention as an operator of its own: ``chipsim op attention``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError
from simulator.hardware import Chip
from simulator.kernels.arithmetic import scale_up
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_packing import pack_chip
from simulator.kernels.chip_vector import CLOCK_HZ, HBM_BYTES_PER_S, SRAM_BYTES_PER_S
from simulator.mapping.attention_dtype import attention_dtype
from simulator.mapping.memory import BITS
from simulator.timing import attention_prices as kernels
from simulator.timing import prices
from simulator.timing import work as work_fields
from simulator.timing.hbm import resolve_memory
from simulator.timing.operator_checks import check_dtypes, check_phase, price_by_kind
from simulator.timing.operator_timing import OperatorTiming
from simulator.timing.results import CAUSES

LARGEST_BATCH = 2**20
LARGEST_CONTEXT = 2**24
LARGEST_HEADS = 2**12
LARGEST_HEAD_DIM = 2**14
LARGEST_WORK = 2**56
"""Batch x heads x head dimension x query-key pairs; beyond it, counts leave the kernels' range."""


@dataclass(frozen=True, slots=True)
class AttentionCase:
    """``batch`` sequences: whole prompts of ``context`` tokens (prefill), or one token each after
    ``context`` cached ones (decode).

    ``dtype`` is that of the model's activations, ``kv_dtype`` (the same unless given) that of the
    cache; which of them it multiplies in is up to the chip (``mapping.attention_dtype``).
    ``window`` limits the keys that a query sees, itself included. ``buffers`` copies of the
    operands are cycled through, as benchmarks do, so that a cache may hold them; 0: it is cold.
    Without ``update`` it is the attention kernel alone, of which benchmarks of kernels speak: new
    keys and values are in the cache already.
    """

    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    phase: str
    dtype: str = "bf16"
    kv_dtype: str | None = None
    window: int | None = None
    buffers: int = 0
    prefetch: bool = True
    update: bool = True


def price_attentions(chip: Chip, cases: Sequence[AttentionCase]) -> list[OperatorTiming]:
    """Price each case on one chip, queries, results and cache in HBM.

    Raises InputError for sizes out of range, heads that kv_heads do not divide, an unknown phase
    or a dtype that the chip has no rate for.
    """
    chip = resolve_memory(chip)

    def kind(case: AttentionCase) -> tuple[str, str]:
        check_case(case, chip)
        return case.dtype, case.kv_dtype or case.dtype

    return price_by_kind(cases, kind, lambda key, members: _price_group(chip, key, members))


def _price_group(
    chip: Chip, dtypes: tuple[str, str], cases: Sequence[AttentionCase]
) -> list[OperatorTiming]:
    """Cases that have data types of arithmetic and cache in common."""
    dtype, kv_dtype = dtypes
    vector = pack_chip(chip, dtype, cache=kv_dtype)
    bits = np.array([BITS[dtype], BITS[dtype], BITS[kv_dtype]], dtype=np.int64)
    rows = np.zeros((len(cases), prices.PLAN_FIELDS), dtype=np.int64)
    batches = np.empty((len(cases), 3), dtype=np.int64)
    for place, case in enumerate(cases):
        _fill(case, rows[place], batches[place])
    work = np.empty((len(cases), work_fields.WORK_FIELDS), dtype=np.int64)
    kernels.count_cases(vector, bits, rows, batches, work)
    found = work.tolist()
    return [_timing(chip, vector, *pair) for pair in zip(cases, found, strict=True)]


def check_case(case: AttentionCase, chip: Chip) -> None:
    """Raise InputError where a case is not one that can be priced."""
    check_phase(case.phase)
    limits = (
        ("batch", case.batch, LARGEST_BATCH),
        ("heads", case.heads, LARGEST_HEADS),
        ("kv_heads", case.kv_heads, LARGEST_HEADS),
        ("head_dim", case.head_dim, LARGEST_HEAD_DIM),
        ("context", case.context, LARGEST_CONTEXT),
        ("window", 1 if case.window is None else case.window, LARGEST_CONTEXT),
    )
    for name, value, most in limits:
        if not 1 <= value <= most:
            raise InputError(f"{name}: found {value}, expected 1 to {most}")
    if case.heads % case.kv_heads:
        raise InputError(f"{case.kv_heads} kv_heads do not divide {case.heads} heads")
    queries = case.context if case.phase == "prefill" else 1
    if case.batch * case.heads * case.head_dim * case.context * queries > LARGEST_WORK:
        raise InputError("batch x heads x head_dim x query-key pairs is above 2^56")
    check_dtypes(chip, case.dtype, case.kv_dtype)


def _fill(case: AttentionCase, row: Int64Array, batch: Int64Array) -> None:
    row[prices.PLAN_HEADS] = case.heads
    row[prices.PLAN_KV_HEADS] = case.kv_heads
    row[prices.PLAN_HEAD_DIM] = case.head_dim
    row[prices.PLAN_WINDOW] = case.window or 0
    row[prices.PLAN_NO_PREFETCH] = int(not case.prefetch)
    row[prices.PLAN_NO_UPDATE] = int(not case.update)
    row[prices.PLAN_BUFFERS] = case.buffers
    decode = case.phase == "decode"
    batch[0] = case.batch
    batch[1] = 1 if decode else case.context
    batch[2] = case.context if decode else 0


def _timing(chip: Chip, vector: Int64Array, case: AttentionCase, work: list[int]) -> OperatorTiming:
    clock = int(vector[CLOCK_HZ])
    cycles = work[work_fields.WORK_CYCLES]
    flops = work[work_fields.WORK_FLOPS]
    arithmetic = attention_dtype(chip, case.dtype, case.kv_dtype or case.dtype)
    peak = 2 * chip.matrix.macs_per_cycle(arithmetic)
    moved = work[work_fields.WORK_READ] + work[work_fields.WORK_WRITE]
    sram = work[work_fields.WORK_SRAM_BYTES]
    busy = (
        work[work_fields.WORK_MATRIX],
        work[work_fields.WORK_VECTOR],
        work[work_fields.WORK_HBM],
        work[work_fields.WORK_SRAM],
        0,
    )
    busiest = max(range(5), key=lambda unit: busy[unit])
    return OperatorTiming(
        kind="attention",
        chip=chip.name,
        given={
            "batch": case.batch,
            "heads": case.heads,
            "kv_heads": case.kv_heads,
            "head_dim": case.head_dim,
            "context": case.context,
            "phase": case.phase,
            "dtype": case.dtype,
            "kv_dtype": case.kv_dtype or case.dtype,
            "arithmetic_dtype": arithmetic,
            "window": case.window,
            "rotating_buffers": case.buffers,
            "prefetch": case.prefetch,
            "update": case.update,
        },
        clock_hz=clock,
        cycles=cycles,
        time_s=-(-cycles * 10**12 // clock) / 1e12,
        bound_by=CAUSES[busiest] if 2 * busy[busiest] >= cycles else "latency",
        busy=busy,
        hbm_read_bytes=work[work_fields.WORK_READ],
        hbm_write_bytes=work[work_fields.WORK_WRITE],
        sram_bytes=sram,
        fabric_bytes=0,
        flops=flops,
        utilization=flops * clock / (chip.peak_flops_per_s(arithmetic) * cycles),
        limits_cycles={
            "peak": -(-flops // peak),
            "hbm": int(scale_up(moved, clock, int(vector[HBM_BYTES_PER_S]))),
            "sram": int(scale_up(sram, clock, int(vector[SRAM_BYTES_PER_S]))),
        },
    )
