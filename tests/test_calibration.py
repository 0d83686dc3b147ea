"""``chipsim calibrate``: known parameters are found again, and the file names their source."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from measured_rows import HEADER, matmuls_and_copies

from simulator.api import price_collective, price_copies, price_matmuls
from simulator.cli import main
from simulator.config import load_chip
from simulator.config.loader import load_system
from simulator.config.writer import Replacement, rewrite
from simulator.config.yaml_nodes import parse_yaml
from simulator.report.calibration_out import got_worse
from simulator.validation.machine import Machine
from simulator.validation.operators import OPERATORS
from simulator.validation.parameter_values import applicable, current
from simulator.validation.parameters import PARAMETERS


def run(capsys, *words):
    status = main(words)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def measurements(tmp_path_factory):
    """Rows of a TPU v6e with other parameters than its file has."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text("\n".join([HEADER, *matmuls_and_copies()]) + "\n")
    return str(path)


def test_known_parameters_are_found_again(measurements, tmp_path, capsys):
    pytest.importorskip("scipy")
    out_file = tmp_path / "fitted.yaml"
    words = ("calibrate", "tpu-v6e", "--measurements", measurements, "-o", str(out_file))
    status, out, err = run(capsys, *words, "--format", "json")
    assert status == 0, err
    found = json.loads(out)
    assert found["held_out_percent"] < 1.5
    assert all(t["held_out_before_percent"] > 10 for t in found["tables"])
    after = {item["path"]: item["after"] for item in found["parameters"]}
    assert after["chip.hbm.efficiency"] == pytest.approx(0.75, rel=0.02)
    assert after["chip.sustained_clock"] == pytest.approx(0.8, rel=0.04)
    assert after["chip.operator_overhead"] == pytest.approx(2, rel=0.1)
    for item in found["parameters"]:
        assert item["low"] <= item["after"] <= item["high"] or not item["moved"]
    ablated = {item["path"]: item["ablated_percent"] for item in found["parameters"]}
    assert ablated["chip.hbm.efficiency"] > 5 * found["held_out_percent"]

    chip = load_chip(str(out_file))
    assert chip.hbm.efficiency == after["chip.hbm.efficiency"]
    assert {entry.operator for entry in chip.validation} == {"matmul", "copy"}
    assert "fitted by chipsim" in out_file.read_text()
    assert run(capsys, "config", "check", str(out_file))[0] == 0

    first = out_file.read_bytes()
    run(capsys, *words)
    assert out_file.read_bytes() == first


def test_what_a_collective_costs_is_found_again(tmp_path, capsys):
    pytest.importorskip("scipy")
    truth = ("system.fabric.collective_overhead=4 us", "system.fabric.hop_latency=2.5 us")
    lines = ["bytes,op,ranks,measured_s"]
    for ranks in ("2x2", "2x4"):
        fabric = load_system(f"tpu-v6e:{ranks}", truth).fabric
        for op in ("all-reduce", "all-gather"):
            for size in [2**power for power in range(8, 26)]:
                time_s = price_collective(fabric, op, size).time_s
                lines.append(f"{size},{op},{ranks},{time_s!r}")
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join(lines) + "\n")
    out_file = tmp_path / "fitted.yaml"
    words = ("calibrate", "tpu-v6e", "--operator", "collective", "--measurements", str(rows))
    status, out, err = run(capsys, *words, "-o", str(out_file), "--format", "json")
    assert status == 0, err
    found = json.loads(out)
    after = {item["path"]: item["after"] for item in found["parameters"]}
    assert after["system.fabric.collective_overhead"] == pytest.approx(4, rel=0.1)
    assert after["system.fabric.hop_latency"] == pytest.approx(2.5, rel=0.1)
    assert found["held_out_percent"] < 2
    assert load_system(str(out_file) + ":2x2").fabric.hop_latency_ps == pytest.approx(
        after["system.fabric.hop_latency"] * 1e6
    )


