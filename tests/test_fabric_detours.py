"""Single messages around failures: closed forms on small grids, and bounds everywhere."""

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.errors import InfeasibleError
from simulator.fabric.collectives import price_collective
from simulator.fabric.detours import messages, ring_order
from simulator.fabric.failures import Failure, parse_failure
from simulator.fabric.inspect import inspect
from simulator.fabric.links import check_connected, link_graph
from simulator.hardware.fabric import Fabric, legal_twist

RATE = 10**9
HOP = 10**6


def grid(*axes, kind="torus"):
    return Fabric(kind, axes, (kind == "torus",) * len(axes), RATE, HOP)


def after(fabric, op, *failures, size=10**6):
    found = inspect(fabric, [parse_failure(fabric, text) for text in failures], op, size)
    return round(found.time_after_s * 1e12)


@pytest.mark.parametrize(
    "fabric",
    [
        grid(2, 2),
        grid(4, 4),
        grid(3, 4),
        grid(3, 3),
        grid(3, 5, 7),
        grid(2, 3, 5),
        grid(4, 1, 6),
        grid(7),
        grid(4, 5, kind="mesh"),
        grid(3, 2, 3, kind="mesh"),
        Fabric("torus", (3, 5), (True, False), RATE, HOP),
        Fabric("torus", (5, 3), (False, True), RATE, HOP),
        Fabric("twisted-torus", (2, 4), (True, True), RATE, HOP, twist=legal_twist((2, 4))),
    ],
)
def test_the_ring_goes_from_neighbour_to_neighbour(fabric):
    order = ring_order(fabric)
    assert sorted(order) == list(range(fabric.chips))
    neighbour = link_graph(fabric).neighbour
    for one, other in pairwise([*order, order[0]]):
        assert other in neighbour[one]


@pytest.mark.parametrize("kind", ["mesh", "wafer-mesh"])
def test_the_line_of_an_odd_mesh_breaks_once(kind):
    fabric = grid(3, 5, kind=kind)
    order = ring_order(fabric)
    neighbour = link_graph(fabric).neighbour
    assert all(other in neighbour[one] for one, other in pairwise(order))
    assert sorted(order) == list(range(15))


def test_a_whole_fabric_takes_what_the_closed_form_says():
    for fabric in (grid(4, 4), grid(3, 3, 3), grid(5), grid(8, kind="mesh")):
        for op in ("p2p", "permute"):
            found = messages(link_graph(fabric), op)
            if fabric.kind == "torus":
                assert found.load == 1
            assert found.time_ps(fabric, 12345) >= price_collective(fabric, op, 12345).time_ps
            if op == "permute":
                assert found.time_ps(fabric, 12345) == price_collective(fabric, op, 12345).time_ps


def test_a_broken_ring_sends_the_long_way_round():
    """Six chips, 0-1 lost: 0 reaches 1 over five links the other way, all of them free."""
    ring = grid(6)
    assert after(ring, "p2p", "link:0-1") == 5 * HOP + 10**9
    assert after(ring, "permute", "link:0-1") == 5 * HOP + 10**9


def test_a_lost_chip_of_a_ring():
    """Chip 2 of six lost: 1 reaches 3 over 0, 5, 4; the others' messages go the other way."""
    assert after(grid(6), "permute", "chip:2") == 4 * HOP + 10**9


