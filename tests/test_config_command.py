import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulator.cli import main
from simulator.config import find_config, list_names
from simulator.config.names import plural


def test_list_names_each_kind(capsys):
    assert main(["config", "list"]) == 0
    shown = capsys.readouterr().out
    for name in ("chips:", "tpu-v7x", "llama3-70b", "2x2x1"):
        assert name in shown
    assert main(["config", "list", "models"]) == 0
    assert capsys.readouterr().out.split() == list_names("models")


def test_list_as_json(capsys):
    assert main(["config", "list", "chips", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "chipsim.config-list/1"
    assert [row["name"] for row in document["rows"]] == list_names("chips")


def test_show_resolves_a_system(capsys):
    assert main(["config", "show", "tpu-v7x:2x2x1", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {row["path"]: row for row in document["rows"]}
    assert (document["schema"], document["kind"]) == ("chipsim.config/1", "system")
    assert rows["system.chips"]["value"] == 4
    assert rows["chip.hbm.bandwidth"]["value"] == 7380 * 10**9
    assert rows["chip.hbm.bandwidth"]["unit"] == "B/s"
    assert rows["chip.hbm.bandwidth"]["confidence"] == "official"
    assert rows["chip.sram.bandwidth"]["confidence"] == "estimate"
    assert rows["chip.operator_overhead"]["unit"] == "ps"
    assert rows["system.fabric.in_network_from"]["source"] == "default"
    assert rows["system.peak.bf16"]["value"] == 4 * rows["chip.peak.bf16"]["value"]


@pytest.mark.parametrize(
    "kind", ["chip", "system", "model", "workload", "engine", "memory", "library"]
)
def test_show_as_a_table_works_for_every_shipped_name(kind, capsys):
    for name in list_names(plural(kind)):
        assert main(["config", "show", name, "--kind", kind]) == 0
        first, *lines = capsys.readouterr().out.splitlines()
        assert first.startswith(f"{kind} {name} ")
        assert max(map(len, lines)) <= 100


def test_folded_sources_lose_nothing(capsys):
    assert main(["config", "show", "h100", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert main(["config", "show", "h100"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for row in rows:
        assert " ".join((row["source"] or "").split()) in text
        assert f"{row['path']} {' '.join(row['text'].split())}" in text


def test_a_list_of_shares_is_no_shape(capsys):
    assert main(["config", "show", "hbm2-2000", "--kind", "memory"]) == 0
    assert "0.83619, 0.83619" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "tpu-v7y"], "did you mean 'tpu-v7x'?"),
        (["show", "no/such.yaml"], "no/such.yaml is no file"),
        (["show", "."], "unknown name '.'"),
        (["show", "tpu-v5e:3x3"], "has no shape '3x3'"),
        (["show", "toy", "--set", "chip.hbm.bandwith=1 GB/s"], "did you mean 'bandwidth'?"),
        (["list", "chip"], "did you mean 'chips'?"),
        (["check", "no-such.yaml"], "cannot read no-such.yaml"),
    ],
)
def test_bad_names_and_values_end_with_3(words, message, capsys):
    assert main(["config", *words]) == 3
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("error: ")
    assert shown.out == ""


def test_check_reports_every_file(tmp_path, capsys):
    good = str(find_config("chips", "toy"))
    deep = tmp_path / "deep.yaml"
    deep.write_text("[" * 10_000)
    twice = tmp_path / "twice.yaml"
    twice.write_text("kind: chip\nkind: chip\n")
    assert main(["config", "check", str(deep), good, str(twice), str(tmp_path)]) == 3
    shown = capsys.readouterr()
    assert shown.out == f"ok {good} (chip)\n"
    assert "nested more than 64 levels" in shown.err
    assert f"{twice}:2:1" in shown.err
    assert "is a directory" in shown.err
    assert "3 of 4 files failed" in shown.err


def test_every_shipped_file_is_right(capsys):
    kinds = ("chips", "systems", "models")
    files = [str(find_config(kind, name)) for kind in kinds for name in list_names(kind)]
    assert main(["config", "check", *files]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(files)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from simulator.cli import main; main(['config', '--help']);"
        "print([m for m in ('numpy', 'numba', 'pydantic', 'yaml') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_memories_are_listed_shown_and_checked(capsys):
    assert main(["config", "list", "memories"]) == 0
    assert capsys.readouterr().out.split() == list_names("memories")
    assert main(["config", "show", "hbm2-2000", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {row["path"]: row for row in document["rows"]}
    assert document["kind"] == "memory"
    # 2 pseudo-channels x 32 B every 2 clocks of 1 ns
    assert rows["memory.peak"]["value"] == pytest.approx(32e9)
    assert rows["memory.timing.rc"]["confidence"] == "third-party"
    assert main(["config", "check", str(find_config("memories", "hbm2-2000"))]) == 0
    assert "(memory)" in capsys.readouterr().out
    assert main(["config", "show", "hbm2-200"]) == 3
    assert "hbm2-2000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("h100 --kind chip --set model.layers=3", "this command has chip"),
        ("h100 --kind chip --set library.cublas.boost=3ms", "this command has chip"),
        ("h100:8 --set engine.iteration=3ms", "this command has system, chip"),
        ("vllm --set chip.clock=1GHz", "this command has engine"),
        ("hbm3-6400 --set memory.rate=3", "a memory has no values to set"),
        ("h100 --kind chip --set chip", "expected PATH=VALUE"),
    ],
)
def test_show_refuses_values_of_what_it_does_not_show(words, said, capsys):
    assert main(["config", "show", *words.split()]) == 3
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err


@pytest.mark.parametrize("columns", [60, 100, 180])
def test_list_and_show_are_as_wide_as_the_terminal(columns, capsys, monkeypatch):
    monkeypatch.setattr(
        "simulator.report.console.make_console", lambda: SimpleNamespace(width=columns)
    )
    for words, kept in (
        (["list"], "2x2x1, 2x2x2, 2x2x4, 2x4x4"),
        (["show", "marlin"], "vLLM 0.24.0, fused_marlin_moe"),
        (["show", "tpu-v4:2x2x1"], "Jouppi et al., ISCA 2023, table 4"),
    ):
        assert main(["config", *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= columns
        assert kept in " ".join(" ".join(lines).split())
