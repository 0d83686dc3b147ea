"""All-reduce kernels of serving engines: closed forms, rules of the engines, what a step takes."""

from dataclasses import replace
from fractions import Fraction

import pytest
import reference_fabric as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cli import main
from simulator.config import load_system
from simulator.config.loader import load_libraries
from simulator.errors import InputError
from simulator.fabric.collectives import price_collective
from simulator.fabric.pack import OP_INDEX, pack_fabric
from simulator.fabric.peer import library_ranges, peer_schedules
from simulator.hardware.engine_kernels import ENGINES, KIB, MIB
from simulator.hardware.fabric import Engine, Fabric, Protocol, nest
from simulator.kernels.fabric_price import collective

ENGINE = Engine("sglang-0.5.14", "9.0", 3_000_000, 0.5, 10**12)
"""Pushes up to 160 KiB among eight ranks, then two-shot up to 16 MiB."""


def switch(n, engine=ENGINE):
    """100 GB/s a chip, 1 us a pass, a library whose launch takes 9 us."""
    return Fabric(
        "switch",
        (n,),
        (False,),
        100 * 10**9,
        10**6,
        9 * 10**6,
        protocols=(Protocol("plain", efficiency=0.4, algorithms=("ring",)),),
        engine=engine,
    )


def named(name, capability="9.0"):
    return replace(ENGINE, name=name, capability=capability)


def time_of(fabric, size, algorithm="engine"):
    return price_collective(fabric, "all-reduce", size, algorithm=algorithm)


