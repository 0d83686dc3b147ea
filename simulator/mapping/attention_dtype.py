"""Which data type attention multiplies in, by the types of the activations and of the cache."""

from __future__ import annotations

from simulator.hardware import Chip
from simulator.mapping.memory import BITS

PLAIN_BITS = 16
"""Of the operands of attention kernels that take no narrower ones."""


def attention_dtype(chip: Chip, activation: str, cache: str) -> str:
    """The data type of the products of queries, keys and values.

    A GPU's library converts its queries to the type of the cache where the chip file says so
    (``fused_kernels.cache_arithmetic``), and else converts keys and values to 16 bits, or to wider
    activations. Of chips without such a library the wider type of both is taken. A type without a
    rate on the chip gives way to one of as many bits, or to the activations' own.
    """
    if chip.fused is not None and cache in chip.fused.cache_arithmetic:
        return _rated(chip, cache, activation)
    wider = cache if BITS[cache] > BITS[activation] else activation
    if chip.fused is not None and BITS[wider] < PLAIN_BITS:
        wider = "bf16"
    return _rated(chip, wider, activation)


def plain_dtype(chip: Chip, dtype: str) -> str:
    """``dtype``, or one of 16 bits where it is narrower and the chip has a rate for one."""
    return dtype if BITS[dtype] >= PLAIN_BITS else _rated(chip, "bf16", dtype)


def _rated(chip: Chip, dtype: str, otherwise: str) -> str:
    rated = chip.matrix.dtypes
    if dtype in rated:
        return dtype
    return next((own for own in rated if BITS[own] == BITS[dtype]), otherwise)
