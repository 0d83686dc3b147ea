"""Results say what the accuracy of their prices rests on."""

from __future__ import annotations

import json

import pytest

from simulator.cli import main
from simulator.config.loader import load_model, load_system
from simulator.hardware import Validated
from simulator.report.accuracy import OVERRIDDEN, UNVALIDATED, accuracy_line
from simulator.timing.evidence import compared

STEP = ("step", "{}", "llama-toy", "--phase", "decode", "--batch", "1", "--context", "8")


@pytest.fixture
def system(tmp_path):
    """The toy's system with a chip that has been validated."""
    from simulator.config import find_config

    chip = find_config("chips", "toy").read_text()
    block = (
        "validation: [{operator: matmul, dtype: bf16, table: lab, count: 1234, mape_percent: 4.2}]"
    )
    (tmp_path / "chip.yaml").write_text(f"{chip}\n{block}\n")
    text = find_config("systems", "toy").read_text().replace("chip: toy", "chip: chip.yaml")
    path = tmp_path / "system.yaml"
    path.write_text(text)
    return str(path)


def run(capsys, *words):
    status = main(words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def recorded(name, operator, table):
    """What the files of a system say of an operator, as results cite it."""
    entries = load_system(name).validation
    own = next(e for e in entries if e.operator == operator and e.table.startswith(table))
    return f"{operator} {own.mape_percent:.1f} %"


def test_an_unvalidated_chip_says_so(capsys):
    words = [word.format("toy") for word in STEP]
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert UNVALIDATED in out
    document = json.loads(run(capsys, *words, "--format", "json")[1])
    assert document["accuracy"] == []


def test_a_validated_chip_names_its_tables(system, capsys):
    words = [word.format(system) for word in STEP]
    status, out, err = run(capsys, *words)
    assert status == 0, err
    assert "1,234 measurements of this chip: matmul 4.2 %" in " ".join(out.split())
    document = json.loads(run(capsys, *words, "--format", "json")[1])
    assert document["accuracy"] == [
        {
            "operator": "matmul",
            "dtype": "bf16",
            "table": "lab",
            "count": 1234,
            "mape_percent": 4.2,
        }
    ]
    shown = run(capsys, "config", "show", system)[1]
    assert "chip.validation.0.mape_percent" in shown
    assert "1234" in shown


def test_a_bad_block_is_refused(system, capsys):
    from pathlib import Path

    chip = Path(system).parent / "chip.yaml"
    chip.write_text(chip.read_text().replace("4.2", "-1"))
    status, _, err = run(capsys, *[word.format(system) for word in STEP])
    assert status == 3
    assert "percentage" in err


def test_the_line_has_the_first_entry_of_each_operator_in_a_data_type_in_use():
    entries = [
        Validated("matmul", "bf16", "t", 10, 1.0),
        Validated("matmul", "fp8", "t", 20, 3.0),
        Validated("copy", "bf16", "t", 2000, 12.34),
        Validated("copy", "bf16", "u", 5, 50.0),
    ]
    line = accuracy_line(entries, {"activation": "bf16"})
    assert "\n" not in line
    assert "2,010 measurements of this chip: matmul 1.0 %, copy 12.3 %; the host's" in line
    eights = accuracy_line(entries, {"activation": "fp8"})
    assert "2,020 measurements of this chip: matmul 3.0 %, copy 12.3 %;" in eights


def test_only_tables_of_what_the_model_has_are_cited():
    def tables(name: str, system: str = "gb300:8") -> list[str]:
        entries = compared(load_system(system), load_model(name))
        return [f"{e.operator} {e.table}" for e in entries if e.operator != "matmul"]

    latent, grouped = tables("deepseek-v3"), tables("llama3-70b")
    attention = [name for name in latent if name.startswith("attention")]
    assert attention and all(name.endswith("MLA") for name in attention)
    assert not any(name.endswith("MLA") for name in grouped)
    assert any(name.startswith("moe") for name in latent)
    assert not any(name.startswith("moe") for name in grouped)
    assert any(name.startswith("collective") for name in grouped)
    assert not any(name.startswith("collective") for name in tables("llama3-8b", "gb300"))


def test_the_line_names_what_the_model_has_and_nobody_compared(capsys):
    step = ("--phase", "decode", "--batch", "1", "--context", "8", "--format", "json")
    found = json.loads(run(capsys, "step", "tpu-v6e:2x4", "llama3-8b", *step)[1])["unvalidated"]
    names = ["attention-decode", "attention-prefill"]
    assert found == [{"operator": name} for name in names]
    entries = [Validated("copy", "bf16", "t", 2, 1.0)]
    line = accuracy_line(entries, {}, None, [("", "matmul"), ("", "moe")])
    assert line.endswith("copy 1.0 %; not validated: matmul, moe, the host's time")


def test_runs_searches_and_curves_say_it_too(system, capsys, tmp_path):
    trace = tmp_path / "trace.csv"
    rows = "".join(f"{at / 1000},20,5\n" for at in range(40))
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n" + rows)
    replayed = (system, "llama-toy", "--trace", str(trace))
    for words in (
        ("run", *replayed),
        ("capacity", *replayed, "--slo", "ttft=200us,tpot=1ms"),
        ("serve-curve", *replayed, "--concurrency", "1,2"),
        ("layout", system, "llama-toy", *STEP[3:]),
    ):
        status, out, err = run(capsys, *words)
        assert status == 0, err
        last = " ".join(out[out.rindex("accuracy:") :].split())
        assert last.startswith("accuracy: mean error against 1,234 measurements of this chip:")
        document = json.loads(run(capsys, *words, "--format", "json")[1])
        assert document["accuracy"][0]["table"] == "lab"
        assert {"operator": "attention-decode"} in document["unvalidated"]
        assert document["engine"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("matmul 64x64x64", "matmul bf16"),
        ("matmul 64x64x64 --dtype fp8", "matmul fp8"),
        (
            "attention --batch 1 --heads 8 --kv-heads 8 --head-dim 64 --context 64 --phase decode "
            "--kv-dtype fp8",
            "attention-decode fp8",
        ),
        ("moe --tokens 64 --hidden 128 --intermediate 128 --experts 8 --top-k 2", "moe bf16"),
        ("copy 1MB", None),
    ],
)
def test_an_operator_names_its_own_table(words, said, capsys):
    words = ("op", *words.split(), "--chip", "h100")
    status, out, err = run(capsys, *words)
    assert status == 0, err
    line = " ".join(out[out.rindex("accuracy:") :].split())
    document = json.loads(run(capsys, *words, "--format", "json")[1])
    if said is None:
        assert line.startswith("accuracy: unvalidated (no measurement of this operator")
        assert document["accuracy"] == []
        return
    first = document["accuracy"][0]
    assert f"{first['operator']} {first['dtype']}" == said
    assert not first["table"].endswith("MLA")
    assert f"mean error {first['mape_percent']:.1f} % against {first['count']:,} " in line


