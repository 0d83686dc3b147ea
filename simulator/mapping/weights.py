"""Bytes of a model's weights in the data types in which they are published."""

from __future__ import annotations

from simulator.mapping.memory import BITS
from simulator.model.layers import Experts
from simulator.model.transformer import Transformer

PLAIN_BITS = 16
"""Embedding, head, router, norms and biases stay in 16 bits when the rest is quantized."""


def stored_weight_bytes(model: Transformer) -> int:
    """Size of the weights as ``model.quantization`` says, scales included."""
    q = model.quantization
    routers = sum(
        n * model.hidden * x.ffn.experts
        for x, n in model.each_layer()
        if isinstance(x.ffn, Experts)
    )
    experts = model.expert_parameters
    dense = model.matmul_parameters - experts - routers
    plain = model.parameters - experts - dense
    bits = plain * max(PLAIN_BITS, BITS[q.dense])
    for count, dtype in ((dense, q.dense), (experts, q.experts)):
        bits += count * BITS[dtype]
        if q.block and BITS[dtype] < PLAIN_BITS:
            bits += -(-count // q.block) * q.scale_bits
    return -(-bits // 8)
