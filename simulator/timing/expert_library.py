"""Which library's kernels run a layer of routed experts, and what follows from that.

An engine takes its kernels by the data types, and by whether ranks share the experts
(``docs/moe.md``); a single operator may name others (``MoeCase.kernels``).
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
from simulator.kernels.expert_kernels import (
    BLOCKS,
    CUTLASS,
    INTEGERS,
    MARLIN,
    OPENAI,
    TRITON,
    TRTLLM,
)
from simulator.kernels.jit import inner
from simulator.timing.prices import (
    ACTIVATION_BITS,
    PLAN_EXPERT_FORM,
    PLAN_EXPERT_KERNELS,
    PLAN_LOCAL,
    PLAN_RANKS,
    WEIGHT_BITS,
)

PLAIN_BITS = 16
"""Of activations before they are quantized, of results, and of weights that are not quantized."""

MARLIN_LAUNCH_PS = 42_000_000
"""Launches and tails of a layer on Marlin, the same on all chips; fitted to the tables of
``MARLIN_MACS``."""

CUTLASS_LAUNCH_PS = 38_000_000
"""The same on CUTLASS where it is not what the engine takes and tunes: activations other than SiLU,
and widths that trtllm-gen refuses, in vLLM on Blackwell (B200's table in bf16)."""

OPENAI_SHARED_PS = 30_000_000
"""More launches of gpt-oss's kernels where ranks share the experts: PyTorch sorts out whose tokens
they are (H100: 27 to 34 us with few tokens)."""

TRTLLM_BLOCKS_PS = 9_000_000
"""More launches of trtllm-gen's layer with scales in blocks: two kernels, and what the matmuls wait
for them (B200)."""


@inner
def library(chip: Int64Array, bits: Int64Array, row: Int64Array) -> int:
    """The library whose kernels multiply (``kernels.expert_kernels``).

    vLLM keeps the usual kernels for blocks where a rank has all experts.
    """
    named: int = row[PLAN_EXPERT_KERNELS] - 1
    if named >= 0:
        return named
    if row[PLAN_EXPERT_FORM] == INTEGERS:
        return MARLIN
    narrow = bits[ACTIVATION_BITS] < PLAIN_BITS and chip[FUSED_NARROW_LAUNCH_PS] > 0
    if narrow and not (row[PLAN_EXPERT_FORM] == BLOCKS and row[PLAN_RANKS] == 1):
        return CUTLASS
    if chip[FUSED_GATHERS] == 1 or chip[FUSED_TILE_OF_MEAN] == 1:
        return TRTLLM
    floats = bits[WEIGHT_BITS] <= 4 and bits[ACTIVATION_BITS] == PLAIN_BITS
    return OPENAI if floats else TRITON


@inner
def carries(chip: Int64Array, bits: Int64Array, row: Int64Array) -> bool:
    """Whether the kernels carry the rows of tokens for other ranks' experts along: Marlin's do."""
    if row[PLAN_LOCAL] == 0 or chip[UNIT_KIND] == SYSTOLIC:
        return False
    kernels = library(chip, bits, row)
    absent: bool = chip[FUSED_ABSENT] == 1 and kernels == TRITON
    return kernels == MARLIN or absent


@inner
def gathers(chip: Int64Array, bits: Int64Array, row: Int64Array) -> bool:
    """Whether the matmuls gather their rows and gate their results themselves."""
    own: bool = chip[FUSED_GATHERS] == 1
    return own and library(chip, bits, row) == TRTLLM


@inner
def launch_ps(chip: Int64Array, bits: Int64Array, row: Int64Array) -> int:
    """Launches and tails of all kernels of a layer; a systolic array has none here."""
    if chip[UNIT_KIND] == SYSTOLIC:
        return 0
    kernels = library(chip, bits, row)
    own: int = chip[FUSED_NARROW_LAUNCH_PS]
    usual: int = chip[FUSED_EXPERT_LAUNCH_PS]
    if kernels == MARLIN:
        return MARLIN_LAUNCH_PS
    if kernels == CUTLASS:
        return own if own > 0 else CUTLASS_LAUNCH_PS
    if kernels == OPENAI and row[PLAN_RANKS] > 1:
        return usual + OPENAI_SHARED_PS
    if kernels == TRTLLM and row[PLAN_EXPERT_FORM] == BLOCKS:
        return usual + TRTLLM_BLOCKS_PS
    return usual
