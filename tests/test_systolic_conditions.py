"""What a jump over folds hangs on, one condition at a time.

Random cases (test_systolic_jumps.py, test_systolic_follow.py) seldom come near some of them. Here
a port is set up by hand that may be jumped over for a known number of periods; each single change
must lessen that number.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from systolic_by_hand import ALIKE, FILLS, FOLLOWS, MOST, SIX, Port, all_past, words_until_asked
from test_systolic_jumps import jumped, visited

from simulator.kernels import systolic_advance as adv
from simulator.kernels import systolic_ports as ports
from simulator.kernels import systolic_remembered as cmp
from simulator.timing.systolic import SystolicCase


def filling(drift: int, **now: int) -> Port:
    """Two tiles a period come, none leaves; there is room for 50 periods."""
    port = Port(drift, CAPACITY=24 + 8 * 50, TAIL=8, HEAD=8 + SIX, **now)
    return port.then(TAIL=8, HEAD=6 + SIX, USED=16)


def test_a_buffer_fills_until_it_is_full_or_its_port_is_late() -> None:
    assert filling(0).may(FILLS) == 50
    assert filling(-10).may(FILLS) == 50
    # later by 10 with each period: what it was early by lasts for so many
    assert filling(10, EARLY=205).may(FILLS) == 20
    assert filling(10).minima(95, cmp.EVER).may(FILLS) == 9
    assert filling(10, EARLY=-1).may(FILLS) == 0
    assert filling(-10, EARLY=-1).may(FILLS) == 0
    assert filling(0, EARLY=-1).may(FILLS) == 50
    # the ring has no more places
    full = filling(0).now(HEAD=8 + ports.RING - 7).then(HEAD=6 + ports.RING - 7)
    assert full.may(FILLS) == 3
    # in the cold start, until half of it is full
    cold = {"WARM": 0, "HALF": 100, "COLD": 40}
    assert filling(-10, **cold).then(WARM=0, COLD=32).may(FILLS) == 7


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ({}, {"HEAD": 8 + SIX}),  # nothing came
        ({}, {"TAIL": 7}),  # something left
        ({"ALONE": 1}, {}),  # it was left as it was in between
        ({"WORDS_OUT": 4}, {}),
        ({"WORDS_IN": 804}, {}),
        ({}, {"WARM": 0}),
        ({"DOUBT": ports.UNSURE}, {}),
        ({}, {"DOUBT": ports.UNSURE}),
        ({"COLD": 8}, {}),  # a part of it took no time
    ],
)
def test_a_buffer_that_does_not_just_fill(now, then) -> None:
    assert filling(0).may(FILLS) == 50
    assert filling(0, **now).then(**then).may(FILLS) == 0


def test_a_lead_is_used_up_as_far_as_the_buffer_shows() -> None:
    assert Port(-50).may(FOLLOWS) == SIX // 2  # what comes later is not known
    port = Port(-50)
    port.may(FOLLOWS)
    assert port.mode() == adv.LEADS
    # the fifth tile is released after its room is asked for; then the fourth, and later than before
    assert Port(-50).tile(4, 900, 900).may(FOLLOWS) == 2
    assert Port(-50).tile(3, 900, 890).may(FOLLOWS) == 1
    assert Port(-50, PAST=-1).may(FOLLOWS) == 0
    assert Port(-50, EARLY=-1).may(FOLLOWS) == 0
    assert Port(-50).minima(-1, cmp.EVER).may(FOLLOWS) == 0
    assert Port(-50).minima(cmp.EVER, -1).may(FOLLOWS) == 0
    assert Port(-50, DOUBT=ports.UNSURE).may(FOLLOWS) == 0
    assert Port(-50).then(DOUBT=ports.UNSURE).may(FOLLOWS) == 0
    assert Port(-50, ALONE=1).may(FOLLOWS) == 0


def test_a_port_that_follows_the_array() -> None:
    assert Port(0).may(FOLLOWS) == MOST
    assert Port(0).may(FOLLOWS, care=1) == MOST - 1
    assert Port(0).may(FOLLOWS, care=2) == 0
    stays, moves = Port(0), Port(0).tile(0, 690, 691)
    assert stays.may(FOLLOWS) == moves.may(FOLLOWS) == MOST
    assert (stays.mode(), moves.mode()) == (adv.STAYS, adv.MOVES)
    assert Port(0).tile(0, 690, 691).now(ALONE=1).may(FOLLOWS) == 0
    # the array waits for it, or would once it is as late as it may be
    assert Port(0, EARLY=-1).may(FOLLOWS) == 0
    assert [Port(5, EARLY=early).may(FOLLOWS) for early in (4, 5)] == [0, MOST]
    margin = [Port(0, EARLY=early, MARGIN=2).may(FOLLOWS) for early in (1, 2)]
    assert margin == [0, MOST]
    # its words take longer than the period
    assert [Port(0, WORDS_IN=792 + n).may(FOLLOWS) for n in (100, 101)] == [MOST, 0]
    # released too late, and later than the one a period before
    assert Port(0).tile(5, 900, 900).may(FOLLOWS) == MOST
    later = Port(0).tile(5, 900, 899)
    assert (later.may(FOLLOWS), later.mode()) == (5 // 2, adv.MOVES)
    assert Port(0, ALONE=1).tile(5, 900, 899).may(FOLLOWS) == 0


def waiting_for_places() -> Port:
    """A cold start in which the ring is full: room is found a period later after each."""
    port = Port(0, WARM=0, HALF=1000, COLD=740, SPACE=600)
    return port.then(WARM=0, COLD=640, SPACE=500)


def test_a_cold_start_that_waits_for_places() -> None:
    assert waiting_for_places().may(FOLLOWS) == (1000 - 740) // 100
    assert waiting_for_places().tile(0, 690, 691).may(FOLLOWS) == 0
    assert waiting_for_places().now(MARGIN=2).may(FOLLOWS) == 0  # a third of a cycle is over
    assert waiting_for_places().now(SPACE=601).may(FOLLOWS) == 0
    assert waiting_for_places().then(COLD=740).may(FOLLOWS) == 0


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ({}, {"HEAD": 10 + SIX}),  # nothing came
        ({}, {"WARM": 0}),
        ({}, {"TAIL": 9}),  # another number of tiles
        ({"USED": 23}, {}),
    ],
)
def test_another_buffer_follows_nothing(now, then) -> None:
    assert Port(0, **now).then(**then).may(FOLLOWS) == 0
    other = Port(0)
    other.kept_words[0, 2] = 5
    assert other.may(FOLLOWS) == 0
    sure = Port(0)
    sure.memory[cmp.SURE] = 1
    assert sure.may(FOLLOWS) == 0


def test_a_port_that_goes_its_own_way() -> None:
    assert Port(0).may(ALIKE) == MOST
    # later with each period, until the array waits for it
    assert Port(10).minima(95, cmp.EVER).may(ALIKE) == 9
    assert Port(10, EARLY=77).may(ALIKE) == 7
    assert Port(10, EARLY=-1).may(ALIKE) == 0
    assert Port(10, PAST=-1).may(ALIKE) == 0
    # earlier, until it waits for room: its last, or that of a tile that it holds
    assert Port(-10, PAST=57).may(ALIKE) == 5
    assert Port(-10).minima(cmp.EVER, 43).may(ALIKE) == 4
    assert Port(-10).tile(0, 770, 770).may(ALIKE) == 3
    assert Port(-10, SPACE=780).then(SPACE=680).may(ALIKE) == 2
    assert Port(-10, EARLY=-1).may(ALIKE) == 0
    # a tile that is released too late holds it where it is
    late = [Port(drift).tile(3, 900, 900).may(ALIKE) for drift in (-10, 0, 10)]
    assert late == [0, MOST, 0]
    assert Port(0).tile(3, 900, 899).may(ALIKE) == 0
    assert Port(0).tile(3, 700, 699).may(ALIKE) == MOST
    # parts of cycles
    assert Port(0, PAST=-1).may(ALIKE, whole=True) == MOST
    assert Port(0, PAST=-1).may(ALIKE, whole=False) == 0
    waited = {"SPACE": 801}
    assert Port(0, **waited).then(SPACE=701).may(ALIKE, whole=True) == MOST
    assert Port(0, **waited).then(SPACE=701).may(ALIKE, whole=False) == 0
    assert Port(0, **waited).then(SPACE=702).may(ALIKE) == 0
    assert Port(0, **waited).then(SPACE=650).may(ALIKE) == 0  # it waited, and did not before
    assert Port(0, SPACE=790).then(SPACE=705).may(ALIKE) == 0  # the reverse
    assert Port(10, **waited).then(SPACE=701).may(ALIKE) == 0


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ({"DOUBT": ports.UNSURE}, {}),
        ({}, {"DOUBT": ports.UNSURE}),
        ({}, {"WARM": 0}),
        ({"COLD": 8}, {}),
        ({}, {"TAIL": 7}),
        ({"USED": 23}, {}),
    ],
)
def test_another_port_is_not_alike(now, then) -> None:
    late = Port(0).tile(3, 900, 900)
    assert late.may(ALIKE) == MOST
    assert late.now(**now).then(**then).may(ALIKE) == 0


def test_what_a_buffer_holds_beside_a_tile_that_is_late() -> None:
    late = Port(0).tile(3, 900, 900)
    late.kept_words[0, 2] = 5
    assert late.may(ALIKE) == 0
    late.kept_words[0, 2] = 4
    assert late.may(ALIKE) == MOST
    assert late.tile(2, 700, 699).may(ALIKE) == MOST  # it was past, and is
    assert late.tile(2, 900, 899).may(ALIKE) == 0  # neither
    assert late.tile(2, 900, 699).may(ALIKE) == 0  # it is not
    # room was asked for after 7 ticks, and is
    assert late.tile(2, 700, 807).may(ALIKE) == MOST
    assert late.tile(2, 700, 808).may(ALIKE) == 0  # it was not
    sure = Port(0).tile(3, 900, 900)
    sure.memory[cmp.SURE] = 1
    assert sure.may(ALIKE) == 0


def test_results_are_written_in_their_order() -> None:
    """So that what the buffer holds always counts, and room comes with the port."""
    out = {"port": ports.OUT, "SPACE": 1100}
    assert Port(0, **out).then(SPACE=1000).may(ALIKE) == MOST
    assert Port(0, **out).then(SPACE=999).may(ALIKE) == 0
    held = Port(0, **out).then(SPACE=1000)
    held.kept_words[ports.OUT, 2] = 5
    assert held.may(ALIKE) == 0


def test_the_cold_start_ends_with_half_a_buffer() -> None:
    """8 words a period take no time: the port stays, and is 100 earlier than the folds."""
    cold = {"WARM": 0, "COLD": 940}
    # nothing but what is fetched later tells whether tiles are past: 8 ticks for 100 of the array
    assert Port(-100, **cold).then(WARM=0, COLD=932, TIME=800).may(ALIKE) == 0
    slow = Port(-100, **cold).then(WARM=0, COLD=932 - 92, TIME=800)
    assert slow.may(ALIKE) == 0  # 100 words in 100 ticks: 40 more may come, less than a period
    slow.now(COLD=740).then(COLD=640)
    assert slow.may(ALIKE) == 2
    assert waiting_for_places().may(ALIKE) == 2
    late = waiting_for_places().now(SPACE=801).then(SPACE=701)
    assert late.may(ALIKE) == 0


def test_words_until_room_is_asked_for() -> None:
    port = Port(0)
    # in the buffer are 22 - 24 words too many for the largest tile: room is asked for at once
    assert words_until_asked(port.state, 0, 0, 0) == 0
    assert words_until_asked(port.state, 0, 1, 4) == 4  # a tile fits yet
    assert words_until_asked(port.state, 0, 2, 8) == 7
    # the ring runs out of places first
    port.now(TAIL=0, HEAD=ports.RING - 3, USED=0, SPARE=10**6)
    assert words_until_asked(port.state, 0, 0, 0) == 4 * 3
    assert words_until_asked(port.state, 0, 2, 8) == 4 * 5
    # before it is warm, less what takes no time
    port.now(WARM=0, USED=100, SPARE=1000, HALF=500, COLD=100)
    assert words_until_asked(port.state, 0, 1, 4) == 1000 - 100 + 4 - 400
    port.now(HALF=2 * ports.RING)
    assert words_until_asked(port.state, 0, 1, 4) == 0
    # results are written in their order
    assert words_until_asked(port.state, ports.OUT, 3, 12) == 12


def test_a_few_tiles_tell_for_a_whole_buffer() -> None:
    """32 tiles, two in each part: the second is looked at with the first one's room."""
    port = Port(0, TAIL=0, HEAD=32, USED=128, SPARE=128)
    # asked for at 800 and a word more than is spare; the last part begins with tile 30
    last = 800 + max(1, 4) + 0
    port.times[0, :2] = last
    assert all_past(port.state, port.times, 0)
    port.times[0, 1] = last + 1
    assert not all_past(port.state, port.times, 0)
    port.times[0, :2] = 700
    port.times[0, 31] = 800 + 30 * 4 + 1
    assert all_past(port.state, port.times, 0)
    port.times[0, 31] += 1
    assert not all_past(port.state, port.times, 0)
    port.times[0, 31] = 700
    port.now(SMALLEST=1)  # then tile 30 may be asked for sooner
    port.times[0, 31] = 800 + 30 * 1 + 1
    assert all_past(port.state, port.times, 0)
    port.times[0, 31] += 1
    assert not all_past(port.state, port.times, 0)
    # few tiles are all looked at elsewhere, and results always
    assert not all_past(port.now(HEAD=16).state, port.times, 0)
    assert not all_past(port.state, port.times, ports.OUT)


def test_a_lead_that_ends_while_the_buffer_fills() -> None:
    """One more tile than the ring has places: half of them, 32,768, are there before cycle 0.

    A fold takes 8 + 1 + 14 cycles, its tile 64, so that the array stands still before the last
    folds. The last but one begins when its tile is there; the last one's, of 8 words, comes while
    that fold is in the array.
    """
    folds = ports.RING + 1
    case = SystolicCase(
        1, 8 * (folds - 1) + 1, 8, 8, 8, "ws", "single", 1, 1, 1000, 64 * ports.RING + 100, 1000,
        Fraction(1),
    )  # fmt: skip
    counts = jumped(case)
    assert counts[0] == (ports.RING - ports.RING // 2) * 64 + 23 + 23
    assert counts == visited(case)
