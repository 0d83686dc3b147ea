"""State of the bank-level DRAM kernel: timings in ticks, banks with their deadlines, the queue.

All are named tuples of int64 values and arrays, which numba takes as they are. Banks are numbered
``((pc * SID + sid) * BG + bg) * BA + ba``, so that shifting a bank number right gives its bank
group, stack and pseudo-channel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from simulator.hardware.dram import (
    MAX_BANKS,
    MAX_PSEUDO_CHANNELS,
    MAX_QUEUE,
    DramChannel,
    DramOrganisation,
)
from simulator.kernels.jit import kernel_cache

NEVER = 1 << 62
"""A tick that never comes."""

READ = 0
WRITE = 1

Ints = npt.NDArray[np.int64]
Narrow = npt.NDArray[np.int32]

# Nothing here allocates. Without numba's reference counting (``_nrt``, an option that its stubs do
# not know) the kernel is 1.3 to 2 times faster; small steps are inlined, rare ones called.
_OPTIONS: dict[str, Any] = {"_nrt": False, "error_model": "numpy"}
_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inlined: Any = njit(forceinline=True, **_OPTIONS, **_INNER)
called: Any = njit(**_OPTIONS, **_INNER)


def entry(function: Any) -> Any:
    """Compile a function that Python calls, and cache it with the other kernels."""
    with kernel_cache():
        return njit(cache=True, **_OPTIONS)(function)


class Geometry(NamedTuple):
    """Number of banks by level, and the shifts from a bank number to its group, stack and pc."""

    pcs: int
    stacks: int
    banks_per_pc: int
    banks: int
    bg_shift: int
    sid_shift: int
    pc_shift: int
    compared: int
    """Bank numbers that are compared: all of them, and up to the next multiple of ``BLOCK``."""


class Ticks(NamedTuple):
    """Minimum distance between the first ticks of two commands, and the lengths of commands."""

    per_clock: int
    separate_buses: int
    act_len: int
    pre_len: int
    ref_len: int
    col_len: int
    burst: int
    read_done: int
    write_done: int
    ccd_s: int
    ccd_l: int
    ccd_r: int
    read_to_write: int
    write_to_read_s: int
    write_to_read_l: int
    act_to_read: int
    act_to_write: int
    act_to_pre: int
    act_to_act: int
    act_to_ref: int
    rrd_s: int
    rrd_l: int
    faw: int
    pre_to_act: int
    pre_to_pre: int
    pre_to_ref: int
    read_to_pre: int
    write_to_pre: int
    ref_to_act: int
    refpb_to_act: int
    refpb_to_other_act: int
    refpb_to_refpb: int
    act_to_refpb_other: int
    refi: int
    refi_pb: int


# One int64 array holds everything that changes, so that kernels hand on one pointer. Each constant
# is the place of a column in it: ``c[at(ROW + bank)]``. The strides are no powers of two, because
# columns a power of two apart would fall on the same cache lines.
BANK_STRIDE, PC_STRIDE = MAX_BANKS + 8, MAX_PSEUDO_CHANNELS + 4
SLOTS = 2 * MAX_QUEUE + MAX_BANKS
SLOT_STRIDE = SLOTS + 2 * BANK_STRIDE + 8

BLOCK = 32
"""Banks that are compared at once: one or two pseudo-channels."""
HALF_BLOCK_BITS = 4

# By bank: the open row or -1, the slot whose activate is under way or -1, the earliest tick of
# a refresh, commands counted.
ROW, ACTIVE, B_REF, ACTS, COLUMNS = (i * BANK_STRIDE for i in range(5))
# By bank, for reads and then for writes: its oldest request to the open row.
HIT = 5 * BANK_STRIDE
# What a look at all banks compares is in an array of its own, of 32 bits, as a vector takes twice
# as many of them. By bank: the earliest tick of a command, limits of its pseudo-channel included.
B_ACT, B_PRE, B_READ, B_WRITE = (i * BANK_STRIDE for i in range(4))
# By bank, for reads and then for writes: the earliest tick of an activate, a precharge and a column
# command if the bank offers it, else NONE; the key of the request for which it offers an activate
# or a precharge, and a column command, so that the smallest is the oldest.
ACT_DUE, PRE_DUE, COLUMN_DUE, ROW_KEY, COLUMN_KEY = ((4 + 2 * i) * BANK_STRIDE for i in range(5))
NARROW_SIZE = 14 * BANK_STRIDE
# By pseudo-channel: earliest ticks, the last four activates and which of them is the oldest.
_PCS = 7 * BANK_STRIDE
P_ACT, P_PRE, P_REF, P_REFPB, FAW_NEXT, FAW = (_PCS + i * PC_STRIDE for i in range(6))
# By queue slot: row, age and bank (NEVER in a free one), the key that it offers, tick of arrival,
# direction, whether a command has gone out for it, neighbours in its bank's list; then the stack
# of free slots. A list is closed to a ring by a slot of its bank and direction, without a row and
# of the rank NONE, so that an empty list and the end of one are no special cases.
_SLOTS = _PCS + 9 * PC_STRIDE
WANTED, KEY, RANK, ARRIVAL, IS_WRITE, SEEN, NEXT, PREVIOUS, FREE = (
    _SLOTS + i * SLOT_STRIDE for i in range(9)
)
# By bank, for reads and then for writes: its oldest request and its youngest.
HEAD, TAIL = NEXT + SLOTS, PREVIOUS + SLOTS
# Requests in the read and in the write queue, height of the stack, activates under way for reads
# and for writes.
COUNT = _SLOTS + 9 * SLOT_STRIDE
FREE_COUNT = COUNT + 2
OPENED = COUNT + 3
# Queued requests by a few bits of bank and row: where there are none, no request hits a row.
CROWD_BITS = 10
CROWD = COUNT + 5
# For jumps over the repetitions of a stream: two pictures of the state; commands by bank and counts
# at the last one; commands booked to the real banks; when and of which size the last picture was,
# and the oldest request in it.
PICTURE, PICTURE_SIZE = CROWD + (1 << CROWD_BITS), 2800
NOTED = PICTURE + 2 * PICTURE_SIZE
BOOKED = NOTED + 2 * BANK_STRIDE + 16
LAST_SENT, LAST_NOW, LAST_SIZE, LAST_REFRESH, LAST_PLACE, OLDEST = (
    BOOKED + 2 * BANK_STRIDE + i for i in range(6)
)
# For jumps over whole rounds of refreshes: the picture that was kept, commands by bank and counts
# at that moment; when it was, the oldest request in it, its size, and the refreshes until another
# one is kept.
ROUND_PICTURE = OLDEST + 1
ROUND_BOOKED = ROUND_PICTURE + PICTURE_SIZE
ROUND_COUNTS = ROUND_BOOKED + 2 * BANK_STRIDE
ROUND_SENT, ROUND_TICK, ROUND_OLDEST, ROUND_SIZE, ROUND_LEFT, ROUND_SPAN = (
    ROUND_COUNTS + 16 + i for i in range(6)
)
RANKS = ROUND_SPAN + 1
"""The rank of the next request that enters."""
# Column commands booked ahead: how many since the books were settled, slot and tick of the last of
# them, and before which tick none goes in a bank group, a pseudo-channel and on the bus.
BOOKS = 32
"""Booked commands that are remembered; their requests keep their slots."""
BOOK_COUNT = RANKS + 1
BOOK_SLOT = BOOK_COUNT + 1
BOOK_TICK = BOOK_SLOT + BOOKS
BOOK_GROUP = BOOK_TICK + BOOKS
BOOK_PC, BOOK_FREE = BOOK_GROUP + MAX_BANKS, BOOK_GROUP + MAX_BANKS + PC_STRIDE
STATE_SIZE = BOOK_FREE + 1

# A key is the rank of a request by age above the number of its bank; that of a row hit has a high
# bit, as it yields to every request whose row has been opened for it.
BANK_BITS = 8
BANK_MASK = (1 << BANK_BITS) - 1
IS_HIT = 1 << 30
NONE = (1 << 31) - 1
"""The key of no request, and the narrow tick that never comes."""
LONG_PAST = -(1 << 30)
"""A narrow tick before all others."""


def _bits(count: int) -> int:
    return count.bit_length() - 1


def geometry_of(org: DramOrganisation) -> Geometry:
    """Bank counts and shifts of an organisation, whose counts must be powers of two."""
    bg_shift = _bits(org.banks)
    sid_shift = bg_shift + _bits(org.bank_groups)
    pc_shift = max(HALF_BLOCK_BITS, sid_shift + _bits(org.stack_ids))
    banks = org.pseudo_channels << pc_shift
    return Geometry(
        org.pseudo_channels,
        org.stack_ids,
        org.banks_per_pseudo_channel,
        banks,
        bg_shift,
        sid_shift,
        pc_shift,
        -(-banks // BLOCK) * BLOCK,
    )


def ticks_of(channel: DramChannel) -> Ticks:
    """Timings of a preset as distances between the first ticks of commands.

    The standards measure from the last cycle of one command to the last cycle of the next, so a
    longer first command adds its excess and a longer second one takes it off.
    """
    t, bus = channel.timing, channel.bus
    tick = bus.ticks_per_clock
    act, pre, ref, col = (
        bus.activate_ticks,
        bus.precharge_ticks,
        bus.refresh_ticks,
        bus.column_ticks,
    )
    write_end = t.write_latency + t.burst
    return Ticks(
        per_clock=tick,
        separate_buses=int(bus.separate),
        act_len=act,
        pre_len=pre,
        ref_len=ref,
        col_len=col,
        burst=t.burst * tick,
        read_done=(t.read_latency + t.burst) * tick,
        write_done=write_end * tick,
        ccd_s=max(t.burst, t.ccd_s) * tick,
        ccd_l=t.ccd_l * tick,
        ccd_r=max(t.burst, t.ccd_r) * tick,
        read_to_write=t.read_to_write * tick,
        write_to_read_s=(write_end + t.wtr_s) * tick,
        write_to_read_l=(write_end + t.wtr_l) * tick,
        act_to_read=t.rcd_read * tick + act - col,
        act_to_write=t.rcd_write * tick + act - col,
        act_to_pre=t.ras * tick + act - pre,
        act_to_act=t.rc * tick,
        act_to_ref=t.rc * tick + act - ref,
        rrd_s=t.rrd_s * tick,
        rrd_l=t.rrd_l * tick,
        faw=t.faw * tick,
        pre_to_act=t.rp * tick + pre - act,
        pre_to_pre=t.ppd * tick,
        pre_to_ref=t.rp * tick + pre - ref,
        read_to_pre=t.rtp * tick + col - pre,
        write_to_pre=(write_end + t.wr) * tick + col - pre,
        ref_to_act=t.rfc * tick + ref - act,
        refpb_to_act=t.rfc_pb * tick + ref - act,
        refpb_to_other_act=t.rrefd * tick + ref - act,
        refpb_to_refpb=t.rrefd * tick,
        act_to_refpb_other=t.rrd_s * tick + act - ref,
        refi=t.refi * tick,
        refi_pb=t.refi_pb * tick,
    )


def new_state(g: Geometry, reads: int, writes: int) -> tuple[Ints, Narrow]:
    """All banks closed, queues of ``reads`` and ``writes`` places, a slot more for each bank.

    Returns the state and the part of it that is narrow.
    """
    c = np.zeros(STATE_SIZE, dtype=np.int64)
    c[ROW:B_REF] = -1
    ends = SLOTS + np.arange(2 * BANK_STRIDE)
    c[HIT : HIT + ends.size] = c[HEAD : HEAD + ends.size] = c[TAIL : TAIL + ends.size] = ends
    c[WANTED + ends], c[RANK + ends] = -1, NONE
    c[KEY:RANK] = NEVER
    c[FAW : FAW + 4 * PC_STRIDE] = -NEVER
    slots = reads + writes + max(g.banks, BOOKS)
    c[FREE : FREE + slots] = np.arange(slots)
    c[FREE_COUNT] = slots
    c[LAST_SENT] = c[ROUND_OLDEST] = -1
    v = np.zeros(NARROW_SIZE, dtype=np.int32)
    v[ACT_DUE:] = NONE
    return c, v


@inlined
def at(place: int) -> Any:
    """A place in the state as an unsigned index, which numba need not check for counting back."""
    return np.uintp(place)


@inlined
def align(tick: int, per_clock: int) -> int:
    """The first rising clock edge at or after a tick; ``per_clock`` is a power of two."""
    return (tick + per_clock - 1) & ~(per_clock - 1)
