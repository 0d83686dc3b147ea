"""Pods over the data-centre network, and the other nested fabrics."""

import pytest

from simulator.config import load_system
from simulator.errors import InfeasibleError, InputError
from simulator.fabric.collectives import price_collective
from simulator.fabric.dcn import Transfer, parse_transfer, transfers_ps
from simulator.hardware.fabric import Fabric, nest


def blocks(*rates, chips=4, kind="switch"):
    """Groups of four chips; a chip of group b has an uplink of rates[b]."""
    inner = Fabric("ring", (chips,), (True,), 10**9, 1000)
    own = rates if kind == "switch" else ()
    outer = Fabric(kind, (len(rates),), (False,), min(rates), 10**7, uplinks=own)
    return nest("hierarchy", inner, outer)


def test_every_block_has_to_be_upgraded_before_an_exchange_is_faster():
    rates = [10**9] * 4
    times = []
    for block in (None, 0, 1, 2, 3):
        if block is not None:
            rates[block] *= 2
        times.append(price_collective(blocks(*rates), "all-reduce", 2**30).time_ps)
    assert times[0] == times[1] == times[2] == times[3] > times[4]


def test_a_transfer_gains_when_both_of_its_blocks_are_upgraded():
    old, new = 10**9, 2 * 10**9
    move = [Transfer(0, 1, 4 * 10**9)]
    assert transfers_ps(blocks(old, old, old), move) == [10**12 + 10**7]
    assert transfers_ps(blocks(new, old, old), move) == [10**12 + 10**7]
    assert transfers_ps(blocks(new, new, old), move) == [10**12 // 2 + 10**7]
    # two into one downlink share it; inside a block nothing crosses the network
    size = 4 * 10**9
    moves = [Transfer(0, 2, size), Transfer(1, 2, size), Transfer(1, 1, 5)]
    assert transfers_ps(blocks(old, old, old), moves) == [
        2 * 10**12 + 10**7, 2 * 10**12 + 10**7, 0,
    ]  # fmt: skip
    # fully connected groups have links of their own for each pair
    mesh = blocks(old, old, old, kind="fully-connected")
    assert transfers_ps(mesh, moves) == [10**12 + 10**7, 10**12 + 10**7, 0]


def test_transfers_after_failures_have_the_ports_that_are_left():
    fabric, move = blocks(10**9, 10**9), [Transfer(0, 1, 3 * 10**9)]
    assert transfers_ps(fabric, move, (4, 3)) == [10**12 + 10**7]
    with pytest.raises(InfeasibleError, match="group 1 is lost"):
        transfers_ps(fabric, move, (4, 0))


@pytest.mark.parametrize("text", ["0", "0-1-1", "0-2", "-1-0", "a-b", "0-"])
def test_bad_transfers(text):
    with pytest.raises(InputError, match="two groups from 0 to 1"):
        parse_transfer(blocks(1, 1), text, 5)
    with pytest.raises(InputError, match="has no groups"):
        parse_transfer(load_system("h100:8").fabric, text, 5)


def test_a_dragonfly_is_fully_connected_twice():
    inner = Fabric("fully-connected", (4,), (False,), 10**9, 10**5)
    outer = Fabric("fully-connected", (9,), (False,), 10**9, 3 * 10**5)
    groups = nest("dragonfly", inner, outer)
    assert groups.chips == 36
    found = price_collective(groups, "all-gather", 36 * 10**6)
    # the shards of the 8 other groups come one by one over links of their own, then 9 a neighbour
    assert found.time_ps == (3 * 10**5 + 10**9) + (10**5 + 9 * 10**9)


def test_a_wafer_is_an_open_mesh():
    wafer = Fabric("wafer-mesh", (6, 8), (False, False), 10**9, 1000)
    mesh = Fabric("mesh", (6, 8), (False, False), 10**9, 1000)
    for op in ("all-reduce", "all-to-all", "broadcast"):
        assert price_collective(wafer, op, 10**6) == price_collective(mesh, op, 10**6)


def test_a_systems_network_between_pods():
    fabric = load_system(
        "tpu-v7x:16x24x24x16", ("system.fabric.outer.uplinks={0: 25GB/s, 3: 12.5GB/s}",)
    ).fabric
    assert fabric.chips == 147_456
    # from block 0 to block 3 the lesser of both uplinks counts, elsewhere the old ones
    size = 9216 * 125 * 10**8
    assert transfers_ps(fabric, [Transfer(0, 3, size), Transfer(1, 2, size)]) == [
        10**7 + 10**12, 10**7 + 2 * 10**12,
    ]  # fmt: skip
    with pytest.raises(InputError, match="no network"):
        transfers_ps(load_system("h100:8").fabric, [])


def test_a_dragonflys_chips_share_their_global_links():
    # 50 GB/s a chip to 8 other nodes, and 8 chips: 50 GB/s between two nodes
    nodes = load_system("groq-lpu:8x9").fabric
    assert nodes.kind == "dragonfly"
    assert nodes.outer.link_bandwidth_bytes_per_s == 50 * 10**9 // 8
    found = price_collective(nodes, "all-gather", 72 * 10**6)
    assert found.time_ps == (600_000 + 160_000_000) + (600_000 + 9 * 80_000_000)


@pytest.mark.parametrize("name", ["l40s:8", "groq-lpu:8", "wse3:32x32", "wse3:949x949"])
def test_fabrics_without_nvlink(name):
    fabric = load_system(name).fabric
    assert price_collective(fabric, "all-reduce", 2**20).time_ps > 0


def test_cards_behind_one_bridge_share_it():
    """Four messages of a ring at 20.6 GB/s together; two cards and a message alone do not share."""
    four, two = (load_system(f"l40s:{n}").fabric for n in (4, 2))
    free = load_system("l40s:4", ("system.fabric.shared_bandwidth=1TB/s",)).fabric
    size = 2**29
    shared = price_collective(four, "all-gather", size, algorithm="ring")
    assert shared.link_ps == pytest.approx(size * 3 / 4 * 1e12 / 5.15e9, rel=1e-6)
    alone = price_collective(free, "all-gather", size, algorithm="ring")
    assert alone.link_ps == pytest.approx(size * 3 / 4 * 1e12 / (0.64 * 32e9), rel=1e-6)
    assert price_collective(four, "p2p", size) == price_collective(free, "p2p", size)
    assert price_collective(two, "p2p", size).time_ps == price_collective(four, "p2p", size).time_ps
    with pytest.raises(InputError, match="belongs to pcie"):
        load_system("h100:8", ("system.fabric.shared_bandwidth=1TB/s",))
