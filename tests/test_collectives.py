"""Closed forms on paper, the physics that no price may break, and bad input."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config import load_system
from simulator.errors import InputError
from simulator.fabric.cases import plain_fabric
from simulator.fabric.collectives import all_schedules, price_collective
from simulator.fabric.pack import OP_INDEX, pack_fabric
from simulator.fabric.parts import OPS
from simulator.hardware.fabric import Fabric, Protocol, legal_twist, nest
from simulator.kernels.fabric_price import collective

GB = 10**9


def torus(*axes, wrap=True, rate=100 * GB, hop=10**6):
    return Fabric("torus", axes, (wrap,) * len(axes), rate, hop)


def switch(n, **more):
    return Fabric("switch", (n,), (False,), 450 * GB, 10**6, **more)


def full(n):
    return Fabric("fully-connected", (n,), (False,), 64 * GB, 10**6)


FILLS = (0, 10**6, 10**10)
"""Picoseconds that a pipeline takes to fill: nothing, little and more than most transfers here."""


def fabrics(fills=(0,)):
    """Fabrics of every kind, small enough to enumerate."""
    size = st.integers(2, 6)
    protocols = st.sampled_from([(Protocol("plain", fill_ps=fill),) for fill in fills])
    grids = st.builds(
        lambda axes, wraps, own: Fabric(
            "torus", tuple(axes), tuple(wraps[: len(axes)]), 10**8, 10**5, protocols=own
        ),
        st.lists(size, min_size=1, max_size=3),
        st.lists(st.booleans(), min_size=3, max_size=3),
        protocols,
    )
    flat = st.builds(
        lambda n, kind, own: Fabric(kind, (n,), (False,), 10**8, 10**5, protocols=own),
        st.integers(2, 9),
        st.sampled_from(["switch", "fully-connected", "pcie"]),
        protocols,
    )
    one = st.one_of(grids, flat)
    nested = st.builds(lambda inner, outer: nest("hierarchy", inner, outer), one, flat)
    return st.one_of(one, nested)


# -- closed forms, by hand ------------------------------------------------------------------------


def test_a_ring_all_reduce_by_hand():
    # 4 ranks, 4 MB, 1 MB chunks: 6 steps of 1 us + 10 us
    found = price_collective(torus(4), "all-reduce", 4_000_000, algorithm="ring")
    assert found.time_ps == 6 * (1_000_000 + 10_000_000)
    assert found.steps == 6
    assert found.bytes_per_link_max == 6_000_000
    assert found.bytes_on_wire == 24_000_000
    assert found.bus_bandwidth_bytes_per_s == pytest.approx(1.5 * 4_000_000 / 66e-6)
    assert found.bound_by == "link"


def test_all_axes_and_both_directions_reach_the_injection_bound():
    # 4x4x4: 63/64 of the buffer over 6 links; 2 hops an axis
    size = 64 * 6 * 10**6
    found = price_collective(torus(4, 4, 4), "all-gather", size)
    assert found.algorithm == "multi-axis"
    assert found.time_ps == 6 * 10**6 + 63 * 6 * 10**6 * 10**12 // (6 * 100 * GB)


def test_a_line_takes_about_twice_as_long_as_a_ring():
    size = 10**10
    closed = price_collective(torus(8), "all-gather", size).time_s
    opened = price_collective(torus(8, wrap=False), "all-gather", size).time_s
    assert opened / closed == pytest.approx(2, rel=0.01)


def test_a_long_axis_is_slowest_and_sets_the_time():
    # 2 (open) x 8 (closed): over axis 8 alone at least 7 shards by 2 ways, over both 15 by 3
    found = price_collective(
        Fabric("torus", (2, 8), (False, True), 10**9, 0), "all-gather", 16 * 10**6
    )
    assert found.bytes_per_link_max == pytest.approx(5 * 10**6, abs=8)


def test_an_all_to_all_on_a_ring_takes_a_quarter_of_an_all_gather():
    size = 10**12
    gather = price_collective(torus(16), "all-gather", size).link_ps
    exchange = price_collective(torus(16), "all-to-all", size // 16).link_ps
    # the same array over all chips: k^2 / 8 parts of 1 / k^2 against (k - 1) / 2 of 1 / k
    assert exchange / gather == pytest.approx(1 / 8 / (7.5 / 16))


@pytest.mark.parametrize(
    ("axes", "plain", "twisted"),
    [((4, 4, 8), 128, 220 / 3), ((4, 8, 8), 256, 184), ((8, 8, 16), 2048, 3568 / 3)],
)
def test_a_twist_relieves_the_busiest_link(axes, plain, twisted):
    straight = torus(*axes, hop=0)
    twist = legal_twist(axes)
    bent = replace(straight, kind="twisted-torus", twist=twist)
    size = straight.chips * 300
    before = price_collective(straight, "all-to-all", size).bytes_per_link_max
    after = price_collective(bent, "all-to-all", size).bytes_per_link_max
    assert before == plain * 300
    assert after == round(twisted * 300)


def test_legal_twists():
    assert legal_twist((4, 4, 8)) == ((0, 0, 4), (0, 0, 4), (0, 0, 0))
    assert legal_twist((4, 8)) == ((0, 4), (0, 0))
    for axes in ((4, 4, 4), (4, 4, 12), (4, 8, 16), (1, 2)):
        assert legal_twist(axes) is None


def test_a_switch_that_reduces_moves_each_buffer_about_once():
    plain, reducing = switch(8), switch(8, in_network_efficiency=1.0)
    size = 8 * 10**9
    assert price_collective(plain, "all-reduce", size).algorithm != "in-network"
    found = price_collective(reducing, "all-reduce", size)
    assert found.algorithm == "in-network"
    assert found.bytes_per_link_max == size * 9 // 8
    assert found.time_ps == 2 * 10**6 + 9 * 10**9 * 10**12 // (450 * GB)


def test_a_hierarchy_sends_an_nth_outside():
    inner, outer = switch(8), replace(switch(2), link_bandwidth_bytes_per_s=50 * GB)
    found = price_collective(nest("hierarchy", inner, outer), "all-reduce", 8 * 10**9)
    outside = 10**9 * 10**12 // (50 * GB)
    inside = 2 * 7 * 10**9 * 10**12 // (450 * GB)
    assert found.link_ps + found.injection_ps == pytest.approx(outside + inside, abs=20)


def test_the_fastest_protocol_is_chosen_for_the_size():
    slow_start = Protocol("bandwidth", startup_ps=10**7, efficiency=0.9)
    quick = Protocol("low-latency", efficiency=0.3)
    fabric = switch(4, protocols=(quick, slow_start))
    assert price_collective(fabric, "all-reduce", 1024).protocol == "low-latency"
    assert price_collective(fabric, "all-reduce", 2**28).protocol == "bandwidth"


def test_a_library_limits_what_is_chosen_but_not_what_is_named():
    only_ring = (Protocol("plain", algorithms=("ring",)),)
    fabric = switch(8, protocols=only_ring)
    found = price_collective(fabric, "all-reduce", 64)
    assert found.algorithm == "ring"
    named = price_collective(fabric, "all-reduce", 64, algorithm="direct")
    assert named.time_ps < found.time_ps
    assert {other.algorithm for other in found.alternatives} >= {"direct", "tree"}


# -- measured and simulated by others --------------------------------------------------------------

# ASTRA-sim 2, analytical, congestion-unaware, one chunk, 50 GiB/s and 500 ns a link, 10 ns at
# each endpoint, reduction at a third of 1,600 GB/s: topology, ranks, op, bytes, algorithm, ns
ASTRA_SIM = [
    ("ring", 4, "all-reduce", 65_536, "ring", 4_990),
    ("ring", 4, "all-reduce", 16_777_216, "ring", 495_409),
    ("ring", 4, "all-gather", 4 * 16_384, "ring", 2_455),
    ("ring", 4, "all-gather", 4 * 67_108_864, "ring", 3_751_540),
    ("ring", 4, "reduce-scatter", 1_048_576, "ring", 17_653),
    ("ring", 4, "reduce-scatter", 268_435_456, "ring", 4_129_027),
    ("ring", 4, "all-to-all", 65_536, "ring", 4_900),
    ("ring", 4, "all-to-all", 268_435_456, "ring", 7_503_070),
    ("ring", 8, "all-reduce", 65_536, "ring", 9_383),
    ("ring", 8, "all-reduce", 268_435_456, "ring", 9_197_541),
    ("ring", 8, "all-gather", 8 * 131_072, "ring", 20_667),
]


@pytest.mark.parametrize(("topology", "ranks", "op", "size", "algorithm", "time_ns"), ASTRA_SIM)
def test_astra_sim_agrees_without_congestion(topology, ranks, op, size, algorithm, time_ns):
    fabric = plain_fabric(
        topology,
        (ranks,),
        bandwidth_bytes_per_s=50 * 2**30,
        latency_ps=500_000,
        endpoint_delay_ps=10_000,
        reduce_bytes_per_s=1600 * GB // 3,
    )
    found = price_collective(fabric, op, size, algorithm=algorithm)
    assert found.time_ps / 1000 == pytest.approx(time_ns, rel=0.01)


@pytest.mark.parametrize(("size", "bus"), [(2**21, 71.8e9), (2**29, 178.8e9)])
def test_tpu7x_all_gather_as_google_measured_it(size, bus):
    # tpu-recipes: bf16 squares of 1,024 and 16,384; 3/4 of them come from the other chips
    fabric = load_system("tpu-v7x:2x2x1").fabric
    found = price_collective(fabric, "all-gather", size)
    assert found.bus_bandwidth_bytes_per_s == pytest.approx(bus, rel=0.05)


# NCCL 2.29.2 on H100, 2.27.3 on A100, from aiconfigurator-core 0.12.0: microseconds
NCCL = [
    ("h100:8", "all-reduce", 2**29, 2111.1, 0.1),
    ("h100:8", "all-reduce", 2**10, 15.6, 0.05),
    ("h100:4", "all-gather", 2**28, 660.7, 0.1),
    ("h100:2", "reduce-scatter", 2**10, 5.1, 0.25),
    ("b200:8", "all-reduce", 2**29, 1334.6, 0.25),
    ("b200:4", "all-to-all", 2**26, 124.8, 0.15),
]


@pytest.mark.parametrize(("system", "op", "size", "microseconds", "within"), NCCL)
def test_nccl_tables(system, op, size, microseconds, within):
    found = price_collective(load_system(system).fabric, op, size)
    assert found.time_s * 1e6 == pytest.approx(microseconds, rel=within)


def test_a_pipeline_is_filled_once_however_long_the_transfer():
    """By hand: 7 steps of an eighth of 8 MB at 0.5 GB/s are 14 ms; a fill of 2 ms adds 1.75."""
    plain = Fabric("switch", (8,), (False,), 10**9, protocols=(Protocol("p", efficiency=0.5),))
    filled = replace(plain, protocols=(replace(plain.protocols[0], fill_ps=2 * 10**9),))
    times = [
        price_collective(one, "all-gather", 8 * 10**6, algorithm="ring").time_ps
        for one in (plain, filled)
    ]
    assert times == [14 * 10**9, 15_750_000_000]
    for op in ("all-gather", "all-reduce"):
        for size in (10**4, 10**7, 10**10):
            short, long = (
                price_collective(one, op, size, algorithm="ring").time_ps for one in (plain, filled)
            )
            assert short < long <= min(2 * short, short + 2 * 10**9)


# -- physics ---------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=150)
@given(fabrics(FILLS), st.sampled_from(OPS), st.integers(0, 10**9), st.integers(1, 4))
def test_no_price_breaks_physics(fabric, op, size, concurrent):
    for algorithm in sorted({s.algorithm for s in all_schedules(fabric, op)}):
        found = price_collective(fabric, op, size, algorithm=algorithm, concurrent=concurrent)
        assert 0 <= found.link_utilization <= 1
        parts = found.latency_ps + found.link_ps + found.injection_ps + found.reduction_ps
        assert found.time_ps == parts
        n = found.ranks
        if fabric.inner is None:
            ports = _ports(fabric)
            entering = {
                "all-gather": size * (n - 1) // n,
                "reduce-scatter": size * (n - 1) // n,
                "all-to-all": size * (n - 1) // n,
                "all-reduce": size,
                "broadcast": size,
                "p2p": size,
                "permute": size,
            }[op]
            if op == "all-reduce" and algorithm != "in-network":
                entering = 2 * size * (n - 1) // n
            least = concurrent * entering * 10**12 // (ports * fabric.link_bandwidth_bytes_per_s)
            if op not in ("p2p", "permute"):
                assert found.time_ps >= least


def _ports(fabric):
    """Links of the least connected chip."""
    if fabric.is_switched:
        return 1
    if fabric.kind == "fully-connected":
        return fabric.chips - 1
    return sum(
        2 if closed and size > 2 else 1
        for size, closed in zip(fabric.axes, fabric.wrap, strict=True)
        if size > 1
    )


@settings(deadline=None, derandomize=True, max_examples=100)
@given(fabrics(), st.sampled_from(OPS), st.integers(0, 10**8))
def test_twice_as_fast_takes_half_as_long(fabric, op, size):
    slow = price_collective(_scaled(fabric, 1, 2), op, size)
    fast = price_collective(_scaled(fabric, 2, 1), op, size)
    assert abs(slow.time_ps - 2 * fast.time_ps) <= 2 * slow.steps


def _scaled(fabric, rate, delay):
    levels = {}
    if fabric.inner is not None:
        levels = {
            "inner": _scaled(fabric.inner, rate, delay),
            "outer": _scaled(fabric.outer, rate, delay),
        }
    return replace(
        fabric,
        link_bandwidth_bytes_per_s=fabric.link_bandwidth_bytes_per_s * rate,
        hop_latency_ps=fabric.hop_latency_ps * delay,
        **levels,
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.permutations([2, 3, 4]), st.sampled_from(OPS), st.integers(1, 10**8))
def test_turning_a_torus_changes_nothing(axes, op, size):
    assert (
        price_collective(torus(*axes), op, size).time_ps
        == price_collective(torus(2, 3, 4), op, size).time_ps
    )


@settings(deadline=None, derandomize=True, max_examples=60)
@given(fabrics(FILLS), st.sampled_from(OPS), st.integers(0, 10**8), st.integers(1, 10**6))
def test_more_bytes_are_never_faster_and_company_never_helps(fabric, op, size, more):
    alone = price_collective(fabric, op, size).time_ps
    assert price_collective(fabric, op, size + more).time_ps >= alone
    assert price_collective(fabric, op, size, concurrent=2).time_ps >= alone


@settings(deadline=None, derandomize=True, max_examples=40)
@given(fabrics(FILLS), st.sampled_from(OPS), st.integers(0, 10**9))
def test_the_kernel_prices_as_python_does(fabric, op, size):
    table = pack_fabric(fabric)
    found = price_collective(fabric, op, size)
    duration, moving, carried = collective(table, OP_INDEX[op], size)
    assert duration == found.time_ps
    assert moving == found.link_ps + found.injection_ps
    assert carried == found.bytes_per_link_max


@pytest.mark.parametrize("op", OPS)
def test_one_rank_costs_nothing(op):
    found = price_collective(switch(8), op, 10**9, group=1)
    assert (found.time_ps, found.bytes_on_wire, found.ranks) == (0, 0, 1)


# -- groups and bad input --------------------------------------------------------------------------


def test_groups_by_axes_and_by_size():
    fabric = torus(4, 4, 8)
    assert price_collective(fabric, "all-gather", 2**20, group="z").ranks == 8
    assert price_collective(fabric, "all-gather", 2**20, group="yx").ranks == 16
    assert price_collective(fabric, "all-gather", 2**20, group="16") == replace(
        price_collective(fabric, "all-gather", 2**20, group="xy")
    )
    nodes = nest("hierarchy", switch(8), switch(4))
    assert price_collective(nodes, "all-reduce", 64, group=4).algorithm != "hierarchical"
    assert price_collective(nodes, "all-reduce", 64, group=16).algorithm == "hierarchical"


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"op": "all-reduc"}, "unknown collective 'all-reduc'", "did you mean 'all-reduce'?"),
        ({"algorithm": "rin"}, "unknown algorithm 'rin'", "did you mean 'ring'?"),
        ({"algorithm": "multi-axis"}, "has no algorithm 'multi-axis'", "direct, ring, tree"),
        ({"group": 6, "algorithm": "halving-doubling"}, "needs a power of two of ranks", None),
        ({"group": 5}, "a group of 5 does not divide the 12 chips", "1, 2, 3, 4, 6, 12"),
        ({"group": "q"}, "found 'q', expected a number of chips", None),
        ({"group": 0}, "expected at least 1", None),
        ({"size": -1}, "bytes: found -1", None),
        ({"size": 2**60}, "bytes: found", None),
        ({"concurrent": 0}, "concurrent: found 0", None),
    ],
)
def test_bad_input_is_one_clear_error(change, message, hint):
    asked = {"op": "all-reduce", "size": 1024} | change
    with pytest.raises(InputError) as caught:
        price_collective(switch(12), asked.pop("op"), asked.pop("size"), **asked)
    assert message in caught.value.message
    if hint:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("group", ["xx", "w", "x,y", ""])
def test_bad_axes(group):
    with pytest.raises(InputError):
        price_collective(torus(4, 4, 8), "all-gather", 64, group=group)


def test_an_axis_of_a_twisted_torus_is_no_group():
    bent = replace(torus(4, 4, 8), kind="twisted-torus", twist=legal_twist((4, 4, 8)))
    with pytest.raises(InputError, match="no ring of its own"):
        price_collective(bent, "all-gather", 64, group="x")


def test_fully_connected_chips_use_all_their_links():
    found = price_collective(full(8), "all-gather", 8 * 64 * 10**6)
    assert found.algorithm == "direct"
    assert found.time_ps == 10**6 + 10**9
