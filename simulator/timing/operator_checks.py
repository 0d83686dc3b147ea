"""What cases of single operators have in common: data types and phases that can be priced."""

from __future__ import annotations

from simulator.errors import InputError, did_you_mean
from simulator.hardware import Chip
from simulator.mapping.memory import BITS

PHASES = ("prefill", "decode")


def check_known(*dtypes: str) -> None:
    """Raise InputError for a data type that nobody knows."""
    for name in dtypes:
        if name not in BITS:
            raise InputError(f"unknown dtype '{name}'", hint=did_you_mean(name, BITS))


def check_dtypes(chip: Chip, dtype: str, other: str | None) -> None:
    """Raise InputError for an unknown data type, or a ``dtype`` that the chip has no rate for.

    ``other`` is that of operands which are only stored; as ``dtype`` where None.
    """
    check_known(dtype, other or dtype)
    if dtype not in chip.matrix.dtypes:
        raise InputError(
            f"chip '{chip.name}' has no rate for dtype '{dtype}'",
            hint=f"it has {', '.join(chip.matrix.dtypes)}",
        )


def check_phase(phase: str) -> None:
    """Raise InputError for a phase that is neither ``prefill`` nor ``decode``."""
    if phase not in PHASES:
        raise InputError(
            f"phase: found '{phase}', expected prefill or decode",
            hint=did_you_mean(phase, PHASES),
        )
