"""Which bandwidth HBM gives to which access: the bank-level model behind a chip's memory.

A chip file names either an efficiency or a DRAM preset. For a preset the share of the peak that
contiguous runs of each length achieve comes from ``chipsim memory``'s kernel, under refresh, with
the runs at random places: a row that is opened for 64 bytes costs more than one that is streamed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from simulator.config.loader import load_memory
from simulator.hardware import RUN_CLASSES, SHORTEST_RUN_BYTES, Chip


@lru_cache(maxsize=64)
def run_efficiency(preset: str) -> tuple[float, ...]:
    """Share of the peak for runs of ``SHORTEST_RUN_BYTES`` * 2**i bytes, the last a stream.

    Preset files carry the figures, so that a run needs no bank-level simulation; for one that
    does not they are simulated.
    """
    return load_memory(preset).run_efficiency or simulate_run_efficiency(preset)


def simulate_run_efficiency(preset: str) -> tuple[float, ...]:
    """What the bank-level model says; written into preset files by ``benchmarks/dram_runs.py``.

    A longer run is never slower than a shorter one: where the simulated figures of two lengths
    are within the noise of the places, the higher one holds for both.
    """
    # imported here, since preset files carry the figures
    from simulator.timing.memory import stream_efficiency

    shares: list[float] = []
    for index in range(RUN_CLASSES - 1):
        shares.append(stream_efficiency(preset, f"block:{SHORTEST_RUN_BYTES << index}"))
    shares.append(stream_efficiency(preset, "sequential"))
    for index in range(1, RUN_CLASSES):
        shares[index] = max(shares[index], shares[index - 1])
    return tuple(shares)


def resolve_memory(chip: Chip) -> Chip:
    """The chip with its memory's efficiency by run length filled in.

    Raises InputError for an unknown preset.
    """
    hbm = chip.hbm
    if hbm.preset is None or hbm.run_efficiency:
        return chip
    return replace(chip, hbm=replace(hbm, run_efficiency=run_efficiency(hbm.preset)))
