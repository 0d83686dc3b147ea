"""The time of a collective from its packed schedules, in integers.

A schedule is a fixed time and a few phases; a phase is a number of equal steps. A step costs its
latency, the bytes that its busiest link carries, and the reduction that the next step waits for.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div, scale_up, transfer_ps
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner, kernel

STEPS = 0
LATENCY_PS = 1
LINK_NUM = 2
"""Bytes on the busiest link in a step are size * LINK_NUM / LINK_DEN, rounded up."""
LINK_DEN = 3
RATE = 4
REDUCE_NUM = 5
REDUCE_DEN = 6
REDUCE_RATE = 7
FILL_PS = 8
"""What the pipeline of the protocol adds to the transfer of x picoseconds: x fill / (x + fill)."""
PHASE_FIELDS = 9

HEAD_SCHEDULES = 0
"""Of each operation: number of schedules, and where its first one lies."""
HEAD_OFFSET = 1
HEAD_FIELDS = 2

SCHEDULE_FIXED = 0
SCHEDULE_PHASES = 1
SCHEDULE_LARGEST = 2
"""The most bytes that the software uses it for; 0 means any number."""
SCHEDULE_FIELDS = 3


@kernel
def phase_ps(phase: Int64Array, size: int, concurrent: int) -> tuple[int, int]:
    """(picoseconds, link picoseconds) of all steps; ``concurrent`` share each link equally."""
    carried = scale_up(size, phase[LINK_NUM] * concurrent, phase[LINK_DEN])
    moving = transfer_ps(carried, phase[RATE]) if carried > 0 else 0
    reducing = 0
    if phase[REDUCE_NUM] > 0 and phase[REDUCE_RATE] > 0:
        reduced = scale_up(size, phase[REDUCE_NUM], phase[REDUCE_DEN])
        reducing = transfer_ps(reduced, phase[REDUCE_RATE])
    steps = phase[STEPS]
    total = steps * (phase[LATENCY_PS] + moving + reducing)
    if phase[FILL_PS] > 0 and moving > 0:
        total += scale_up(steps * moving, phase[FILL_PS], steps * moving + phase[FILL_PS])
    return total, steps * moving


@kernel
def phase_bytes(phase: Int64Array, size: int) -> int:
    """Bytes that the busiest link carries in all steps."""
    return phase[STEPS] * scale_up(size, phase[LINK_NUM], phase[LINK_DEN])


@inner
def schedule_ps(table: Int64Array, at: int, size: int) -> tuple[int, int, int]:
    """(picoseconds, link picoseconds, busiest link's bytes) of the schedule at ``at``."""
    total, moving, carried = table[at + SCHEDULE_FIXED], 0, 0
    first = at + SCHEDULE_FIELDS
    for index in range(table[at + SCHEDULE_PHASES]):
        place = first + index * PHASE_FIELDS
        phase = table[place : place + PHASE_FIELDS]
        duration, on_link = phase_ps(phase, size, 1)
        total += duration
        moving += on_link
        carried += phase_bytes(phase, size)
    return total, moving, carried


@inner
def exposed(total: int, moving: int, parts: int) -> int:
    """Picoseconds of a collective that work on its other parts does not hide."""
    return total - moving + ceil_div(moving, parts)


@kernel
def best_schedule(
    table: Int64Array, op: int, size: int, busy: int, parts: int
) -> tuple[int, int, int, int]:
    """(picoseconds, link picoseconds, busiest link's bytes, index) of the fastest schedule.

    ``table`` is that of ``simulator.fabric.pack``. Schedules for smaller buffers are left out. An
    operation without schedules, or one among a single rank, costs nothing and has index -1.
    With ``parts`` the fastest is that which, there and back, adds least to work of ``busy``
    picoseconds that goes on meanwhile, but for the first of the parts and the last.
    """
    best, best_moving, best_bytes, best_index, least = 0, 0, 0, -1, 0
    at = table[op * HEAD_FIELDS + HEAD_OFFSET]
    for index in range(table[op * HEAD_FIELDS + HEAD_SCHEDULES]):
        largest = table[at + SCHEDULE_LARGEST]
        if largest == 0 or size <= largest:
            total, moving, carried = schedule_ps(table, at, size)
            cost = total
            if parts > 0:
                cost = 2 * exposed(total, moving, parts) + max(busy, 2 * moving)
            if best_index < 0 or cost < least:
                best, best_moving, best_bytes, best_index = total, moving, carried, index
                least = cost
        at += SCHEDULE_FIELDS + table[at + SCHEDULE_PHASES] * PHASE_FIELDS
    return best, best_moving, best_bytes, best_index


@kernel
def collective(table: Int64Array, op: int, size: int) -> tuple[int, int, int]:
    """(picoseconds, link picoseconds, bytes on the busiest link) for a buffer of ``size`` bytes.

    ``size`` is the full buffer of one rank: what it holds in the end (all-gather) or before.
    """
    total, moving, carried, _ = best_schedule(table, op, size, 0, 0)
    return total, moving, carried
