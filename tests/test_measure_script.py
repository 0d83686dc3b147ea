"""The measuring script: one file without chipsim; what can be said of it where there is no GPU."""

from __future__ import annotations

import ast
import csv
import sys

import pytest
from fake_torch import SCRIPT, load_script


@pytest.fixture(scope="module")
def script():
    return load_script()


def test_it_imports_nothing_but_the_standard_library_and_torch():
    tree = ast.parse(SCRIPT.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    assert found - set(sys.stdlib_module_names) == {"torch"}


def test_its_columns_are_those_that_calibrate_reads(script):
    from simulator.validation.files import TIME
    from simulator.validation.operators import OPERATORS

    assert TIME in script.COLUMNS
    assert "operator" in script.COLUMNS
    for group in script.GROUPS:
        if group in OPERATORS:
            assert set(OPERATORS[group].required) <= set(script.COLUMNS), group


def test_shapes_are_distinct_and_cover_small_and_large(script):
    for quick in (True, False):
        shapes = script.matmul_shapes(quick)
        assert len(set(shapes)) == len(shapes) > 20
        assert min(m for m, _, _ in shapes) == 1
        assert script.copy_sizes(quick)[0] == 2**16
        for decode in (True, False):
            assert script.attention_shapes(decode, quick)


def test_arguments(script, capsys):
    found = script.parse_arguments(["-o", "x.csv", "--only", "copy,matmul", "--dtypes", "fp8"])
    assert (found.only, found.dtypes, found.l2) == (["copy", "matmul"], ["fp8"], "cold")
    for words in ([], ["-o", "x", "--only", "copies"], ["-o", "x", "--repeats", "0"]):
        with pytest.raises(SystemExit) as stop:
            script.parse_arguments(words)
        assert stop.value.code == 2
    capsys.readouterr()


def test_without_torch_or_gpu_it_says_so(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert script.main(["-o", str(tmp_path / "x.csv")]) == 3
    assert "needs PyTorch" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_it_runs_on_a_cpu(script, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(script, "matmul_shapes", lambda quick: [(1, 64, 64), (16, 64, 64)])
    monkeypatch.setattr(script, "copy_sizes", lambda quick: [2**16])
    monkeypatch.setattr(script, "attention_shapes", lambda decode, quick: [(1, 4, 2, 32, 16)])
    out = tmp_path / "rows.csv"
    words = ("--device", "cpu", "--only", "matmul,copy,attention-decode,attention-prefill")
    options = ("--repeats", "2", "--warm-up", "0", "--l2", "warm")
    assert script.main(["-o", str(out), *words, *options]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 5
    assert all(float(row["measured_s"]) > 0 for row in rows)
