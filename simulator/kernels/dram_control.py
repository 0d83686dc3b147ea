"""What a DRAM controller is set to: places of its queues, and which banks a refresh covers."""

from __future__ import annotations

from typing import NamedTuple

from simulator.kernels.dram_state import READ, WRITE, Geometry, Ints, Ticks, inlined

REFRESH_OFF = 0
REFRESH_ALL = 1
REFRESH_BANK = 2


class Controller(NamedTuple):
    """Places of the two queues, the kind of refresh, and whether pseudo-channels share it."""

    read_places: int
    write_places: int
    refresh: int
    refresh_together: int


@inlined
def next_place(writes: Ints, control: Controller, sent: int, mixed: bool) -> tuple[int, int]:
    """Direction of the next request to enter, and the places of the queue that it enters."""
    write = writes[sent] if mixed else READ
    return write, (control.write_places if write == WRITE else control.read_places)


@inlined
def refresh_interval(g: Geometry, t: Ticks, control: Controller) -> tuple[int, int]:
    """Ticks from one due refresh to the next, and how many commands fall due together."""
    if control.refresh == REFRESH_BANK:
        return t.refi_pb, (g.pcs if control.refresh_together else 1)
    return t.refi, g.pcs


@inlined
def refresh_target(g: Geometry, control: Controller, number: int) -> int:
    """The bank of a refresh, counted from 0; for an all-bank refresh bank 0 of its channel."""
    if control.refresh == REFRESH_ALL:
        return (number % g.pcs) << g.pc_shift
    if control.refresh_together:
        return ((number % g.pcs) << g.pc_shift) + (number // g.pcs) % g.banks_per_pc
    pc = number // g.banks_per_pc % g.pcs
    return (pc << g.pc_shift) + number % g.banks_per_pc
