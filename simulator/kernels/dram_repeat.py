"""Jumps over the repetitions of a stream between two refreshes, exact to the tick.

A stream of consecutive bursts does the same over and over, each time to other banks or rows. Once a
period the kernel draws a picture of everything that decides what follows: deadlines from now on,
ages and addresses from the next request on, banks in the order in which the stream comes to them.
When two pictures are equal and the requests between and after them are consecutive, the rest of the
stream repeats the stretch between the pictures, shifted in time and address, until a refresh falls
due or the requests end. The pictures are compared, never assumed to be equal.

A jump leaves the state alone. The channel goes on as if the bursts that were jumped over did not
exist: with earlier ticks, younger ages, and addresses that are moved down by as much. A move by
whole periods maps banks to banks and keeps what they share, so it changes no timing. Only the
commands counted by bank have to be booked to the banks that they really went to.

Only for reads that are all there from the start, and not with refreshes of single banks.
"""

from __future__ import annotations

from simulator.kernels.dram_address import AddressMap
from simulator.kernels.dram_serve import END
from simulator.kernels.dram_state import (
    ACTIVE,
    ACTS,
    ARRIVAL,
    B_ACT,
    B_REF,
    BANK_BITS,
    BANK_STRIDE,
    BOOKED,
    FAW,
    FAW_NEXT,
    HEAD,
    KEY,
    LAST_NOW,
    LAST_PLACE,
    LAST_REFRESH,
    LAST_SENT,
    LAST_SIZE,
    NEVER,
    NEXT,
    NONE,
    NOTED,
    OLDEST,
    P_ACT,
    P_REFPB,
    PC_STRIDE,
    PICTURE,
    PICTURE_SIZE,
    PRE_DUE,
    ROW,
    SEEN,
    SLOTS,
    Geometry,
    Ints,
    Narrow,
    Ticks,
    at,
    called,
    inlined,
)

_END = -NEVER
"""Ends a bank's list of requests in a picture."""


@inlined
def bank_of(address: AddressMap, g: Geometry, burst: int) -> int:
    """The bank in which a burst lies."""
    return (
        (((burst >> address.pc_shift) & address.pc_mask) << g.pc_shift)
        + (((burst >> address.sid_shift) & address.sid_mask) << g.sid_shift)
        + (((burst >> address.bg_shift) & address.bg_mask) << g.bg_shift)
        + ((burst >> address.ba_shift) & address.ba_mask)
    )


@inlined
def first_burst(address: AddressMap, g: Geometry, bank: int) -> int:
    """The first burst of a bank's first row."""
    return (
        ((bank >> g.pc_shift) << address.pc_shift)
        + (((bank >> g.sid_shift) & address.sid_mask) << address.sid_shift)
        + (((bank >> g.bg_shift) & address.bg_mask) << address.bg_shift)
        + ((bank & address.ba_mask) << address.ba_shift)
    )


@inlined
def _draw(c: Ints, place: int, value: int) -> int:
    """Write one number of a picture; returns the place of the next."""
    c[at(place)] = value
    return place + 1


@inlined
def _draw_requests(c: Ints, place: int, first: int, sent: int, now: int) -> int:
    """Age and arrival of the requests of a list, and whether a command has gone out for each."""
    slot = first
    if slot < SLOTS:
        c[at(OLDEST)] = min(c[at(OLDEST)], c[at(KEY + slot)] >> BANK_BITS)
    while slot < SLOTS:
        age = sent - (c[at(KEY + slot)] >> BANK_BITS)
        place = _draw(c, place, age * 2 + c[at(SEEN + slot)])
        place = _draw(c, place, now - c[at(ARRIVAL + slot)])
        slot = c[at(NEXT + slot)]
    return _draw(c, place, _END)


@called
def _draw_state(
    c: Ints,
    v: Narrow,
    g: Geometry,
    faw: int,
    address: AddressMap,
    start: int,
    sent: int,
    base: int,
    now: int,
) -> int:
    """Draw banks and pseudo-channels at ``now`` from place ``start`` on; returns the end.

    ``base`` is the burst of the next request less what is below a period.
    """
    place = start
    c[at(OLDEST)] = sent
    for pc in range(g.pcs):
        for number in range(g.banks_per_pc):
            burst = base + first_burst(address, g, (pc << g.pc_shift) + number)
            bank, row = bank_of(address, g, burst), burst >> address.row_shift
            # the open row from the one with which the stream comes to this bank
            is_open = c[at(ROW + bank)] >= 0
            ahead = (c[at(ROW + bank)] - row) & address.row_mask
            place = _draw(c, place, ahead if is_open else NEVER)
            for deadline in range(B_ACT + bank, B_ACT + 4 * BANK_STRIDE, BANK_STRIDE):
                place = _draw(c, place, max(v[at(deadline)] - now, 0))
            place = _draw(c, place, max(c[at(B_REF + bank)] - now, 0))
            place = _draw(c, place, v[at(PRE_DUE + bank)] != NONE)
            active = c[at(ACTIVE + bank)]
            place = _draw(c, place, active >= 0)
            if active >= 0:  # it is in no list, but keeps the neighbour that it had
                age = c[at(KEY + active)] >> BANK_BITS
                c[at(OLDEST)] = min(c[at(OLDEST)], age)
                place = _draw(c, place, sent - age)
                place = _draw(c, place, now - c[at(ARRIVAL + active)])
            place = _draw_requests(c, place, c[at(HEAD + bank)], sent, now)
        here = bank_of(address, g, base + first_burst(address, g, pc << g.pc_shift)) >> g.pc_shift
        for deadline in range(P_ACT + here, P_REFPB + here + 1, PC_STRIDE):
            place = _draw(c, place, max(c[at(deadline)] - now, 0))
        for i in range(1, 4):
            act = c[at(FAW + ((c[at(FAW_NEXT + here)] + i) & 3) * PC_STRIDE + here)]
            place = _draw(c, place, max(act + faw - now, 0))
    return place