LLAMA = ("llama3-8b", "--phase", "decode", "--batch", "4", "--context", "128")


@pytest.mark.parametrize(
    "words",
    [
        ("op", "matmul", "64x64x64", "--chip", "h100", "--set", "chip.hbm.bandwidth=1TB/s"),
        ("op", "matmul", "64x64x64", "--chip", "h100", "--set", "library.cublas.hbm_byte=9pJ"),
        ("step", "h100", *LLAMA, "--set", "chip.hbm.bandwidth=1TB/s"),
        ("layout", "h100:2", *LLAMA, "--set", "chip.hbm.bandwidth=1TB/s"),
        (
            "run",
            "h100",
            "llama3-8b",
            "chat",
            "--set",
            "workload.requests=2",
            "--set",
            "chip.clock=1GHz",
        ),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_was_compared_is_not_the_chip_with_overrides(words, capsys):
    status, out, err = run(capsys, *words)
    assert status == 0, err
    assert out.rstrip().endswith(OVERRIDDEN)
    assert json.loads(run(capsys, *words, "--format", "json")[1])["accuracy"] == []


def test_a_changed_copy_of_a_file_is_not_the_chip_that_was_compared(tmp_path, capsys):
    from simulator.config import find_config

    text = find_config("chips", "h100").read_text().replace("name: h100", "name: mine")
    path = tmp_path / "mine.yaml"
    words = ("op", "matmul", "64x64x64", "--chip", str(path))
    path.write_text(text)
    assert "of this operator on this chip (vllm" in " ".join(run(capsys, *words)[1].split())
    changed = text.replace("bandwidth: {value: 3350 GB/s", "bandwidth: {value: 5000 GB/s")
    assert changed != text
    path.write_text(changed)
    assert run(capsys, *words)[1].rstrip().endswith(OVERRIDDEN)
    step = ("step", "h100", *LLAMA, "--set", f"system.chip={path}")
    assert run(capsys, *step)[1].rstrip().endswith(OVERRIDDEN)


def test_a_chip_in_place_of_a_system_is_told_where_it_belongs(tmp_path, capsys):
    from simulator.config import find_config

    path = tmp_path / "mine.yaml"
    path.write_text(find_config("chips", "toy").read_text())
    status, _, err = run(capsys, "step", str(path), *LLAMA)
    assert status == 3 and "--set system.chip=FILE" in err


def test_an_override_of_what_nobody_compared_is_no_news(capsys):
    words = ("op", "matmul", "8x8x8", "--chip", "toy", "--set", "chip.hbm.bandwidth=1TB/s")
    assert "accuracy: unvalidated (no measurement" in run(capsys, *words)[1]


def test_another_fabric_is_not_the_one_whose_collectives_were_compared(capsys):
    words = ("step", "h100:8", *LLAMA)
    usual = run(capsys, *words)[1]
    assert recorded("h100:8", "collective", "nccl") in " ".join(usual.split())
    other = " ".join(run(capsys, *words, "--set", "system.fabric.hop_latency=9us")[1].split())
    assert recorded("h100:8", "matmul", "vllm") in other
    assert "not validated: collective, the host's time" in other


@pytest.mark.parametrize(
    ("words", "table", "rest"),
    [
        ("", "vllm 0.24.0", None),
        ("--kernels triton", "vllm 0.24.0", None),
        ("--kernels cutlass", "vllm 0.24.0", "not validated: kernels of cutlass"),
        ("--weight-dtype int4", "vllm 0.24.0 int4", None),
        ("--weight-dtype int4 --kernels marlin", "vllm 0.24.0 int4", None),
        ("--weight-dtype fp4", "vllm 0.24.0 mxfp4", None),
        (
            "--weight-dtype fp4 --kernels marlin",
            "vllm 0.24.0 mxfp4",
            "not validated: kernels of marlin",
        ),
        ("--dtype fp8 --blocks", "vllm 0.24.0 fp8 blocks", None),
        ("--dtype fp8", "trtllm 1.3.0rc20", None),
    ],
)
def test_experts_name_the_table_of_their_format_and_what_it_leaves_out(words, table, rest, capsys):
    layer = "moe --tokens 64 --hidden 4096 --intermediate 2048 --experts 64 --top-k 8 --chip h100"
    status, out, err = run(capsys, "op", *layer.split(), *words.split())
    assert status == 0, err
    line = " ".join(out[out.rindex("accuracy:") :].split())
    assert f"({table})" in line
    assert line.endswith(rest or f"({table})")


def test_a_run_says_how_its_engine_loads_experts(capsys):
    words = ("run", "h100:8", "mixtral-8x7b", "chat", "--set", "workload.requests=2")
    note = "vllm loads experts by random:1 (--expert-load for another)"
    assert note in " ".join(run(capsys, *words, "--engine", "vllm")[1].split())
    assert note not in " ".join(run(capsys, *words)[1].split())
    given = ("--engine", "vllm", "--expert-load", "balanced")
    assert note not in " ".join(run(capsys, *words, *given)[1].split())


def test_a_step_cites_the_experts_of_its_weights(capsys):
    words = ("step", "h100", "mixtral-8x7b", *LLAMA[1:], "--weight-dtype", "int4")
    int4 = recorded("h100", "moe", "vllm 0.24.0 int4")
    assert int4 in " ".join(run(capsys, *words)[1].split())
