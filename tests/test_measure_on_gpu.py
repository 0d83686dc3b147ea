"""The measuring script on a GPU of virtual time: what it times, rotates, leaves out and keeps."""

from __future__ import annotations

import csv
import ctypes
from types import SimpleNamespace

import pytest
from fake_torch import LAUNCH_S, FakeTorch, load_script

MATMULS = [(1, 64, 64), (16, 64, 128), (32, 64, 64)]


@pytest.fixture
def script():
    return load_script()


@pytest.fixture
def torch(script, monkeypatch):
    monkeypatch.setattr(script, "matmul_shapes", lambda quick: MATMULS)
    monkeypatch.setattr(script, "copy_sizes", lambda quick: [2**16])
    monkeypatch.setattr(script, "attention_shapes", lambda decode, quick: [(2, 8, 4, 64, 128)])
    monkeypatch.setattr(script.Sensors, "LIBRARY", "no-such-library.so")
    return FakeTorch(monkeypatch)


def measure(script, path, only="matmul", *words):
    options = ("--repeats", "5", "--warm-up", "0", "--sustain", "0.001")
    status = script.main(["-o", str(path), "--only", only, *options, *words])
    return status, rows_of(path) if path.exists() else []


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_host_is_not_timed(script, torch, tmp_path):
    """A launch takes longer than a call; what is measured is the call."""
    assert torch.call_s < LAUNCH_S
    everything = "matmul,copy,attention-decode,attention-prefill,sustained"
    status, rows = measure(script, tmp_path / "rows.csv", everything)
    assert status == 0
    assert len(rows) == 3 + 1 + 2 + 3
    for row in rows:
        assert float(row["measured_s"]) == pytest.approx(torch.call_s, rel=1e-6)
        assert row["note"] == "" or row["operator"] == "matmul-sustained"
        assert int(row["calls"]) * torch.call_s >= 8e-5


def test_buffers_are_twice_the_l2(script, torch, tmp_path):
    _, rows = measure(script, tmp_path / "cold.csv", "matmul,copy,attention-decode")
    sizes = [2 * 64 * 64, 2 * 64 * 128, 2 * 64 * 64, 2 * 2**16, 2 * 2 * 4 * 128 * 64 * 2]
    for row, size in zip(rows, sizes, strict=True):
        assert int(row["buffers"]) * size == 2 * 2**20
        assert row["l2"] == "cold"
        assert int(row["calls"]) % int(row["buffers"]) == 0
    # a copy is priced from memory to memory
    _, rows = measure(script, tmp_path / "warm.csv", "matmul,copy", "--l2", "warm")
    assert [row["buffers"] for row in rows] == ["1", "1", "1", "16"]
    assert [row["l2"] for row in rows] == ["warm", "warm", "warm", "cold"]


def test_operands_are_as_the_kernels_want_them(script, torch, tmp_path):
    words = ("--dtypes", "bf16,fp8,int8")
    _, rows = measure(script, tmp_path / "rows.csv", "matmul,attention-decode", *words)
    assert ("matmul", ((16, 64), (64, 128), (16, 128))) in torch.calls
    assert ("fp8", ((1, 64), (64, 64))) in torch.calls
    assert ("attend", ((2, 8, 1, 64), (2, 4, 128, 64), (2, 4, 128, 64))) in torch.calls
    # PyTorch's int8 matmul takes more than 16 rows only
    assert [row["m"] for row in rows if row["dtype"] == "int8"] == ["32"]


