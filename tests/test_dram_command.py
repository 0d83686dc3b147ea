"""``chipsim memory``: its contract, cases files, trace replay, and bad input."""

from __future__ import annotations

import csv
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.cli import main
from simulator.config.dram_schema import list_memories
from simulator.config.loader import load_memory
from simulator.errors import InputError

HEADER = "preset,pattern,requests,queue,refresh,address_map\n"


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code: object = 0
    try:
        code = main(["memory", *args])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return (code if isinstance(code, int) else 0), out, err


def test_json_has_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("hbm2-2000", "--pattern", "sequential", "--requests", "2000", "--format", "json")
    code, out, _ = run(capsys, *args)
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "chipsim.memory/1"
    assert {
        "bandwidth_bytes_per_s",
        "fraction_of_peak",
        "row_hits",
        "row_misses",
        "row_conflicts",
        "mean_latency_s",
        "bound_by",
    } <= set(document)
    assert run(capsys, *args)[1] == out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("hbm33", "--pattern", "random"), "hbm3-6400"),
        (("hbm2-2000", "--pattern", "randm"), "random"),
        (("hbm2-2000", "--pattern", "stride:-4"), "stride:BYTES"),
        (("hbm2-2000", "--pattern", "block:0"), "block:BYTES"),
        (("hbm2-2000", "--pattern", "random", "--address-map", "RoBaRaCoCc"), "RoBaRaCoCh"),
        (("hbm2-2000", "--pattern", "random", "--address-map", "pc.bg.col.row"), "'ba'"),
        (("hbm2-2000", "--pattern", "random", "--write-fraction", "nan"), "--write-fraction"),
        (("hbm2-2000", "--pattern", "random", "--write-fraction", "1.5"), "0 to 1"),
        (("hbm2-2000", "--pattern", "random", "--refresh", "none"), "per-bank"),
        (("hbm2-2000", "--pattern", "random", "--queue", "0"), "--queue"),
    ],
)
def test_bad_values_end_with_3(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, *args)
    assert (code, out) == (3, "")
    assert message in err
    assert "Traceback" not in err


def test_cases_come_back_with_results(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(
        HEADER
        + "hbm2-2000,sequential,1000,64,all,pc.bg.col.sid.ba.row\n"
        + "hbm3-6400,block:512,1000,128,off,RoBaRaCoCh\n"
    )
    code, out, _ = run(capsys, "--cases", str(path))
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [row["preset"] for row in rows] == ["hbm2-2000", "hbm3-6400"]
    assert all(0 < float(row["fraction_of_peak"]) < 1 for row in rows)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("block:1", "block:1 reads whole bursts of 32 bytes, 32 a block"),
        ("block:100", "block:100 reads whole bursts of 32 bytes, 128 a block"),
        ("stride:16", "stride:16: each access moves the whole burst of 32 bytes"),
        ("stride:1000000000000", "within the channel's"),
        ("block:64", None),
        ("stride:96", None),
        ("random", None),
    ],
)
def test_what_is_no_whole_bursts_is_not_rounded_silently(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pattern: str, said: str | None
) -> None:
    args = ("hbm2-2000", "--pattern", pattern, "--requests", "100", "--format", "json")
    code, out, err = run(capsys, *args)
    document = json.loads(out)
    path = tmp_path / "cases.csv"
    path.write_text(HEADER + f"hbm2-2000,{pattern},100,,,\n")
    noted = run(capsys, "--cases", str(path))[2]
    assert (code, document["burst_bytes"]) == (0, 32)
    if said is None:
        assert (err, noted) == ("", "")
        assert "note" not in document
    else:
        assert said in document["note"]
        assert said in err
        assert said in noted
        assert "cases.csv:2" in noted


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ("hbm9,sequential,1000,64,all,RoBaRaCoCh", ":3:1"),
        ("hbm2-2000,zigzag,1000,64,all,RoBaRaCoCh", ":3:11"),
        ("hbm2-2000,random,many,64,all,RoBaRaCoCh", ":3:18"),
        ("hbm2-2000,random,1000,-1,all,RoBaRaCoCh", ":3:23"),
        ("hbm2-2000,random,1000,64,never,RoBaRaCoCh", ":3:26"),
        ("hbm2-2000,random,1000,64,all,bogus", ":3:30"),
    ],
)
def test_a_bad_cell_is_named_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, row: str, place: str
) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(HEADER + "hbm2-2000,sequential,1000,64,all,RoBaRaCoCh\n" + row + "\n")
    code, out, err = run(capsys, "--cases", str(path))
    assert (code, out) == (3, "")
    assert f"cases.csv{place}" in err


