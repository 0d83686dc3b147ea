"""Energy from event counts, for chips whose file gives an energy for each event."""

from __future__ import annotations

from simulator.hardware import Chip


def energy_j(
    chip: Chip,
    dtype: str,
    *,
    flops: float,
    vector_ops: float,
    sram_bytes: float,
    traffic: dict[str, int],
    chip_seconds: float,
) -> float | None:
    """Joules of a span of work, or None where the chip file has no energies.

    Two flops a multiply-accumulate, picojoules for each vector operation and each byte of SRAM, HBM
    and fabric, and the idle draw of every chip for as long as it was on.
    """
    table = chip.power.energy
    if table is None or dtype not in table.mac_pj:
        return None
    dynamic = flops / 2 * table.mac_pj[dtype] + vector_ops * table.vector_op_pj
    dynamic += sram_bytes * table.sram_byte_pj
    dynamic += (traffic["hbm_read"] + traffic["hbm_write"]) * table.hbm_byte_pj
    dynamic += traffic["fabric"] * table.link_byte_pj
    return dynamic * 1e-12 + table.idle_w * chip_seconds
