"""Random chips, models and systems for property tests, built from the frozen specifications."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from simulator.hardware import (
    Chip,
    Dram,
    Fabric,
    Sram,
    System,
    SystolicArray,
    TensorCore,
    VectorUnit,
)
from simulator.model.transformer import Transformer, llama

CLOCKS = (10**9, 940_000_000, 1_755_000_000, 333_333_333, 7)

# The largest working set that the smallest tile of any unit below can have, by kind of unit:
# two buffers of 16 x 16 operands with 32-bit sums, and of 64 x 4096 operands, which are not cut
# where their partial sums exceed the registers.
LEAST_SYSTOLIC = 8 << 10
LEAST_TENSOR = 1 << 20


@st.composite
def systolic_arrays(draw: st.DrawFn) -> SystolicArray:
    dataflow = draw(st.sampled_from(["ws", "ws", "os", "is"]))
    rate = draw(st.integers(1, 4))
    return SystolicArray(
        rows=draw(st.integers(1, 16)),
        cols=draw(st.integers(1, 16)),
        count=draw(st.integers(1, 5)),
        macs_per_cell={"bf16": rate, "int8": 2 * rate},
        dataflow=dataflow,
        weight_load=draw(st.sampled_from(["single", "double"])),
    )


@st.composite
def tensor_cores(draw: st.DrawFn) -> TensorCore:
    sizes = st.sampled_from([8, 16, 32, 64])
    tiles = draw(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=3, unique=True))
    rate = draw(st.integers(1, 512))
    return TensorCore(
        count=draw(st.integers(1, 12)),
        macs_per_sm={"bf16": rate, "int8": 2 * rate},
        tiles=tuple(tiles),
        tile_k=draw(st.sampled_from([4, 8, 16])),
    )


def rates(low: int, high: int) -> st.SearchStrategy[int]:
    """Bandwidths over several orders of magnitude, round and ragged."""
    return st.builds(
        lambda base, scale: min(max(base * 10**scale, low), high),
        st.integers(1, 999),
        st.integers(6, 11),
    )


@st.composite
def chips(draw: st.DrawFn) -> Chip:
    unit = draw(st.one_of(systolic_arrays(), tensor_cores()))
    least = LEAST_SYSTOLIC if isinstance(unit, SystolicArray) else LEAST_TENSOR
    return Chip(
        name="random",
        clock_hz=draw(st.sampled_from(CLOCKS[:4])),
        matrix=unit,
        vector=VectorUnit(ops_per_cycle=draw(st.integers(1, 256))),
        sram=Sram(
            capacity_bytes=draw(st.integers(least, 16 * least)),
            bandwidth_bytes_per_s=draw(rates(10**8, 10**14)),
        ),
        hbm=Dram(
            capacity_bytes=10**12,
            bandwidth_bytes_per_s=draw(rates(10**7, 10**13)),
            latency_ps=draw(st.sampled_from([0, 1, 999, 100_000, 650_001])),
            efficiency=draw(st.sampled_from([1.0, 0.9, 0.5])),
        ),
        link=None,
        operator_overhead_ps=draw(st.sampled_from([0, 1, 50_000, 3_000_000])),
    )


@st.composite
def models(draw: st.DrawFn) -> Transformer:
    heads = draw(st.sampled_from([2, 4, 8]))
    return llama(
        name="random",
        layers=draw(st.integers(1, 4)),
        hidden=draw(st.integers(3, 96)),
        heads=heads,
        kv_heads=draw(st.sampled_from([h for h in (1, 2, 4, 8) if h <= heads])),
        head_dim=draw(st.sampled_from([2, 4, 8, 16])),
        intermediate=8 * draw(st.integers(1, 24)),
        vocabulary=draw(st.integers(2, 300)),
        max_context=100_000,
    )


@st.composite
def fabrics(draw: st.DrawFn, axes: tuple[int, ...]) -> Fabric:
    if axes == (1,):
        return Fabric("none")
    kind = draw(st.sampled_from(["torus", "switch"]))
    return Fabric(
        kind=kind,
        axes=axes if kind == "torus" else (axes[0] * (axes[1] if len(axes) > 1 else 1),),
        wrap=tuple(draw(st.booleans()) for _ in axes) if kind == "torus" else (False,),
        link_bandwidth_bytes_per_s=draw(rates(10**7, 10**12)),
        hop_latency_ps=draw(st.sampled_from([0, 1, 100_000, 1_000_000])),
        collective_overhead_ps=draw(st.sampled_from([0, 5, 2_000_000])),
    )


@st.composite
def systems(draw: st.DrawFn, shapes: tuple[tuple[int, ...], ...] = ((1,), (2,), (2, 2))) -> System:
    return System(
        name="random",
        family="random",
        chip=draw(chips()),
        fabric=draw(fabrics(draw(st.sampled_from(shapes)))),
        host_overhead_ps=draw(st.sampled_from([0, 1, 500_000])),
    )


def with_chip(system: System, chip: Chip) -> System:
    return dataclasses.replace(system, chip=chip)


def doubled(chip: Chip, what: str) -> Chip:
    """The chip with twice of one of ``RESOURCES``."""
    if what == "hbm":
        twice = 2 * chip.hbm.bandwidth_bytes_per_s
        return dataclasses.replace(
            chip, hbm=dataclasses.replace(chip.hbm, bandwidth_bytes_per_s=twice)
        )
    if what == "sram_capacity":
        more = dataclasses.replace(chip.sram, capacity_bytes=2 * chip.sram.capacity_bytes)
        return dataclasses.replace(chip, sram=more)
    if what == "sram_bandwidth":
        twice = 2 * chip.sram.bandwidth_bytes_per_s
        return dataclasses.replace(
            chip, sram=dataclasses.replace(chip.sram, bandwidth_bytes_per_s=twice)
        )
    return dataclasses.replace(chip, clock_hz=2 * chip.clock_hz)


RESOURCES = ("hbm", "sram_capacity", "sram_bandwidth", "clock")