def test_the_host_of_a_server_is_found_again(tmp_path, capsys):
    pytest.importorskip("scipy")
    inputs = {
        "batch": np.array([1, 2, 4, 8, 16, 32]),
        "prompt_tokens": np.full(6, 512),
        "output_tokens": np.full(6, 128),
        "tp": np.ones(6, dtype=np.int64),
        "model": np.array(["llama3-8b"] * 6),
        "engine": np.array([""] * 6),
        "kv_dtype": np.array(["bf16"] * 6),
    }
    machine = Machine("h100", ("system.host_overhead=3 ms",))
    seconds = OPERATORS["server"].price(machine, "bf16", inputs)
    rows = tmp_path / "rows.csv"
    pairs = zip(inputs["batch"].tolist(), seconds.tolist(), strict=True)
    lines = [f"{batch},512,128,1,llama3-8b,{measured!r}" for batch, measured in pairs]
    head = "batch,prompt_tokens,output_tokens,tp,model,measured_s"
    rows.write_text("\n".join([head, *lines]) + "\n")
    words = ("calibrate", "h100", "--operator", "server", "--measurements", str(rows))
    out_file = tmp_path / "fitted.yaml"
    status, out, err = run(capsys, *words, "-o", str(out_file), "--format", "json")
    assert status == 0, err
    found = json.loads(out)
    (host,) = found["parameters"]
    assert host["path"] == "system.host_overhead"
    assert host["after"] == pytest.approx(3000, rel=0.05)


def test_too_few_rows_and_bad_requests(measurements, tmp_path, capsys):
    pytest.importorskip("scipy")
    few = tmp_path / "few.csv"
    few.write_text("m,k,n,measured_s\n64,64,64,1e-5\n128,64,64,1e-5\n")
    out = str(tmp_path / "o.yaml")
    base = ("calibrate", "tpu-v6e", "-o", out, "--measurements")
    status, _, err = run(capsys, *base, str(few), "--operator", "matmul")
    assert status == 3
    assert "too few" in err
    assert "no column 'operator'" in run(capsys, *base, str(few))[2]
    assert run(capsys, *base, measurements, "--hold-out", "1")[0] == 3
    assert run(capsys, *base, "none.csv")[0] == 3
    assert run(capsys, "calibrate", "tpu-v6", "-o", out, "--measurements", measurements)[0] == 3
    assert run(capsys, *base, "published", "--operator", "moe")[0] == 3
    assert not (tmp_path / "o.yaml").exists()
    assert run(capsys, "calibrate", "tpu-v6e", "--measurements", measurements)[0] == 2
    missing = ("calibrate", "tpu-v6e", "-o", str(tmp_path / "no" / "o.yaml"))
    assert run(capsys, *missing, "--measurements", measurements)[0] == 3


def test_every_parameter_is_named_bounded_and_has_a_meaning():
    paths = [parameter.path for parameter in PARAMETERS]
    assert len(set(paths)) == len(paths)
    for parameter in PARAMETERS:
        assert 0 < parameter.low < parameter.high
        assert parameter.meaning
        assert parameter.root in ("chip", "system")


@pytest.mark.parametrize("chip", ["h100", "a100", "b200", "tpu-v7x-die", "tpu-v6e", "l40s"])
def test_shipped_values_lie_within_their_bounds(chip):
    found = [p for p in applicable(chip, OPERATORS, ()) if p.root == "chip"]
    assert 3 <= len(found) <= 15
    for parameter in found:
        value = current(parameter, chip, ())
        if value:
            assert parameter.low <= value <= parameter.high, parameter.path


def test_a_preset_of_dram_has_no_efficiency_to_fit():
    paths = {parameter.path for parameter in applicable("h100", ("copy",), ())}
    assert "chip.hbm.efficiency" not in paths
    paths = {parameter.path for parameter in applicable("tpu-v6e", ("copy",), ())}
    assert "chip.hbm.efficiency" in paths


def test_a_rewritten_file_keeps_what_is_not_replaced(tmp_path):
    text = (
        "kind: chip # gone\nname: x\nhbm:\n  source: a sheet, page 1\n"
        '  bandwidth: {value: 1 TB/s, source: "a: b"}\n  list: [64x64, 1x1]\nflag: yes\n'
    )
    root = parse_yaml(text, "x.yaml")
    change = Replacement(("hbm", "latency"), "5 ns", "fitted: to rows")
    written = rewrite(root, [change, Replacement(("new", "deep"), "1", "me")], ["hello"])
    again = parse_yaml(written, "y.yaml")
    assert written.startswith("# hello\n")
    hbm = again.entries["hbm"].entries
    assert hbm["latency"].entries["value"].text == "5 ns"
    assert hbm["latency"].entries["source"].text == "fitted: to rows"
    assert hbm["bandwidth"].entries["source"].text == "a: b"
    assert hbm["source"].text == "a sheet, page 1"
    assert [item.text for item in hbm["list"].items] == ["64x64", "1x1"]
    assert again.entries["new"].entries["deep"].entries["value"].text == "1"
    assert again.entries["flag"].text == "yes"