def test_a_missing_column_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("preset,pattern,requests,queue,address_map\nhbm2-2000,random,10,8,RoBaRaCoCh\n")
    code, _, err = run(capsys, "--cases", str(path))
    assert code == 3
    assert "refresh" in err


def test_replay_of_single_accesses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text, archive = tmp_path / "trace.csv", tmp_path / "trace.npz"
    # four words of one burst, then a write elsewhere
    text.write_text("cycle,address,write\n0,0,0\n0,8,0\n1,16,0\n1,24,0\n500,4096,1\n")
    np.savez_compressed(
        archive,
        cycle=np.array([0, 0, 1, 1, 500]),
        address=np.array([0, 8, 16, 24, 4096]),
        write=np.array([0, 0, 0, 0, 1]),
    )
    documents = []
    for path in (text, archive):
        code, out, _ = run(capsys, "hbm2-2000", "--trace", str(path), "--format", "json")
        assert code == 0
        documents.append(json.loads(out))
    assert documents[0] == documents[1]
    assert documents[0]["requests"] == 2
    assert documents[0]["time_s"] > 500e-9


FINITE = [
    word for operand in ("ifmap", "filter", "ofmap") for word in (f"--sram-{operand}-bytes", "2048")
] + ["--bandwidth-words-per-cycle", "10"]


@pytest.mark.parametrize("ending", ["csv", "npz"])
@pytest.mark.parametrize("memory", [[], FINITE], ids=["ideal", "finite"])
def test_replay_of_a_systolic_trace(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ending: str, memory: list[str]
) -> None:
    """With finite memory the trace begins before cycle 0, with the cold start."""
    path = tmp_path / f"trace.{ending}"
    systolic = ["systolic", "64x64x64", "--array", "8x8", "--dataflow", "ws", *memory]
    try:
        main([*systolic, "--trace", str(path)])
    except SystemExit as end:
        assert not end.code
    capsys.readouterr()
    code, out, err = run(capsys, "hbm2-2000", "--trace", str(path), "--format", "json")
    assert code == 0, err
    document = json.loads(out)
    # at least A, B and C once, in bursts of 32 bytes
    assert document["requests"] >= 3 * 64 * 64 // 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cycle,address\n0,0\n", "trace.csv:1"),
        ("cycle,address,write\n0,0,0\n1,x,0\n", "trace.csv:3"),
        ("cycle,address,write\n5,0,0\n4,0,0\n", "trace.csv:3"),
        ("cycle,address,write\n0,-5,0\n", "trace.csv:2"),
        ("cycle,address,write\n0,0,2\n", "trace.csv:2"),
        ("cycle,address,write\n", "no DRAM accesses"),
    ],
)
def test_bad_traces(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    code, out, err = run(capsys, "hbm2-2000", "--trace", str(path))
    assert (code, out) == (3, "")
    assert message in err


def test_grammar_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys)[0] == 2
    assert run(capsys, "hbm2-2000")[0] == 2


