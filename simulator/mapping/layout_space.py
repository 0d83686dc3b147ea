"""Every layout of a model on a system that is worth pricing."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.errors import InputError
from simulator.fabric.groups import strided_group
from simulator.hardware import System
from simulator.mapping.layout import check_layout
from simulator.mapping.shard import groups_of
from simulator.model.layers import Dense, GroupedQuery
from simulator.model.layout import Layout
from simulator.model.transformer import Transformer

MOST_STAGES = 16
LONG_CONTEXT = 32_768
"""From this many tokens on, sharing the keys of a sequence is tried."""


def layouts(system: System, model: Transformer, sequences: int, context: int) -> Iterator[Layout]:
    """Legal layouts for a batch of ``sequences`` over the whole system.

    Every divisor of the chips is tried as a replica, every divisor of that as pipeline stages (up
    to ``MOST_STAGES``), tensor, data and expert parallelism; two-dimensional and gathered weights
    for dense models on 16 chips and more; context parallelism for long contexts or where
    there are fewer sequences than chips. Ranks without a sequence are left out.
    """
    for replica in divisors(system.chips):
        share = -(-sequences // (system.chips // replica))
        for stages in divisors(replica):
            if stages > min(model.layers, MOST_STAGES):
                continue
            for layout in _stage_layouts(model, replica // stages, stages, share, context):
                if _is_legal(system, model, layout):
                    yield layout


def divisors(number: int) -> list[int]:
    """All divisors, rising."""
    return [d for d in range(1, number + 1) if number % d == 0]


def _stage_layouts(
    model: Transformer, stage: int, stages: int, share: int, context: int
) -> Iterator[Layout]:
    few = share < stage
    for tp in divisors(stage):
        for sp in divisors(stage // tp):
            if sp > 1 and (sp > 8 or context < (LONG_CONTEXT // 4 if few else LONG_CONTEXT)):
                continue
            dp = stage // (tp * sp)
            if dp > share:
                continue
            micro = min(stages, max(1, -(-share // dp)))
            experts = divisors(stage) if model.experts is not None else [1]
            for ep in experts:
                copies = _copies(model, ep)
                yield Layout(
                    tp,
                    dp,
                    sp,
                    stage // ep,
                    ep,
                    1,
                    stages,
                    micro,
                    redundant_experts=copies,
                )
    if stages == 1 and stage >= 16 and _is_dense(model):
        yield from _weight_layouts(model, stage, share)


def _copies(model: Transformer, ep: int) -> int:
    """Redundant experts that let ``ep`` divide all, up to a quarter of the experts."""
    experts = model.experts
    if experts is None or ep == 1:
        return 0
    copies = -experts.experts % ep
    return copies if copies <= experts.experts // 4 else 0


def _weight_layouts(model: Transformer, stage: int, share: int) -> Iterator[Layout]:
    """Two-dimensional and gathered weights; attention by sequences, or by heads."""
    by_sequence = share >= stage
    by_head = all(layer.attention.heads % stage == 0 for layer, _ in model.each_layer())
    for x in divisors(stage):
        if not 1 < x < stage or x * x > stage:
            continue
        if by_sequence:
            yield Layout(dp=stage, ffn_tp=stage, weights="stationary-2d", grid_x=x)
        if by_head:
            yield Layout(tp=stage, ffn_tp=stage, weights="stationary-2d", grid_x=x)
    if by_sequence:
        yield Layout(dp=stage, ffn_dp=stage, weights="gathered")


def _is_dense(model: Transformer) -> bool:
    return all(
        isinstance(layer.ffn, Dense) and isinstance(layer.attention, GroupedQuery)
        for layer, _ in model.each_layer()
    )


def _is_legal(system: System, model: Transformer, layout: Layout) -> bool:
    try:
        check_layout(system, model, layout)
        for ranks, apart in groups_of(layout).values():
            strided_group(system.fabric, ranks, apart)
    except InputError:
        return False
    return True
