"""Jumps over whole rounds of refreshes of a stream, exact to the tick.

A refresh falls due at another place of each period, so the stretches between refreshes differ; but
a stream has few places, and after some refreshes everything comes round to where it was. At every
refresh the kernel draws a picture as between two refreshes (``dram_repeat``), with the place in the
period, and compares it with one that it kept. When they are equal and the requests since then and
from then on are consecutive, the rest of the stream repeats the stretch between the two.

Which picture to keep: the one of the first refresh, then of the second, the fourth, the eighth ...
(Brent 1980, "An improved Monte Carlo factorization algorithm", section 2): a round is found at the
latest after three times the refreshes that lead up to it and make it up.
"""

from __future__ import annotations

from simulator.kernels.dram_address import AddressMap
from simulator.kernels.dram_repeat import (
    bank_of,
    book,
    draw_picture,
    first_burst,
    same,
    straight_on,
)
from simulator.kernels.dram_serve import END
from simulator.kernels.dram_state import (
    BANK_STRIDE,
    BOOKED,
    LAST_SENT,
    OLDEST,
    PICTURE,
    ROUND_BOOKED,
    ROUND_COUNTS,
    ROUND_LEFT,
    ROUND_OLDEST,
    ROUND_PICTURE,
    ROUND_SENT,
    ROUND_SIZE,
    ROUND_SPAN,
    ROUND_TICK,
    Geometry,
    Ints,
    Narrow,
    Ticks,
    at,
    called,
)


@called
def _keep(c: Ints, counts: Ints, size: int, sent: int, tick: int, oldest: int) -> None:
    """Keep the picture that was drawn last, with commands by bank and counts of this moment."""
    for i in range(size):
        c[at(ROUND_PICTURE + i)] = c[at(PICTURE + i)]
    for i in range(2 * BANK_STRIDE):
        c[at(ROUND_BOOKED + i)] = c[at(BOOKED + i)]
    for i in range(counts.size):
        c[at(ROUND_COUNTS + i)] = counts[at(i)]
    c[at(ROUND_SENT)], c[at(ROUND_TICK)] = sent, tick
    c[at(ROUND_OLDEST)], c[at(ROUND_SIZE)] = oldest, size


@called
def _book_rounds(c: Ints, g: Geometry, address: AddressMap, number: int, rounds: int) -> None:
    """Book the commands since the kept picture ``rounds`` times more, each ``number`` bursts on."""
    turns = 1 << max(address.row_shift - address.period_bits, 0)  # until a bank's turn comes again
    for i in range(2 * BANK_STRIDE):
        c[at(ROUND_BOOKED + i)] = c[at(BOOKED + i)] - c[at(ROUND_BOOKED + i)]
    for pc in range(g.pcs):
        for bank in range(pc << g.pc_shift, (pc << g.pc_shift) + g.banks_per_pc):
            first = first_burst(address, g, bank)
            for i in range(min(turns, rounds)):
                times = (rounds - i + turns - 1) // turns
                there = bank_of(address, g, first + (i + 1) * number)
                for side in range(0, 2 * BANK_STRIDE, BANK_STRIDE):
                    c[at(BOOKED + there + side)] += times * c[at(ROUND_BOOKED + bank + side)]


@called
def jump_rounds(
    bursts: Ints,
    stream: tuple[int, int, int],
    address: AddressMap,
    g: Geometry,
    t: Ticks,
    c: Ints,
    v: Narrow,
    counts: Ints,
    now: int,
    ticks_jumped: int,
    free: tuple[int, int, int],
) -> tuple[int, int]:
    """Draw a picture as a refresh falls due and, if it equals the kept one, jump.

    Parameters as of ``jump_ahead``, and the ticks jumped over before. Returns requests and ticks
    jumped over. The state stays as it is, but for the books: a round ends as it began.
    """
    sent, straight, jumped = stream
    burst = bursts[at(sent)] - jumped
    c[at(PICTURE)] = burst & ((1 << address.period_bits) - 1)
    end = draw_picture(c, v, g, t, address, PICTURE + 1, sent - jumped, burst, now, free)
    size, oldest = end - PICTURE, c[at(OLDEST)] + jumped
    c[at(LAST_SENT)] = -1  # the next picture between two refreshes is the first of two again
    kept = c[at(ROUND_OLDEST)] >= straight
    number, rounds = sent - c[at(ROUND_SENT)], 0
    if kept and size == c[at(ROUND_SIZE)] and same(c, ROUND_PICTURE, PICTURE, size):
        rounds = straight_on(bursts, sent, (bursts.size - sent) // number * number) // number
    if rounds > 0:
        for i in range(counts.size):
            counts[at(i)] += rounds * (counts[at(i)] - c[at(ROUND_COUNTS + i)])
        counts[at(END)] = free[2]  # a tick, which a jump does not change
        book(c, g, address, jumped, 0 * jumped)
        _book_rounds(c, g, address, number, rounds)
        c[at(ROUND_OLDEST)] = -1
        return rounds * number, rounds * (now + ticks_jumped - c[at(ROUND_TICK)])
    c[at(ROUND_LEFT)] -= 1
    if not kept or c[at(ROUND_LEFT)] == 0:
        c[at(ROUND_SPAN)] = 2 * c[at(ROUND_SPAN)] if kept else 1
        c[at(ROUND_LEFT)] = c[at(ROUND_SPAN)]
        book(c, g, address, jumped, 0 * jumped)
        _keep(c, counts, size, sent, now + ticks_jumped, oldest)
    return 0, 0
