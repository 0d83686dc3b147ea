"""The closed forms against a reference that moves messages over links one by one."""

import numpy as np
import pytest
import reference_fabric as reference

from simulator.fabric.collectives import price_collective
from simulator.fabric.flows import Flow, finish_times
from simulator.fabric.links import link_graph, matrix_loads
from simulator.hardware.fabric import Fabric

RATE = 10**9
HOP = 700_000


def ring(n):
    return Fabric("ring", (n,), (True,), RATE, HOP)


def switch(n):
    return Fabric("switch", (n,), (False,), RATE, HOP)


@pytest.mark.parametrize("n", [3, 4, 8])
@pytest.mark.parametrize("op", ["all-gather", "reduce-scatter", "all-reduce"])
def test_a_ring_is_exact(n, op):
    chunk = 48_000
    rounds = (n - 1) * (2 if op == "all-reduce" else 1)
    outcome = reference.simulate(reference.ring_messages(n, chunk, rounds), RATE, HOP)
    ours = price_collective(ring(n), op, n * chunk, algorithm="ring")
    assert ours.time_ps == outcome.time_ps
    assert set(outcome.link_bytes.values()) == {ours.bytes_per_link_max}
    assert sum(outcome.link_bytes.values()) == ours.bytes_on_wire


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_a_ring_in_both_directions_is_exact(n):
    chunk = 48_000
    outcome = reference.simulate(reference.both_ways_messages(n, chunk), RATE, HOP)
    ours = price_collective(ring(n), "all-gather", n * chunk, algorithm="bidirectional-ring")
    assert ours.time_ps == outcome.time_ps
    assert max(outcome.link_bytes.values()) == ours.bytes_per_link_max
    assert sum(outcome.link_bytes.values()) == ours.bytes_on_wire


@pytest.mark.parametrize("n", [2, 4, 8])
def test_halving_doubling_is_exact(n):
    chunk = 64_000
    sizes = [n * chunk >> k for k in range(1, n.bit_length())]
    outcome = reference.simulate(reference.exchange_messages(n, sizes), RATE, HOP)
    ours = price_collective(switch(n), "reduce-scatter", n * chunk, algorithm="halving-doubling")
    assert ours.time_ps == outcome.time_ps
    assert sum(outcome.link_bytes.values()) == ours.bytes_on_wire


@pytest.mark.parametrize("n", [2, 3, 8])
def test_messages_through_one_port_follow_each_other(n):
    chunk = 64_000
    outcome = reference.simulate(reference.port_messages(n, chunk), RATE, HOP)
    ours = price_collective(switch(n), "all-to-all", n * chunk)
    assert ours.time_ps == outcome.time_ps
    assert ours.bytes_per_link_max == max(outcome.link_bytes.values())


@pytest.mark.parametrize("several", [2, 3])
def test_concurrent_rings_share_their_links(several):
    n, chunk = 4, 4_000_000
    messages = []
    for _ in range(several):
        base = len(messages)
        for message in reference.ring_messages(n, chunk, n - 1):
            after = tuple(base + other for other in message.after)
            messages.append(reference.Message(message.path, message.size, after))
    outcome = reference.simulate(messages, RATE, HOP)
    size = n * chunk
    ours = price_collective(ring(n), "all-gather", size, algorithm="ring", concurrent=several)
    alone = price_collective(ring(n), "all-gather", size, algorithm="ring")
    # messages that queue hide each other's latency, which a fair share does not
    assert outcome.time_ps <= ours.time_ps <= outcome.time_ps + (n - 1) * HOP
    assert ours.time_ps > 0.99 * several * alone.time_ps
    assert sum(outcome.link_bytes.values()) == several * alone.bytes_on_wire


@pytest.mark.parametrize(
    ("axes", "closed"), [((4,), True), ((5,), True), ((4, 4), True), ((3, 3), False), ((4,), False)]
)
def test_an_exchange_loads_each_link_as_the_reference_does(axes, closed):
    share = 2**12
    wrap = (closed,) * len(axes)
    outcome = reference.simulate(reference.grid_exchange(axes, wrap, share), RATE, HOP)
    fabric = Fabric("torus" if closed else "mesh", axes, wrap, RATE, HOP)
    graph = link_graph(fabric)
    chips = fabric.chips
    loads = matrix_loads(graph, np.full((chips, chips), float(share)), "dimension-ordered")
    for (source, target), carried in outcome.link_bytes.items():
        a, b = (int(np.ravel_multi_index(place, axes)) for place in (source, target))
        slot = int(np.nonzero(graph.neighbour[a] == b)[0][0])
        assert loads.loads[a, slot] == pytest.approx(carried)
    ours = price_collective(fabric, "all-to-all", share * chips, algorithm="direct")
    assert ours.bytes_per_link_max == pytest.approx(max(outcome.link_bytes.values()), abs=1)
    assert ours.bytes_on_wire == sum(outcome.link_bytes.values())
    # no schedule beats the busiest link, and queues come close to it
    busiest_ps = ours.link_ps
    assert busiest_ps <= outcome.time_ps
    assert ours.time_ps <= outcome.time_ps * 1.05 + ours.latency_ps


def test_fair_flows_end_when_small_messages_in_turn_end():
    # two flows share the link a; one of them and a third share b
    flows = [Flow(("a",), 40_000), Flow(("a", "b"), 60_000), Flow(("b",), 20_000)]
    fast = finish_times(flows, {"a": RATE, "b": RATE})
    messages = []
    quantum = 100
    for flow in flows:
        count = flow.size_bytes // quantum
        for index in range(count):
            # in turn: the nth message of each flow before the next one of any
            messages.append(reference.Message(flow.links, quantum, delay=index))
    # flow 2 ends at 40 us; flow 0 at 80 us, when 40 kB of flow 1 have passed as well; then 100 us
    assert fast == pytest.approx([80e-6, 100e-6, 40e-6])
    outcome = reference.simulate(messages, RATE, 0)
    assert outcome.time_ps == pytest.approx(100e6, rel=0.01)
    assert outcome.link_bytes == {"a": 100_000, "b": 80_000}
