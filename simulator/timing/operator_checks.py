"""What cases of single operators have in common: checks of data types and phases, and that cases of
one kind are priced together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from simulator.errors import InputError, did_you_mean
from simulator.hardware import Chip
from simulator.mapping.memory import BITS

C = TypeVar("C")
K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

PHASES = ("prefill", "decode")


def check_known(*dtypes: str) -> None:
    """Raise InputError for a data type that nobody knows."""
    for name in dtypes:
        if name not in BITS:
            raise InputError(f"unknown dtype '{name}'", hint=did_you_mean(name, BITS))


def check_narrow(activation: str, weight: str) -> None:
    """Raise InputError for activations of 4 bits, floats, with weights that are none."""
    if BITS[activation] < 8 and (BITS[weight] > 4 or weight == "int4"):
        raise InputError(
            f"activations in {activation} are multiplied with weights of 4 bits, floats, found "
            f"weights in {weight}",
            hint=f"--dtype {activation} sets both",
        )


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


def price_by_kind(
    cases: Sequence[C], kind: Callable[[C], K], price: Callable[[K, Sequence[C]], Sequence[R]]
) -> list[R]:
    """A result for each case, in their order; ``price`` gets all cases of a kind at a time.

    Raises what ``kind`` raises for a case that cannot be priced, before any is.
    """
    groups: dict[K, list[int]] = {}
    for index, case in enumerate(cases):
        groups.setdefault(kind(case), []).append(index)
    results: dict[int, R] = {}
    for key, members in groups.items():
        found = price(key, [cases[index] for index in members])
        results.update(zip(members, found, strict=True))
    return [results[index] for index in range(len(cases))]
