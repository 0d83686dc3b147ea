"""What a run says where its input is bad, hopeless or interrupted: place, words, status, files."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.report import files
from simulator.serving.transfers import Transfers

TRACE = "arrived_at,num_prefill_tokens,num_decode_tokens\n" + "".join(
    f"{i * 0.0001:.4f},{20 + i % 9},{5 + i % 3}\n" for i in range(60)
)
POOLS = ("--prefill", "toy", "--decode", "toy", "--kv-link", "1GB/s,1us")


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(("run", *words))
    return (status, *capsys.readouterr())


# --- scenario files

HEAD = "kind: scenario\nname: test\nmodel: llama-toy\n"
ONE = HEAD + "system: toy\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        (ONE + "ruoter: round-robin\n", 5, 1, "'ruoter'", "did you mean 'router'"),
        (ONE + "router:   rnd-robin\n", 5, 11, "rnd-robin", "round-robin"),
        (ONE + "seed: 3\nscheduler: chunkd\n", 6, 12, "chunkd", "did you mean 'chunked'"),
        (ONE + "max_batch: 0\n", 5, 12, "0", ""),
        (ONE + "kv_link: 4Gq/s\n", 5, 10, "unknown unit 'Gq/s'", ""),
        (ONE + "fail: [mtbf:1h, replic:1@3s]\n", 5, 17, "replic:1", "did you mean 'replica'"),
        (ONE + "rebalance: 10\n", 5, 12, "10", "unit"),
        (ONE + "seed: 1\nseed: 2\n", 6, 1, "'seed'", ""),
        (ONE + "watermark: .nan\n", 5, 12, "nan", ""),
        (HEAD + "system: tooy\n", 4, 9, "tooy", "did you mean 'toy'"),
        (HEAD.replace("toy", "ty") + "system: toy\n", 3, 8, "llama-ty", "did you mean 'llama-toy'"),
        (
            HEAD + "prefill: {system: toy}\ndecode:\n  - {system: toy, replcas: 2}\n",
            6,
            19,
            "'replcas'",
            "did you mean 'replicas'",
        ),
        (
            HEAD + "prefill: {system: toy}\ndecode:\n  - {system: toy}\n  - {system: tyo}\n",
            7,
            14,
            "tyo",
            "did you mean 'toy'",
        ),
    ],
)
def test_a_fault_of_a_scenario_has_file_line_column_and_the_nearest_name(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    text: str,
    line: int,
    column: int,
    message: str,
    hint: str,
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    out = tmp_path / "out"
    status, shown, err = run(capsys, "--scenario", str(file), "-o", str(out))
    assert (status, shown) == (3, "")
    assert f"--> {file}:{line}:{column}" in err
    assert message in err and hint in err
    assert not out.exists()


# --- Ctrl-C


def interrupt_after(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, calls: int) -> None:
    """Let Ctrl-C come with a call of ``owner.name``."""
    genuine = getattr(owner, name)
    left = [calls]

    def called(*args: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return genuine(*args, **options)

    monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [
        (Transfers, "begin", 30),  # in the middle of the run
        (files, "to_json", 2),  # with a file of the result written aside
        (files, "_rows", 1),  # in the middle of the table of requests
    ],
)
@pytest.mark.parametrize("existing", [False, True])
def test_ctrl_c_in_a_run_of_pools_leaves_no_partial_file(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    trace: str,
    owner: object,
    name: str,
    calls: int,
    existing: bool,
) -> None:
    out = tmp_path / "results" / "deep"
    before = {}
    if existing:
        assert run(capsys, "llama-toy", trace, *POOLS, "-o", str(out))[0] == 0
        before = {path.name: path.read_bytes() for path in out.iterdir()}
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt_after(monkeypatch, owner, name, calls)
        found = run(capsys, "llama-toy", trace, *POOLS, "--seed", "7", "-o", str(out))
    finally:
        signal.signal(signal.SIGINT, handler)
    assert found == (130, "", "error: interrupted\n")
    after = {path.name: path.read_bytes() for path in out.iterdir()} if out.exists() else {}
    assert after == before
    assert (tmp_path / "results").exists() == existing


# --- BurstGPT

BURST = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
)
CONVERSATION = (
    "0,7,1.5,ChatGPT,30,40,70,Conversation log",
    "0,8,0.2,GPT-4,25,0,25,Conversation log",  # failed
    "0,,0.3,ChatGPT,20,5,25,API log",
    "0,7,0.1,ChatGPT,12,0,12,Conversation log",  # failed, in the middle of a session
    "0,7,1.0,ChatGPT,80,10,90,Conversation log",
    "0,,0.3,ChatGPT,20,5,25,API log",
    "9,8,0.3,GPT-4,50,5,55,Conversation log",
)


def test_failed_calls_of_burstgpt_are_left_out_and_sessions_wait(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, out = tmp_path / "burst.csv", tmp_path / "out"
    file.write_text("\n".join([BURST, *CONVERSATION, ""]))
    words = ("toy", "llama-toy", "--trace", str(file), "--format", "json", "-o", str(out))
    status, shown, err = run(capsys, *words)
    assert status == 0
    assert "2 failed calls (no output tokens) left out" in err
    counts = json.loads(shown)["requests"]
    assert (counts["failed_calls"], counts["arrived"], counts["completed"]) == (2, 5, 5)
    rows = (out / "requests.csv").read_text().splitlines()
    head = rows[0].split(",")
    table = [dict(zip(head, row.split(","), strict=True)) for row in rows[1:]]
    assert [row["prompt_tokens"] for row in table] == ["30", "20", "80", "20", "50"]
    first, alone, second, _, other = ({k: row[k] for k in row} for row in table)
    # the second turn of session 7 comes when the first has been answered, API calls at once
    assert second["arrival_s"] == first["completed_s"]
    assert float(alone["arrival_s"]) == 0
    # that of session 8 is the first of its that was answered, and comes at its own time
    assert float(other["arrival_s"]) == 9


def test_a_zero_elsewhere_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "azure.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-12 00:00:00,5,0\n")
    status, _, err = run(capsys, "toy", "llama-toy", "--trace", str(file))
    assert status == 3 and f"{file}:2:23" in err and "GeneratedTokens" in err


def test_a_turn_whose_session_is_missing_has_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "chats.jsonl"
    first = '{"chat_id": 1, "timestamp": 0, "input_length": 6, "output_length": 5, "turn": 1}'
    orphan = first.replace('"chat_id": 1', '"chat_id": 2, "parent_chat_id": 5').replace("1}", "2}")
    file.write_text(f"{first}\n{orphan}\n")
    status, out, err = run(capsys, "toy", "llama-toy", "--trace", str(file))
    assert (status, out) == (3, "")
    assert f"{file}:2:{orphan.index('parent_chat_id')}" in err
    assert "chat 2 continues chat 5, and there is no such turn before it" in err


# --- loads and promises that cannot be kept


@pytest.mark.parametrize("pools", [False, True])
def test_a_rate_beyond_capacity_ends_and_says_how_fast_the_queue_grows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pools: bool
) -> None:
    """Some ten times what one replica does, or what one replica of each pool does."""
    file = tmp_path / "flood.csv"
    head = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
    file.write_text(head + "".join(f"{i * 1e-5:.9f},64,32\n" for i in range(600)))
    where = ("llama-toy", str(file), *POOLS) if pools else ("toy", "llama-toy", str(file))
    status, shown, _ = run(capsys, *where, "--format", "json", "--max-batch", "4")
    document = json.loads(shown)
    assert status == 0
    assert document["requests"]["completed"] == 600
    growth = document["queue_growth"]
    assert growth["arrivals_per_s"] == pytest.approx(1e5, rel=0.01)
    # as many as it serves from its begin to its end
    assert growth["served_per_s"] == pytest.approx(600 / document["simulated_s"], rel=0.1)
    grown = growth["arrivals_per_s"] - growth["served_per_s"]
    assert growth["requests_per_s"] == pytest.approx(grown)
    assert "the queue grows without bound" in document["advice"]
    assert f"{growth['requests_per_s']:.4g} requests/s are added to it" in document["advice"]
    _, table, _ = run(capsys, *where, "--max-batch", "4")
    assert "the queue grows without bound" in " ".join(table.split())


def test_a_promise_that_no_request_keeps_is_said(
    capsys: pytest.CaptureFixture[str], trace: str
) -> None:
    slo = ("--slo", "ttft=1ns,tpot=1s")
    status, shown, _ = run(capsys, "llama-toy", trace, *POOLS, *slo, "--format", "json")
    document = json.loads(shown)
    assert status == 0 and document["slo_attainment"] == 0
    best = document["slo"]["all"]["best_s"]["ttft"]
    assert best > 1e-9
    assert "no request meets ttft <= 1 ns: the fastest takes" in document["advice"]
    assert "tpot" not in document["advice"].split("; ")[0]
    _, table, _ = run(capsys, "llama-toy", trace, *POOLS, *slo)
    assert "no request meets ttft <= 1 ns" in " ".join(table.split())


def test_capacity_under_such_a_promise_is_infeasible(
    capsys: pytest.CaptureFixture[str], trace: str
) -> None:
    words = ("toy", "llama-toy", "--trace", trace, "--slo", "ttft=1ns")
    for more in ((), ("--rate", "5"), ("--max-replicas", "3")):
        status = main(("capacity", *words, *more))
        out, err = capsys.readouterr()
        assert (status, out) == (4, "")
        assert "the fastest takes" in " ".join(err.split())


# --- pools that cannot work


def test_pools_without_a_common_fabric(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    island = tmp_path / "island.yaml"
    network = "network: {kind: infiniband, bandwidth: 50 GB/s, latency: 2 us}\n"
    island.write_text(f"kind: system\nname: island\nchip: h100\nfabric: {{kind: none}}\n{network}")
    apart = ("--prefill", "tpu-v6e", "--decode", str(island))
    status, out, err = run(capsys, "llama3-8b", trace, *apart)
    assert (status, out) == (3, "")
    assert "the pools share no fabric: tpu-v6e on ethernet, island on infiniband" in err
    assert "--kv-link 400Gb/s,5us" in err
    joined = run(capsys, "llama3-8b", trace, *apart, "--kv-link", "400Gb/s,5us", "--limit", "3")
    assert joined[0] == 0


@pytest.mark.parametrize("small", ["--prefill", "--decode"])
def test_a_pool_whose_chips_cannot_hold_the_model(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path, small: str
) -> None:
    other = "--decode" if small == "--prefill" else "--prefill"
    words = (small, "h100:1", other, "h100:8", "-o", str(tmp_path / "out"))
    status, out, err = run(capsys, "llama3-70b", trace, *words)
    assert (status, out) == (4, "")
    assert "does not fit" in err and "h100:1" in err.replace("h100:8", "")
    assert not (tmp_path / "out").exists()
