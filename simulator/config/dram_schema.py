"""Schema of a memory file (``configs/memories``), and the ``DramChannel`` that it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, model_validator

from simulator.config.fields import (
    Confidence,
    Count,
    CountOrZero,
    Duration,
    Flag,
    Fraction,
    Name,
    Quantity,
    Section,
    user_error,
)
from simulator.config.names import list_names
from simulator.config.validation import validate
from simulator.config.yaml_nodes import read_yaml
from simulator.hardware.dram import (
    MAX_BANKS,
    MAX_BANKS_PER_PSEUDO_CHANNEL,
    MAX_PSEUDO_CHANNELS,
    DramChannel,
    DramCommandBus,
    DramOrganisation,
    DramTiming,
)

Clocks = Annotated[int, BeforeValidator(Quantity("count", at_most=10**6))]
ClocksOrZero = Annotated[int, BeforeValidator(Quantity("count", zero=True, at_most=10**6))]


class OrganisationConfig(Section):
    """Counts of one channel; ``banks`` per bank group, ``columns`` in bursts."""

    pseudo_channels: Count = 1
    stack_ids: Count = 1
    bank_groups: Count
    banks: Count
    rows: Count
    columns: Count
    burst: Count

    @model_validator(mode="after")
    def _powers_of_two(self) -> OrganisationConfig:
        for name in ("pseudo_channels", "stack_ids", "bank_groups", "banks", "rows", "columns"):
            count = getattr(self, name)
            if count & (count - 1):
                raise user_error(f"{name}: {count} is no power of two", "addresses are bit fields")
        in_pc = self.stack_ids * self.bank_groups * self.banks
        if (
            in_pc > MAX_BANKS_PER_PSEUDO_CHANNEL
            or in_pc * self.pseudo_channels > MAX_BANKS
            or self.pseudo_channels > MAX_PSEUDO_CHANNELS
        ):
            raise user_error(
                "too many banks",
                f"at most {MAX_BANKS_PER_PSEUDO_CHANNEL} in a pseudo-channel, "
                f"{MAX_PSEUDO_CHANNELS} pseudo-channels, {MAX_BANKS} in all",
            )
        if in_pc * self.pseudo_channels * self.rows * self.columns > 2**40:
            raise user_error("the channel is too large", "at most 2^40 bursts")
        return self


class BusConfig(Section):
    """Command buses; lengths of commands in ticks, of which a clock has one or two."""

    separate: Flag
    ticks_per_clock: Count = 1
    activate: Count = 1
    precharge: Count = 1
    refresh: Count = 1
    column: Count = 1

    @model_validator(mode="after")
    def _ticks(self) -> BusConfig:
        if self.ticks_per_clock not in (1, 2):
            raise user_error("ticks_per_clock must be 1 or 2")
        if max(self.activate, self.precharge, self.refresh, self.column) > 16:
            raise user_error("a command holds its bus for at most 16 ticks")
        return self


class TimingConfig(Section):
    """Timings in clocks, named as in the standards without their t or n."""

    burst: Clocks
    read_latency: Clocks
    write_latency: Clocks
    ccd_s: Clocks
    ccd_l: Clocks
    ccd_r: ClocksOrZero = 0
    rcd_read: Clocks
    rcd_write: Clocks
    rp: Clocks
    ras: Clocks
    rc: Clocks
    rrd_s: Clocks
    rrd_l: Clocks
    faw: Clocks
    wr: Clocks
    rtp: Clocks
    wtr_s: Clocks
    wtr_l: Clocks
    read_to_write: Clocks
    ppd: ClocksOrZero = 0
    rfc: Clocks
    rfc_pb: Clocks
    rrefd: Clocks
    refi: Clocks
    refi_pb: Clocks

    @model_validator(mode="after")
    def _refresh_fits(self) -> TimingConfig:
        if self.rfc + self.rc >= self.refi or self.rrefd + self.rc >= self.refi_pb:
            raise user_error(
                "refresh takes all the time: rfc + rc must be below refi, rrefd + rc below refi_pb"
            )
        return self


class MemoryConfig(Section):
    """A memory file."""

    kind: Literal["memory"]
    name: Name
    standard: Name
    source: str
    confidence: Confidence
    clock: Duration
    organisation: OrganisationConfig
    bus: BusConfig
    timing: TimingConfig
    queue: Count
    write_queue: CountOrZero = 32
    address_map: str
    refresh_together: Flag = False
    run_efficiency: tuple[Fraction, ...] = ()

    @model_validator(mode="after")
    def _banks_keep_up(self) -> MemoryConfig:
        """Per-bank refreshes go round the banks; each must be over before its next one is due."""
        org, t = self.organisation, self.timing
        turn = org.stack_ids * org.bank_groups * org.banks
        if not self.refresh_together:
            turn *= org.pseudo_channels
        if t.rfc_pb + t.rc >= t.refi_pb * turn:
            raise user_error(
                "refresh takes all the time of a bank: rfc_pb + rc must be below refi_pb x "
                f"{turn} banks"
            )
        return self

    def build(self) -> DramChannel:
        """The specification."""
        org, bus = self.organisation, self.bus
        return DramChannel(
            name=self.name,
            standard=self.standard,
            organisation=DramOrganisation(
                pseudo_channels=org.pseudo_channels,
                stack_ids=org.stack_ids,
                bank_groups=org.bank_groups,
                banks=org.banks,
                rows=org.rows,
                columns=org.columns,
                burst_bytes=org.burst,
            ),
            timing=DramTiming(**self.timing.model_dump()),
            bus=DramCommandBus(
                separate=bus.separate,
                ticks_per_clock=bus.ticks_per_clock,
                activate_ticks=bus.activate,
                precharge_ticks=bus.precharge,
                refresh_ticks=bus.refresh,
                column_ticks=bus.column,
            ),
            clock_ps=self.clock,
            queue=self.queue,
            write_queue=self.write_queue,
            address_map=self.address_map,
            refresh_together=self.refresh_together,
            run_efficiency=self.run_efficiency,
            source=self.source,
            confidence=self.confidence,
        )


def list_memories() -> list[str]:
    """Sorted names of the memory presets, from ``./configs`` and from the package."""
    return list_names("memories")


def load_memory_file(path: Path) -> MemoryConfig:
    """The validated file of a DRAM channel."""
    return validate(read_yaml(path), MemoryConfig)
