"""Loads of explicit links, fair sharing, slices of a pod, and failures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config import load_system
from simulator.errors import InfeasibleError, InputError
from simulator.fabric.failures import parse_failure
from simulator.fabric.flows import Flow, _packed, finish_times
from simulator.fabric.grid import exchange_load
from simulator.fabric.inspect import inspect
from simulator.fabric.links import bisection_links, link_graph, matrix_loads, uniform_loads
from simulator.fabric.repair import mend
from simulator.fabric.slices import assemble_slice, circuits_touching, is_optical
from simulator.hardware.fabric import Fabric, Pod, legal_twist
from simulator.kernels.fabric_links import max_min_rates

GB = 10**9


def torus(*axes, wrap=True):
    return Fabric("torus", axes, (wrap,) * len(axes), 100 * GB, 10**6)


def pod_slice(*axes, cubes=144):
    return replace(torus(*axes), pod=Pod(cubes), host=(2, 2, 1))


def failures(fabric, *texts):
    return [parse_failure(fabric, text) for text in texts]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_links_agree_with_the_closed_form(axes, wraps):
    if np.prod(axes) < 2:
        return
    fabric = Fabric("torus", tuple(axes), tuple(wraps[: len(axes)]), GB, 0)
    graph = link_graph(fabric)
    load, hops, diameter = exchange_load(fabric)
    n = fabric.chips
    ordered = matrix_loads(graph, np.ones((n, n)), "dimension-ordered")
    adaptive = uniform_loads(graph)
    assert ordered.busiest == pytest.approx(float(load))
    assert ordered.loads.sum() == pytest.approx(n * float(hops))
    # whichever minimal paths are taken, the hops are the same
    assert adaptive.loads.sum() == pytest.approx(n * float(hops))
    assert (ordered.diameter, adaptive.diameter) == (diameter, diameter)
    if graph.transitive:
        assert adaptive.busiest == pytest.approx(float(load))


@pytest.mark.parametrize("axes", [(4, 4), (3, 5), (2, 4, 4)])
def test_one_source_stands_for_all_where_chips_look_alike(axes):
    graph = link_graph(torus(*axes))
    assert graph.transitive
    every = uniform_loads(replace(graph, transitive=False))
    np.testing.assert_allclose(uniform_loads(graph).loads, every.loads)


def test_a_twisted_torus_by_symmetry_and_by_counting():
    fabric = replace(torus(2, 4), kind="twisted-torus", twist=legal_twist((2, 4)))
    # an axis of two has no closing link, so there is nothing to twist
    assert uniform_loads(link_graph(fabric)).busiest > 0
    big = replace(torus(4, 8), kind="twisted-torus", twist=legal_twist((4, 8)))
    graph = link_graph(big)
    np.testing.assert_allclose(
        uniform_loads(graph).loads, uniform_loads(replace(graph, transitive=False)).loads
    )
    # a link leads back where it came from
    for chip in range(graph.chips):
        for slot in range(4):
            assert graph.neighbour[graph.neighbour[chip, slot], slot ^ 1] == chip


def test_bisections_as_published():
    # TPU v4 pod 25.6 TB/s (arXiv 2606.15870), v6e pod 3.2 TB/s (docs.cloud.google.com)
    assert bisection_links(link_graph(torus(16, 16, 16))) * 50 * GB == 25_600 * GB
    assert bisection_links(link_graph(torus(16, 16))) * 100 * GB == 3_200 * GB


def test_9216_chips_have_their_closed_form():
    found = uniform_loads(link_graph(torus(16, 24, 24)))
    assert found.busiest == pytest.approx(9216 * 24 / 8)
    assert found.diameter == 32


def test_a_traffic_matrix_loads_the_links_of_its_way():
    graph = link_graph(torus(4, wrap=False))
    matrix = np.zeros((4, 4))
    matrix[0, 3] = 5
    loads = matrix_loads(graph, matrix)
    assert loads.loads[:3, 0].tolist() == [5, 5, 5]
    assert loads.loads.sum() == 15
    with pytest.raises(InputError, match="expected 4x4"):
        matrix_loads(graph, np.ones((3, 3)))
    with pytest.raises(InputError, match="finite"):
        matrix_loads(graph, np.full((4, 4), np.nan))
    with pytest.raises(InputError, match="unknown routing"):
        matrix_loads(graph, matrix, "best")


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(0, 15), st.sampled_from([1, -1]), st.sampled_from([0, 1]))
def test_removing_a_link_is_never_faster(chip, way, axis):
    fabric = torus(4, 4)
    graph = link_graph(fabric)
    other = int(graph.neighbour[chip, 2 * axis + (way < 0)])
    found = inspect(fabric, failures(fabric, f"link:{chip}-{other}"))
    assert found.time_after_s >= found.time_before_s
    assert found.load_after > found.load_before
    assert found.graph.links == graph.links - 1


# -- fair sharing ----------------------------------------------------------------------------------


@st.composite
def _flows(draw):
    names = "abcd"
    flows = draw(
        st.lists(
            st.builds(
                lambda links, size: Flow(tuple(sorted(links)), size),
                st.sets(st.sampled_from(names), min_size=1),
                st.integers(1, 10**6),
            ),
            min_size=1,
            max_size=8,
        )
    )
    return flows, {name: float(draw(st.integers(1, 1000))) for name in names}


def fair_rates(flows, capacities):
    """Rates of flows that all run at once."""
    rates = np.zeros(len(flows))
    max_min_rates(*_packed(flows, capacities), np.ones(len(flows), dtype=np.int64), rates)
    return rates.tolist()


@settings(deadline=None, derandomize=True, max_examples=150)
@given(_flows())
def test_fair_rates_fill_links_and_no_more(case):
    flows, capacities = case
    rates = fair_rates(flows, capacities)
    used = dict.fromkeys(capacities, 0.0)
    for flow, rate in zip(flows, rates, strict=True):
        for link in flow.links:
            used[link] += rate
    assert all(used[name] <= capacities[name] * (1 + 1e-9) for name in used)
    for flow, rate in zip(flows, rates, strict=True):
        # each flow has a full link on which nobody gets more than it: max-min fairness
        assert any(
            used[link] >= capacities[link] * (1 - 1e-6)
            and all(
                other <= rate * (1 + 1e-6)
                for each, other in zip(flows, rates, strict=True)
                if link in each.links
            )
            for link in flow.links
        )


@settings(deadline=None, derandomize=True, max_examples=100)
@given(_flows())
def test_flows_end_after_their_bytes_can_have_passed(case):
    flows, capacities = case
    ends = finish_times(flows, capacities)
    for link, rate in capacities.items():
        sizes = [f.size_bytes for f in flows if link in f.links]
        if sizes:
            last = max(e for f, e in zip(flows, ends, strict=True) if link in f.links)
            assert last >= sum(sizes) / rate * (1 - 1e-9)


def test_a_flow_that_starts_later_slows_the_first():
    flows = [Flow(("a",), 100), Flow(("a",), 50, start_s=5.0, latency_s=1.0)]
    # 50 alone, then half each: the second ends 10 s later, the first as well
    assert finish_times(flows, {"a": 10.0}) == pytest.approx([15.0, 16.0])
    with pytest.raises(InputError, match="no link 'b'"):
        finish_times([Flow(("b",), 1)], {"a": 1.0})


# -- pods and failures -----------------------------------------------------------------------------


def test_a_slice_takes_free_cubes_anywhere():
    fabric = pod_slice(8, 8, 8)
    made = assemble_slice(fabric, busy=[0, 2, 4])
    assert made.cubes == (1, 3, 5, 6, 7, 8, 9, 10)
    assert made.spare_cubes == 144 - 3 - 8
    assert made.circuits == 8 * 48
    assert assemble_slice(pod_slice(2, 2, 1)).circuits == 0
    with pytest.raises(InfeasibleError, match="needs 8 cubes, and 7"):
        assemble_slice(fabric, busy=range(137))


def test_circuits_are_the_links_that_leave_cubes():
    for axes in ((4, 4, 4), (4, 4, 8), (8, 8, 12)):
        fabric = pod_slice(*axes)
        graph = link_graph(fabric)
        optical = {
            (min(a, int(b)), max(a, int(b)), slot // 2)
            for a in range(graph.chips)
            for slot, b in enumerate(graph.neighbour[a])
            if is_optical(fabric, fabric.pod, a, int(b))
        }
        assert len(optical) == assemble_slice(fabric).circuits
        whole = range(assemble_slice(fabric).circuits // 48)
        assert circuits_touching(fabric, fabric.pod, whole) == len(optical)


@pytest.mark.parametrize(
    ("texts", "lost", "rerouted", "spare"),
    [
        (["chip:17"], 64, 96, 135),
        (["chip:0,0,1", "chip:1,1,1"], 64, 96, 135),
        (["host:0"], 64, 96, 135),
        (["cube:7"], 64, 96, 135),
        (["cube:0", "cube:1"], 128, 160, 134),
        (["link:0-1"], 64, 96, 135),
        (["link:0,0,3-0,0,4"], 0, 1, 136),
        (["link:0,0,0-0,0,7"], 0, 1, 136),
    ],
)
def test_what_a_failure_costs_behind_optical_switches(texts, lost, rerouted, spare):
    fabric = pod_slice(8, 8, 8)
    repair = mend(fabric, failures(fabric, *texts))
    assert (repair.lost_chips, repair.rerouted_circuits, repair.spare_cubes) == (
        lost,
        rerouted,
        spare,
    )
    assert repair.graph is link_graph(fabric)


def test_without_a_spare_cube_traffic_goes_around():
    fabric = pod_slice(4, 4, 8, cubes=2)
    found = inspect(fabric, failures(fabric, "chip:5"))
    assert (found.lost_chips, found.spare_cubes) == (1, 0)
    assert found.load_after > found.load_before


def test_a_fabric_that_falls_apart_names_the_chips():
    fabric = load_system("tpu-v5e:2x2").fabric
    with pytest.raises(InfeasibleError, match=r"cut off are chip 0 \(0,0\)"):
        inspect(fabric, failures(fabric, "link:0-1", "link:0-2"))


def test_a_switch_loses_one_link_of_many():
    fabric = load_system("h100:8").fabric
    found = inspect(fabric, failures(fabric, "link:3"))
    assert found.load_after == pytest.approx(found.load_before * 18 / 17)
    with pytest.raises(InfeasibleError, match="cut off are chip 3"):
        inspect(fabric, failures(fabric, *["link:3"] * 18))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chip:512", "expected a chip from 0 to 511"),
        ("chip:0,0", "3 coordinates"),
        ("chip:", "expected chip:X"),
        ("chp:1", "expected chip:X"),
        ("cube:8", "expected a cube from 0 to 7"),
        ("host:128", "expected a host from 0 to 127"),
        ("link:0", "expected the two chips"),
        ("link:0-9999", "expected a chip"),
        ("link:0-2", "no link joins these chips"),
        ("chip:-1", "expected a chip"),
    ],
)
def test_bad_failures(text, message):
    with pytest.raises(InputError) as caught:
        parse_failure(pod_slice(8, 8, 8), text)
    assert message in caught.value.message


def test_systems_without_cubes_or_hosts_say_so():
    with pytest.raises(InputError, match="no cubes"):
        parse_failure(torus(4, 4), "cube:0")
    with pytest.raises(InputError, match="hosts of this system are not known"):
        parse_failure(torus(4, 4), "host:0")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tpu-v4:4x4x8_twisted", "twisted-torus"),
        ("tpu-v7x:8x8x16_twisted", "twisted-torus"),
        ("h100:8x2", "hierarchy"),
        ("mi300x:8", "fully-connected"),
        ("gb300:72", "switch"),
    ],
)
def test_named_systems(name, kind):
    system = load_system(name)
    assert (system.name, system.fabric.kind) == (name, kind)


def test_the_largest_system_is_147456_chips():
    found = inspect(load_system("tpu-v7x:16x24x24x16").fabric)
    assert (found.chips, found.cubes, found.circuits) == (147_456, 16 * 144, 16 * 144 * 48)


@pytest.mark.parametrize("name", ["tpu-v4:4x4x4_twisted", "tpu-v4:4x4x12_twisted"])
def test_an_illegal_twist(name):
    with pytest.raises(InputError, match="cannot be twisted"):
        load_system(name)