def test_one_shot_and_two_shot_by_hand():
    size = 100_000
    one, two = (time_of(switch(8), size, name) for name in ("one-shot", "two-shot"))
    # 0.8 + 8 x 0.16 passes, 0.7 MB at 50 GB/s; 6 + 8 x 0.2 passes, twice 7/8 of it
    assert one.time_ps == 3_000_000 + 2_080_000 + 14_000_000
    assert two.time_ps == 3_000_000 + 7_600_000 + 2 * 1_750_000
    assert (one.bytes_per_link_max, two.bytes_per_link_max) == (7 * size, 7 * size // 4)
    assert (one.bytes_on_wire, two.bytes_on_wire) == (56 * size, 14 * size)
    assert (one.offered_by, two.offered_by) == ("engine", "engine")


def test_copies_and_launches_of_symmetric_memory_by_hand():
    size = 10_000_000
    found = time_of(switch(8), size, "vllm-0.18")
    assert (found.algorithm, found.protocol) == ("in-network", "peer-memory")
    # three launches, 5.4 passes, 9/8 of the buffer through the port, two copies at 1 TB/s
    assert found.time_ps == 3 * 3_000_000 + 5_400_000 + 225_000_000 + 20_000_000


def test_a_reading_kernel_waits_for_a_round_trip_for_each_window():
    slow = replace(switch(2, named("vllm-0.14")), hop_latency_ps=10**7)
    kernels = load_libraries().all_reduce
    own = kernels.pull_one_shot
    size = 10 * own.window_bytes
    found = time_of(slow, size, "vllm-0.14")
    round_trips = 10 * kernels.round_trip * 10**7
    latency = 3_000_000 + (own.hops + 2 * own.hops_per_rank) * 10**7
    assert found.time_ps == pytest.approx(latency + round_trips, rel=1e-6)
    # a faster link does not help
    faster = replace(slow, link_bandwidth_bytes_per_s=10**12)
    assert time_of(faster, size, "vllm-0.14").time_ps == found.time_ps


@pytest.mark.parametrize("n", [2, 4, 8])
def test_one_shot_moves_what_the_reference_moves(n):
    size = 60_000
    outcome = reference.simulate(reference.port_messages(n, size), 50 * 10**9, 10**6)
    ours = time_of(switch(n), size, "one-shot")
    moving = ours.time_ps - 3_000_000 - int((Fraction("0.8") + n * Fraction("0.16")) * 10**6)
    assert moving == outcome.time_ps - 10**6
    assert set(outcome.link_bytes.values()) == {ours.bytes_per_link_max}
    assert sum(outcome.link_bytes.values()) == ours.bytes_on_wire


RULES = [
    # csrc/custom_all_reduce.cuh; below 8 MiB
    ("vllm-0.14", "9.0", 4, [(512 * KIB - 16, "one-shot"), (512 * KIB, "two-shot")]),
    ("vllm-0.14", "8.0", 8, [(8 * MIB - 16, "two-shot"), (8 * MIB, "ring")]),
    # all_reduce_utils.py: the older kernels below 256 KiB, symmetric memory below 64 MiB
    ("vllm-0.18", "9.0", 8, [(128 * KIB, "one-shot"), (256 * KIB, "in-network")]),
    ("vllm-0.18", "9.0", 8, [(64 * MIB - 16, "in-network"), (64 * MIB, "ring")]),
    ("vllm-0.18", "10.0", 4, [(MIB, "two-shot"), (2 * MIB, "two-shot"), (32 * MIB, "ring")]),
    ("sglang-0.5.9", "9.0", 2, [(8 * MIB, "one-shot"), (8 * MIB + 16, "ring")]),
    ("sglang-0.5.14", "10.3", 8, [(720 * KIB, "one-shot"), (720 * KIB + 16, "two-shot")]),
    # one and three tokens of 8 KiB, then two; the library between both kernels
    ("tensorrt-llm-1.2", "9.0", 2, [(8 * KIB, "one-shot"), (16 * KIB, "two-shot")]),
    ("tensorrt-llm-1.2", "9.0", 2, [(32 * KIB, "one-shot"), (16 * MIB, "ring")]),
    ("tensorrt-llm-1.3", "9.0", 8, [(512 * KIB, "one-shot"), (MIB, "ring"), (2 * MIB, "two-shot")]),
]


@pytest.mark.parametrize(("engine", "capability", "n", "sizes"), RULES)
def test_rules_of_the_engines(engine, capability, n, sizes):
    fabric = switch(n, named(engine, capability))
    found = [time_of(fabric, size, engine).algorithm for size, _ in sizes]
    assert found == [name for _, name in sizes]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_size_has_one_owner(engine):
    for capability, n in ENGINES[engine]:
        fabric = switch(n, named(engine, capability))
        owned = [(s.smallest, s.largest) for s in peer_schedules(fabric, "all-reduce")]
        ranges = sorted(owned + library_ranges(fabric, "all-reduce"))
        assert ranges[0][0] == 0
        assert [low for low, _ in ranges[1:]] == [high for _, high in ranges[:-1]]
        assert ranges[-1][1] == 0


def test_only_an_all_reduce_of_few_ranks_on_one_switch():
    fabric = switch(8)
    assert time_of(fabric, 1_000, "auto").algorithm == "ring"
    for op in ("all-gather", "reduce-scatter", "all-to-all"):
        library = price_collective(fabric, op, 1_000)
        assert price_collective(fabric, op, 1_000, algorithm="engine") == library
    assert time_of(switch(16), 1_000) == time_of(switch(16), 1_000, "auto")
    nodes = nest("hierarchy", fabric, switch(2, None))
    assert time_of(nodes, 1_000) == time_of(nodes, 1_000, "auto")
    # eight of an NVL72 are on two hosts
    two_hosts = load_system("gb200:8").fabric
    assert time_of(two_hosts, 1_000) == time_of(two_hosts, 1_000, "auto")
    with pytest.raises(InputError, match="no algorithm 'one-shot'"):
        time_of(switch(8, None), 1_000, "one-shot")


def test_fully_connected_chips_send_over_all_links_at_once():
    """50 GB/s to each peer: one-shot S over a link, two-shot twice a quarter; no multicast."""
    joined = replace(switch(4), kind="fully-connected")
    size = 300_000
    one, two = (time_of(joined, size, name) for name in ("one-shot", "two-shot"))
    assert one.time_ps == 3_000_000 + 1_440_000 + 6_000_000
    assert two.time_ps == 3_000_000 + 6_800_000 + 2 * 1_500_000
    assert (one.link_ps, one.injection_ps) == (6_000_000, 0)
    assert (one.bytes_per_link_max, one.bytes_on_wire) == (size, 12 * size)
    multicast = replace(joined, engine=named("vllm-0.18"))
    assert time_of(multicast, 10 * MIB, "vllm-0.18").algorithm == "ring"


def test_another_engine_by_name():
    fabric = switch(8)
    for name in ("vllm-0.18", "tensorrt-llm-1.3"):
        assert time_of(fabric, MIB, name) == time_of(switch(8, named(name)), MIB, name)
    with pytest.raises(InputError, match="no kernels for this system"):
        time_of(switch(8, None), MIB, "vllm-0.18")
    with pytest.raises(InputError, match="for compute capability"):
        time_of(switch(8, named("vllm-0.18", "8.0")), MIB, "sglang-0.5.14")
    with pytest.raises(InputError, match="unknown algorithm"):
        time_of(fabric, MIB, "vllm-0.15")


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.integers(2, 9),
    st.integers(0, 2 * 10**7),
    st.sampled_from([name for name in ENGINES if ("9.0", 8) in ENGINES[name]]),
)
def test_a_step_takes_what_engine_gives(n, size, engine):
    fabric = switch(n, named(engine))
    found = time_of(fabric, size)
    duration, moving, carried = collective(pack_fabric(fabric), OP_INDEX["all-reduce"], size)
    assert duration == found.time_ps
    assert moving == found.link_ps + found.injection_ps
    assert carried == found.bytes_per_link_max