def test_every_preset_states_its_source_and_a_bad_file_is_located(tmp_path: Path) -> None:
    assert {"hbm2-2000", "hbm3-6400"} <= set(list_memories())
    for name in list_memories():
        channel = load_memory(name)
        assert channel.name == name
        assert channel.source
    good = Path(__file__).parent.parent / "configs" / "memories" / "hbm2-2000.yaml"
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace("  rp: 14", "  rpp: 14"))
    with pytest.raises(InputError, match="rpp") as caught:
        load_memory(bad)
    assert caught.value.location is not None
    assert caught.value.location.line is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  refi: 6240", "  refi: 600", "rfc \\+ rc must be below refi"),
        ("  rfc_pb: 320", "  rfc_pb: 6240", "must be below refi_pb x 32 banks"),
    ],
)
def test_refreshes_that_would_never_end_are_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    good = Path(__file__).parent.parent / "configs" / "memories" / "hbm3-6400.yaml"
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        load_memory(bad)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (None, "not an archive of arrays of numbers"),
        ({"cycle": [0.5, float("nan")]}, "'cycle' is of float64 in 1 dimensions"),
        ({"cycle": [[0, 1], [2, 3]]}, "'cycle' is of int64 in 2 dimensions"),
        ({"address": [1]}, "'address' has 1 numbers and 'cycle' 2"),
        ({"write": [0, 7]}, "other values than 0 and 1"),
        ({"address": [None, 1]}, "not an archive of arrays of numbers"),
    ],
)
def test_odd_archives_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arrays: dict[str, Any] | None, said: str
) -> None:
    path = tmp_path / "trace.npz"
    path.write_bytes(b"")
    if arrays is not None:
        whole = {"cycle": [0, 1], "address": [0, 64], "write": [0, 1], **arrays}
        np.savez(path, **{name: np.array(values) for name, values in whole.items()})
    code, out, err = run(capsys, "hbm2-2000", "--trace", str(path))
    assert (code, out) == (3, "")
    assert said in err
    assert str(path) in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the trace is empty"),
        (f"cycle,address,write\n0,{'9' * 200_000},0\n", "not a CSV file"),
        (
            "cycle,memory,operand,access,address,stride,words\n"
            "0,dram,ifmap,read,0,9007199254740992,9007199254740992\n",
            "too large number",
        ),
    ],
)
def test_odd_traces_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(text.encode())
    code, out, err = run(capsys, "hbm2-2000", "--trace", str(path))
    assert (code, out) == (3, "")
    assert said in err


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("a\rb", "a carriage return that ends no line"),
        ('"a', "a quote that is not closed"),
        ("a" * 200_000, "more than 131072 characters"),
    ],
)
def test_bad_csv_is_told_in_our_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, cell: str, said: str
) -> None:
    path = tmp_path / "cases.csv"
    path.write_bytes((HEADER + f"{cell},sequential,1,,,\n").encode())
    code, _, err = run(capsys, "--cases", str(path))
    assert code == 3
    assert f"bad CSV: {said}" in err


@pytest.mark.parametrize("preset", ["hbm2-2000", "ddr5-4800", "lpddr5x-8533"])
def test_figures_are_rounded_once(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not 31999999999.999996 where 32000000000 is meant."""
    args = (preset, "--pattern", "sequential", "--requests", "500", "--format", "json")
    document = json.loads(run(capsys, *args)[1])
    channel = load_memory(preset)
    ticks = round(document["time_s"] / channel.tick_s)
    exact = Fraction(channel.clock_ps * ticks, 10**12 * channel.bus.ticks_per_clock)
    assert document["time_s"] == float(exact)
    moved = 500 * channel.organisation.burst_bytes
    assert document["bandwidth_bytes_per_s"] == float(moved / exact)
    burst = Fraction(channel.timing.burst * channel.clock_ps, 10**12)
    each = channel.organisation.pseudo_channels * channel.organisation.burst_bytes
    assert document["peak_bytes_per_s"] == float(each / burst)


def test_a_wrong_preset_is_said_before_a_missing_pattern(capsys):
    assert main(["memory", "hbm3-64"]) == 3
    assert "unknown memory 'hbm3-64'" in capsys.readouterr().err
    assert main(["memory", "hbm3-6400"]) == 2
