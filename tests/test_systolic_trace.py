"""Traces and listings say what the counts say, and nothing is used before it has come."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.report import systolic_trace
from simulator.report.systolic_cells import CellView, fits_screen, frame, timeline
from simulator.report.systolic_trace import kind_names, read_trace, write_trace
from simulator.timing.systolic import SystolicCase, systolic_timing
from simulator.timing.systolic_schedule import systolic_schedule

MODES = [("ws", "single"), ("os", "single"), ("is", "single"), ("ws", "double"), ("is", "double")]
MEMORIES = [
    (None, None, None, None),
    (600, 600, 600, Fraction(7, 2)),
    (120, 150, 90, Fraction(3)),
]


def words_of(path: str) -> dict[tuple[str, str, str], dict[int, list[int]]]:
    """Cycles of every word by memory, operand and access."""
    moved: dict[tuple[str, str, str], dict[int, list[int]]] = {}
    before = -(10**9)
    for piece in read_trace(path):
        for cycle, address, stride, words, kind in zip(
            *(piece[name].tolist() for name in systolic_trace.COLUMNS), strict=True
        ):
            assert cycle >= before
            before = cycle
            for index in range(words):
                place = moved.setdefault(kind_names(kind), {})
                place.setdefault(address + index * stride, []).append(cycle)
    return moved


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("macs", [1, 2])
def test_trace_agrees_with_the_counts(mode, memory, macs, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(systolic_trace, "CHUNK", 300)
    case = SystolicCase(19, 13, 11, 4, 5, *mode, macs, 1, *memory)
    path = str(tmp_path / "moves.npz")
    write_trace(case, path)
    moved = words_of(path)
    timing = systolic_timing(case)

    def total(*name: str) -> int:
        return sum(len(cycles) for cycles in moved.get(name, {}).values())

    assert total("sram", "ifmap", "read") == timing.sram_ifmap_reads
    assert total("sram", "filter", "read") == timing.sram_filter_reads
    assert total("sram", "ofmap", "write") == timing.sram_ofmap_writes
    assert total("dram", "ifmap", "read") == timing.dram_ifmap_reads
    assert total("dram", "filter", "read") == timing.dram_filter_reads
    assert total("dram", "ofmap", "read") == timing.dram_ofmap_reads
    assert total("dram", "ofmap", "write") == timing.dram_ofmap_writes
    # every element moves, and under its own address
    assert len(moved["sram", "ifmap", "read"]) == 19 * 13
    assert len(moved["sram", "filter", "read"]) == 13 * 11
    assert sorted(moved["sram", "ofmap", "write"]) == list(range(8192, 8192 + 19 * 11))
    assert min(moved["dram", "filter", "read"]) == 4096
    for operand in ("ifmap", "filter"):
        for address, cycles in moved["sram", operand, "read"].items():
            assert min(cycles) >= min(moved["dram", operand, "read"][address])
    for address, cycles in moved["dram", "ofmap", "write"].items():
        slack = case.rows if case.dataflow == "os" else 0  # rows shift out one by one
        assert max(cycles) + slack >= max(moved["sram", "ofmap", "write"][address])
    last = max(max(c) for c in moved["sram", "ofmap", "write"].values())
    if case.dataflow != "os":
        assert last == timing.cycles - 1


def test_csv_and_npz_hold_the_same(tmp_path: Path) -> None:
    case = SystolicCase(9, 10, 11, 4, 4, "ws", "single", 1, 1, 300, 40, 100, Fraction(2))
    count = write_trace(case, str(tmp_path / "a.npz"))
    assert write_trace(case, str(tmp_path / "a.csv")) == count
    with (tmp_path / "a.csv").open(newline="") as stream:
        listed = [tuple(row.values()) for row in csv.DictReader(stream)]
    packed = []
    for piece in read_trace(str(tmp_path / "a.npz")):
        for index, kind in enumerate(piece["kind"]):
            numbers = [str(piece[name][index]) for name in ("address", "stride", "words")]
            packed.append((str(piece["cycle"][index]), *kind_names(int(kind)), *numbers))
    assert listed == packed
    assert int(listed[0][0]) < 0  # the cold start comes before cycle 0
    again = tmp_path / "b.npz"
    write_trace(case, str(again))
    assert again.read_bytes() == (tmp_path / "a.npz").read_bytes()


def test_refuses_other_endings_and_missing_directories(tmp_path: Path) -> None:
    case = SystolicCase(4, 4, 4, 4, 4)
    with pytest.raises(InputError, match=r"\.txt"):
        write_trace(case, str(tmp_path / "a.txt"))
    with pytest.raises(InputError):
        write_trace(case, str(tmp_path / "no" / "a.csv"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(InputError):
        list(read_trace(str(tmp_path / "bad.npz")))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("memory", MEMORIES)
def test_cells_multiply_as_often_as_they_must(mode, memory) -> None:
    case = SystolicCase(7, 6, 5, 4, 3, *mode, 1, 1, *memory)
    cycles = systolic_timing(case).cycles
    view = CellView(case, systolic_schedule(case), cycles)
    letters = "".join("".join(view.states(cycle)) for cycle in range(cycles))
    assert letters.count("*") + letters.count("#") == 7 * 6 * 5
    assert "*" not in "".join(view.states(cycles)) + "".join(view.states(-1))
    if mode[1] == "single":
        assert "#" not in letters


def test_busy_cells_of_each_cycle_are_those_of_the_slow_array() -> None:
    from reference_systolic import run

    for mode in MODES:
        case = SystolicCase(5, 7, 6, 3, 4, *mode)
        a = np.ones((5, 7), np.int64)
        b = np.ones((7, 6), np.int64)
        _, cycles, busy = run(*mode, a, b, 3, 4)
        view = CellView(case, systolic_schedule(case), cycles)
        shown = ["".join(view.states(cycle)) for cycle in range(cycles)]
        assert [text.count("*") + text.count("#") for text in shown] == busy.tolist()


def test_listing_and_timeline() -> None:
    case = SystolicCase(2, 3, 2, 3, 2, "ws")
    view = CellView(case, systolic_schedule(case), 8)
    assert frame(view, 0).splitlines()[1:] == [
        "  fold 1: B[2, 0:2] enters from the top, bound for row 2",
        "  L L",
        "  . .",
        "  . .",
    ]
    assert "C[0, 0:2] leaves below, complete" in frame(view, 6)
    large = SystolicCase(100, 512, 2048, 128, 128, "ws")
    cycles = systolic_timing(large).cycles
    assert fits_screen(case, 8)
    assert not fits_screen(large, cycles)
    lines = list(timeline(large, systolic_schedule(large), cycles))
    assert lines[0].startswith("64 folds in")
    assert lines[-1] == f"... and 52 more folds, the last of which ends at cycle {cycles}"
    assert all("L" in line and "*" in line and ">" in line for line in lines[2:-1])
