"""``chipsim collective`` and ``chipsim fabric`` as a user sees them."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree

import pytest

from simulator.cli import main
from simulator.config import load_system
from simulator.fabric.failures import Failure, parse_failure


def run(capsys, *words):
    status = main(words)
    out, err = capsys.readouterr()
    return status, out, err


def test_collective_json_has_the_contract(capsys):
    status, out, _ = run(
        capsys, "collective", "all-reduce", "64MiB", "--system", "h100:8", "--format", "json"
    )
    found = json.loads(out)
    assert status == 0
    assert found["schema"] == "chipsim.collective/1"
    assert found["size_bytes"] == 2**26
    bandwidth = 2**26 / found["time_s"]
    assert found["algorithm_bandwidth_bytes_per_s"] == pytest.approx(bandwidth)
    assert found["bus_bandwidth_bytes_per_s"] == pytest.approx(bandwidth * 7 / 4)
    assert found["bound_by"] in ("latency", "link", "injection", "reduction")
    assert {other["algorithm"] for other in found["alternatives"]} >= {"ring", "direct", "tree"}
    assert 0 < found["link_utilization"] <= 1
    assert found["bytes_per_link_max"] > 2**26 and found["bytes_on_wire"] > 8 * 2**26


def test_collective_table(capsys):
    status, out, _ = run(
        capsys, "collective", "all-gather", "1GiB", "--system", "tpu-v7x:4x4x4", "--group", "xy"
    )
    assert status == 0
    assert "among 16 chips of tpu-v7x:4x4x4" in out
    assert "multi-axis" in out


CASES = """op,bytes,ranks,topology,bandwidth_bytes_per_s,latency_s,endpoint_delay_s,reduce_bytes_per_s,algorithm,time_ns
all-reduce,65536,4,ring,53687091200,500e-9,10e-9,533333333333,ring,4990
all-gather,65536,4,ring,53687091200,500e-9,10e-9,533333333333,ring,2455
all-to-all,64 KiB,4,ring,53687091200,500e-9,10e-9,,ring,4900
"""  # noqa: E501


def test_cases_come_back_with_results(capsys, tmp_path):
    file = tmp_path / "cases.csv"
    file.write_text(CASES)
    status, out, _ = run(capsys, "collective", "--cases", str(file))
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert [row["latency_s"] for row in rows] == ["500e-9"] * 3
    for row in rows:
        assert float(row["time_s"]) * 1e9 == pytest.approx(float(row["time_ns"]), rel=0.01)


def test_a_switch_is_two_links_away(capsys, tmp_path):
    file = tmp_path / "cases.csv"
    file.write_text(
        "op,bytes,ranks,topology,bandwidth_bytes_per_s,latency_s,algorithm\n"
        "all-gather,0,4,switch,1e9,1e-6,ring\n"
    )
    _, out, _ = run(capsys, "collective", "--cases", str(file), "--format", "json")
    assert json.loads(out)["rows"][0]["time_s"] == 6e-6


def test_cases_may_name_systems(capsys, tmp_path):
    file = tmp_path / "cases.csv"
    file.write_text("op,bytes,ranks,system\nall-reduce,1MiB,4,h100:8\nall-reduce,1MiB,8,h100:8\n")
    status, out, _ = run(capsys, "collective", "--cases", str(file))
    times = [float(row["time_s"]) for row in csv.DictReader(io.StringIO(out))]
    assert status == 0
    assert times[0] < times[1]


@pytest.mark.parametrize(
    ("old", "new", "message", "place"),
    [
        ("all-reduce", "all-reduced", "unknown collective 'all-reduced'", ":2:1"),
        ("65536,4,ring", "65536,4,rnig", "unknown topology 'rnig'", ":2:"),
        ("65536,4", "lots,4", "bytes", ":2:12"),
        ("65536,4", "65536,0", "column 'ranks': found '0'", ":2:"),
        ("53687091200", "nan", "bandwidth_bytes_per_s", ":2:"),
        ("500e-9", "-1", "latency_s", ":2:"),
        (",ring,4990", ",tree,4990", "no algorithm 'tree'", ":2:"),
        ("latency_s", "latncy_s", "unknown column 'latncy_s'", "cases.csv"),
    ],
)
def test_a_bad_case_says_where(capsys, tmp_path, old, new, message, place):
    file = tmp_path / "cases.csv"
    file.write_text(CASES.replace(old, new, 1))
    status, out, err = run(capsys, "collective", "--cases", str(file))
    assert (status, out) == (3, "")
    assert message in err
    assert f"cases.csv{place}" in err or place == "cases.csv"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["collective"], 2, "give OP and BYTES"),
        (["collective", "all-reduce", "1MB"], 2, "--system"),
        (["collective", "all-reduce", "-5", "--system", "h100:8"], 3, "-5"),
        (["collective", "all-reduce", "1XB", "--system", "h100:8"], 3, "unknown unit"),
        (["collective", "allreduce", "1MB", "--system", "h100:8"], 3, "did you mean"),
        (["collective", "all-reduce", "1MB", "--system", "h100:9"], 3, "has no shape"),
        (["collective", "all-reduce", "1MB", "--system", "h100:8", "--group", "3"], 3, "divide"),
        (
            [
                "collective",
                "all-reduce",
                "1MB",
                "--system",
                "gb200:72",
                "--algorithm",
                "halving-doubling",
            ],
            3,
            "power of two",
        ),
        (["fabric", "tpu-v5e:2x2", "--fail", "link:0-1", "--fail", "link:0-2"], 4, "cut off"),
        (["fabric", "tpu-v5e:3x3"], 3, "has no shape"),
        (["fabric", "tpu-v5e:4x4", "--traffic", "gossip"], 3, "unknown collective"),
        (["fabric", "tpu-v5e"], 3, "no fabric"),
        (["fabric", "h100:8x2", "--transfer", "0-0:1GB"], 3, "one group twice"),
        (["fabric", "h100:8x2", "--transfer", "0-1:0B"], 3, "expected a positive size"),
    ],
)
def test_bad_commands(capsys, words, status, message):
    found, out, err = run(capsys, *words)
    assert (found, out) == (status, "")
    assert message in err and "Traceback" not in err


def test_fabric_json_has_the_contract(capsys):
    status, out, _ = run(capsys, "fabric", "tpu-v7x:8x8x8", "--fail", "chip:17", "--format", "json")
    found = json.loads(out)
    assert status == 0
    expected = {
        "chips": 512, "links": 1536, "cubes": 8, "circuits": 384, "spare_cubes": 135,
        "diameter_hops": 12, "lost_chips": 64, "rerouted_circuits": 96,
        "bisection_bytes_per_s": 128 * 100 * 10**9,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert found["time_s"]["before"] == found["time_s"]["after"] > 0
    assert found["max_link_load"] == {"before": 512, "after": 512}


def test_the_time_of_fabric_is_that_of_collective(capsys):
    _, out, _ = run(capsys, "fabric", "tpu-v5e:4x8", "--bytes", "1GiB", "--format", "json")
    _, other, _ = run(
        capsys, "collective", "all-to-all", "1GiB", "--system", "tpu-v5e:4x8", "--format", "json"
    )
    assert json.loads(out)["time_s"]["before"] == pytest.approx(json.loads(other)["time_s"])


@pytest.mark.parametrize("name", ["tpu-v5e:4x4", "tpu-v4:4x4x4", "h100:8", "mi300x:8"])
def test_the_picture_is_well_formed(capsys, tmp_path, name):
    file = tmp_path / "loads.svg"
    status, _, err = run(capsys, "fabric", name, "--fail", "chip:1", "--svg", str(file))
    assert status == 0 and "wrote" in err
    root = ElementTree.fromstring(file.read_text())
    lines = [node for node in root.iter() if node.tag.endswith("line")]
    assert len(lines) >= 14
    assert all(node[0].text for node in lines)


def test_a_hierarchy_is_drawn_group_by_group(capsys, tmp_path):
    file = tmp_path / "x.svg"
    status, _, _ = run(capsys, "fabric", "h100:8x2", "--fail", "chip:9", "--svg", str(file))
    assert status == 0
    root = ElementTree.fromstring(file.read_text())
    groups = [node for node in root.iter() if node.tag.endswith("}g")]
    titles = [group[0].text for group in groups]
    assert [title.split(":")[0] for title in titles] == ["group 0", "group 1"]
    # the group without its chip has fewer lines, and a cross
    lines = [sum(node.tag.endswith("line") for node in group.iter()) for group in groups]
    assert lines == [16, 14]


def fabric_of(capsys, *words):
    status, out, err = run(capsys, "fabric", *words, "--format", "json")
    assert status == 0, err
    return json.loads(out)


def test_failures_in_a_hierarchy(capsys):
    whole = fabric_of(capsys, "h100:8x2")
    assert (whole["links"], whole["lost_chips"]) == (2 * 8 * 18 + 16, 0)
    link = fabric_of(capsys, "h100:8x2", "--fail", "link:9")
    assert link["time_s"]["after"] > link["time_s"]["before"] == whole["time_s"]["before"]
    # a group of seven ports sends over them what eight did
    port = fabric_of(capsys, "h100:8x2", "--fail", "uplink:9")
    assert port["max_link_load"]["after"] == pytest.approx(8 * 8 / 7)
    assert port["time_s"]["after"] > port["time_s"]["before"]
    assert port["time_s"]["after"] < port["time_s"]["before"] * 8 / 7
    assert port["lost_chips"] == 0
    node = fabric_of(capsys, "h100:8x2", "--fail", "host:1")
    alone = fabric_of(capsys, "h100:8")
    assert node["lost_chips"] == 8
    assert node["time_s"]["after"] == pytest.approx(alone["time_s"]["before"])


def test_names_of_failures_count_group_by_group():
    pods = load_system("tpu-v7x:16x24x24x2").fabric
    for text in ("chip:9217", "chip:0,0,1,1"):
        assert parse_failure(pods, text) == Failure("chip", text, (1,), group=1)
    assert parse_failure(pods, "link:9216-9217").link == (0, 1)
    assert parse_failure(pods, "uplink:5") == Failure("uplink", "uplink:5", (5,))
    cube = parse_failure(pods, "cube:144")
    assert (cube.group, len(cube.chips), cube.chips[0]) == (1, 64, 0)


@pytest.mark.parametrize(
    ("system", "failures", "status", "message"),
    [
        ("h100:8x2", [f"uplink:{i}" for i in range(8, 16)], 4, "cut off are chips 8 to 15"),
        ("h100:8x2", ["link:11"] * 18, 4, "in group 1, whose chips count from 8"),
        ("h100:8x2", ["host:0", "host:1"], 4, "no chip is left"),
        ("h100:8x2", ["link:3-9"], 3, "different groups"),
        ("h100:8x2", ["chip:16"], 3, "expected a chip from 0 to 15"),
        ("h100:8x2", ["host:2"], 3, "expected a host from 0 to 1"),
        ("h100:8x2", ["cube:0"], 3, "no cubes"),
        ("h100:8", ["uplink:0"], 3, "no uplinks"),
        ("wse3:949x949", ["chip:5"], 3, "too many to route"),
    ],
)
def test_bad_failures(capsys, system, failures, status, message):
    words = [word for text in failures for word in ("--fail", text)]
    found, out, err = run(capsys, "fabric", system, *words)
    assert (found, out) == (status, "")
    assert message in err and "Traceback" not in err


def test_uplinks_are_upgraded_block_by_block(capsys):
    def time_of(*upgraded):
        sets = [w for b in upgraded for w in ("--set", f"system.fabric.outer.uplinks.{b}=12.5GB/s")]
        words = ("collective", "all-to-all", "1GiB", "--system", "tpu-v7x:16x24x24x4")
        _, out, _ = run(capsys, *words, *sets, "--format", "json")
        return json.loads(out)["time_s"]

    # the network has 16 blocks, and this slice takes the first four of them
    assert time_of() == time_of(0) == time_of(0, 1, 2) == time_of(15)
    assert time_of(0, 1, 2, 3) < 0.75 * time_of()
    words = ("tpu-v7x:16x24x24x4", "--set", "system.fabric.outer.uplinks.1=12.5GB/s")
    found = fabric_of(capsys, *words)
    assert found["uplinks_bytes_per_s"] == [9216 * r for r in (625e7, 125e8, 625e7, 625e7)]
    assert any("group 0, 2, 3" in note for note in found["notes"])


def test_who_offers_an_algorithm(capsys):
    words = ("collective", "all-reduce", "1MiB", "--system", "h100:8", "--format", "json")
    _, out, _ = run(capsys, *words)
    found = json.loads(out)
    offered = {other["algorithm"]: other["offered_by"] for other in found["alternatives"]}
    assert found["offered_by"] == "library"
    assert offered == {
        "one-shot": "none", "in-network": "library", "tree": "none",
        "direct": "none", "halving-doubling": "none",
    }  # fmt: skip
    # nothing that the library has is faster than what it takes
    mine = [o["time_s"] for o in found["alternatives"] if o["offered_by"] == "library"]
    assert min(mine) >= found["time_s"]
    _, out, _ = run(capsys, *words, "--algorithm", "direct")
    assert json.loads(out)["offered_by"] == "none"


def test_transfers_between_groups(capsys):
    words = ("fabric", "h100:8x2", "--format", "json", "--transfer", "0-1:100GB")
    code, out, _ = run(capsys, *words)
    found = json.loads(out)["transfers"]
    assert code == 0 and found[0]["size_bytes"] == 100 * 10**9
    # eight ports of 45 GB/s; two that leave the same node share them
    assert found[0]["time_s"] == pytest.approx(100 / 360, rel=1e-3)
    _, out, _ = run(capsys, *words, "--transfer", "0-1:100GB")
    assert json.loads(out)["transfers"][1]["time_s"] == pytest.approx(200 / 360, rel=1e-3)
    _, out, _ = run(capsys, *words, "--fail", "uplink:9")
    assert json.loads(out)["transfers"][0]["time_s"] == pytest.approx(100 / 315, rel=1e-3)
    for bad, message in (("0-2:1GB", "two groups"), ("0-1", "FROM-TO:BYTES"), ("0-1:-5", "-5")):
        code, _, err = run(capsys, "fabric", "h100:8x2", "--transfer", bad)
        assert code == 3 and message in err
    code, _, err = run(capsys, "fabric", "h100:8", "--transfer", "0-1:1GB")
    assert code == 3 and "has no groups" in err


def test_single_messages_after_failures(capsys):
    words = ("fabric", "tpu-v5e:4x4", "--fail", "link:0-4", "--traffic", "permute")
    code, out, _ = run(capsys, *words)
    assert code == 0 and "links shared fairly" in out and "lower bound" not in out


def test_nothing_failed_nothing_compared(capsys):
    _, out, _ = run(capsys, "fabric", "tpu-v5e:4x4")
    assert "before" not in out and "cubes" not in out and "lost" not in out
    assert "one share: what a chip sends each other, 64 MiB" in out


def test_another_engine_s_kernels(capsys):
    words = ("collective", "all-reduce", "64KiB", "--system", "h100:8", "--format", "json")
    times = {}
    for name in ("engine", "vllm-0.18", "tensorrt-llm-1.3", "sglang-0.5.14"):
        _, out, _ = run(capsys, *words, "--algorithm", name)
        times[name] = json.loads(out)["time_s"]
        assert json.loads(out)["offered_by"] == "engine"
    assert times["sglang-0.5.14"] < times["tensorrt-llm-1.3"] < times["vllm-0.18"]
    code, _, err = run(capsys, *words, "--algorithm", "vllm-0.19")
    assert code == 3 and "vllm-0.1" in err
