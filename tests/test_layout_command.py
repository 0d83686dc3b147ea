"""The command line of layouts: options, files, search, errors and their exit codes."""

from __future__ import annotations

import json

import pytest

from simulator.cli.entry import main


def words(text: str) -> list[str]:
    return text.split()


STEP = words("step h100:8x2 mixtral-8x7b --phase decode --batch 64 --context 1024 --dtype fp8")
FIND = words("layout h100:8 mixtral-8x7b --phase decode --batch 64 --context 1024 --dtype fp8")
PREFILL = ["prefill" if word == "decode" else word for word in FIND]


def run(capsys, *given: str) -> tuple[int, str, str]:
    status = main([str(word) for word in given])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_step_in_a_layout(capsys):
    more = words("--tp 2 --dp 8 --ep 8 --moe fused --format json")
    status, out, _ = run(capsys, *STEP, *more)
    assert status == 0
    document = json.loads(out)
    assert document["layout"] == "attention tp 2 dp 8, experts tp 2 ep 8, pp 1"
    assert document["parallelism"]["dp"] == 8
    assert {"weights", "kv", "activations", "free"} <= set(document["memory_bytes"])
    rows = document["collectives"]
    assert {"name", "op", "bytes", "ranks", "time_s", "exposed_s"} <= set(rows[0])
    assert {row["op"] for row in rows} >= {"all-to-all", "all-reduce"}
    for row in rows:
        assert 0 <= row["exposed_s"] <= row["time_s"]
    # latent-free: only the router's work is done twice
    assert [each["name"] for each in document["overheads"]] == ["router"]


def test_a_layout_by_file_and_by_its_compact_form_is_the_same(capsys, tmp_path, monkeypatch):
    file = tmp_path / "eight.yaml"
    file.write_text("kind: layout\nname: eight\nattention: {tp: 2, dp: 8}\nffn: {tp: 2, ep: 8}\n")
    assert run(capsys, "config", "check", file)[0] == 0
    _, by_file, _ = run(capsys, *STEP, "--layout", file, "--format", "json")
    _, compact, _ = run(capsys, *STEP, "--layout", "tp2-dp8-ep8", "--format", "json")
    _, degrees, _ = run(capsys, *STEP, *["--tp", "2", "--dp", "8", "--ep", "8", "--format", "json"])
    monkeypatch.chdir(tmp_path)
    file.rename("eight")
    _, without_suffix, _ = run(capsys, *STEP, "--layout", "eight", "--format", "json")
    assert by_file == compact == degrees == without_suffix


def test_ranked_layouts(capsys):
    status, out, _ = run(capsys, *FIND, "--top", "4", "--format", "json")
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "chipsim.layout/1"
    rows = document["rows"]
    assert len(rows) == 4
    assert [row["time_s"] for row in rows] == sorted(row["time_s"] for row in rows)
    for row in rows:
        assert row["fits"] is True
        assert row["memory_bytes"]["free"] >= 0
        assert {"layout", "tokens_per_s", "bound_by"} <= set(row)
    assert rows[0]["lost_by"] is None
    assert all(row["lost_by"] for row in rows[1:])
    _, best, _ = run(
        capsys, *["step", "h100:8"], *FIND[2:], *["--layout", "auto", "--format", "json"]
    )
    assert json.loads(best)["layout"] == rows[0]["layout"]
    assert json.loads(best)["time_s"] == rows[0]["time_s"]
    status, table, _ = run(capsys, *FIND, "--top", "2")
    assert status == 0
    assert "lost by" in table


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ([*STEP, "--tp", "3"], 3, "--tp may be 1, 2, 4, 8, 16"),
        ([*STEP, "--layout", "tp2", "--tp", "2"], 3, "either --layout or --tp"),
        ([*STEP, "--layout", "nowhere.yaml"], 3, "nowhere.yaml"),
        ([*STEP, "--expert-load", "power:x"], 3, "power:ALPHA"),
        ([*STEP, "--expert-load", "nowhere.txt"], 3, "nowhere.txt"),
        ([*STEP, "--speculate", "3"], 3, "K:ACCEPTANCE"),
        ([*PREFILL, "--speculate", "3:0.8"], 3, "a prefill step drafts nothing"),
        ([*STEP, "--moe", "both"], 3, "sorted"),
        ([*FIND, "--objective", "price"], 3, "latency"),
        (
            ["layout", "h100", "llama3-70b", "--phase", "decode", "--batch", "1", "--context", "9"],
            4,
            "would do is 2 (h100:2)",
        ),
        (
            [
                "layout",
                "h100:8",
                "llama3-8b",
                "--phase",
                "decode",
                "--batch",
                "1",
                "--context",
                "99",
                "--moe",
                "fused",
            ],
            3,
            "has no experts",
        ),
    ],
)
def test_bad_input(capsys, given, status, said):
    found, out, err = run(capsys, *given)
    assert (found, out) == (status, "")
    assert said in err


def test_a_run_in_a_layout(capsys, tmp_path):
    trace = tmp_path / "trace.csv"
    rows = [f"{0.01 * i},{50 + i},{5 + i % 7}" for i in range(40)]
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n" + "\n".join(rows) + "\n")
    for degrees in ("--dp 4 --ep 8 --tp 2", "--pp 2 --tp 4", "--layout auto"):
        status, out, err = run(
            capsys, "run", "h100:8", "mixtral-8x7b", trace, *degrees.split(), "--format", "json"
        )
        assert status == 0, err
        document = json.loads(out)
        assert document["requests"]["completed"] == 40
        assert sum(document["bound_by"].values()) == pytest.approx(1)
        assert 0 < document["mfu"] <= 1
        assert document["layout"].startswith("attention ")
