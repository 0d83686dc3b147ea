"""All-to-all with a traffic matrix: by hand, against the uniform one, from files, bad files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_fabric import Message, simulate

from simulator.cli import main
from simulator.config import load_system
from simulator.errors import InputError
from simulator.fabric.collectives import price_collective
from simulator.fabric.matrix import price_matrix
from simulator.hardware.fabric import Fabric, legal_twist, nest

GB = 10**9
SWITCH = Fabric("switch", (3,), (False,), 100 * GB, 10**6)


def test_the_fullest_port_of_a_switch_by_hand():
    # chip 2 receives 3 MB + 5 MB, which is more than any chip sends
    matrix = np.array([[0, 0, 3], [0, 0, 5], [1, 1, 0]], dtype=np.int64) * 10**6
    found = price_matrix(SWITCH, matrix)
    assert found.time_ps == 10**6 + 8 * 10**6 * 10**12 // (100 * GB)
    assert found.bytes_per_link_max == 8 * 10**6
    assert found.bytes_on_wire == 10 * 10**6
    assert found.bound_by == "injection"


def test_the_busiest_link_of_a_line_by_hand():
    # 0 - 1 - 2: what chip 0 sends to 2 shares the link from 1 to 2 with what 1 sends there
    line = Fabric("mesh", (3,), (False,), 100 * GB, 10**6)
    matrix = np.array([[0, 0, 3], [0, 0, 5], [0, 0, 0]], dtype=np.int64) * 10**6
    found = price_matrix(line, matrix)
    assert found.time_ps == 2 * 10**6 + 8 * 10**6 * 10**12 // (100 * GB)
    assert found.bytes_on_wire == 11 * 10**6


def test_messages_between_groups_go_inside_first_or_straight_out():
    # one message of 4 MB from chip 0 of group 0 to chip 1 of group 1
    pair = Fabric("switch", (2,), (False,), 100 * GB, 10**6)
    both = nest("hierarchy", pair, Fabric("switch", (2,), (False,), 10 * GB, 5 * 10**6))
    matrix = np.zeros((4, 4), dtype=np.int64)
    matrix[0, 3] = 4 * 10**6
    straight = price_matrix(both, matrix, algorithm="direct")
    assert straight.time_ps == 5 * 10**6 + 4 * 10**6 * 10**12 // (10 * GB)
    inside = price_matrix(both, matrix, algorithm="hierarchical")
    assert inside.time_ps == straight.time_ps + 10**6 + 4 * 10**6 * 10**12 // (100 * GB)
    assert price_matrix(both, matrix).algorithm == "direct"


SYSTEMS = [
    "h100:8",
    "a100:4",
    "mi300x:8",
    "tpu-v5e:4x8",
    "tpu-v5e:16x16",
    "tpu-v7x:4x4x4",
    "tpu-v4:4x4x8_twisted",
    "h100:8x2",
    "gb200:16",
    "groq-lpu:8x9",
    "l40s:2",
    "wse3:4x4",
]


@pytest.mark.parametrize("system", SYSTEMS)
def test_equal_messages_cost_what_the_uniform_exchange_costs(system):
    fabric = load_system(system).fabric
    each, n = 3 * 10**5, fabric.chips
    found = price_matrix(fabric, np.full((n, n), each, dtype=np.int64))
    uniform = price_collective(fabric, "all-to-all", n * each)
    assert found.time_ps == pytest.approx(uniform.time_ps, abs=100)
    assert found.size_bytes == uniform.size_bytes
    assert found.algorithm == uniform.algorithm
    assert found.bytes_on_wire == pytest.approx(uniform.bytes_on_wire, rel=1e-6)


FABRICS = st.sampled_from(
    [
        SWITCH,
        Fabric("fully-connected", (4,), (False,), 10**8, 10**5),
        Fabric("torus", (4, 3), (True, True), 10**8, 10**5),
        Fabric("torus", (2, 4), (True, True), 10**8, 10**5),
        Fabric("mesh", (3, 2), (False, False), 10**8, 10**5),
        Fabric("twisted-torus", (2, 4), (True, True), 10**8, 10**5, twist=legal_twist((2, 4))),
        nest("hierarchy", SWITCH, Fabric("switch", (2,), (False,), 10**8, 10**5)),
    ]
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(FABRICS, st.randoms(use_true_random=False))
def test_more_traffic_is_never_faster_and_ports_are_never_exceeded(fabric, random):
    n = fabric.chips
    matrix = np.array([[random.randrange(10**6) for _ in range(n)] for _ in range(n)])
    np.fill_diagonal(matrix, 0)
    found = price_matrix(fabric, matrix)
    more = matrix.copy()
    source, target = random.randrange(n), random.randrange(n)
    more[source, target] += 10**5
    assert price_matrix(fabric, more).time_ps >= found.time_ps
    ways = 2 * len(fabric.axes) if fabric.is_grid else n - 1 if n == 4 else 1
    most = max(matrix.sum(axis=0).max(), matrix.sum(axis=1).max())
    rate = ways * fabric.link_bandwidth_bytes_per_s
    assert found.time_ps * rate >= int(most) * 10**12 or fabric.inner is not None
    # two at a time take no longer than two one after the other
    both = price_matrix(fabric, matrix, concurrent=2).time_ps
    assert found.time_ps <= both <= 2 * found.time_ps + 10


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.integers(0, 10**6), min_size=12, max_size=12))
def test_no_faster_than_messages_one_by_one_over_the_fullest_port(sizes):
    """Through a switch the reference, in which each port sends its messages in turn, is a witness:
    its busiest port takes exactly as long as ours where sending is the limit."""
    matrix = np.zeros((4, 4), dtype=np.int64)
    matrix[~np.eye(4, dtype=bool)] = sizes
    fabric = Fabric("switch", (4,), (False,), 10**9, 10**6)
    messages = [
        Message((("port", i),), int(matrix[i, j])) for i in range(4) for j in range(4) if i != j
    ]
    slow = simulate(messages, 10**9, 10**6).time_ps
    ours = price_matrix(fabric, matrix).time_ps
    if matrix.sum(axis=1).max() >= matrix.sum(axis=0).max():
        assert ours == slow
    else:
        assert ours >= slow


def run(capsys, *words):
    status = main(words)
    out, err = capsys.readouterr()
    return status, out, err


MATRIX = "0,0,0,3MB\n0,0,0,5MB\n1000000,1000000,0,0\n0,0,0,0\n"
PAIRS = "source,target,bytes\n0,3,3MB\n1,3,4MB\n1,3,1MB\n2,0,1000000\n2,1,1000000\n"


@pytest.mark.parametrize("text", [MATRIX, PAIRS])
def test_both_forms_of_a_file(capsys, tmp_path, text):
    file = tmp_path / "traffic.csv"
    file.write_text(text)
    words = ("--system", "h100:4", "--traffic-matrix", str(file), "--format", "json")
    status, out, _ = run(capsys, "collective", "all-to-all", *words)
    found = json.loads(out)
    assert status == 0
    assert found["op"] == "all-to-all" and found["ranks"] == 4
    assert found["size_bytes"] == 5 * 10**6
    assert found["bytes_per_link_max"] == 8 * 10**6
    assert found["bytes_on_wire"] == 10 * 10**6


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("0,0,0,1\n0,0,0,0\n0,0,0,0\n", "3:1", "found 3 lines, expected 4"),
        ("0,0,0,1\n0,0,0\n0,0,0,0\n0,0,0,0\n", "2:5", "found 3 cells, expected 4"),
        ("0,0,0,1\n0,0,x,0\n0,0,0,0\n0,0,0,0\n", "2:5", "x"),
        ("0,0,0,1\n0,0,-1,0\n0,0,0,0\n0,0,0,0\n", "2:5", "-1"),
        ("0,0,0,1\n0,0,nan,0\n0,0,0,0\n0,0,0,0\n", "2:5", "nan"),
        ("0,0,0,1\n0,0,,0\n0,0,0,0\n0,0,0,0\n", "2:5", "bytes"),
        ("source,target,bytes\n0,4,1\n", "2:3", "4"),
        ("source,target,bytes\n0,1,1 furlong\n", "2:5", "furlong"),
        ("source,target\n0,1\n", "1", "missing column 'bytes'"),
        ("source,target,bytes,byte\n0,1,1,1\n", "", "unknown column 'byte'"),
        ("", "", "empty"),
    ],
)
def test_bad_files_are_named_with_their_place(capsys, tmp_path, text, place, message):
    file = tmp_path / "traffic.csv"
    file.write_text(text)
    words = ("--system", "h100:4", "--traffic-matrix", str(file))
    status, out, err = run(capsys, "collective", "all-to-all", *words)
    assert status == 3 and out == ""
    assert message in err
    assert f"traffic.csv:{place}" in err if place else "traffic.csv" in err


def test_what_does_not_go_together(capsys, tmp_path):
    file = tmp_path / "traffic.csv"
    file.write_text(MATRIX)
    matrix = ("--traffic-matrix", str(file))
    bad = [
        ("all-to-all", "1MB", "--system", "h100:4", *matrix),
        ("all-reduce", "--system", "h100:4", *matrix),
        ("all-to-all", *matrix),
    ]
    for words in bad:
        assert run(capsys, "collective", *words)[0] == 2
    words = ("all-to-all", "--system", "h100:4", *matrix, "--algorithm", "ring")
    status, _, err = run(capsys, "collective", *words)
    assert status == 3 and "no algorithm 'ring'" in err
    status, _, err = run(capsys, "collective", "all-to-all", "--system", "h100:8", *matrix)
    assert status == 3 and "expected 8" in err


def test_bad_matrices_of_the_api():
    with pytest.raises(InputError, match="expected 3x3"):
        price_matrix(SWITCH, np.zeros((2, 2), dtype=np.int64))
    with pytest.raises(InputError, match="from 0"):
        price_matrix(SWITCH, np.full((3, 3), -1, dtype=np.int64))