@inlined
def draw_picture(
    c: Ints,
    v: Narrow,
    g: Geometry,
    t: Ticks,
    address: AddressMap,
    start: int,
    sent: int,
    burst: int,
    now: int,
    free: tuple[int, int, int],
) -> int:
    """Draw everything that decides what follows ``now`` from place ``start`` on; returns the end.

    ``burst`` is that of the next request; ``free`` are the ticks from which the buses are free: for
    columns, for rows, for data.
    """
    place = _draw(c, start, max(free[0] - now, 0))
    place = _draw(c, place, max(free[1] - now, 0))
    place = _draw(c, place, free[2] - now)
    place = _draw(c, place, now & (t.per_clock - 1))
    base = burst & -(1 << address.period_bits)
    return _draw_state(c, v, g, t.faw, address, place, sent, base, now)


@called
def same(c: Ints, one: int, other: int, size: int) -> bool:
    """Whether two pictures are equal."""
    differing = 0
    for i in range(at(size)):
        differing |= c[at(one) + i] ^ c[at(other) + i]
    return differing == 0


@called
def _note(c: Ints, counts: Ints) -> None:
    """Note commands and counts of this moment, to know later what a period adds."""
    for i in range(2 * BANK_STRIDE):
        c[at(NOTED + i)] = c[at(ACTS + i)]
    for i in range(counts.size):
        c[at(NOTED + 2 * BANK_STRIDE + i)] = counts[at(i)]


@called
def book(c: Ints, g: Geometry, address: AddressMap, jumped: int, periods: int) -> None:
    """Book the commands so far to the real banks, and those of ``periods`` more like the last one.

    ``jumped`` are the bursts jumped over so far: the real banks lie so much further on.
    """
    size = 1 << address.period_bits
    turns = 1 << max(address.row_shift - address.period_bits, 0)  # until a bank's turn comes again
    for pc in range(g.pcs):
        for bank in range(pc << g.pc_shift, (pc << g.pc_shift) + g.banks_per_pc):
            first = first_burst(address, g, bank) + jumped
            for column in range(bank, bank + 2 * BANK_STRIDE, BANK_STRIDE):
                done = c[at(ACTS + column)]
                in_period = done - c[at(NOTED + column)]
                c[at(ACTS + column)] = 0
                c[at(BOOKED + bank_of(address, g, first) + column - bank)] += done
                for i in range(min(turns, periods)):
                    times = (periods - i + turns - 1) // turns
                    there = bank_of(address, g, first + (i + 1) * size) + column - bank
                    c[at(BOOKED + there)] += times * in_period


@called
def close_books(c: Ints, g: Geometry, address: AddressMap, jumped: int) -> None:
    """Leave in the state what each real bank has done."""
    book(c, g, address, jumped, 0 * jumped)
    for i in range(2 * BANK_STRIDE):
        c[at(ACTS + i)] = c[at(BOOKED + i)]


@called
def straight_on(bursts: Ints, sent: int, most: int) -> int:
    """How many of the next ``most`` requests follow one another without a gap."""
    i = sent
    while i < sent + most and bursts[at(i)] == bursts[at(i - 1)] + 1:
        i += 1
    return i - sent


@called
def jump_ahead(
    bursts: Ints,
    stream: tuple[int, int, int],
    address: AddressMap,
    g: Geometry,
    t: Ticks,
    c: Ints,
    v: Narrow,
    counts: Ints,
    now: int,
    refresh_next: int,
    free: tuple[int, int, int],
) -> tuple[int, int]:
    """Draw a picture and, if it equals the last one, jump; returns requests and ticks jumped over.

    ``stream`` are three numbers of requests: those that have entered, the one from which on bursts
    are consecutive, and those jumped over before.
    ``free`` are the ticks from which the buses are free: for columns, for rows, for data.
    """
    sent, straight, jumped = stream
    last_sent, last_now, last_size = c[at(LAST_SENT)], c[at(LAST_NOW)], c[at(LAST_SIZE)]
    last_oldest, last_refresh = c[at(OLDEST)], c[at(LAST_REFRESH)]
    old = c[at(LAST_PLACE)]
    new = PICTURE + PICTURE_SIZE if old == PICTURE else PICTURE
    size, burst = 1 << address.period_bits, bursts[at(sent)] - jumped
    end = draw_picture(c, v, g, t, address, new, sent - jumped, burst, now, free)
    c[at(LAST_SENT)], c[at(LAST_NOW)], c[at(LAST_SIZE)] = sent, now, end - new
    c[at(LAST_REFRESH)], c[at(LAST_PLACE)] = refresh_next, new
    periods, ticks = 0, now - last_now
    if (
        sent - last_sent == size
        and end - new == last_size
        and refresh_next == last_refresh
        and last_oldest + jumped >= straight
        and same(c, old, new, last_size)
    ):
        periods = min((bursts.size - sent) // size, (refresh_next - 1 - now) // ticks)
        periods = straight_on(bursts, sent, periods * size) // size
    if periods == 0:
        _note(c, counts)
        return 0, 0
    for i in range(counts.size):
        counts[at(i)] += periods * (counts[at(i)] - c[at(NOTED + 2 * BANK_STRIDE + i)])
    book(c, g, address, jumped, periods)
    counts[at(END)] = free[2]  # a tick, which a jump does not change
    c[at(LAST_SENT)] = -1  # the next picture is the first of two again
    return periods * size, periods * ticks
