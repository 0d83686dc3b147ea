"""``chipsim op attention`` and ``chipsim op moe`` from outside."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from simulator.cli import main

ATTENTION = "op attention --batch 8 --heads 32 --kv-heads 8 --head-dim 128 --context 512 --phase {}"
MOE = "op moe --tokens 64 --hidden 256 --intermediate 128 --experts 16 --top-k 2"
RESULTS = (
    "cycles",
    "time_s",
    "bound_by",
    "utilization",
    "compute_cycles",
    "stall_cycles",
    "hbm_bytes",
    "sram_bytes",
    "flops",
)


def run(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(command.split())
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize(
    "command",
    [ATTENTION.format("decode"), ATTENTION.format("prefill"), MOE, f"{MOE} --ep 4 --moe fused"],
)
def test_json_has_inputs_and_results(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(f"{command} --chip tpu-v6e --format json", capsys)
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == f"chipsim.op.{command.split()[1]}/1"
    assert document["chip"] == "tpu-v6e"
    assert set(RESULTS) <= set(document)
    assert document["cycles"] == document["compute_cycles"] + document["stall_cycles"]
    assert run(f"{command} --chip tpu-v6e --format json", capsys)[1] == out
    assert run(f"{command} --chip tpu-v6e", capsys)[0] == 0


def test_cases_give_the_prices_of_single_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(
        "batch,heads,kv_heads,head_dim,context,phase,dtype,measured_s\n"
        "8,32,8,128,512,decode,bf16,1e-5\n8,32,8,128,512,prefill,,2e-5\n"
    )
    status, out, _ = run(f"op attention --cases {path} --chip h100", capsys)
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["measured_s"] for row in rows] == ["1e-5", "2e-5"]
    for row in rows:
        single = run(f"{ATTENTION.format(row['phase'])} --chip h100 --format json", capsys)[1]
        assert int(row["cycles"]) == json.loads(single)["cycles"]
    path.write_text(
        "tokens,hidden,intermediate,experts,top_k,ep,expert_load,dtype\n"
        "64,256,128,16,2,1,balanced,bf16\n64,256,128,16,2,4,power:1.2,bf16\n"
    )
    status, out, _ = run(f"op moe --cases {path} --chip h100", capsys)
    assert status == 0
    for row, more in zip(
        csv.DictReader(io.StringIO(out)), ("", "--ep 4 --expert-load power:1.2"), strict=True
    ):
        single = json.loads(run(f"{MOE} {more} --chip h100 --format json", capsys)[1])
        assert int(row["cycles"]) == single["cycles"]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("8,32,8,128,512,decoding", ":2:16", "decoding"),
        ("8,32,7,128,512,decode", ":2:", "7 kv_heads do not divide 32 heads"),
        ("0,32,8,128,512,decode", ":2:1", "found '0'"),
        ("8,32,8,128,-4,decode", ":2:", "found '-4'"),
    ],
)
def test_a_bad_cell_is_named_with_its_place(
    text: str, place: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"batch,heads,kv_heads,head_dim,context,phase\n{text}\n")
    status, out, err = run(f"op attention --cases {path} --chip h100", capsys)
    assert status == 3
    assert out == ""
    assert message in err
    assert f"{path.name}{place}" in err


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("op attention --batch 8 --chip h100", 2, "missing --heads"),
        (f"{ATTENTION.format('decode')} --cases x.csv --chip h100", 2, "either"),
        (f"{ATTENTION.format('decode')} --chip h101", 3, "h101"),
        (f"{ATTENTION.format('decode')} --dtype int8 --chip groq-lpu --window 0", 3, "window"),
        (f"{MOE} --ep 5 --chip h100", 3, "5"),
        (f"{MOE} --expert-load powr:1 --chip h100", 3, "powr:1"),
        ("op moe --tokens 4 --chip h100", 2, "missing --hidden"),
        (f"{MOE} --chip h100 --set model.layers=3", 3, "model"),
    ],
)
def test_bad_commands(
    command: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = run(command, capsys)
    assert found == status
    assert out == ""
    assert message in err
