"""What a calibration says of its own certainty, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from measured_rows import HEADER, TRUTH, matmuls_and_copies

from simulator.cli import main
from simulator.config import load_chip
from simulator.validation.certainty import standard_errors


def run(capsys, *words):
    status = main(words)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Rows of a TPU v6e with other parameters than its file has, scattered by 3 %."""
    lines = matmuls_and_copies(scatter=0.03, seed=3)
    others = ["matmul-sustained,4096,4096,4096,,bf16,1e-4"] * 3 + ["collective,,,,64,bf16,1e-5"]
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text("\n".join([HEADER, *lines, *others]) + "\n")
    return str(path)


def test_noise_of_a_measurement_is_seen_in_the_errors(noisy, tmp_path, capsys):
    pytest.importorskip("scipy")
    out_file = tmp_path / "fitted.yaml"
    words = ("calibrate", "tpu-v6e", "--measurements", noisy, "-o", str(out_file))
    status, out, err = run(capsys, *words, "--format", "json")
    assert status == 0, err
    found = json.loads(out)
    by_path = {item["path"]: item for item in found["parameters"]}
    for path, true in TRUTH.items():
        item = by_path[path]
        assert item["moved"]
        assert abs(item["after"] - true) < 4 * item["standard_error"]
        assert item["standard_error"] < 0.05 * true
    counts = {item["operator"]: item["count"] for item in found["left_out"]}
    assert counts == {"matmul-sustained": 3, "collective": 1}
    status, out, _ = run(capsys, *words)
    said = " ".join(out.split())
    assert "3 rows of tpu-v6e matmul-sustained (rows.csv): no operator with" in said
    assert "fitted by itself, with --operator collective" in said


def test_one_parameter_may_be_fitted_alone(noisy, tmp_path, capsys):
    pytest.importorskip("scipy")
    base = ("calibrate", "tpu-v6e", "--measurements", noisy, "--operator", "copy", "-o")
    out_file = str(tmp_path / "fitted.yaml")
    alone = ("--parameter", "chip.hbm.efficiency", "--format", "json")
    status, out, err = run(capsys, *base, out_file, *alone)
    assert status == 0, err
    assert [item["path"] for item in json.loads(out)["parameters"]] == ["chip.hbm.efficiency"]
    chip, old = load_chip(out_file), load_chip("tpu-v6e")
    assert chip.hbm.efficiency != old.hbm.efficiency
    assert chip.operator_overhead_ps == old.operator_overhead_ps
    status, _, err = run(capsys, *base, out_file, "--parameter", "chip.hbm.eficiency")
    assert status == 3
    assert "did you mean 'chip.hbm.efficiency'" in err


def test_too_few_rows_say_where_the_others_are(tmp_path, capsys):
    pytest.importorskip("scipy")
    path = tmp_path / "same.csv"
    path.write_text("m,k,n,measured_s\n" + "64,64,64,1e-5\n" * 9)
    words = ("--operator", "matmul", "--measurements", str(path), "-o", str(tmp_path / "o.yaml"))
    status, _, err = run(capsys, "calibrate", "tpu-v6e", *words)
    assert status == 3
    assert "8 rows of tpu-v6e matmul bf16 (same.csv): the same inputs" in err
    assert "--parameter" in err


def test_the_file_says_what_was_measured(noisy, tmp_path, capsys):
    """Device and versions stand in the rows of the measuring script."""
    pytest.importorskip("scipy")
    head, *lines = Path(noisy).read_text().splitlines()
    rows = [f"{line},TPU v6e,2.9.0,{'12.8' if i % 2 else ''}" for i, line in enumerate(lines)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([f"{head},device,torch,cuda", *rows]) + "\n")
    out_file = tmp_path / "fitted.yaml"
    words = ("--measurements", str(path), "--operator", "copy", "-o", str(out_file))
    status, out, err = run(capsys, "calibrate", "tpu-v6e", *words, "--format", "json")
    assert status == 0, err
    origin = "TPU v6e, torch 2.9.0, cuda 12.8"
    assert json.loads(out)["tables"][0]["origin"] == origin
    assert f"; measured on {origin}, seed 0" in out_file.read_text()


def test_a_value_that_no_row_depends_on_stays(noisy, tmp_path, capsys):
    """Copies do not tell the clock of the matrix unit."""
    pytest.importorskip("scipy")
    out_file = tmp_path / "fitted.yaml"
    words = ("--measurements", noisy, "--operator", "copy", "-o", str(out_file))
    status, out, err = run(capsys, "calibrate", "tpu-v6e", *words, "--format", "json")
    assert status == 0, err
    by_path = {item["path"]: item for item in json.loads(out)["parameters"]}
    clock = by_path["chip.sustained_clock"]
    assert (clock["moved"], clock["standard_error"]) == (False, None)
    assert clock["after"] == clock["before"] == load_chip("tpu-v6e").sustained_clock
    assert by_path["chip.hbm.efficiency"]["moved"]
    (line,) = [text for text in out_file.read_text().splitlines() if "sustained_clock:" in text]
    assert "fitted by chipsim" not in line
    out = " ".join(run(capsys, "calibrate", "tpu-v6e", *words)[1].split())
    assert "left as before, since no other value fits better: chip.sustained_clock" in out


def test_a_standard_error_is_that_of_a_straight_line():
    random = np.random.default_rng(0)
    place = random.uniform(1, 2, 4000)
    residuals = random.normal(0, 0.1, 4000)
    jacobian = np.column_stack([place, np.zeros(4000)])
    slope, unseen = standard_errors(jacobian, residuals)
    assert slope == pytest.approx(0.1 / np.sqrt((place**2).sum()), rel=0.05)
    assert unseen == np.inf


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m;k;n;measured_s\n64;64;64;1e-5\n", "parted by semicolons"),
        ("m;k;n;measured_s\n64;64;64;1,5e-5\n", "parted by semicolons"),
        ("m\tk\tn\tmeasured_s\n64\t64\t64\t1e-5\n", "parted by tabs"),
        ('m,k,n,measured_s\n"1,024",64,64,1e-5\n', "without separators of thousands"),
    ],
)
def test_other_separators_are_named(tmp_path, capsys, text, said):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    words = ("validate", "h100", "--operator", "matmul", "--table", str(path))
    status, _, err = run(capsys, *words)
    assert status == 3
    assert said in err
