"""Bounds from which a port of a systolic array never makes it wait, one condition at a time.

That such ports change nothing is tested by test_systolic_jumps.py, against runs that follow every
port. Here each bound is taken at its value and just beyond, worked out by hand from the head of
systolic_idle.py: a word takes 1/rate cycles, and a buffer has so many words.

Folds of 4 x 4 cells cut 40 x 20; 24 vectors stream through in six chunks of 4. A fold takes
4 + 24 + 4 + 4 - 2 = 34 cycles, its chunks are of 4 x 4 = 16 words, and all of them of 96.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from simulator.kernels.jit import kernel
from simulator.kernels.systolic import DOUBLE, OS, SINGLE, WS
from simulator.kernels.systolic_idle import idle_ports
from simulator.kernels.systolic_ports import COL, OUT, RING, ROW
from simulator.kernels.systolic_work import Buffers, work_of

PLENTY = 10**9
SLOW = Fraction(1, 10**6)


@kernel
def _idle(flow, load, along_rows, along_cols, vectors, side, macs, row, col, out, p, q):
    work = work_of(flow, load, along_rows, along_cols, vectors, side, side, macs)
    return idle_ports(work, Buffers(row, col, out, p, q))


def idle(
    port, buffer, rate, flow=WS, load=SINGLE, vectors=24, macs=1, sizes=(40, 20), side=4
) -> bool:
    """Whether a port with such a buffer is idle; the others have room and do not matter."""
    buffers = [buffer if other == port else PLENTY for other in (ROW, COL, OUT)]
    rate = Fraction(rate)
    words, cycles = rate.as_integer_ratio()
    ports = _idle(flow, load, *sizes, vectors, side, macs, *buffers, words, cycles)
    return bool(ports & 1 << port)


def holds_from(port, buffer, rate, **case) -> bool:
    """Whether a port is idle with that buffer at that rate, and with a little less of both not."""
    slower = Fraction(rate) * Fraction(9999, 10000)
    return (
        idle(port, buffer, rate, **case)
        and not idle(port, buffer - 1, rate, **case)
        and not idle(port, buffer, slower, **case)
    )


@pytest.mark.parametrize(
    ("buffer", "rate", "case"),
    [
        (32, 4, {}),  # each chunk while the one before it streams
        (64, 8, {"macs": 2}),
        (32, Fraction(16, 3), {"load": DOUBLE, "vectors": 25}),  # the first behind one of 3 cycles
        (192, Fraction(96, 34), {}),  # a fold's while the fold before it is in the array
        (32, Fraction(16, 14), {"vectors": 4}),  # a chunk is all of it: 4 + 4 + 4 + 4 - 2 cycles
        (32, 4, {"flow": OS}),
        (192, Fraction(96, 30), {"flow": OS}),  # nothing is loaded before
    ],
)
def test_an_operand_that_streams_past(buffer, rate, case) -> None:
    assert holds_from(ROW, buffer, rate, **case)


def test_nothing_in_half_of_its_buffer_is_waited_for() -> None:
    for port, words, flow in ((ROW, 960, WS), (COL, 800, WS), (ROW, 960, OS), (COL, 480, OS)):
        assert [idle(port, 2 * words - less, SLOW, flow=flow) for less in (0, 1)] == [True, False]


def test_a_stationary_operand() -> None:
    assert holds_from(COL, 32, Fraction(16, 34))
    # the second one follows at once on the first, unless it is there before
    assert holds_from(COL, 32, 4, load=DOUBLE)
    assert holds_from(COL, 64, Fraction(16, 24), load=DOUBLE)


def test_a_stripe_that_stays_for_a_column_of_folds() -> None:
    assert idle(COL, 96, 4, flow=OS)
    assert not idle(COL, 96, Fraction(399, 100), flow=OS)
    # it does not stay, and streams past
    assert holds_from(COL, 32, 4, flow=OS)
    assert idle(COL, 95, 4, flow=OS)
    # two of them, each while the ten folds of the one before are in the array
    assert holds_from(COL, 192, Fraction(96, 10 * 30), flow=OS)
    # one chunk: its place is free 4 cycles after a fold of 4 + 4 + 4 - 2 began
    case = {"flow": OS, "vectors": 4}
    assert idle(COL, 16, Fraction(16, 6), **case)
    assert not idle(COL, 16, Fraction(15, 6), **case)
    assert [idle(COL, 96, rate, flow=OS, macs=2) for rate in (8, 7)] == [True, False]
    # 4,097 vectors in 4,096 chunks through a single cell: the first, of two, behind the last
    case = {"flow": OS, "vectors": 4097, "side": 1}
    assert [idle(COL, 4097, rate, **case) for rate in (2, Fraction(199, 100))] == [True, False]


def test_results_that_stay_until_they_are_complete() -> None:
    assert holds_from(OUT, 96, 4)
    assert not idle(OUT, 95, 1000)  # partial sums spill
    assert holds_from(OUT, 100, Fraction(16, 3), vectors=25)
    assert holds_from(OUT, 96, 8, macs=2)
    # one chunk, whose place is wanted 4 cycles less than a fold later
    assert holds_from(OUT, 16, Fraction(16, 14 - 4), vectors=4)
    # two columns' results: all folds of the next, but for the one that may be late
    assert holds_from(OUT, 192, Fraction(96, 9 * 34))
    assert holds_from(OUT, 32, Fraction(16, 10 * 14), vectors=4)
    # all results, as far as the ring has places
    assert [idle(OUT, words, SLOW) for words in (480, 479)] == [True, False]
    full = {"vectors": 16, "sizes": (40, RING)}  # four chunks for four columns of cells
    assert idle(OUT, PLENTY, SLOW, **full)
    full["sizes"] = (40, RING + 4)
    assert not idle(OUT, PLENTY, SLOW, **full)


def test_results_of_output_stationary_folds() -> None:
    assert holds_from(OUT, 32, Fraction(16, 30), flow=OS)
    assert [idle(OUT, words, SLOW, flow=OS) for words in (800, 799)] == [True, False]
    assert idle(OUT, PLENTY, SLOW, flow=OS, sizes=(16, RING))
    assert not idle(OUT, PLENTY, SLOW, flow=OS, sizes=(16, RING + 4))
