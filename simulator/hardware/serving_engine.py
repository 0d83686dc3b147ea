"""A serving engine: what the host does between two steps of the chip."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.hardware.chip import Validated


@dataclass(frozen=True, slots=True)
class ServingEngine:
    """``iteration_ps`` of the host for each iteration and ``sequence_ps`` for each sequence in it
    (scheduling, sampling, detokenizing, streaming).

    ``scheduler`` names the scheduler of ``simulator.serving`` that batches as the engine does.
    ``prompt_wait`` is the share of the other requests' prompts that a request's tokens wait for
    where a fixed number of users ask again at once. ``all_reduce`` is the one of
    ``hardware.engine_kernels.ENGINES`` whose kernels it brings, None for the system's.
    ``validation`` lists, by chip, how far its time per output token was off on measured servers.
    """

    name: str
    iteration_ps: int
    sequence_ps: int
    scheduler: str = "chunked"
    prompt_wait: float = 1.0
    all_reduce: str | None = None
    validation: tuple[tuple[str, Validated], ...] = ()

    def validated_on(self, chip: str) -> tuple[Validated, ...]:
        """The comparisons with servers of one chip."""
        return tuple(entry for name, entry in self.validation if name == chip)