# microseconds: graphs of aiconfigurator-core 0.12.0, (system, engine, bytes)
MEASURED = [
    ("a100:8", "vllm-0.14", 2**10, 5.8, 0.1),
    ("a100:2", "sglang-0.5.9", 2**22, 25.7, 0.1),
    ("a100:4", "tensorrt-llm-1.0", 2**19, 13.9, 0.1),
    ("h100:8", "vllm-0.18", 2**20, 15.0, 0.05),
    ("h100:4", "vllm-0.14", 2**20, 12.8, 0.1),
    ("h100:8", "tensorrt-llm-1.3", 2**17, 6.2, 0.1),
    ("h100:4", "tensorrt-llm-1.2", 2**17, 10.9, 0.15),
    ("h200:8", "vllm-0.18", 2**25, 165.9, 0.05),
    ("h200:4", "sglang-0.5.14", 2**12, 2.8, 0.1),
    ("b200:8", "sglang-0.5.9", 2**19, 26.0, 0.1),
    ("b200:8", "vllm-0.18", 2**26, 222.8, 0.08),
    ("b200:4", "vllm-0.18", 2**24, 68.0, 0.1),
    ("b200:2", "sglang-0.5.9", 2**22, 32.7, 0.15),
    ("gb200:4", "tensorrt-llm-1.3", 2**21, 14.6, 0.1),
    ("gb200:4", "sglang-0.5.14", 2**22, 21.7, 0.1),
    ("gb300:4", "vllm-0.18", 2**24, 66.0, 0.05),
    ("gb200-nvl4:2", "sglang-0.5.9", 2**10, 5.0, 0.1),
    ("gb200-nvl4:2", "sglang-0.5.9", 2**23, 44.1, 0.1),
    ("gb200-nvl4:4", "sglang-0.5.9", 2**22, 27.1, 0.1),
    ("gb200-nvl4:4", "vllm-0.18", 2**29, 1470.0, 0.1),
]


@pytest.mark.parametrize(("system", "engine", "size", "microseconds", "within"), MEASURED)
def test_engine_tables(system, engine, size, microseconds, within):
    found = time_of(load_system(system).fabric, size, engine)
    assert found.time_s * 1e6 == pytest.approx(microseconds, rel=within)


@pytest.mark.parametrize("system", ["a100", "h100", "h200", "b200", "gb200", "gb300"])
def test_in_a_step_less_is_never_slower(system):
    for n in (2, 4, 8):
        fabric = load_system(f"{system}:{n}").fabric
        limits = [s.largest for s in peer_schedules(fabric, "all-reduce")]
        sizes = {2**k * m // 4 for k in range(2, 28) for m in (4, 5, 6, 7)}
        sizes |= {size for most in limits for size in (most, most + 16)}
        times = [time_of(fabric, size).time_ps for size in sorted(sizes)]
        assert times == sorted(times)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("system.fabric.engine.launch=nan", "launch"),
        ("system.fabric.engine.efficiency=1.5", "efficiency"),
        ("system.fabric.engine.hop=2", "unknown key 'hop'"),
        ("system.fabric.engine.name=vllm", "unknown engine 'vllm'"),
        ("system.fabric.engine.capability=7.5", "no kernels for compute capability '7.5'"),
    ],
)
def test_bad_kernels(change, message):
    with pytest.raises(InputError, match=message):
        load_system("h100:8", (change,))
    engine = "system.fabric.engine={name: vllm-0.18, capability: 9.0, launch: 1us}"
    with pytest.raises(InputError, match="belongs to a switch"):
        load_system("tpu-v5e:4x4", (engine,))


def test_a_rack_says_that_its_engine_ends_at_the_host(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--phase", "decode", "--batch", "8", "--context", "512"]
    assert main(["step", "gb300:8", "llama3-70b", *words]) == 0
    assert "only within a host of 4" in " ".join(capsys.readouterr().out.split())
    assert main(["step", "gb300:4", "llama3-70b", *words]) == 0
    assert "has no all-reduce kernels" not in " ".join(capsys.readouterr().out.split())


def test_a_collective_says_what_a_step_would_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collective", "all-reduce", "1MiB", "--system", "b200:8"]) == 0
    assert "step and run take the serving engine's two-shot kernel" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["collective", "all-reduce", "1MiB", "--system", "gb300:8"]) == 0
    assert "step and run take" not in " ".join(capsys.readouterr().out.split())
