"""The contract of ``chipsim systolic``: keys, files, errors and exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.cli.entry import main

KEYS = [
    "schema",
    "folds",
    "cycles",
    "compute_cycles",
    "stall_cycles",
    "fill_drain_cycles",
    "utilization",
    "mapping_efficiency",
    "sram_reads",
    "sram_writes",
    "dram_reads",
    "dram_writes",
]
HEADER = "m,k,n,rows,cols,dataflow"


def chipsim(capsys, *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["systolic", *args]))
    out, err = capsys.readouterr()
    code = ended.value.code
    return (0 if code is None else int(code)), out, err


def cases(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "in.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_json_has_the_keys_of_the_contract(capsys) -> None:
    args = ("6x4x8", "--array", "4x4", "--dataflow", "ws", "--format", "json")
    code, out, _ = chipsim(capsys, *args)  # the first call may announce that kernels are compiled
    document = json.loads(out)
    assert code == 0
    assert [key for key in KEYS if key not in document] == []
    assert document["schema"] == "chipsim.systolic/1"
    # two folds of 4 + 6 + 4 + 4 - 2 cycles
    assert document["cycles"] == document["compute_cycles"] + document["stall_cycles"] == 32
    assert document["fill_drain_cycles"] == 32 - 2 * 6
    assert document["utilization"] == 6 * 4 * 8 / (16 * 32)
    assert document["dram_reads"] == 6 * 4 + 4 * 8
    assert chipsim(capsys, *args) == (0, out, "")


def test_finite_memory_by_options(capsys) -> None:
    code, out, _ = chipsim(
        capsys, "1x4x4", "--array", "2x2", "--dataflow", "ws", "--format", "json",
        "--sram-ifmap-bytes", "8", "--sram-filter-bytes", "8", "--sram-ofmap-bytes", "8",
        "--bandwidth-words-per-cycle", "0.5",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert (document["compute_cycles"], document["stall_cycles"]) == (20, 9)
    assert document["cycles"] == 29


def test_cases_come_back_with_results(capsys, tmp_path: Path) -> None:
    path = cases(
        tmp_path,
        "name," + HEADER + ",load,sram_ifmap_bytes,sram_filter_bytes,sram_ofmap_bytes,"
        "bandwidth_words_per_cycle,cycles",
        'first,8,8,8,8,8,ws,,,,,,"measured, 31"',
        "second,1,4,4,2,2,ws,single,8,8,8,0.5,",
        "third,8,8,8,8,8,ws,double,,,,,",
    )
    code, out, err = chipsim(capsys, "--cases", path)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, err) == (0, "")
    assert [row["name"] for row in rows] == ["first", "second", "third"]
    assert [row["cycles"] for row in rows] == ["30", "29", "30"]
    assert [row["stall_cycles"] for row in rows] == ["0", "9", "0"]
    assert rows[0]["input_cycles"] == "measured, 31"


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        ((HEADER, "8,8,8,8,8,ws", "8,8,8,0,8,ws"), ":3:7", "found '0'"),
        ((HEADER, "8,8,8,8,8,ws", "8,-8,8,8,8,ws"), ":3:3", "found '-8'"),
        ((HEADER, "8,8,8,8,8,ws", "8,8,eight,8,8,ws"), ":3:5", "found 'eight'"),
        ((HEADER, "8,8,8,8,8,wss"), ":2:11", "did you mean 'ws'"),
        ((HEADER, "8,8,nan,8,8,ws"), ":2:5", "whole number"),
        (("m,k,n,rows,dataflow", "8,8,8,8,ws"), ":1", "missing column 'cols'"),
        ((HEADER + ",load", "8,8,8,8,8,os,double"), ":2:14", "stationary operand"),
        ((HEADER + ",sram_filter_bytes", "8,8,8,8,8,ws,63"), ":2:14", "64 or more, one tile"),
        ((HEADER + ",bandwidth_words_per_cycle", "8,8,8,8,8,ws,inf"), ":2:14", "found 'inf'"),
        ((HEADER + ",bandwidth_words_per_cycle", "8,8,8,8,8,ws,4"), ":2", "three buffers"),
        ((HEADER + ",bandwith_words_per_cycle", "8,8,8,8,8,ws,4"), "in.csv", "did you mean"),
        ((HEADER + ",bandwidth", "8,8,8,8,8,ws,4"), "in.csv", "did you mean 'bandwidth_words"),
        ((HEADER, "8,8,8,8,8"), ":2:1", "expected 6"),
    ],
)
def test_bad_cases_name_their_place_and_print_nothing(
    capsys, tmp_path: Path, lines, place: str, message: str
) -> None:
    code, out, err = chipsim(capsys, "--cases", cases(tmp_path, *lines))
    assert (code, out) == (3, "")
    assert f"in.csv{place}" in err or place == "in.csv"
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("8x8", "--array", "4x4", "--dataflow", "ws"), 3),
        (("0x8x8", "--array", "4x4", "--dataflow", "ws"), 3),
        (("8x8x8", "--array", "0x4", "--dataflow", "ws"), 3),
        (("8x8x8", "--array", "2000x4", "--dataflow", "ws"), 3),
        (("8x8x8", "--array", "4x4", "--dataflow", "rs"), 3),
        (("8x8x8", "--array", "4x4", "--dataflow", "os", "--load", "double"), 3),
        (("8x8x8", "--array", "4x4", "--dataflow", "ws", "--sram-filter-bytes", "15"), 3),
        (("8x8x8", "--array", "4x4", "--dataflow", "ws", "--trace", "x.txt"), 3),
        (("8x8x8", "--array", "4x4", "--dataflow", "ws", "--bandwidth-words-per-cycle", "nan"), 3),
        (("--cases", "no-such-file.csv"), 3),
        (("8x8x8",), 2),
        ((), 2),
        (("8x8x8", "--cases", "x.csv"), 2),
        (("8x8x8", "--array", "4x4", "--dataflow", "ws", "--show", "--format", "json"), 2),
    ],
)
def test_exit_codes(capsys, args: tuple[str, ...], code: int) -> None:
    found, out, err = chipsim(capsys, *args)
    assert (found, out) == (code, "")
    assert err.startswith(("error:", "Usage:"))


def test_show_lists_every_cycle(capsys) -> None:
    code, out, _ = chipsim(
        capsys, "2x4x4", "--array", "4x4", "--dataflow", "ws", "--show", "--format", "text"
    )
    assert code == 0
    assert out.count("\ncycle ") == 12
    assert out.count("*") - 1 == 2 * 4 * 4  # one in the legend


def test_trace_file(capsys, tmp_path: Path) -> None:
    path = tmp_path / "moves.csv"
    code, out, err = chipsim(
        capsys, "4x4x4", "--array", "4x4", "--dataflow", "os", "--trace", str(path)
    )
    assert code == 0
    assert "cycles" in out
    assert str(path) in err
    lines = path.read_text().splitlines()
    assert lines[0] == "cycle,memory,operand,access,address,stride,words"
    assert len(lines) == 1 + 4 + 4 + 4 + 3 * 4


def test_help_needs_no_heavy_imports() -> None:
    script = (
        "import sys\n"
        "from simulator.cli.entry import main\n"
        "try:\n    main(['systolic', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "bad = [n for n in ('numpy', 'numba', 'pydantic') if n in sys.modules]\n"
        "sys.exit(1 if bad else 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
