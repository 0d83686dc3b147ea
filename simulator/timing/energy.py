"""Energy from event counts, for chips whose energy for each event is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from simulator.hardware import Chip, Energy, TensorCore
from simulator.kernels.chip_packing import libraries_of
from simulator.mapping.memory import BITS


def energies(chip: Chip) -> Energy | None:
    """Those of the chip file; what it leaves out, of a GPU, those of its power model; else None.

    The power model prices the clock that matmuls sustain (``kernels.gpu_matmul.limited_ps``): a
    multiply-accumulate with all that brings its operands there, a byte from HBM, and a share of the
    board power that is drawn whatever runs.
    """
    if chip.power.energy is not None:
        return chip.power.energy
    unit = chip.matrix
    if not isinstance(unit, TensorCore) or unit.kernels is None or chip.power.tdp_w is None:
        return None
    own, model = unit.kernels.mac_pj, libraries_of(chip).cublas
    found = Energy(
        mac_pj={dtype: own * model.mac_energy_share(BITS[dtype]) for dtype in unit.dtypes},
        vector_op_pj=0.0,
        sram_byte_pj=0.0,
        hbm_byte_pj=model.hbm_byte_pj,
        link_byte_pj=0.0,
        idle_w=chip.power.tdp_w * (1 - model.switching_share),
        basis="estimate from the power model of matmuls",
    )
    return _with_stated(found, chip.power.stated)


def _with_stated(model: Energy, stated: tuple[tuple[str, float], ...]) -> Energy:
    """The energies of a power model with those of the chip file in their places."""
    if not stated:
        return model
    fields = {name: figure for name, figure in stated if "." not in name}
    macs = {name.partition(".")[2]: figure for name, figure in stated if "." in name}
    return replace(
        model,
        **fields,
        mac_pj={**model.mac_pj, **macs},
        basis=f"{model.basis}, but for {', '.join(name for name, _ in stated)}",
    )


def energy_basis(chips: Iterable[Chip]) -> str | None:
    """What the energies of the chips rest on; None where all are the chips' own, or none known."""
    known = [energies(chip) for chip in chips]
    return "; ".join(dict.fromkeys(e.basis for e in known if e and e.basis)) or None


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
    """Joules of a span of work, or None where the energies of the chip are not known.

    Two flops a multiply-accumulate, picojoules for each vector operation and each byte of SRAM, HBM
    and fabric, and the idle draw of every chip for as long as it was on; at most the power limit
    for as long. Kernels that are over before the regulator has answered draw more for a moment, at
    a price that does not know of it; in a row of them it holds the mean at the limit.
    """
    table = energies(chip)
    if table is None or dtype not in table.mac_pj:
        return None
    dynamic = flops / 2 * table.mac_pj[dtype] + vector_ops * table.vector_op_pj
    dynamic += sram_bytes * table.sram_byte_pj
    dynamic += (traffic["hbm_read"] + traffic["hbm_write"]) * table.hbm_byte_pj
    dynamic += traffic["fabric"] * table.link_byte_pj
    total = dynamic * 1e-12 + table.idle_w * chip_seconds
    limit = chip.power.tdp_w
    return total if limit is None else min(total, limit * chip_seconds)
