"""A serving engine: what the host does between two steps of the chip, and whose kernels run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from simulator.hardware.chip import Chip, Validated


@dataclass(frozen=True, slots=True)
class EngineAttention:
    """Attention kernels of an engine for a ``cache`` of one data type, on some ``chips``.

    ``figures`` are fields of ``hardware.FusedKernels`` that take the place of the chip's own, which
    were measured under another engine.
    """

    cache: str
    chips: tuple[str, ...]
    figures: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ServingEngine:
    """``iteration_ps`` of the host for each iteration and ``sequence_ps`` for each sequence in it
    (scheduling, sampling, detokenizing, streaming).

    ``scheduler`` names the scheduler of ``simulator.serving`` that batches as the engine does.
    ``prompt_wait`` is the share of the other requests' prompts that a request's tokens wait for
    where a fixed number of users ask again at once. ``all_reduce`` is the one of
    ``hardware.engine_kernels.ENGINES`` whose kernels it brings, None for the system's.
    ``kv_memory`` is the share of what weights and activations leave of HBM that the cache gets,
    None where all but the system's reserve is. ``residual`` is the data type of what lies between
    matmuls and of what chips exchange, None for that of the activations. ``attention`` are its
    attention kernels by the data type of the cache. ``graph_batches`` are the numbers of decoding
    sequences, ascending, that it has captured graphs of: a batch is padded to the next one.
    ``expert_load`` is how routers load the experts of its servers, where nothing else is said.
    ``validation`` lists, by chip, how far its time per output token was off on measured servers.
    """

    name: str
    iteration_ps: int
    sequence_ps: int
    scheduler: str = "chunked"
    prompt_wait: float = 1.0
    all_reduce: str | None = None
    validation: tuple[tuple[str, Validated], ...] = ()
    kv_memory: float | None = None
    residual: str | None = None
    attention: tuple[EngineAttention, ...] = ()
    graph_batches: tuple[int, ...] = ()
    expert_load: str = "balanced"

    def validated_on(self, chip: str) -> tuple[Validated, ...]:
        """The comparisons with servers of one chip."""
        return tuple(entry for name, entry in self.validation if name == chip)

    def with_attention(self, chip: Chip, cache: str) -> Chip:
        """The chip with the engine's attention kernels for a cache of this data type; as it is
        where the engine's were not measured on it."""
        for own in self.attention:
            if own.cache == cache and chip.name in own.chips and chip.fused is not None:
                return replace(
                    chip, fused=replace(chip.fused, eight_bit_cache=(), **dict(own.figures))
                )
        return chip
