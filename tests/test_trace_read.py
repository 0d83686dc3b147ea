"""Trace files: every known format, what is accepted, and what is refused and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.workload import trace_blocks, trace_csv
from simulator.workload.request import Requests, Workload
from simulator.workload.trace_blocks import Block
from simulator.workload.trace_formats import detect_csv
from simulator.workload.traces import read_trace, read_trace_file

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"
ARRIVED = "arrived_at,num_prefill_tokens,num_decode_tokens"


def write(folder: Path, text: str | bytes, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def columns(workload: Workload) -> tuple[list[int], list[int], list[int]]:
    traffic = workload.traffic
    assert isinstance(traffic, Requests)
    assert traffic.arrival_ps.dtype == np.int64
    return (
        traffic.arrival_ps.tolist(),
        traffic.prompt_tokens.tolist(),
        traffic.output_tokens.tolist(),
    )


def refused(path: Path, limit: int | None = None) -> InputError:
    with pytest.raises(InputError) as caught:
        read_trace(path, limit=limit)
    assert caught.value.exit_code == 3
    return caught.value


def place(error: InputError) -> tuple[int | None, int | None]:
    assert error.location is not None
    return error.location.line, error.location.column


# --- formats


def test_azure_wall_clock_is_exact_to_its_seventh_digit(tmp_path: Path) -> None:
    text = f"{AZURE}\n2023-11-16 23:59:59.9999999,374,44\n2023-11-17 00:00:01,396,109\n"
    workload = read_trace(write(tmp_path, text))
    assert columns(workload) == ([0, 1_000_000_100_000], [374, 396], [44, 109])
    assert workload.name == "trace.csv"
    assert workload.source == "azure-csv"


def test_wall_clock_crosses_a_leap_day(tmp_path: Path) -> None:
    text = f"{AZURE}\n2024-02-28 12:00:00,1,1\n2024-02-29 12:00:00.5,1,1\n2024-03-01 12:00:00,1,1\n"
    day = 86_400 * 10**12
    assert columns(read_trace(write(tmp_path, text)))[0] == [0, day + 10**12 // 2, 2 * day]


@pytest.mark.parametrize("zone", ["+00:00", "Z", ""])
def test_wall_clock_with_a_zone(tmp_path: Path, zone: str) -> None:
    text = f"{AZURE}\n2024-05-12 00:00:00.25{zone},1,2\n2024-05-12T00:00:01{zone},3,4\n"
    assert columns(read_trace(write(tmp_path, text)))[0] == [0, 750_000_000_000]


def test_arrived_at_seconds_start_at_zero(tmp_path: Path) -> None:
    text = f"{ARRIVED}\n10.5,7,3\n10.500000000001,8,2\n1.1e1,9,1\n"
    assert columns(read_trace(write(tmp_path, text))) == (
        [0, 1, 5 * 10**11],
        [7, 8, 9],
        [3, 2, 1],
    )


def test_columns_in_another_order_and_beside_others(tmp_path: Path) -> None:
    text = "id,num_decode_tokens,arrived_at,num_prefill_tokens\na,3,0.5,7\nb,4,1,9\n"
    assert columns(read_trace(write(tmp_path, text))) == ([0, 5 * 10**11], [7, 9], [3, 4])


def test_mooncake_milliseconds(tmp_path: Path) -> None:
    text = (
        '{"timestamp": 5, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n'
        '{"timestamp": 7.5, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}\n'
    )
    workload = read_trace(write(tmp_path, text, "trace.jsonl"))
    assert columns(workload) == ([0, 2_500_000_000], [6758, 7322], [500, 490])
    assert workload.source == "mooncake-jsonl"


def test_bailian_seconds(tmp_path: Path) -> None:
    text = (
        '{"chat_id": 1, "timestamp": 1.5, "input_length": 6, "output_length": 5}\n'
        '{"chat_id": 2, "timestamp": 2, "input_length": 7, "output_length": 4}\n'
    )
    workload = read_trace(write(tmp_path, text))
    assert columns(workload) == ([0, 5 * 10**11], [6, 7], [5, 4])
    assert workload.source == "bailian-jsonl"


def test_burstgpt_leaves_failed_calls_out(tmp_path: Path) -> None:
    head = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    text = f"{head}5,ChatGPT,472,0,472,API\n6,GPT-4,1087,230,1317,API\n8,GPT-4,417,276,693,API\n"
    path = write(tmp_path, text)
    assert columns(read_trace(path)) == ([0, 2 * 10**12], [1087, 417], [230, 276])
    assert "1 failed calls left out" in read_trace(path).notes
    assert columns(read_trace(path, limit=1)) == ([0], [1087], [230])


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{ARRIVED}\n0,1,2\n3,4,5\n",
        f"{ARRIVED}\r\n0,1,2\r\n3,4,5\r\n",
        f"{ARRIVED}\r\n0,1,2\r\n3,4,5",
        f"{ARRIVED}\n0,1,2\n3,4,5",
        f"{ARRIVED}\n0,1,2\n3,4,5\n\n  \n\r\n\n",
        '"arrived_at","num_prefill_tokens","num_decode_tokens"\n"0","1","2"\n"3","4","5"\n',
        f"{ARRIVED}\n0, 1 ,2\n3,4.0,5e0\n",
    ],
    ids=["bom", "crlf", "crlf-no-end", "no-end", "blank-end", "quoted", "spaces-and-floats"],
)
def test_harmless_variations(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert columns(read_trace(path)) == ([0, 3 * 10**12], [1, 4], [2, 5])


def test_small_blocks_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{i / 7:.9f},{i + 1},{2 * i + 1}" for i in range(300)]
    path = write(tmp_path, "\n".join([ARRIVED, *rows]) + "\n\n")
    whole = columns(read_trace(path))
    blocks = trace_blocks.read_blocks
    monkeypatch.setattr("simulator.workload.traces.read_blocks", lambda p: blocks(p, 17))
    assert columns(read_trace(path)) == whole
    assert len(whole[0]) == 300
    broken = write(tmp_path, "\n".join([ARRIVED, *rows[:200], "x,1,1", *rows[200:]]), "b.csv")
    assert place(refused(broken)) == (202, 1)
    back = write(tmp_path, "\n".join([ARRIVED, *rows[:200], "0.5,1,1"]), "c.csv")
    error = refused(back)
    assert place(error) == (202, 1)
    assert "0.5 follows 28.428571429" in error.message


# --- limit and rate


def test_limit_stops_before_later_faults(tmp_path: Path) -> None:
    path = write(tmp_path, f"{ARRIVED}\n0,1,2\n3,4,5\nbroken\n")
    assert columns(read_trace(path, limit=2)) == ([0, 3 * 10**12], [1, 4], [2, 5])
    assert place(refused(path, limit=3)) == (4, 1)
    jsonl = write(tmp_path, '{"timestamp":0,"input_length":1,"output_length":1}\n{\n', "t.jsonl")
    assert columns(read_trace(jsonl, limit=1))[1] == [1]


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_must_be_positive(tmp_path: Path, limit: int) -> None:
    assert "at least 1" in refused(write(tmp_path, f"{ARRIVED}\n0,1,2\n"), limit).message


def test_rate_scale_divides_gaps(tmp_path: Path) -> None:
    path = write(tmp_path, f"{ARRIVED}\n5,1,2\n8,4,5\n11,4,5\n")
    assert columns(read_trace(path, rate_scale=2.0))[0] == [0, 15 * 10**11, 3 * 10**12]
    assert columns(read_trace(path, rate_scale=0.5))[0] == [0, 6 * 10**12, 12 * 10**12]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e-300])
def test_bad_rate_scale(tmp_path: Path, scale: float) -> None:
    path = write(tmp_path, f"{ARRIVED}\n5,1,2\n8,4,5\n")
    with pytest.raises(InputError, match="rate"):
        read_trace(path, rate_scale=scale)


# --- refusals: (line, column) and words of the message

BAD_ROWS = [
    ("1,2", (7, 1), "found 2 fields, expected 3"),
    ("1,2,3,4", (7, 1), "found 4 fields, expected 3"),
    ("1,abc,3", (7, 3), "column 'num_prefill_tokens': found 'abc'"),
    ("1,,3", (7, 3), "found nothing"),
    ("1,2,-3", (7, 5), "'-3' is negative"),
    ("1,nan,3", (7, 3), "not finite"),
    ("1,2,inf", (7, 5), "not finite"),
    ("1,2,0", (7, 5), "zero tokens"),
    ("1,0.0,3", (7, 3), "zero tokens"),
    ("1,2.5,3", (7, 3), "is a fraction"),
    ("1,2,1099511627777", (7, 5), "too large"),
    ("1,2," + "9" * 5000, (7, 5), "out of range"),
    ("1,2,1_0", (7, 5), "found '1_0'"),
    ("1,2,٣", (7, 5), "found '٣'"),
    ("-1,2,3", (7, 1), "negative"),
    ("NaN,2,3", (7, 1), "not finite"),
    ("soon,2,3", (7, 1), "found 'soon', expected a time in seconds"),
    ("1e400,2,3", (7, 1), "out of range"),
    ("1e13,2,3", (7, 1), "too large"),
    ("0.25,2,3", (7, 1), "time goes backwards: 0.25 follows 0.5"),
    ("9999999,2,3", (7, 1), "more than 106 days"),
    ("", (7, 1), "the line is empty"),
    ('"1","2"', (7, 1), "found 2 fields"),
]


@pytest.mark.parametrize(("row", "where", "words"), BAD_ROWS, ids=[w for _, _, w in BAD_ROWS])
def test_broken_line_seven(tmp_path: Path, row: str, where: tuple[int, int], words: str) -> None:
    good = [f"{i / 10},{i + 1},{i + 1}" for i in range(1, 6)]
    path = write(tmp_path, "\n".join([ARRIVED, *good, row, "2,1,1", "3,1,1"]) + "\n")
    error = refused(path)
    assert place(error) == where
    assert words in error.message
    assert error.location is not None
    assert error.location.text == row
    assert f"{path}:{where[0]}:{where[1]}" in str(error)


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("2023-13-16 18:15:46", "month"),
        ("2023-02-29 18:15:46", "day"),
        ("2023-11-16 24:15:46", "hour"),
        ("2023-11-16", "found '2023-11-16'"),
        ("12.5", "expected a time like 2023-11-16"),
        ("2023-11-16 18:15:46.", "found"),
        ("2023-11-16 18:15:4x", "found"),
    ],
)
def test_bad_wall_clock(tmp_path: Path, time: str, words: str) -> None:
    path = write(tmp_path, f"{AZURE}\n2023-01-01 00:00:00,1,1\n{time},1,1\n")
    error = refused(path)
    assert place(error) == (3, 1)
    assert words in error.message


def test_wall_clock_backwards_names_both(tmp_path: Path) -> None:
    path = write(tmp_path, f"{AZURE}\n2023-01-02 00:00:00,1,1\n2023-01-01 00:00:00.5,1,1\n")
    error = refused(path)
    assert place(error) == (3, 1)
    assert "2023-01-01 00:00:00.5 follows 2023-01-02 00:00:00" in error.message


BAD_JSON = [
    ("{", "not valid JSON"),
    ("[1]", "expected a JSON object"),
    ("", "the line is empty"),
    ("[" * 100_000, "nested too deeply"),
    ('{"timestamp": NaN, "input_length": 1, "output_length": 1}', "not finite"),
    ('{"timestamp": -1, "input_length": 1, "output_length": 1}', "negative"),
    ('{"timestamp": "soon", "input_length": 1, "output_length": 1}', "time in milliseconds"),
    ('{"timestamp": 1, "input_length": 0, "output_length": 1}', "zero tokens"),
    ('{"timestamp": 1, "input_length": 1.5, "output_length": 1}', "fraction"),
    ('{"timestamp": 1, "input_length": true, "output_length": 1}', "found true"),
    ('{"timestamp": 1, "input_length": 1, "output_length": 1e40}', "out of range"),
    ('{"timestamp": 1, "input_length": 1, "output_length": null}', "found null"),
    ('{"timestamp": 1, "input_lenght": 1, "output_length": 1}', "missing key 'input_length'"),
    ('{"timestamp": 1, "timestamp": 2, "input_length": 1, "output_length": 1}', "duplicate key"),
    ('{"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": 3}', "list of block"),
    ('{"timestamp": 0, "input_length": 1, "output_length": 1}', "time goes backwards: 0 follows 1"),
]


@pytest.mark.parametrize(("line", "words"), BAD_JSON, ids=[w for _, w in BAD_JSON])
def test_broken_json_line(tmp_path: Path, line: str, words: str) -> None:
    good = '{"timestamp": 1, "input_length": 1, "output_length": 1}'
    error = refused(write(tmp_path, f"{good}\n{line}\n{good}\n", "t.jsonl"))
    assert place(error)[0] == 2
    assert words in error.message
    if words == "fraction":
        assert place(error) == (2, 18)
    if "lenght" in line:
        assert error.hint == "found 'input_lenght'?"


@pytest.mark.parametrize("text", ["", "\n\n", "  \n", "\ufeff"])
def test_empty_trace(tmp_path: Path, text: str) -> None:
    error = refused(write(tmp_path, text))
    assert error.message == "the trace is empty"
    assert error.hint is not None and ARRIVED in error.hint


@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
def test_only_a_header(tmp_path: Path, end: str) -> None:
    assert "no requests" in refused(write(tmp_path, ARRIVED + end)).message


def test_unknown_header_lists_the_known(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "time,in,out\n1,2,3\n"))
    assert place(error) == (1, 1)
    assert "time,in,out" in error.message
    assert error.hint is not None
    assert AZURE in error.hint and ARRIVED in error.hint and "input_length" in error.hint


def test_missing_column_names_the_nearest(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "TIMESTAMP,ContextTokens,GeneratedToken\n"))
    assert place(error) == (1, 25)
    assert "missing column 'GeneratedTokens'" in error.message
    assert error.hint == "did you mean 'GeneratedTokens'?"
    error = refused(write(tmp_path, "arrived_at,num_prefill_tokens\n1,2\n"))
    assert "missing column 'num_decode_tokens'" in error.message


def test_column_twice(tmp_path: Path) -> None:
    error = refused(write(tmp_path, f"{ARRIVED},arrived_at\n1,2,3,4\n"))
    assert "twice" in error.message
    assert place(error) == (1, 49)


def test_not_utf8(tmp_path: Path) -> None:
    error = refused(write(tmp_path, f"{ARRIVED}\n0,1,2\n1,\xff,3\n".encode("latin-1")))
    assert place(error) == (3, 3)
    assert "0xff" in error.message
    assert "UTF-8" in refused(write(tmp_path, ARRIVED.encode("utf-16"))).message


def test_missing_file_and_directory(tmp_path: Path) -> None:
    write(tmp_path, ARRIVED, "conversation.csv")
    error = refused(tmp_path / "conversatoin.csv")
    assert error.hint == "did you mean 'conversation.csv'?"
    assert "directory" in refused(tmp_path).message
    assert "no directory" in refused(tmp_path / "none" / "x.csv").message
    assert "cannot read" in refused(Path("a\0b")).message


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_blocks, "MAX_LINE_BYTES", 1000)
    blocks = trace_blocks.read_blocks
    monkeypatch.setattr("simulator.workload.traces.read_blocks", lambda p: blocks(p, 512))
    error = refused(write(tmp_path, ARRIVED + "\n" + "1" * 5000))
    assert "longer than" in error.message
    assert place(error)[0] == 2


# --- the array parser and the careful one agree

seconds_text = st.one_of(
    st.integers(0, 10**6).map(str),
    st.decimals(0, 10**6, allow_nan=False, places=7).map(lambda d: f"{d:f}"),
    st.floats(0, 1e6).map(lambda x: f"{x:.17f}"),
    st.sampled_from(["0.9999999999995", "0.9999999999994999", "5.", ".5", "00.10"]),
)
clock_text = st.tuples(
    st.datetimes().map(lambda d: d.replace(microsecond=0).isoformat(sep=" ")),
    st.sampled_from(["", ".1", ".0000001", ".123456789012"]),
).map("".join)
token_text = st.integers(1, 2**40).map(str)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.tuples(seconds_text, token_text, token_text), min_size=1, max_size=5))
def test_array_parser_equals_cell_parser_on_seconds(rows: list[tuple[str, str, str]]) -> None:
    compare(ARRIVED, rows)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.tuples(clock_text, token_text, token_text), min_size=1, max_size=5))
def test_array_parser_equals_cell_parser_on_clocks(rows: list[tuple[str, str, str]]) -> None:
    compare(AZURE, rows)


def compare(header: str, rows: list[tuple[str, str, str]]) -> None:
    layout = detect_csv(header, "t")
    block = Block("".join(",".join(row) + "\n" for row in rows).encode(), 2, "t")
    slow = trace_csv.parse_rows(block, layout)
    fast = trace_csv.parse_arrays(block.data, layout)
    if any(row[0].startswith(".") for row in rows):
        return  # the array parser leaves a bare fraction to the other one
    assert fast is not None
    scale = 10**12
    for i in range(len(rows)):
        assert int(fast.seconds[i]) * scale + int(fast.fraction_ps[i]) == int(
            slow.seconds[i]
        ) * scale + int(slow.fraction_ps[i])
    assert fast.prompt.tolist() == slow.prompt.tolist()
    assert fast.output.tolist() == slow.output.tolist()


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    for head in (b"", f"{ARRIVED}\n0,1,1\n".encode(), b'{"timestamp": 1,'):
        path.write_bytes(head + tail)
        try:
            trace = read_trace_file(path)
        except InputError:
            continue
        assert len(trace.requests) >= 1
        assert (np.diff(trace.requests.arrival_ps) >= 0).all()
