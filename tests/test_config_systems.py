import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config import list_names, load_system
from simulator.config.config_files import load_system_file
from simulator.config.shapes import cubes, ports_needed, wraps
from simulator.errors import InputError
from simulator.hardware import Fabric


@pytest.mark.parametrize("name", list_names("systems"))
def test_a_family_alone_is_one_chip(name):
    system = load_system(name)
    assert (system.name, system.chips, system.fabric) == (name, 1, Fabric("none"))


@pytest.mark.parametrize("name", list_names("systems"))
def test_every_allowed_shape_builds(name):
    loaded = load_system_file(name)
    for shape in loaded.system.config.fabric.allowed():
        system = loaded.build_shape(shape)
        assert system.chips == math.prod(shape)
        assert len(system.fabric.wrap) == len(system.fabric.axes)


@pytest.mark.parametrize(
    ("name", "chips", "wrap"),
    [
        ("tpu-v5e:4x8", 32, (False, False)),
        ("tpu-v5e:8x16", 128, (False, True)),
        ("tpu-v6e:16x16", 256, (True, True)),
        ("tpu-v7x:2x2x1", 4, (False, False, False)),
        ("tpu-v7x:2x4x4", 32, (False, False, False)),
        ("tpu-v7x:4x4x4", 64, (True, True, True)),
        ("tpu-v7x:16x24x24", 9216, (True, True, True)),
        ("tpu-v5p:16x16x24", 6144, (True, True, True)),
        ("toy:2", 2, (False,)),
        ("toy:4", 4, (True,)),
        ("toy:2x2", 4, (False, False)),
    ],
)
def test_axes_close_only_where_the_hardware_closes_them(name, chips, wrap):
    system = load_system(name)
    assert system.name == name
    assert (system.chips, system.fabric.wrap) == (chips, wrap)
    assert system.fabric.kind == "torus"


def test_an_nvlink_node_is_one_switch():
    fabric = load_system("h100:8").fabric
    assert (fabric.kind, fabric.axes) == ("switch", (8,))
    assert fabric.link_bandwidth_bytes_per_s == 450 * 10**9
    assert 10**6 < fabric.collective_overhead_ps < 10**7


def test_a_torus_takes_its_links_from_the_chip():
    system = load_system("tpu-v7x:4x4x4")
    assert system.fabric.link_bandwidth_bytes_per_s == system.chip.link.bandwidth_bytes_per_s
    assert system.fabric.hop_latency_ps == system.chip.link.latency_ps


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tpu-v7x:4x2x2", "did you mean 'tpu-v7x:2x2x4'? allowed: 2x2x1, 2x2x2"),
        ("tpu-v7x:4x4", "8x12x20, 8x16x16, 4x24x24, 8x12x24"),
        ("tpu-v5e:3x3", "allowed: 1x1, 2x2, 2x4, 4x4, 4x8, 8x8, 8x16, 16x16"),
        ("tpu-v5e:0x2", "allowed: 1x1"),
        ("tpu-v5e:", "allowed: 1x1"),
        ("h100:16", "did you mean 'h100:8x2'? allowed: 1, 2, 4, 8, 8x2"),
        ("h100:8x0", "allowed: 1, 2, 4, 8, 8x2 to 8x64; 'h100' alone"),
        ("h100:٨", "allowed: 1, 2, 4, 8"),
    ],
)
def test_a_shape_that_does_not_exist_lists_the_ones_that_do(name, hint):
    with pytest.raises(InputError) as caught:
        load_system(name)
    assert "has no shape" in caught.value.message
    assert hint in caught.value.hint


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(InputError, match="unknown system 'tpu-v7'") as caught:
        load_system("tpu-v7:4x4x4")
    assert caught.value.hint == "did you mean 'tpu-v7x'?"


SYSTEM = "kind: system\nname: pair\nchip: toy\nfabric:\n  kind: torus\n  shapes: [2, 2x2x2]\n"


def test_a_system_file_may_have_a_shape_behind_its_path(tmp_path):
    file = tmp_path / "pair.yaml"
    file.write_text(SYSTEM)
    assert load_system(file).chips == 1
    assert load_system(f"{file}:2").name == "pair:2"


def test_a_shape_needs_enough_link_ports(tmp_path):
    file = tmp_path / "pair.yaml"
    file.write_text(SYSTEM)
    with pytest.raises(InputError, match=r"needs 3 links a chip, but chip 'toy' has 2") as caught:
        load_system(f"{file}:2x2x2")
    assert caught.value.location.line == 4


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("chip: toy", "chip: toi", "unknown chip 'toi'", 3),
        ("kind: torus", "kind: thorus", "kind: unknown value 'thorus'", 5),
        ("  shapes: [2, 2x2x2]\n", "", "a torus needs shapes", 4),
        ("[2, 2x2x2]", "[2, 2x-2]", "expected a shape such as 2x2, found '2x-2'", 6),
        ("kind: torus", "kind: switch", "'2x2x2' is not a number of chips", 4),
        ("2x2x2]", "4]\n  wrap_axis: 4", "unknown key 'wrap_axis'", 7),
        (
            "[2, 2x2x2]",
            "[2]\n  cubes: {edge: 1, largest: 99999x99999x99999, max_chips: 9}",
            "too many",
            7,
        ),
        ("chip: toy", "chip: {a: b}", "chip: expected a name, found a mapping", 3),
        ("name: pair", "name: pair\nhbm_reserve_fraction: 100 %", "leaves no HBM", 1),
    ],
)
def test_a_bad_system_file(tmp_path, old, new, message, line):
    file = tmp_path / "pair.yaml"
    file.write_text(SYSTEM.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_system(file)
    assert message in caught.value.message
    assert caught.value.location.line == line


def test_a_chip_beside_the_system_file_is_found(tmp_path, monkeypatch):
    source = tmp_path / "chips"
    source.mkdir()
    (source / "pair.yaml").write_text(SYSTEM.replace("chip: toy", "chip: ./mine.yaml"))
    with pytest.raises(InputError, match="does not exist") as caught:
        load_system(source / "pair.yaml")
    assert caught.value.location.line == 3


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 4), st.tuples(*[st.integers(1, 5)] * 3), st.integers(1, 2000))
def test_cubes_are_whole_ordered_and_within_bounds(edge, blocks, most):
    largest = tuple(sorted(edge * block for block in blocks))
    found = cubes(edge, largest, most)
    assert len(found) == len(set(found))
    every = [
        (a, b, c)
        for a in range(edge, largest[0] + 1, edge)
        for b in range(a, largest[1] + 1, edge)
        for c in range(b, largest[2] + 1, edge)
        if a * b * c <= most
    ]
    assert sorted(found) == sorted(every)


def test_ports_and_wraps():
    assert ports_needed((2, 2, 1)) == 2
    assert ports_needed((4, 4, 4)) == 6
    assert wraps((2, 4), None, 2) == (False, True)
    assert wraps((8, 16), 16, None) == (False, True)
    assert wraps((4, 6), None, 4) == (False, False)
