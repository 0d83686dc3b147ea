"""A layer of routed experts as an operator of its own, and which can be priced."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import InputError, did_you_mean
from simulator.hardware import Chip, TensorCore
from simulator.hardware.fused_kernels import USUAL
from simulator.kernels.expert_kernels import LIBRARIES
from simulator.mapping.memory import BITS
from simulator.timing.operator_checks import check_dtypes, check_narrow

MODES = ("sorted", "fused")

LARGEST = 2**24
LARGEST_EXPERTS = 2**14
LARGEST_FLOPS = 2**58


@dataclass(frozen=True, slots=True)
class MoeCase:
    """``tokens`` of all ranks together through ``top_k`` of ``experts`` gated feed-forward experts
    of ``hidden`` x ``intermediate``, on ``ep`` chips that hold equal parts of the experts.

    ``expert_load``: balanced, random[:SPREAD], power:ALPHA or a file of loads. ``dtype`` is that of
    activations and arithmetic, ``weight_dtype`` (the same unless given) that of the weights.
    Without ``exchange`` every chip has all tokens, as in tensor-parallel layers: only what it
    computes is priced.
    ``blocks``: activations and weights of 8 bits have scales in blocks of 128. ``kernels``: the
    library that runs the matmuls on a GPU (``kernels.expert_kernels``), ``usual`` for what an
    engine takes.
    """

    tokens: int
    hidden: int
    intermediate: int
    experts: int
    top_k: int
    ep: int = 1
    expert_load: str = "balanced"
    dtype: str = "bf16"
    weight_dtype: str | None = None
    moe: str = "sorted"
    gated: bool = True
    exchange: bool = True
    buffers: int = 0
    blocks: bool = False
    kernels: str = USUAL


def check_case(case: MoeCase, chip: Chip) -> None:
    """Raise InputError where a case is not one that can be priced."""
    limits = (
        ("tokens", case.tokens, LARGEST),
        ("hidden", case.hidden, LARGEST),
        ("intermediate", case.intermediate, LARGEST),
        ("experts", case.experts, LARGEST_EXPERTS),
        ("top_k", case.top_k, LARGEST_EXPERTS),
        ("ep", case.ep, LARGEST_EXPERTS),
    )
    for name, value, most in limits:
        if not 1 <= value <= most:
            raise InputError(f"{name}: found {value}, expected 1 to {most}")
    if case.top_k > case.experts:
        raise InputError(f"top_k {case.top_k} is more than the {case.experts} experts")
    if case.experts % case.ep:
        raise InputError(
            f"{case.experts} experts do not divide over {case.ep} expert-parallel chips"
        )
    if 6 * case.tokens * case.top_k * case.hidden * case.intermediate > LARGEST_FLOPS:
        raise InputError("the layer has more than 2^58 flops")
    if case.moe not in MODES:
        raise InputError(
            f"moe: found '{case.moe}', expected sorted or fused",
            hint=did_you_mean(case.moe, MODES),
        )
    check_dtypes(chip, case.dtype, case.weight_dtype)
    check_narrow(case.dtype, case.weight_dtype or case.dtype)
    if case.blocks and {BITS[case.dtype], BITS[case.weight_dtype or case.dtype]} != {8}:
        raise InputError(
            f"blocks: found dtype {case.dtype} and weights {case.weight_dtype or case.dtype}",
            hint="scales in blocks are priced for activations and weights of 8 bits",
        )
    _check_kernels(case, chip)


def _check_kernels(case: MoeCase, chip: Chip) -> None:
    """Refuse a library that has no kernels for a case."""
    weights = case.weight_dtype or case.dtype
    if case.kernels == USUAL:
        return
    if case.kernels not in LIBRARIES:
        raise InputError(
            f"kernels: found '{case.kernels}', expected {', '.join((USUAL, *LIBRARIES))}",
            hint=did_you_mean(case.kernels, (USUAL, *LIBRARIES)),
        )
    if not isinstance(chip.matrix, TensorCore):
        raise InputError(
            f"kernels: found '{case.kernels}' for chip {chip.name}, which is no GPU",
            hint=f"only '{USUAL}' is priced there",
        )
    narrow = BITS[weights] == 4 and BITS[case.dtype] == 16
    only = {"marlin": narrow, "openai": narrow and weights != "int4"}
    if not only.get(case.kernels, weights != "int4"):
        raise InputError(
            f"kernels: found '{case.kernels}' for dtype {case.dtype} and weights {weights}",
            hint="marlin and openai have 4-bit weights and 16-bit activations; int4 only marlin",
        )
