"""Schema of a chip's power limit and of its energies by event, and the ``Power`` they become."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from simulator.config.fields import Dtype, EnergyPj, Note, Section, Watts, WattsOrZero
from simulator.hardware import Energy, Power


class EnergyConfig(Section):
    """Dynamic energies by event, and the idle power.

    All of them, but for a GPU with ``kernels`` and a power limit: what is not stated there is that
    of its power model.
    """

    mac: dict[Dtype, EnergyPj] = Field(default={})
    vector_op: EnergyPj | None = None
    sram_byte: EnergyPj | None = None
    hbm_byte: EnergyPj | None = None
    link_byte: EnergyPj | None = None
    idle: WattsOrZero | None = None
    basis: Note | None = None

    def missing(self) -> list[str]:
        """Keys of energies that are not stated."""
        keys = ("vector_op", "sram_byte", "hbm_byte", "link_byte", "idle")
        absent = [key for key in keys if getattr(self, key) is None]
        return absent if self.mac else ["mac", *absent]

    def stated(self) -> tuple[tuple[str, float], ...]:
        """What is stated, as ``hardware.Power`` has it."""
        pairs = (
            *((f"mac_pj.{dtype}", energy) for dtype, energy in self.mac.items()),
            ("vector_op_pj", self.vector_op),
            ("sram_byte_pj", self.sram_byte),
            ("hbm_byte_pj", self.hbm_byte),
            ("link_byte_pj", self.link_byte),
            ("idle_w", self.idle),
        )
        return tuple((name, energy) for name, energy in pairs if energy is not None)


class PowerConfig(Section):
    """Board power limit, and energies where they are known."""

    tdp: Watts | None = None
    energy: EnergyConfig | None = None

    def build(self, dtypes: Iterable[str]) -> Power:
        """The limit and the energies of a chip with rates for ``dtypes``."""
        energy = self.energy
        if energy is None:
            return Power(self.tdp)
        if not energy.missing() and all(dtype in energy.mac for dtype in dtypes):
            return Power(self.tdp, _energy(energy))
        return Power(self.tdp, stated=energy.stated())


def _energy(config: EnergyConfig) -> Energy:
    """All energies of a chip that states all of them."""
    single = {name: value for name, value in config.stated() if "." not in name}
    macs = {str(dtype): energy for dtype, energy in config.mac.items()}
    return Energy(mac_pj=macs, basis=config.basis, **single)