def test_a_detour_over_free_links():
    """A 2 x 3 mesh, ring 0 1 2 5 4 3. Without 1-2 and 4-5 nothing joins 2 and 5 to the rest."""
    mesh = grid(2, 3, kind="mesh")
    with pytest.raises(InfeasibleError, match="cut off"):
        after(mesh, "permute", "link:1-2", "link:4-5")
    # without 1-2: 1 -> 2 goes 1 4 5 2; its links 1-4, 4-5 and 5-2 are free in that direction
    order = ring_order(mesh)
    assert set(pairwise([*order, order[0]])) == {(1, 2), (2, 5), (5, 4), (4, 3), (3, 0), (0, 1)}
    assert after(mesh, "permute", "link:1-2") == 3 * HOP + 10**9
    # without 0-3 as well: 3 -> 0 goes 3 4 1 0, beside it on 4 -> 1 nothing
    assert after(mesh, "permute", "link:1-2", "link:0-3") == 3 * HOP + 10**9
    # without 1-4 too little is left for 1 -> 2, which goes 1 0 3 4 5 2 and meets nobody
    assert after(mesh, "permute", "link:1-2", "link:1-4") == 5 * HOP + 10**9


def test_messages_that_meet_share_links_by_hand():
    """A 3 x 4 mesh without 1-2 and 5-6, ring 4 8 9 5 6 10 11 7 3 2 1 0.

    5 -> 6 goes 5 9 10 6; 2 -> 1 goes 2 6 10 9 5 1 and meets 6 -> 10 and 9 -> 5: all three move at
    half the rate of a link.
    """
    mesh = grid(3, 4, kind="mesh")
    assert ring_order(mesh) == [4, 8, 9, 5, 6, 10, 11, 7, 3, 2, 1, 0]
    found = messages(link_graph(mesh).without([], [(1, 2), (5, 6)]), "permute")
    assert found.hops == (1, 1, 1, 3, 1, 1, 1, 1, 1, 5, 1, 1)
    assert found.ends == (1, 1, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1)
    assert after(mesh, "permute", "link:1-2", "link:5-6") == 5 * HOP + 2 * 10**9
    # a message alone meets nobody
    assert after(mesh, "p2p", "link:1-2", "link:5-6") == 5 * HOP + 10**9


def test_a_detour_over_three_ways_by_hand():
    """A 3 x 4 torus without 0-1 and 4-8: 1 -> 0 goes by a third each over 5 4, 9 8 and 2 3.

    4 -> 8 goes 4 0 8 and shares 4 -> 0 with a third of it: both move at r + r / 3 = 1.
    """
    torus = grid(3, 4)
    found = messages(link_graph(torus).without([], [(0, 1), (4, 8)]), "permute")
    assert found.load == pytest.approx(4 / 3)
    assert sorted(found.ends) == pytest.approx([1] * 10 + [4 / 3] * 2)
    assert sorted(found.hops) == [1] * 10 + [2, 3]
    assert after(torus, "permute", "link:0-1", "link:4-8", size=3 * 10**6) == 3 * HOP + 4 * 10**9


SMALL = (grid(3, 3), grid(3, 4), grid(2, 3, 3), grid(3, 4, kind="mesh"), grid(7))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data(), st.sampled_from(SMALL), st.sampled_from(["p2p", "permute"]))
def test_a_failure_is_never_faster_and_never_below_the_bounds(data, fabric, op):
    graph = link_graph(fabric)
    pairs = sorted({(min(a, b), max(a, b)) for a, row in enumerate(graph.neighbour.tolist())
                    for b in row if b >= 0})  # fmt: skip
    cut = data.draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=3, unique=True))
    try:
        check_connected(graph.without([], cut))
    except InfeasibleError:
        assume(False)
    size = 10**6
    failures = [Failure("link", f"link:{a}-{b}", link=(a, b)) for a, b in cut]
    found = inspect(fabric, failures, op, size)
    assert found.time_after_s >= found.time_before_s
    # what all messages carry over links, and no link above its rate
    sent = messages(graph.without([], cut), op)
    links = int((graph.without([], cut).neighbour >= 0).sum())
    assert max(sent.ends) >= sum(sent.hops) / links - 1e-9
    assert max(sent.ends) >= 1 and max(sent.ends) <= max(sent.load, 1) + 1e-9
    again = inspect(fabric, failures, op, 2 * size)
    assert again.time_after_s > found.time_after_s
