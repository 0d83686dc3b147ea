"""Pipeline stages: which layers each one has, and what it sends to the next.

Stages get ceil(layers / stages) layers, the last ones what is left; a stack's pattern of layers is
not cut. The first stage has the embedding, the last one the output head.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from simulator.model.layout import Layout
from simulator.model.operators import Collective, Section
from simulator.model.transformer import Transformer


@dataclass(frozen=True, slots=True)
class Stage:
    """The sections of one pipeline stage, ``count`` of which are alike."""

    sections: tuple[Section, ...]
    count: int = 1


def cut_stages(
    model: Transformer, layout: Layout, sections: tuple[Section, ...]
) -> tuple[Stage, ...]:
    """Distribute sections (embedding, one a stack, head and drafts) over the stages."""
    if layout.pp == 1:
        return (Stage(sections),)
    stacks = len(model.stacks)
    parts = layers_of_stages(model, layout.pp)
    send = Collective(
        "activations_send",
        "p2p",
        model.hidden,
        group="pipeline",
        split=layout.token_shards * layout.micro_batches,
    )
    stages = []
    for index, repeats in enumerate(parts):
        own = [
            replace(section, repeat=repeat)
            for section, repeat in zip(sections[1 : 1 + stacks], repeats, strict=True)
            if repeat
        ]
        if index == 0:
            own.insert(0, sections[0])
        if index == layout.pp - 1:
            own += sections[1 + stacks :]
        else:
            own.append(Section("", 1, (send,)))
        stages.append(tuple(own))
    return tuple(Stage(stage, count) for stage, count in Counter(stages).items())


def layers_of_stages(model: Transformer, stages: int) -> list[list[int]]:
    """How often each stage repeats each stack's pattern."""
    most = -(-model.layers // stages)
    parts = [[0] * len(model.stacks) for _ in range(stages)]
    begun = 0
    for number, stack in enumerate(model.stacks):
        for _ in range(stack.repeat):
            parts[min(stages - 1, begun // most)][number] += 1
            begun += len(stack.layers)
    return parts
