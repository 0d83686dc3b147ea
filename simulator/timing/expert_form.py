"""How the operands of experts are quantized, which decides what kernels multiply them."""

from __future__ import annotations

from simulator.kernels.expert_kernels import BLOCKS, INTEGERS, PLAIN
from simulator.mapping.memory import BITS


def expert_form(weights: str, activations: str, blocks: bool) -> int:
    """PLAIN, BLOCKS or INTEGERS of ``kernels.expert_kernels`` for two data types.

    ``blocks`` says that operands of 8 bits have their scales in blocks.
    """
    if weights == "int4" and BITS[activations] == 16:
        return INTEGERS
    return BLOCKS if blocks and BITS[weights] == BITS[activations] == 8 else PLAIN
