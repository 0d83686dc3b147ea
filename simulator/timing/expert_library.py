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
from simulator.kernels.library_vector import (
    CUTLASS_LAUNCH_PS,
    MARLIN_LAUNCH_PS,
    OPENAI_SHARED_PS,
    TRTLLM_BLOCKS_PS,
)
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
    launch: int = chip[FUSED_EXPERT_LAUNCH_PS]
    if kernels == MARLIN:
        launch = chip[MARLIN_LAUNCH_PS]
    elif kernels == CUTLASS:
        launch = own if own > 0 else chip[CUTLASS_LAUNCH_PS]
    elif kernels == OPENAI and row[PLAN_RANKS] > 1:
        launch += chip[OPENAI_SHARED_PS]
    elif kernels == TRTLLM and row[PLAN_EXPERT_FORM] == BLOCKS:
        launch += chip[TRTLLM_BLOCKS_PS]
    return launch
