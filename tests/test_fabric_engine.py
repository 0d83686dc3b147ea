"""All-reduce kernels of serving engines: closed forms, limits, and what a step takes."""

from dataclasses import replace

import pytest
import reference_fabric as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config import load_system
from simulator.errors import InputError
from simulator.fabric.collectives import price_collective
from simulator.fabric.pack import OP_INDEX, pack_fabric
from simulator.hardware.fabric import Fabric, PeerKernels, Protocol, nest
from simulator.kernels.fabric_price import collective

KERNELS = PeerKernels(
    launch_ps=3_000_000, hops=2, efficiency=0.5, largest_bytes=8_000_000, most_ranks=8
)


def switch(n, kernels=KERNELS):
    """100 GB/s a chip, 1 us a pass, a library whose launch takes 9 us."""
    return Fabric(
        "switch",
        (n,),
        (False,),
        100 * 10**9,
        10**6,
        9 * 10**6,
        copy_bytes_per_s=10**12,
        protocols=(Protocol("plain", efficiency=0.4, algorithms=("ring",)),),
        engine=kernels,
    )


def time_of(fabric, size, algorithm="engine"):
    return price_collective(fabric, "all-reduce", size, algorithm=algorithm)


def test_one_shot_and_two_shot_by_hand():
    size = 1_000_000
    one, two = (time_of(switch(8), size, name) for name in ("one-shot", "two-shot"))
    # 7 MB at 50 GB/s after two passes; twice 7/8 MB after two passes each
    assert one.time_ps == 3_000_000 + 2_000_000 + 140_000_000
    assert two.time_ps == 3_000_000 + 2 * (2_000_000 + 17_500_000)
    assert (one.bytes_per_link_max, two.bytes_per_link_max) == (7 * size, 7 * size // 4)
    assert (one.bytes_on_wire, two.bytes_on_wire) == (56 * size, 14 * size)
    assert {one.offered_by, two.offered_by} == {"engine"}


@pytest.mark.parametrize("n", [2, 3, 8])
def test_one_shot_moves_what_the_reference_moves(n):
    size = 60_000
    outcome = reference.simulate(reference.port_messages(n, size), 50 * 10**9, 2 * 10**6)
    ours = time_of(switch(n), size, "one-shot")
    assert ours.time_ps - 3_000_000 == outcome.time_ps
    assert set(outcome.link_bytes.values()) == {ours.bytes_per_link_max}
    assert sum(outcome.link_bytes.values()) == ours.bytes_on_wire


def test_staging_copies_the_whole_buffer_once():
    staged = switch(4, replace(KERNELS, staged=True))
    for name in ("one-shot", "two-shot"):
        extra = time_of(staged, 10**6, name).time_ps - time_of(switch(4), 10**6, name).time_ps
        assert extra == 10**6


def test_small_buffers_take_one_shot_and_large_ones_the_library():
    fabric = switch(8)
    assert time_of(fabric, 1_000).algorithm == "one-shot"
    assert time_of(fabric, 1_000_000).algorithm == "two-shot"
    assert time_of(fabric, 8_000_000).algorithm == "two-shot"
    over = time_of(fabric, 8_000_001)
    assert (over.algorithm, over.offered_by) == ("ring", "library")
    # a name is priced beyond the limit, as what the links would allow
    assert time_of(fabric, 8_000_001, "two-shot").offered_by == "none"


def test_only_an_all_reduce_of_few_ranks_on_one_switch():
    fabric = switch(8)
    assert time_of(fabric, 1_000, "auto").algorithm == "ring"
    for op in ("all-gather", "reduce-scatter", "all-to-all"):
        library = price_collective(fabric, op, 1_000)
        assert price_collective(fabric, op, 1_000, algorithm="engine") == library
    assert time_of(switch(16), 1_000) == time_of(switch(16), 1_000, "auto")
    nodes = nest("hierarchy", fabric, switch(2, None))
    assert time_of(nodes, 1_000) == time_of(nodes, 1_000, "auto")
    with pytest.raises(InputError, match="no algorithm 'one-shot'"):
        time_of(switch(8, None), 1_000, "one-shot")


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(2, 9), st.integers(0, 2 * 10**7), st.booleans())
def test_a_step_takes_what_engine_gives(n, size, staged):
    fabric = switch(n, replace(KERNELS, staged=staged))
    found = time_of(fabric, size)
    duration, moving, carried = collective(pack_fabric(fabric), OP_INDEX["all-reduce"], size)
    assert duration == found.time_ps
    assert moving == found.link_ps + found.injection_ps
    assert carried == found.bytes_per_link_max
    assert found.time_ps <= time_of(fabric, size, "auto").time_ps


# microseconds: vLLM 0.14.0, 0.24.0, SGLang 0.5.14 in captured graphs, aiconfigurator-core 0.12.0
MEASURED = [
    ("a100:8", 2**10, 5.8, 0.1),
    ("a100:2", 2**22, 25.2, 0.1),
    ("h100:8", 2**10, 4.6, 0.1),
    ("h100:4", 2**20, 12.8, 0.15),
    ("h100:8", 2**20, 15.0, 0.2),
    ("h200:8", 2**22, 28.4, 0.1),
    ("b200:8", 2**13, 5.1, 0.1),
    ("b200:8", 2**22, 24.4, 0.1),
    ("gb200:4", 2**14, 4.4, 0.1),
    ("gb200:4", 2**30, 2548.0, 0.15),
]


@pytest.mark.parametrize(("system", "size", "microseconds", "within"), MEASURED)
def test_engine_tables(system, size, microseconds, within):
    found = time_of(load_system(system).fabric, size)
    assert found.time_s * 1e6 == pytest.approx(microseconds, rel=within)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("system.fabric.engine.largest=-1", "largest"),
        ("system.fabric.engine.launch=nan", "launch"),
        ("system.fabric.engine.efficiency=1.5", "efficiency"),
        ("system.fabric.engine.hop=2", "unknown key 'hop'"),
    ],
)
def test_bad_kernels(change, message):
    with pytest.raises(InputError, match=message):
        load_system("h100:8", (change,))
    with pytest.raises(InputError, match="belongs to a switch"):
        load_system("tpu-v5e:4x4", ("system.fabric.engine={launch: 1us, largest: 1MiB}",))
