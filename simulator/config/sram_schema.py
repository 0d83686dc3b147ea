"""Schema of a chip's on-chip memory."""

from __future__ import annotations

from pydantic import model_validator

from simulator.config.fields import (
    Bandwidth,
    Bytes,
    Count,
    Fraction,
    FractionOrZero,
    Section,
    user_error,
)
from simulator.hardware import Sram


class BuffersConfig(Section):
    """Separate memories for the operands of a matmul, in place of a unified tile share."""

    input: Bytes
    weights: Bytes
    result: Bytes


class BanksConfig(Section):
    """Banks that work side by side: bandwidth = count x ports x width x clock.

    Tiles are laid out across all banks, so none conflicts with another.
    """

    count: Count
    ports: Count = 1
    width: Bytes


class SramConfig(Section):
    """On-chip memory and how it is shared out; see ``hardware.Sram``."""

    capacity: Bytes
    bandwidth: Bandwidth | None = None
    banks: BanksConfig | None = None
    write_bandwidth: Bandwidth | None = None
    buffers: BuffersConfig | None = None
    tile_fraction: Fraction = 0.5
    prefetch_fraction: FractionOrZero = 0.25
    activation_fraction: FractionOrZero = 0.25

    @model_validator(mode="after")
    def _shares_fit(self) -> SramConfig:
        total = self.tile_fraction + self.prefetch_fraction + self.activation_fraction
        if total > 1 + 1e-9:
            raise user_error(
                f"the fractions of the SRAM sum to {total:g}",
                "tile_fraction + prefetch_fraction + activation_fraction must not exceed 1",
            )
        if (self.bandwidth is None) == (self.banks is None):
            raise user_error(
                "sram needs either 'bandwidth' or 'banks'",
                "banks: {count: 32, ports: 1, width: 64 B} gives count x ports x width a cycle",
            )
        if self.buffers is not None:
            split = self.buffers.input + self.buffers.weights + self.buffers.result
            if split > self.capacity * self.tile_fraction:
                raise user_error(
                    f"the buffers take {split} B",
                    f"expected at most the tile share, {int(self.capacity * self.tile_fraction)} B",
                )
        return self

    def build(self, clock_hz: int) -> Sram:
        """The memory's specification on a chip of this clock."""
        bandwidth = self.bandwidth
        if self.banks is not None:
            bandwidth = self.banks.count * self.banks.ports * self.banks.width * clock_hz
        split = self.buffers
        return Sram(
            capacity_bytes=self.capacity,
            bandwidth_bytes_per_s=bandwidth or 0,
            tile_fraction=self.tile_fraction,
            prefetch_fraction=self.prefetch_fraction,
            activation_fraction=self.activation_fraction,
            buffers=None if split is None else (split.input, split.weights, split.result),
            write_bandwidth_bytes_per_s=self.write_bandwidth,
        )
