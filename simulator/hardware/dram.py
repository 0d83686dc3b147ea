"""One DRAM channel at bank level: how it is organised, its timings, its command buses, refresh.

Timings are whole clocks (the ``nXXX`` of the standards and of Ramulator), measured between the
last cycles of the two commands; a tick is a fraction of a clock, because HBM3 starts precharges on
either clock edge.
"""

from __future__ import annotations

from dataclasses import dataclass

ADDRESS_FIELDS = ("pc", "bg", "col", "sid", "ba", "row")
"""Fields of an address map: pseudo-channel, bank group, column, stack id, bank, row."""

CONVENTIONAL_MAPS = {
    "RoBaRaCoCh": "col.pc.sid.bg.ba.row",
    "RoRaBaCoCh": "col.pc.bg.ba.sid.row",
    "RoCoBaRaCh": "pc.sid.bg.ba.col.row",
    "ChRaBaRoCo": "col.row.ba.bg.sid.pc",
}
"""Conventional names (highest field first) as maps from the lowest bits; Ba = bank group, bank."""

REFRESH_MODES = ("all", "per-bank", "off")

# What the bank-level kernel has room for; its arrays are laid out for these.
MAX_BANKS = 128
MAX_BANKS_PER_PSEUDO_CHANNEL = 32
MAX_PSEUDO_CHANNELS = 8
MAX_QUEUE = 512
"""Places of each of the two queues."""


@dataclass(frozen=True, slots=True)
class DramOrganisation:
    """Counts of one channel; all but ``burst_bytes`` powers of two by construction of addresses.

    ``banks`` is per bank group, ``bank_groups`` per stack id, ``stack_ids`` per pseudo-channel;
    ``columns`` counts bursts in a row.
    """

    pseudo_channels: int
    stack_ids: int
    bank_groups: int
    banks: int
    rows: int
    columns: int
    burst_bytes: int

    @property
    def banks_per_pseudo_channel(self) -> int:
        """Banks that share one data bus."""
        return self.stack_ids * self.bank_groups * self.banks

    @property
    def bursts(self) -> int:
        """Capacity of the channel in bursts."""
        return self.pseudo_channels * self.banks_per_pseudo_channel * self.rows * self.columns

    @property
    def capacity_bytes(self) -> int:
        """Capacity of the channel in bytes."""
        return self.bursts * self.burst_bytes

    def field_sizes(self) -> dict[str, int]:
        """Number of values of each address field."""
        return {
            "pc": self.pseudo_channels,
            "bg": self.bank_groups,
            "col": self.columns,
            "sid": self.stack_ids,
            "ba": self.banks,
            "row": self.rows,
        }


@dataclass(frozen=True, slots=True)
class DramTiming:
    """Minimum distances in clocks; ``_s`` between, ``_l`` within a bank group, ``_r`` stacks."""

    burst: int
    read_latency: int
    write_latency: int
    ccd_s: int
    ccd_l: int
    ccd_r: int
    rcd_read: int
    rcd_write: int
    rp: int
    ras: int
    rc: int
    rrd_s: int
    rrd_l: int
    faw: int
    wr: int
    rtp: int
    wtr_s: int
    wtr_l: int
    read_to_write: int
    ppd: int
    rfc: int
    rfc_pb: int
    rrefd: int
    refi: int
    refi_pb: int


@dataclass(frozen=True, slots=True)
class DramCommandBus:
    """Command buses: their number, and how many ticks each kind of command holds its bus.

    With ``separate`` row commands (activate, precharge, refresh) and column commands (read, write)
    have a bus each; both are shared by all pseudo-channels of the channel.
    """

    separate: bool
    ticks_per_clock: int
    activate_ticks: int
    precharge_ticks: int
    refresh_ticks: int
    column_ticks: int


@dataclass(frozen=True, slots=True)
class DramChannel:
    """A preset: everything that the bank-level kernel needs, and where the figures come from.

    ``refresh_together`` says that a per-bank refresh goes to the same bank of every pseudo-channel
    at once (HBM3), and not to one bank of the channel (HBM2).
    """

    name: str
    standard: str
    organisation: DramOrganisation
    timing: DramTiming
    bus: DramCommandBus
    clock_ps: int
    queue: int
    write_queue: int
    address_map: str
    refresh_together: bool
    source: str
    confidence: str
    run_efficiency: tuple[float, ...] = ()

    @property
    def peak_bytes_per_s(self) -> float:
        """Data-bus peak of the channel: a burst of every pseudo-channel each burst time."""
        moved = self.organisation.pseudo_channels * self.organisation.burst_bytes
        return self.bytes_per_s(moved, self.timing.burst * self.bus.ticks_per_clock)

    @property
    def tick_s(self) -> float:
        """Seconds per tick."""
        return self.seconds(1)

    def seconds(self, ticks: int) -> float:
        """Ticks as seconds, correctly rounded."""
        return ticks * self.clock_ps / (10**12 * self.bus.ticks_per_clock)

    def bytes_per_s(self, moved: int, ticks: int) -> float:
        """The rate of ``moved`` bytes in a number of ticks, correctly rounded."""
        return moved * 10**12 * self.bus.ticks_per_clock / (ticks * self.clock_ps)