def test_tile_overhead_and_sustained_clock_only_slow_down():
    base = load_chip("tpu-v7x-die", ("chip.tile_overhead=0 ns", "chip.sustained_clock=1"))
    shapes = [(n, n, n, "bf16") for n in (1, 256, 1000, 4096)]
    fast = [timing.time_s for timing in price_matmuls(base, shapes)]
    for change in ("chip.tile_overhead=1 us", "chip.sustained_clock=0.5"):
        slow = load_chip(
            "tpu-v7x-die", ("chip.tile_overhead=0 ns", "chip.sustained_clock=1", change)
        )
        times = [timing.time_s for timing in price_matmuls(slow, shapes)]
        assert (np.array(times) >= np.array(fast)).all()
        assert times[-1] > fast[-1]
        peak = base.peak_flops_per_s("bf16")
        assert all(2 * m * k * n / peak <= t for (m, k, n, _), t in zip(shapes, times, strict=True))


def test_a_single_tile_pays_no_tile_overhead():
    # the first tile's step is part of the operator's overhead
    quiet = load_chip("tpu-v7x-die", ("chip.tile_overhead=0 ns",))
    loud = load_chip("tpu-v7x-die", ("chip.tile_overhead=10 us",))
    shape = [(256, 256, 256, "bf16")]
    assert price_matmuls(quiet, shape)[0].cycles == price_matmuls(loud, shape)[0].cycles


def test_copies_are_never_faster_than_hbm(capsys):
    chip = load_chip("h100")
    sizes = [1, 4096, 2**20, 2**30]
    timings = price_copies(chip, sizes)
    for size, timing in zip(sizes, timings, strict=True):
        assert timing.hbm_read_bytes == timing.hbm_write_bytes == size
        assert timing.time_s >= 2 * size / chip.hbm.bandwidth_bytes_per_s
    assert [t.time_s for t in timings] == sorted(t.time_s for t in timings)
    status, out, _ = run(capsys, "op", "copy", "1MiB", "--chip", "h100", "--format", "json")
    assert status == 0
    assert json.loads(out)["time_s"] == timings[2].time_s
    assert run(capsys, "op", "copy", "--chip", "h100")[0] == 2
    assert run(capsys, "op", "copy", "0", "--chip", "h100")[0] == 3


def test_copies_from_a_file(tmp_path, capsys):
    path = tmp_path / "sizes.csv"
    path.write_text("bytes,time_s\n1024,1\n2MiB,1\n")
    status, out, _ = run(capsys, "op", "copy", "--cases", str(path), "--chip", "h100")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("bytes,input_time_s,size_bytes,")
    assert lines[2].split(",")[2] == str(2 * 2**20)
    path.write_text("bytes\n-1\n")
    status, _, err = run(capsys, "op", "copy", "--cases", str(path), "--chip", "h100")
    assert status == 3
    assert "sizes.csv:2:1" in err


def test_rows_that_a_calibration_leaves_out_are_counted(measurements, tmp_path, capsys):
    pytest.importorskip("scipy")
    path = tmp_path / "rows.csv"
    text = Path(measurements).read_text()
    path.write_text(text + "copy,,,,8192,bf16,0\ncopy,,,,1073741824,bf16,1e-9\n")
    words = ("calibrate", "tpu-v6e", "--measurements", str(path), "--operator", "copy")
    out_file = str(tmp_path / "fitted.yaml")
    status, out, err = run(capsys, *words, "-o", out_file)
    assert status == 0, err
    assert "left out: 1 row of tpu-v6e copy bf16 (rows.csv): latency is zero" in out
    assert "1 row of tpu-v6e copy bf16 (rows.csv): faster than the chip" in " ".join(out.split())
    status, out, err = run(capsys, *words, "-o", out_file, "--format", "json")
    assert [item["count"] for item in json.loads(out)["left_out"]] == [1, 1]


def test_a_fit_that_makes_held_out_rows_worse_says_so():
    table = SimpleNamespace(operator="copy", dtype="bf16")
    item = SimpleNamespace(table=table, held_out_before_percent=3.7, held_out_after_percent=7.3)
    (line,) = got_worse(item)
    assert line.startswith("the fit does not help copy bf16: ")
    assert line.endswith("rises from 3.7 to 7.3 %")
    item.held_out_after_percent = 3.7
    assert got_worse(item) == ()
