"""``chipsim run`` with replicas, pools, faults and scenario files: its contract and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.cli.deployment import parse_link, parse_policy, parse_tiers
from simulator.config.catalog import check_file
from simulator.config.scenario_schema import load_scenario
from simulator.errors import InputError

TRACE = "arrived_at,num_prefill_tokens,num_decode_tokens\n" + "".join(
    f"{i * 0.001:.3f},{20 + i},{5 + i % 3}\n" for i in range(12)
)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return str(path)


def chipsim(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    out, err = capsys.readouterr()
    return status, out, err


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    status, out, err = chipsim(capsys, "run", *words, "--format", "json")
    assert status == 0, err
    return json.loads(out)


POOLS = ("--prefill", "toy", "--decode", "toy", "--kv-link", "1GB/s,1us")


def test_pools_are_in_the_json_and_in_the_table(
    capsys: pytest.CaptureFixture[str], trace: str
) -> None:
    document = result(capsys, "llama-toy", trace, *POOLS, "--decode-replicas", "2")
    assert set(document["pools"]) == {"prefill", "decode"}
    assert document["pools"]["decode"]["replicas"] == 2
    moved = document["kv_transfer"]
    assert moved["transfers"] == 12 and moved["bytes"] > 0
    assert moved["time_s"]["p99"] >= moved["time_s"]["mean"] > 0
    assert document["lost_requests"] == 0
    assert document["replicas"] == document["chips"] == 3
    assert len(document["timeline"]) <= 1000
    _, table, _ = chipsim(capsys, "run", "llama-toy", trace, *POOLS)
    assert "KV transfer" in table and "prefill" in table


def test_one_pool_of_replicas(capsys: pytest.CaptureFixture[str], trace: str) -> None:
    one = result(capsys, "toy", "llama-toy", trace)
    three = result(capsys, "toy", "llama-toy", trace, "--replicas", "3")
    assert list(one["pools"]) == ["serve"] and one["kv_transfer"] is None
    assert (three["replicas"], three["system"]) == (3, "3 x toy")
    assert three["e2e_s"]["mean"] <= one["e2e_s"]["mean"]


def test_faults_and_their_count(capsys: pytest.CaptureFixture[str], trace: str) -> None:
    words = ("toy", "llama-toy", trace, "--replicas", "2", "--fail", "replica:0@2010 us")
    kept = result(capsys, *words)
    assert kept["failures"] == 1 and kept["requests"]["completed"] == 12
    lost = result(capsys, *words, "--on-failure", "lose")
    assert lost["lost_requests"] + lost["requests"]["completed"] == 12
    assert lost["lost_requests"] > 0
    status, _, err = chipsim(
        capsys, "run", *words, "--on-failure", "lose", "--assert", "lost_requests<1"
    )
    assert status == 1 and "lost_requests" in err


def test_a_scenario_is_its_command_line(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(
        f"kind: scenario\nname: test\nmodel: llama-toy\ntrace: {trace}\n"
        "prefill: {system: toy}\ndecode: [{system: toy, replicas: 2}]\n"
        'kv_link: "1GB/s,1us"\nrouter: least-loaded\nseed: 3\n'
    )
    words = ("llama-toy", trace, *POOLS, "--decode-replicas", "2", "--router", "least-loaded")
    line = result(capsys, *words, "--seed", "3")
    assert result(capsys, "--scenario", str(file)) == line
    assert check_file(file) == "scenario"
    other = result(capsys, "--scenario", str(file), "--router", "round-robin", "--limit", "5")
    assert other["options"]["router"] == "round-robin"
    assert other["requests"]["arrived"] == 5
    alone = result(capsys, "toy", "llama-toy", "--scenario", str(file))
    assert list(alone["pools"]) == ["serve"]
    assert alone["requests"]["arrived"] == 12


def test_the_manifest_says_what_served(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    result(capsys, "llama-toy", trace, *POOLS, "-o", str(tmp_path / "out"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    pools = manifest["options"]["pools"]
    assert pools["prefill"] == [{"system": "toy", "layout": None, "copies": 1}]


@pytest.mark.parametrize("name", ["disaggregated-chat", "mixed-pools", "unequal-replicas"])
def test_shipped_scenarios_are_whole(name: str) -> None:
    assert load_scenario(name).name == name


BASE = "kind: scenario\nname: test\nmodel: llama-toy\nsystem: toy\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "ruoter: round-robin\n", "4:did you mean 'router'"),
        (BASE + "router: rnd-robin\n", "5:unknown value"),
        (BASE + "max_batch: 0\n", "5:"),
        (BASE + "kv_link: 4Gq/s\n", "5:unknown unit 'Gq/s'"),
        (BASE + "fail: replic:1@3s\n", "5:did you mean 'replica'"),
        (BASE + "disaggregate: sometimes\n", "5:expected always, never"),
        (BASE + "prefill: {system: toy}\n", "found system and prefill"),
        (BASE.replace("system: toy\n", ""), "no system"),
        (BASE.replace("system: toy\n", "prefill: {system: toy}\n"), "go together"),
        (BASE.replace("scenario", "workload", 1), "expected a scenario file"),
        (BASE + "workload: chat\ntrace: x.csv\n", "found 'workload' and 'trace'"),
        (BASE + "dtype: bf61\n", "5:"),
    ],
)
def test_faults_of_a_scenario_say_where(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    status, out, err = chipsim(capsys, "run", "--scenario", str(file))
    assert status == 3 and out == ""
    line, _, words = message.rpartition(":")
    assert words in err
    if line:
        assert "bad.yaml" in err


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ((), 2, "Missing argument 'SYSTEM'"),
        (("toy",), 2, "Missing argument 'MODEL'"),
        (("toy", "llama-toy", "chat", "more"), 2, "unexpected extra argument (more)"),
        (("llama-toy", "--prefill", "toy"), 2, "--prefill needs --decode"),
        (("toy", "llama-toy", "--decode-replicas", "2"), 2, "--decode-replicas needs --decode"),
        (("llama-toy", *POOLS, "--replicas", "2"), 2, "--replicas: pools have"),
        (("llama-toy", "--prefill", "toy", "--decode", "toy"), 3, "no network"),
        (("llama-toy", "--prefill", "tpu-v6e", "--decode", "toy"), 3, "no network"),
        (("llama-toy", "--prefill", "toyy", "--decode", "toy"), 3, "did you mean 'toy'"),
        (("llama-toy", "--prefill", "toy@", "--decode", "toy"), 3, "SYSTEM@LAYOUT"),
        (("llama3-70b", "--prefill", "tpu-v6e", "--decode", "tpu-v6e"), 4, "does not fit"),
        (("toy", "llama-toy", "--fail", "replica:4@3s"), 3, "there is one replica, expected 0"),
        (("toy", "llama-toy", "--fail", "mtbf:0s"), 3, "above zero"),
        (("toy", "llama-toy", "--rebalance", "1s"), 3, "needs a prefill and a decode pool"),
        (("llama-toy", *POOLS, "--rebalance", "-1"), 3, "--rebalance"),
        (("toy", "llama-toy", "--kv-tier", "disk:1GB@1GB/s"), 3, "--kv-tier"),
        (("toy", "llama-toy", "--watermark", "1"), 3, "--watermark"),
        (("toy", "llama-toy", "--scheduler", "chunkd"), 3, "did you mean 'chunked'"),
        (("--scenario", "no-such"), 3, "unknown scenario"),
    ],
)
def test_bad_command_lines(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], status: int, message: str
) -> None:
    found, out, err = chipsim(capsys, "run", *words)
    assert (found, out) == (status, "")
    assert message in err.replace("\n", " ")


def test_links_policies_and_tiers_are_read() -> None:
    assert parse_link("400Gb/s,5us").bytes_per_s == 50 * 10**9
    assert parse_link("400Gbit/s").bytes_per_s == parse_link("50 GB/s").bytes_per_s
    assert parse_link("400Gb/s,5us").latency_ps == 5 * 10**6
    assert parse_link("unlimited").bytes_per_s is None
    assert parse_policy("uncached:256") == ("uncached", 256)
    tiers = parse_tiers(["host:64GiB@50GB/s", "pool:1TB@5GB/s"])
    assert (tiers.host_bytes, tiers.pool_bytes_per_s) == (64 << 30, 5 * 10**9)
    for bad in ("0GB/s", "nan", "5", "-1GB/s", "1GB/s,5"):
        with pytest.raises(InputError, match="--kv-link"):
            parse_link(bad)
    for bad in ("uncached", "always:3", "uncached:x", ""):
        with pytest.raises(InputError, match="--disaggregate"):
            parse_policy(bad)


def test_tables_and_explanations_tell_unequal_pools_apart(
    capsys: pytest.CaptureFixture[str], trace: str
) -> None:
    """Chips, layout, memory, units and efficiency of each pool are its own."""
    words = ("llama3-8b", trace, "--prefill", "tpu-v7x:2x2x1@tp2", "--decode", "h100:1")
    document = result(capsys, *words, "--explain")
    pools = document["pools"]
    assert [pools[role]["tp"] for role in pools] == [2, 1]
    assert [pools[role]["replicas"] for role in pools] == [2, 1]
    assert sum(pool["flops"] for pool in pools.values()) == document["flops"]
    assert sum(pool["min_bytes"] for pool in pools.values()) == document["min_bytes"]
    reasons = {entry["figure"]: entry["values"] for entry in document["explain"]}
    for role, pool in pools.items():
        values = reasons[f"MFU ({role})"]
        could = values["time_s"] * values["peak_flops_per_s"] * values["chips"]
        assert values["flops"] / could == pytest.approx(pool["mfu"])
        values = reasons[f"MBU ({role})"]
        could = values["time_s"] * values["bandwidth_bytes_per_s"] * values["chips"]
        assert values["min_bytes"] / could == pytest.approx(pool["mbu"])
    _, table, _ = chipsim(capsys, "run", *words)
    text = " ".join(table.split())
    assert (
        "(5 chips: prefill 4 chips = 2 replicas x tp 2, decode 1 chip = 1 replica x tp 1)" in text
    )
    units = next(line for line in table.splitlines() if line.startswith("unit "))
    assert units.split()[1:7] == ["prefill", "busy", "bound", "by", "decode", "busy"]
    assert "limit: prefill pool: " in text and "; decode pool: " in text
    weights = next(line for line in table.splitlines() if line.startswith("weights"))
    assert len(weights.split()) == 5  # of a chip of each pool


def test_bursts_are_not_called_a_load_near_capacity(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "bursts.csv"
    head = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
    rows = "".join(f"{200 * (i // 40)},4000,2\n" for i in range(80))
    file.write_text(head + rows)
    document = result(capsys, "llama3-8b", str(file), "--prefill", "tpu-v6e", "--decode", "tpu-v6e")
    assert "come in bursts, for its replicas work only" in document["advice"]
    assert "near capacity" not in document["advice"]


def test_every_cause_of_time_has_advice() -> None:
    from simulator.serving.advice import ADVICE
    from simulator.timing.results import CAUSES

    assert set(ADVICE) == set(CAUSES)
