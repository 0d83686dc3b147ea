"""Schema of a chip's matrix unit: systolic arrays, or multiprocessors with tensor cores."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simulator.config.fields import (
    Bandwidth,
    Bytes,
    Count,
    Delay,
    Dtype,
    EnergyPj,
    Flag,
    Fraction,
    Ratio,
    Section,
    Shape,
    user_error,
)
from simulator.hardware import GpuKernels, SystolicArray, TensorCore


def _some_dtype(rates: dict[Dtype, int], key: str) -> None:
    if not rates:
        raise user_error(f"{key} is empty", "expected a rate for at least one of bf16, fp8, int8")


class SystolicConfig(Section):
    """Systolic arrays; ``macs_per_cell`` in multiply-accumulates per cell and cycle."""

    kind: Literal["systolic"]
    rows: Count
    cols: Count
    count: Count
    macs_per_cell: dict[Dtype, Count]
    dataflow: Literal["ws", "os", "is"] = "ws"
    accumulators: Bytes | None = None
    weight_load: Literal["single", "double"] = "single"
    load_rows: Count = 1

    @model_validator(mode="after")
    def _has_a_rate(self) -> SystolicConfig:
        if max(self.rows, self.cols) > 1024:
            raise user_error(
                f"an array of {self.rows}x{self.cols} cells", "expected at most 1024x1024"
            )
        if self.weight_load == "double" and self.dataflow == "os":
            raise user_error(
                "weight_load 'double' needs a stationary operand; dataflow 'os' has none",
                "expected 'single', or dataflow 'ws' or 'is'",
            )
        if self.load_rows > self.rows:
            raise user_error(
                f"load_rows is {self.load_rows}, more than the {self.rows} rows of the array",
                "expected how many rows of the stationary operand enter in a cycle",
            )
        _some_dtype(self.macs_per_cell, "macs_per_cell")
        return self

    def build(self) -> SystolicArray:
        """The matrix unit's specification."""
        return SystolicArray(
            rows=self.rows,
            cols=self.cols,
            count=self.count,
            macs_per_cell={str(dtype): rate for dtype, rate in self.macs_per_cell.items()},
            dataflow=self.dataflow,
            weight_load=self.weight_load,
            load_rows=self.load_rows,
            accumulator_bytes=self.accumulators,
        )


class KernelsConfig(Section):
    """How a GPU's matrix kernels run; see ``hardware.GpuKernels``."""

    tile: Delay
    feed: Bandwidth
    issue_efficiency: Fraction
    eight_bit_issue: Fraction | None = None
    split: Delay
    mac_energy: EnergyPj
    step: Delay = 0
    ramp: Delay = 0
    persistent: Flag = True
    unsplit: list[Dtype] = Field(default_factory=list)
    l2_partitions: Count = 2
    in_step: Flag = False
    narrow_rows: Count = 128
    split_ratio: Ratio = 0.0
    stream: Bandwidth | None = None
    store: Bandwidth | None = None
    smallest_tile: Count = 64
    largest_tile: Shape = (128, 256)

    @model_validator(mode="after")
    def _tiles_fit(self) -> KernelsConfig:
        if len(self.largest_tile) != 2:
            shown = "x".join(map(str, self.largest_tile))
            raise user_error(f"tile '{shown}' is not rows x columns", "for example 128x256")
        if self.smallest_tile**2 > self.largest_tile[0] * self.largest_tile[1]:
            raise user_error(
                f"the smallest tile, {self.smallest_tile}x{self.smallest_tile}, has more results "
                f"than the largest",
                "expected smallest_tile x smallest_tile to be at most largest_tile",
            )
        return self

    def build(self) -> GpuKernels:
        """The kernels' specification."""
        return GpuKernels(
            tile_ps=self.tile,
            step_ps=self.step,
            feed_bytes_per_s=self.feed,
            issue_efficiency=self.issue_efficiency,
            eight_bit_issue=self.eight_bit_issue,
            split_ps=self.split,
            ramp_ps=self.ramp,
            mac_pj=self.mac_energy,
            persistent=self.persistent,
            unsplit=tuple(str(dtype) for dtype in self.unsplit),
            l2_partitions=self.l2_partitions,
            in_step=self.in_step,
            narrow_rows=self.narrow_rows,
            split_ratio=self.split_ratio,
            stream_bytes_per_s=self.stream,
            store_bytes_per_s=self.store,
            smallest_tile=self.smallest_tile,
            largest_tile=(self.largest_tile[0], self.largest_tile[1]),
        )


class TensorCoreConfig(Section):
    """Multiprocessors with tensor cores; ``tiles`` are shapes such as ``128x256``.

    ``kernels`` takes the place of ``tiles`` where it is known how the chip's kernels run.
    """

    kind: Literal["tensor_core"]
    count: Count
    macs_per_sm: dict[Dtype, Count]
    tiles: tuple[Shape, ...] = ()
    tile_k: Count = 64
    kernels: KernelsConfig | None = None

    @model_validator(mode="after")
    def _has_rates_and_tiles(self) -> TensorCoreConfig:
        _some_dtype(self.macs_per_sm, "macs_per_sm")
        if not self.tiles and self.kernels is None:
            raise user_error(
                "tiles is empty", "expected at least one tile such as 128x128, or kernels"
            )
        for tile in self.tiles:
            if len(tile) != 2:
                shown = "x".join(map(str, tile))
                raise user_error(f"tile '{shown}' is not rows x columns", "for example 128x256")
        return self

    def build(self) -> TensorCore:
        """The matrix unit's specification."""
        return TensorCore(
            count=self.count,
            macs_per_sm={str(dtype): rate for dtype, rate in self.macs_per_sm.items()},
            tiles=tuple((tile[0], tile[1]) for tile in self.tiles),
            tile_k=self.tile_k,
            kernels=None if self.kernels is None else self.kernels.build(),
        )


MatrixConfig = Annotated[SystolicConfig | TensorCoreConfig, Field(discriminator="kind")]
