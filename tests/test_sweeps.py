"""Files of variants: ``chip.PATH`` columns of ``op --cases``, and ``step --cases``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from simulator.api import load_chip, load_system, price_matmul, price_step
from simulator.cli.entry import main

STEP = ["step", "toy", "llama-toy", "--phase", "decode", "--context", "16"]


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to write cases into, in the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cases.csv"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_column_of_a_chips_value_sets_it_for_its_row(
    cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = ["1 GB/s", "", "64 GB/s", "1 GB/s"]
    lines = "".join(f"{8 + i},64,64,{rate}\n" for i, rate in enumerate(rates))
    cases.write_text("m,k,n,chip.hbm.bandwidth\n" + lines)
    words = ["op", "matmul", "--cases", "cases.csv", "--chip", "toy"]
    assert main([*words, "--set", "chip.clock=2 GHz"]) == 0
    found = rows_of(capsys.readouterr().out)
    for i, (rate, row) in enumerate(zip(rates, found, strict=True)):
        own = [f"chip.hbm.bandwidth={rate}"] if rate else []
        chip = load_chip("toy", ["chip.clock=2 GHz", *own])
        assert row["chip.hbm.bandwidth"] == rate
        assert int(row["cycles"]) == price_matmul(chip, 8 + i, 64, 64, "bf16").cycles
    assert float(found[0]["time_s"]) > 3 * float(found[2]["time_s"])


@pytest.mark.parametrize(
    ("kind", "header", "row"),
    [
        ("copy", "bytes", "1MB"),
        ("attention", "batch,heads,kv_heads,head_dim,context,phase", "4,8,8,64,512,decode"),
        ("moe", "tokens,hidden,intermediate,experts,top_k", "64,128,128,8,2"),
    ],
)
def test_every_operator_takes_such_columns(
    kind: str, header: str, row: str, cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write_text(f"{header},chip.hbm.bandwidth\n{row},4 TB/s\n{row},9 GB/s\n{row},4 TB/s\n")
    assert main(["op", kind, "--cases", "cases.csv", "--chip", "tpu-v6e"]) == 0
    times = [float(found["time_s"]) for found in rows_of(capsys.readouterr().out)]
    assert times[0] == times[2] < times[1]


def test_each_row_is_the_step_that_the_api_prices(
    cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write_text(
        "label,batch,context,chip.hbm.bandwidth,system.host_overhead,kv_dtype\n"
        "slow,1,16,2 GB/s,1 us,\nfast,4,32,64 GB/s,,int8\nplain,2,,,,\n".replace("2,,,,", "2,8,,,")
    )
    assert main([*STEP[:-2], "--cases", "cases.csv"]) == 0
    found = rows_of(capsys.readouterr().out)
    overrides = [
        ["chip.hbm.bandwidth=2 GB/s", "system.host_overhead=1 us"],
        ["chip.hbm.bandwidth=64 GB/s"],
        [],
    ]
    kinds = ["bf16", "int8", "bf16"]
    sizes = [(1, 16), (4, 32), (2, 8)]
    for row, own, (batch, context), kind in zip(found, overrides, sizes, kinds, strict=True):
        step = price_step(
            load_system("toy", own),
            "llama-toy",
            phase="decode",
            batch=batch,
            context=context,
            kv_dtype=kind,
        )
        assert float(row["time_s"]) == step.time_s
        assert (int(row["batch"]), int(row["context"])) == (batch, context)
        assert row["infeasible"] == ""
    assert [row["label"] for row in found] == ["slow", "fast", "plain"]
    assert float(found[0]["bound_by_hbm"]) > float(found[1]["bound_by_hbm"])


def test_a_row_that_does_not_fit_says_why_and_the_others_are_priced(
    cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write_text("batch,chip.hbm.capacity\n1,\n2,1 kB\n")
    assert main([*STEP, "--cases", "cases.csv", "--format", "json"]) == 0
    said = capsys.readouterr()
    assert "1 of 2 rows do not fit" in said.err
    document = json.loads(said.out)
    assert document["schema"] == "chipsim.step.cases/1"
    fits, not_ = document["rows"]
    assert list(fits) == list(not_)
    assert fits["time_s"] > 0 and fits["infeasible"] is None
    assert not_["time_s"] is None and "does not fit" in not_["infeasible"]
    assert (not_["batch"], not_["context"], not_["system"]) == (2, 16, "toy")
    cases.write_text("batch,chip.hbm.capacity\n2,1 kB\n")
    assert main([*STEP, "--cases", "cases.csv"]) == 4
    assert "cases.csv:2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("batch\nx\n", "column 'batch': found 'x', expected a positive whole number", ":2:1"),
        ("batch\n1\n0\n", "column 'batch': found 0", ":3:1"),
        ("batch,dtype\n1,fp12\n", "column 'dtype': unknown value 'fp12'", ":2:3"),
        ("batch,kv-dtype\n1,bf16\n", "unknown column 'kv-dtype'", "did you mean 'kv_dtype'"),
        ("bacth,tp\n1,1\n", "missing column 'batch'", "is 'bacth' meant?"),
        ("m,k,n\n1,1,1\n", "no column is an option", "found m, k, n"),
        ("context\n1\n", "missing column 'batch'", "--batch gives it for all rows"),
        ("batch\n \n1\n", "", ""),
        ("batch,label\n,a\n", "column 'batch': found an empty cell", ":2:1"),
        ("batch,model\n1,llama-toi\n", "unknown model 'llama-toi'", ":2:1"),
        ("batch,chip.hbm.bandwidth\n1,3 TB\n", "unknown unit 'TB'", ":2:3"),
        ("batch,chip.hbm.bandwith\n1,3 TB/s\n", "unknown key 'bandwith'", "'bandwidth'"),
        ("batch,chop.hbm.bandwidth\n1,3 TB/s\n", "unknown column", "'chip.hbm.bandwidth'"),
        ("batch,workload.requests\n1,3\n", "sets nothing here", "chip, system, model, engine"),
        ("batch,chip.\n1,3\n", "sets nothing here", "cases.csv"),
        ("batch,engine.iteration\n1,3 us\n", "needs --engine", "cases.csv"),
        ("batch,tp\n1,3\n", "tensor parallelism 3", ":2:1"),
    ],
)
def test_bad_files_are_refused_with_their_place(
    text: str, message: str, place: str, cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write_text(text)
    status = main([*STEP, "--cases", "cases.csv"])
    said = capsys.readouterr()
    assert status == (3 if message else 0), said.err
    if message:
        assert said.out == ""
        assert message in said.err and place in said.err


def test_grammar(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases.write_text("batch\n1\n")
    for words in (
        ["--cases", "cases.csv", "--explain"],
        ["--cases", "cases.csv", "--assert", "time_s<1s"],
        [],  # neither --batch nor --cases
    ):
        assert main([*STEP, *words]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_how_experts_are_loaded_and_speculation_are_columns_too(
    cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write_text("batch,speculate\n1,\n1,3:0.8\n")
    assert main([*STEP, "--cases", "cases.csv"]) == 0
    plain, drafted = (float(row["tokens"]) for row in rows_of(capsys.readouterr().out))
    assert plain < drafted
    words = ["step", "h100", "mixtral-8x7b", "--phase", "decode", "--context", "16"]
    cases.write_text("batch,weight_dtype,expert_load\n8,int4,balanced\n8,int4,random:5\n")
    assert main([*words, "--cases", "cases.csv"]) == 0
    even, uneven = (row["traffic_bytes_hbm_read"] for row in rows_of(capsys.readouterr().out))
    assert float(uneven) < float(even)  # the tokens share the popular experts
    cases.write_text("batch,weight_dtype,expert_load\n2,int4,pwer:4\n")
    assert main([*words, "--cases", "cases.csv"]) == 3
    assert "cases.csv:2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "header", "row"),
    [
        (STEP, "batch", "1"),
        (["op", "matmul", "--chip", "toy"], "m,k,n", "8,8,8"),
        (["op", "copy", "--chip", "toy"], "bytes", "1000"),
    ],
)
def test_measured_times_stand_beside_the_results(
    words: list[str], header: str, row: str, cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write_text(f"{header},time_s,input_time_s\n{row},7,8\n")
    assert main([*words, "--cases", "cases.csv"]) == 0
    (found,) = rows_of(capsys.readouterr().out)
    assert (found["input_input_time_s"], found["input_time_s"]) == ("7", "8")
    assert 0 < float(found["time_s"]) < 1
