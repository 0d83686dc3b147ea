"""Which library's kernels run a layer of routed experts, and what follows from that.

An engine takes its kernels by the data types, and by whether ranks share the experts
(``docs/moe.md``).
"""

from __future__ import annotations

from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    FUSED_ABSENT,
    FUSED_EXPERT_LAUNCH_PS,
    FUSED_GATHERS,
    FUSED_NARROW_LAUNCH_PS,
    FUSED_TILE_OF_MEAN,
    SYSTOLIC,
    UNIT_KIND,
)
from simulator.kernels.gpu_experts import BLOCKS, CUTLASS, INTEGERS, MARLIN, TRITON, TRTLLM
from simulator.kernels.jit import inner
from simulator.timing.prices import (
    ACTIVATION_BITS,
    PLAN_EXPERT_FORM,
    PLAN_LOCAL,
    PLAN_RANKS,
    WEIGHT_BITS,
)

PLAIN_BITS = 16
"""Of activations before they are quantized, of results, and of weights that are not quantized."""

MARLIN_LAUNCH_PS = 45_000_000
"""Launches and tails of a layer on Marlin, the same on all chips: 43 and 48 us on H100 and B200."""


@inner
def carries(chip: Int64Array, bits: Int64Array, row: Int64Array) -> bool:
    """Whether the kernels carry the rows of tokens for other ranks' experts along: Marlin's do."""
    if row[PLAN_LOCAL] == 0:
        return False
    absent: bool = chip[FUSED_ABSENT] == 1 and bits[WEIGHT_BITS] == PLAIN_BITS
    return absent or (chip[UNIT_KIND] != SYSTOLIC and row[PLAN_EXPERT_FORM] == INTEGERS)


@inner
def narrow(chip: Int64Array, bits: Int64Array, row: Int64Array) -> bool:
    """Whether a library of its own runs experts with narrow activations (``narrow_expert_launch``).

    vLLM keeps the usual kernels for blocks where a rank has all experts.
    """
    if chip[FUSED_NARROW_LAUNCH_PS] == 0 or bits[ACTIVATION_BITS] >= PLAIN_BITS:
        return False
    usual: bool = row[PLAN_EXPERT_FORM] == BLOCKS and row[PLAN_RANKS] == 1
    return not usual


@inner
def gathers(chip: Int64Array, row: Int64Array) -> bool:
    """Whether the matmuls gather their rows and gate their results themselves."""
    own: bool = chip[FUSED_GATHERS] == 1 and row[PLAN_EXPERT_FORM] != INTEGERS
    return own


@inner
def library(chip: Int64Array, bits: Int64Array, row: Int64Array) -> int:
    """The library whose kernels multiply (``gpu_experts``)."""
    if row[PLAN_EXPERT_FORM] == INTEGERS:
        return MARLIN
    if narrow(chip, bits, row):
        return CUTLASS
    return TRTLLM if chip[FUSED_TILE_OF_MEAN] == 1 else TRITON


@inner
def launch_ps(chip: Int64Array, bits: Int64Array, row: Int64Array) -> int:
    """Launches and tails of all kernels of a layer; a systolic array has none here."""
    if chip[UNIT_KIND] == SYSTOLIC:
        return 0
    if row[PLAN_EXPERT_FORM] == INTEGERS:
        return MARLIN_LAUNCH_PS
    if narrow(chip, bits, row):
        launch: int = chip[FUSED_NARROW_LAUNCH_PS]
        return launch
    usual: int = chip[FUSED_EXPERT_LAUNCH_PS]
    return usual
