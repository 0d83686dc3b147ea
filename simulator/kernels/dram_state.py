"""State of the bank-level DRAM kernel: timings in ticks, banks with their deadlines, the queue.

All are named tuples of int64 values and arrays, which numba takes as they are. Banks are numbered
``((pc * SID + sid) * BG + bg) * BA + ba``, so that shifting a bank number right gives its bank
group, stack and pseudo-channel. Sets of banks of one pseudo-channel are bit masks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import intrinsic

from simulator.hardware.dram import DramChannel, DramOrganisation

NEVER = 1 << 62
"""A tick that never comes."""

MAX_BANKS = 62
"""Banks of one pseudo-channel that fit a mask."""

READ = 0
WRITE = 1

Ints = npt.NDArray[np.int64]


class Geometry(NamedTuple):
    """Number of banks by level, and the shifts from a bank number to its group, stack and pc."""

    pcs: int
    stacks: int
    banks_per_pc: int
    banks: int
    bg_shift: int
    sid_shift: int
    pc_shift: int


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


Records = Any
"""A numpy structured array; numba reads its fields as attributes."""

_BANK_FIELDS = ("row", "active", "read", "write", "pre", "act", "ref", "acts", "cols")
_GROUP_FIELDS = ("read", "write", "act")
_STACK_FIELDS = ("read", "write")
_PC_FIELDS = ("act", "pre", "ref", "refpb", "faw_next", "open_mask", "active_mask")
_SLOT_FIELDS = ("row", "bank", "age", "arrival", "is_write", "seen", "next", "previous")
_CHAIN_FIELDS = ("head", "tail", "hit")
_OFFER_FIELDS = ("hit_mask", "act_mask", "pre_mask")


class Banks(NamedTuple):
    """Open rows, and the earliest tick of each kind of command by bank, group, stack and pc.

    A bank's ``active`` is the queue slot whose activate is under way or -1; its ``acts`` and
    ``cols`` count commands. ``faw`` holds the last four activates of each pseudo-channel.
    """

    bank: Records
    group: Records
    stack: Records
    pc: Records
    faw: Ints


class Queue(NamedTuple):
    """Requests in the read and the write queue, and in each a list by bank, oldest first.

    ``slot`` are the requests; ``chain[d * banks + bank]`` the oldest, the youngest and the oldest
    to the open row; ``offer[d * pcs + pc]`` masks of banks with a hit, to activate, to precharge.
    ``count`` is requests in the read and in the write queue, and the height of the stack ``free``.
    """

    slot: Records
    chain: Records
    offer: Records
    free: Ints
    count: Ints


def _bits(count: int) -> int:
    return count.bit_length() - 1


def geometry_of(org: DramOrganisation) -> Geometry:
    """Bank counts and shifts of an organisation, whose counts must be powers of two."""
    bg_shift = _bits(org.banks)
    sid_shift = bg_shift + _bits(org.bank_groups)
    return Geometry(
        org.pseudo_channels,
        org.stack_ids,
        org.banks_per_pseudo_channel,
        org.pseudo_channels * org.banks_per_pseudo_channel,
        bg_shift,
        sid_shift,
        sid_shift + _bits(org.stack_ids),
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


def tick_record(ticks: Ticks) -> Records:
    """The same timings as one record, which numba hands around as a single pointer."""
    record = _records(1, Ticks._fields)
    record[0] = tuple(ticks)
    return record


def _records(count: int, fields: tuple[str, ...]) -> Records:
    return np.zeros(count, dtype=np.dtype([(name, np.int64) for name in fields]))


def new_banks(g: Geometry) -> Banks:
    """All banks closed and nothing to wait for."""
    bank = _records(g.banks, _BANK_FIELDS)
    bank["row"] = bank["active"] = -1
    return Banks(
        bank=bank,
        group=_records(g.banks >> g.bg_shift, _GROUP_FIELDS),
        stack=_records(g.banks >> g.sid_shift, _STACK_FIELDS),
        pc=_records(g.pcs, _PC_FIELDS),
        faw=np.full(4 * g.pcs, -NEVER, dtype=np.int64),
    )


def new_queue(g: Geometry, reads: int, writes: int) -> Queue:
    """Empty queues of ``reads`` and ``writes`` places; one slot more for each bank's activate."""
    slots = reads + writes + g.banks
    chain = _records(2 * g.banks, _CHAIN_FIELDS)
    for field in _CHAIN_FIELDS:
        chain[field] = -1
    return Queue(
        slot=_records(slots, _SLOT_FIELDS),
        chain=chain,
        offer=_records(2 * g.pcs, _OFFER_FIELDS),
        free=np.arange(slots, dtype=np.int64),
        count=np.array([0, 0, slots], dtype=np.int64),
    )


@intrinsic
def lowest_bit(_context, _mask):  # type: ignore[no-untyped-def]
    """Index of the lowest set bit of an int64 that is not zero (one machine instruction)."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        from llvmlite import ir

        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@njit(_nrt=False, forceinline=True, error_model="numpy")
def align(tick: int, per_clock: int) -> int:
    """The first rising clock edge at or after a tick; ``per_clock`` is a power of two."""
    return (tick + per_clock - 1) & ~(per_clock - 1)
