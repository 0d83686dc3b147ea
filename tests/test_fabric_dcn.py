"""Pods over the data-centre network, and the other nested fabrics."""

import pytest

from simulator.config import load_system
from simulator.errors import InputError
from simulator.fabric.collectives import price_collective
from simulator.fabric.dcn import Dcn, all_reduce_ps, exchange_ps, network_of, transfers_ps
from simulator.hardware.fabric import Fabric, nest


def test_every_block_has_to_be_upgraded_before_an_exchange_is_faster():
    old = Dcn((10**12,) * 4, chips_per_block=9216, latency_ps=10**7)
    size = 10**6
    before = exchange_ps(old, size)
    assert before == 10**7 + 9216 * 10**6 * 3 // 4
    new = old
    for block in range(3):
        new = new.upgraded(block, 2 * 10**12)
        assert exchange_ps(new, size) == before
        assert all_reduce_ps(new, size) == all_reduce_ps(old, size)
    new = new.upgraded(3, 2 * 10**12)
    assert exchange_ps(new, size) == 10**7 + 9216 * 10**6 * 3 // 8


def test_a_transfer_gains_when_both_of_its_blocks_are_upgraded():
    old = Dcn((10**12,) * 3, 64)
    one = old.upgraded(0, 2 * 10**12)
    both = one.upgraded(1, 2 * 10**12)
    move = [(0, 1, 10**12)]
    assert transfers_ps(old, move) == transfers_ps(one, move) == [10**12]
    assert transfers_ps(both, move) == [10**12 // 2]
    # two into one downlink share it; inside a block nothing crosses the network
    assert transfers_ps(old, [(0, 2, 10**12), (1, 2, 10**12), (1, 1, 5)]) == [
        2 * 10**12, 2 * 10**12, 0,
    ]  # fmt: skip


@pytest.mark.parametrize(("uplinks", "chips"), [((10,) * 17, 9216), ((0,), 4), ((), 4)])
def test_bad_networks(uplinks, chips):
    with pytest.raises(InputError):
        Dcn(uplinks, chips)
    with pytest.raises(InputError, match="no block 9"):
        Dcn((1,), 1).upgraded(9, 1)


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
    network = network_of(fabric)
    assert fabric.chips == 147_456
    assert network.uplinks[:5] == tuple(9216 * r * 10**7 for r in (2500, 625, 625, 1250, 625))
    # from block 0 to block 3 the lesser of both uplinks counts, elsewhere the old ones
    size = 9216 * 125 * 10**8
    assert transfers_ps(network, [(0, 3, size), (1, 2, size)]) == [
        10**7 + 10**12, 10**7 + 2 * 10**12,
    ]  # fmt: skip
    with pytest.raises(InputError, match="no network"):
        network_of(load_system("h100:8").fabric)


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
