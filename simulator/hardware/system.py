"""A system: chips of one kind and the fabric between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from simulator.hardware.chip import Chip, Validated
from simulator.hardware.fabric import Fabric, with_kernels
from simulator.hardware.network import Network
from simulator.hardware.serving_engine import ServingEngine


@dataclass(frozen=True, slots=True)
class System:
    """``name`` is the family with its shape, such as ``tpu-v7x:2x2x1``.

    ``host_overhead_ps`` is what the host adds to every iteration of a serving loop (scheduling,
    sampling, launch), unless an ``engine`` says more of it; ``hbm_reserve_fraction`` of each chip's
    HBM is left to the runtime.
    ``network`` joins it to other systems, where there is one. ``host_link_bytes_per_s`` is what one
    chip can copy to and, at the same time, from ``host_memory_bytes`` of its host's memory (0 where
    nobody has said). ``shapes`` are those of its family, () where it has no family.
    """

    name: str
    family: str
    chip: Chip
    fabric: Fabric
    host_overhead_ps: int = 0
    hbm_reserve_fraction: float = 0.10
    network: Network | None = None
    host_link_bytes_per_s: int = 0
    host_memory_bytes: int = 0
    shapes: tuple[tuple[int, ...], ...] = ()
    engine: ServingEngine | None = None

    @property
    def chips(self) -> int:
        """Number of chips."""
        return math.prod(self.fabric.axes)

    def under(self, engine: ServingEngine) -> System:
        """The system under the host of a serving engine, with its all-reduce kernels if any."""
        fabric = self.fabric
        if engine.all_reduce is not None:
            fabric = with_kernels(fabric, engine.all_reduce)
        return replace(self, engine=engine, fabric=fabric)

    def reserve_bytes(self, free: int) -> int:
        """Bytes of each chip's HBM that are left to the runtime, where weights, activations and
        buffers leave ``free``."""
        if self.engine is None or self.engine.kv_memory is None:
            return int(self.chip.hbm.capacity_bytes * self.hbm_reserve_fraction)
        return int(max(0, free) * (1 - self.engine.kv_memory))

    @property
    def host_iteration_ps(self) -> int:
        """What the host adds to an iteration, however many sequences are in it."""
        return self.host_overhead_ps if self.engine is None else self.engine.iteration_ps

    @property
    def host_sequence_ps(self) -> int:
        """What the host adds for each sequence of an iteration."""
        return 0 if self.engine is None else self.engine.sequence_ps

    def host_ps(self, sequences: int) -> int:
        """What the host adds to an iteration with so many sequences of one scheduler."""
        return self.host_iteration_ps + sequences * self.host_sequence_ps

    @property
    def validation(self) -> tuple[Validated, ...]:
        """What the chip's prices, and servers of this engine on it, were compared with; the
        engine's own kernels before those of the chip."""
        if self.engine is None:
            return self.chip.validation
        found = self.engine.validated_on(self.chip.name)
        servers = [entry for entry in found if entry.operator == "server"]
        kernels = [entry for entry in found if entry.operator != "server"]
        return (*kernels, *self.chip.validation, *servers)
