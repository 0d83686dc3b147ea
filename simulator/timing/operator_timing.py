"""What is known of a priced attention or expert layer, for people: ``chipsim op``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.timing.results import UNITS


@dataclass(frozen=True, slots=True)
class OperatorTiming:
    """The price of one operator on one chip.

    ``given`` are the inputs by name. ``cycles`` = ``compute_cycles`` + ``stall_cycles``; computing
    are those of the busier of matrix and vector unit. ``busy_cycles`` is by unit of ``UNITS``.
    ``limits_cycles`` are lower bounds: ``peak`` = flops over peak rate, ``hbm`` and ``sram`` =
    bytes over bandwidth.
    """

    kind: str
    chip: str
    given: dict[str, Any]
    clock_hz: int
    cycles: int
    time_s: float
    bound_by: str
    busy: tuple[int, ...]
    hbm_read_bytes: int
    hbm_write_bytes: int
    sram_bytes: int
    fabric_bytes: int
    flops: int
    utilization: float
    limits_cycles: dict[str, int]

    @property
    def compute_cycles(self) -> int:
        """Cycles in which an arithmetic unit works."""
        return min(self.cycles, max(self.busy[0], self.busy[1]))

    @property
    def stall_cycles(self) -> int:
        """The other cycles: memories, links, launch and latency."""
        return self.cycles - self.compute_cycles

    @property
    def hbm_bytes(self) -> int:
        """Bytes read from and written to HBM."""
        return self.hbm_read_bytes + self.hbm_write_bytes

    @property
    def busy_cycles(self) -> dict[str, int]:
        """Cycles in which each unit works."""
        return dict(zip(UNITS, self.busy, strict=True))
