"""Collectives after failures against every cut of small fabrics, and grids too large to route."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.config import load_system
from simulator.errors import InfeasibleError
from simulator.fabric import inspect as inspecting
from simulator.fabric import links
from simulator.fabric.collectives import price_collective
from simulator.fabric.failures import Failure, parse_failure
from simulator.fabric.inspect import inspect
from simulator.fabric.links import check_connected, link_graph, uniform_loads
from simulator.hardware.fabric import Fabric
from simulator.kernels.fabric_cut import least_cut

RATE = 10**9

SMALL = (
    Fabric("torus", (3, 3), (True, True), RATE, 10**6),
    Fabric("mesh", (3, 3), (False, False), RATE, 10**6),
    Fabric("torus", (2, 4), (True, True), RATE, 10**6),
    Fabric("ring", (7,), (True,), RATE, 10**6),
    Fabric("fully-connected", (6,), (False,), RATE, 10**6),
)


def cuts(graph):
    """(chips inside, links out of them) of every proper part of the living chips."""
    living = np.nonzero(graph.alive)[0].tolist()
    for count in range(1, len(living)):
        for part in combinations(living, count):
            inside = set(part)
            out = sum(
                1
                for chip in part
                for other in graph.neighbour[chip].tolist()
                if other >= 0 and other not in inside
            )
            yield count, out


@st.composite
def damages(draw):
    """A small fabric without up to three of its links and one of its chips."""
    fabric = draw(st.sampled_from(SMALL))
    graph = link_graph(fabric)
    pairs = sorted(
        {
            (min(a, b), max(a, b))
            for a, row in enumerate(graph.neighbour.tolist())
            for b in row
            if b >= 0
        }
    )
    links = draw(st.lists(st.sampled_from(pairs), max_size=3, unique=True))
    chip = draw(st.sampled_from([None, *range(fabric.chips)]))
    failures = [Failure("link", f"link:{a}-{b}", link=(a, b)) for a, b in links]
    if chip is not None:
        failures = [f for f in failures if chip not in (f.link or ())]
        failures.append(Failure("chip", f"chip:{chip}", (chip,)))
    left = graph.without([chip] if chip is not None else [], [f.link for f in failures if f.link])
    return fabric, failures, left


@settings(deadline=None, derandomize=True, max_examples=60)
@given(damages())
def test_the_least_cut_is_the_least_of_all(damage):
    _, _, left = damage
    try:
        check_connected(left)
    except InfeasibleError:
        assume(False)
    living = np.nonzero(left.alive)[0].astype(np.int64)
    degree = int(np.count_nonzero(left.neighbour[living] >= 0, axis=1).min())
    assert least_cut(left.neighbour, living, degree) == min(out for _, out in cuts(left))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(damages(), st.sampled_from(["all-gather", "reduce-scatter", "all-reduce"]))
def test_gathers_after_failures_take_what_the_fullest_cut_takes(damage, op):
    """n chips hold a shard each; what lies in a part has to leave it over the part's links."""
    fabric, failures, left = damage
    try:
        check_connected(left)
    except InfeasibleError:
        assume(False)
    size = 8 * 9 * 5 * 7 * 10**6
    found = inspect(fabric, failures, op, size)
    whole = price_collective(fabric, op, size)
    assert found.time_after_s >= found.time_before_s == whole.time_s
    living = int(left.alive.sum())
    bound = max(Fraction(inside, out) for inside, out in cuts(left)) / living
    intact = Fraction(fabric.chips - 1, fabric.chips * degree_of(fabric))
    latency = whole.time_ps - whole.link_ps - whole.injection_ps
    least = latency + (whole.link_ps + whole.injection_ps) * bound / intact
    exact = not failures or any("best packing" in note for note in found.notes)
    if exact and bound >= intact:
        detours = found.time_after_s * 1e12 - float(least)
        assert -10 <= detours <= 2 * 10**6 * fabric.chips
        assert round(detours / 10**6) * 10**6 == pytest.approx(detours, abs=100)
    elif not exact:
        assert found.time_after_s * 1e12 <= float(least) + 2 * 10**6 * fabric.chips


def degree_of(fabric):
    return int(np.count_nonzero(link_graph(fabric).neighbour >= 0, axis=1).min())


def test_one_xgmi_link_less_costs_a_sixth():
    """Seven links in, one lost: what came over it is relayed by the six others, a sixth each."""
    fabric = load_system("mi300x:8").fabric
    found = inspect(fabric, [parse_failure(fabric, "link:0-1")], "all-gather", 2**32)
    assert found.load_after / found.load_before == pytest.approx(7 / 6)
    assert found.time_after_s / found.time_before_s == pytest.approx(7 / 6, rel=0.01)
    assert any("best packing of trees" in note for note in found.notes)


def test_what_the_switch_replaces_costs_nothing():
    fabric = load_system("tpu-v7x:8x8x8").fabric
    found = inspect(fabric, [parse_failure(fabric, "chip:17")], "all-reduce", 2**30)
    assert found.time_after_s == found.time_before_s
    assert any("what it took before" in note for note in found.notes)


@pytest.mark.parametrize(
    "fabric",
    [
        Fabric("wafer-mesh", (6, 9), (False, False), RATE, 10**6),
        Fabric("torus", (6, 8), (True, True), RATE, 10**6),
        Fabric("torus", (2, 4, 6), (True, False, True), RATE, 10**6),
    ],
)
@pytest.mark.parametrize("op", ["all-to-all", "all-reduce"])
def test_closed_forms_of_large_grids_are_those_of_routed_ones(fabric, op, monkeypatch):
    routed = inspect(fabric, (), op, 10**9)
    inspecting.inspect_level.cache_clear()
    monkeypatch.setattr(inspecting, "_ROUTED_CHIPS", 40)
    closed = inspect(fabric, (), op, 10**9)
    inspecting.inspect_level.cache_clear()
    assert closed.graph is None and routed.graph is not None
    assert (closed.links, closed.diameter_hops) == (routed.links, routed.diameter_hops)
    assert closed.bisection_bytes_per_s == routed.bisection_bytes_per_s
    assert closed.load_before == pytest.approx(routed.load_before)
    assert closed.time_before_s == pytest.approx(routed.time_before_s, abs=2e-12)


def test_a_whole_wafer():
    found = inspect(load_system("wse3:949x949").fabric, (), "all-reduce")
    assert found.chips == 949**2 and found.links == 2 * 949 * 948
    assert found.diameter_hops == 2 * 948
    assert found.time_after_s == found.time_before_s > 0


@pytest.mark.parametrize(
    ("axes", "chips", "cables"),
    [
        ((3, 4, 5), [7], [(0, 1)]),
        ((2, 4, 6), [5], []),
        ((6, 5), [], [(0, 1), (0, 25)]),
        ((4, 4, 4), [5, 9, 38], []),
        ((1, 6, 5), [3], []),
        ((4, 6, 7), [0, 1, 7, 8], [(80, 81)]),
    ],
)
def test_sources_side_by_side_load_links_as_one_by_one(axes, chips, cables, monkeypatch):
    fabric = Fabric("torus", axes, (True,) * len(axes), RATE, 10**6)
    left = link_graph(fabric).without(chips, cables)
    single = uniform_loads(left)
    monkeypatch.setattr(links, "_SIDE_BY_SIDE", 0)
    many = uniform_loads(left)
    np.testing.assert_allclose(many.loads, single.loads, atol=1e-10)
    assert many.diameter == single.diameter
    assert many.busiest == pytest.approx(single.busiest, rel=1e-12)