def test_what_cannot_run_is_left_out_and_counted(script, torch, tmp_path, capsys):
    torch.faults = {"fp8": RuntimeError("_scaled_mm needs 8.9\nmore"), "largest": 2**20 - 1}
    words = ("--dtypes", "bf16,fp8")
    status, rows = measure(script, tmp_path / "rows.csv", "matmul,copy", *words)
    assert (status, [row["operator"] for row in rows]) == (1, [])
    torch.faults["largest"] = 2**20
    status, rows = measure(script, tmp_path / "rows.csv", "matmul,copy", *words)
    assert (status, [row["operator"] for row in rows]) == (0, ["matmul"] * 3 + ["copy"])
    said = capsys.readouterr().err
    assert "left out: 3 rows of matmul fp8: _scaled_mm needs 8.9\n" in said
    assert "left out: 3 rows of matmul bf16: out of memory" in said
    assert "left out: 1 row of copy bf16: out of memory" in said
    assert "nothing could be measured" in said
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(("fault", "code"), [("device", 1), ("late", 1), ("interrupt", 130)])
def test_rows_so_far_are_kept(script, torch, tmp_path, capsys, monkeypatch, fault, code):
    def broken(bench):
        if fault == "interrupt":
            raise KeyboardInterrupt
        if fault == "late":  # outside of a row, as a fault that shows only at the next call
            raise RuntimeError("CUDA error: an illegal memory access\nmore")
        torch.faults["device"] = RuntimeError("CUDA error: an illegal memory access")
        yield from bench.row({"operator": "copy"}, lambda: [torch.ones])

    monkeypatch.setattr(script, "copies", broken)
    status, rows = measure(script, tmp_path / "rows.csv", "matmul,copy")
    assert (status, rows) == (code, [])
    part = tmp_path / "rows.csv.part"
    assert len(rows_of(part)) == 3
    said = capsys.readouterr().err
    assert str(part) in said
    assert ("interrupted" if fault == "interrupt" else "illegal memory access") in said


def test_other_ranks_measure_nothing_alone(script, torch, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    status, _ = measure(script, tmp_path / "rows.csv", "matmul,sustained")
    assert status == 0
    assert not list(tmp_path.iterdir())
    assert torch.calls == []
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert measure(script, tmp_path / "rows.csv")[0] == 3
    assert "local rank 2, but only 2 GPUs" in capsys.readouterr().err


def test_bad_places_and_machines_are_refused(script, torch, tmp_path, capsys, monkeypatch):
    assert measure(script, tmp_path / "no" / "rows.csv")[0] == 3
    assert "there is no folder" in capsys.readouterr().err
    assert script.main(["-o", str(tmp_path)]) == 3
    assert "is a folder" in capsys.readouterr().err
    assert measure(script, tmp_path / "rows.csv", "collective")[0] == 1
    assert "torchrun" in capsys.readouterr().err
    torch.cuda.is_available = lambda: False
    assert measure(script, tmp_path / "rows.csv")[0] == 3
    assert "finds no CUDA device" in capsys.readouterr().err
    torch.cuda.is_available = lambda: True
    monkeypatch.setattr(script, "Bench", lambda *_: torch.call("start"))
    torch.faults["start"] = RuntimeError("CUDA error: devices are busy\nmore")
    assert measure(script, tmp_path / "rows.csv")[0] == 1
    assert "does not start: CUDA error: devices are busy\n" in capsys.readouterr().err
    for words in (["--repeats", "0"], ["--warm-up", "nan"], ["--sustain", "inf"]):
        with pytest.raises(SystemExit):
            measure(script, tmp_path / "rows.csv", "matmul", *words)
    assert not list(tmp_path.iterdir())


def test_sensors_are_those_of_the_device(script, monkeypatch):
    """The library writes through pointers and returns 0; the GPU is found by its identity."""

    def write(place, value, status=0):
        place._obj.value = value
        return status

    def clock(handle, kind, place):
        assert (handle.value, kind.value) == (7, 1)
        return write(place, 1755)

    reasons = "nvmlDeviceGetCurrentClocksThrottleReasons"
    library = SimpleNamespace(
        nvmlInit_v2=lambda: 0,
        nvmlDeviceGetHandleByUUID=lambda name, at: write(at, 7, 0 if name == b"GPU-1-2" else 6),
        nvmlSystemGetDriverVersion=lambda text, size: setattr(text, "value", b"575.57") or 0,
        nvmlDeviceGetClockInfo=clock,
        nvmlDeviceGetPowerUsage=lambda handle, place: write(place, 698_120),
        nvmlDeviceGetTemperature=lambda handle, kind, place: 3,  # not supported
        **{reasons: lambda handle, place: write(place, 0x24)},
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    sensors = script.Sensors("1-2", 0)
    assert sensors.driver == "575.57"
    assert sensors.read() == (1755, "698.1", "", "heat power")
    # another GPU's clock is worse than none
    assert script.Sensors("other", 0).read() == ("", "", "", "")
