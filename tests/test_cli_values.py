from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cases import read_cases
from simulator.cli.assertions import judge, parse_requirements
from simulator.cli.destinations import output_directory
from simulator.cli.matmul_cases import MAX_PRODUCT, parse_shape, read_matmuls
from simulator.cli.options import check_override_roots, overrides_for, resolve_dtypes
from simulator.cli.traffic import load_traffic
from simulator.cli.values import parse_choice, parse_number, parse_seconds, parse_whole
from simulator.errors import AssertionFailedError, InputError
from simulator.report.metrics import RUN_METRICS


@pytest.mark.parametrize(
    "text", ["0", "-1", "1.0", "1e3", "nan", "inf", "abc", "", "1_000", "٣", "9" * 30, "0x10"]
)
def test_bad_whole_numbers(text):
    with pytest.raises(InputError, match="--batch: found"):
        parse_whole(text, "--batch")


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(1, 2**40))
def test_whole_numbers(number):
    assert parse_whole(f" {number} ", "--batch") == number


def test_whole_numbers_may_start_at_zero():
    assert parse_whole("0", "--seed", least=0) == 0


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e999", "two", "", "1s"])
def test_bad_numbers(text):
    with pytest.raises(InputError, match="--rate-scale: found"):
        parse_number(text, "--rate-scale")


@pytest.mark.parametrize(("text", "value"), [("10", 10.0), ("0", 0.0), ("300ms", 0.3), ("2 s", 2)])
def test_seconds(text, value):
    assert parse_seconds(text, "--warmup") == pytest.approx(value)


@pytest.mark.parametrize("text", ["-1", "3 parsecs", "nan", "-5ms", "GB"])
def test_bad_seconds(text):
    with pytest.raises(InputError, match="--warmup"):
        parse_seconds(text, "--warmup")


def test_choices_suggest_the_nearest():
    with pytest.raises(InputError) as caught:
        parse_choice("bf61", "--dtype", ("bf16", "fp8"))
    assert caught.value.hint == "did you mean 'bf16'?"


def test_dtype_sets_weights_and_activations_only():
    assert resolve_dtypes("fp8", None, "int8", None) == {
        "weight_dtype": "fp8",
        "activation_dtype": "int8",
        "kv_dtype": "bf16",
    }


@pytest.mark.parametrize(
    "text", ["chip.clock", "=3", "chip.clock=", "chp.clock=3", "model.layers=2"]
)
def test_bad_overrides(text):
    with pytest.raises(InputError, match="--set"):
        check_override_roots([text], ("chip",))


def test_overrides_go_to_their_part():
    texts = ("chip.clock=1GHz", "model.layers=2")
    check_override_roots(texts, ("chip", "model"))
    assert overrides_for(texts, "model") == ("model.layers=2",)


@pytest.mark.parametrize(
    ("text", "metric", "sign", "wanted"),
    [
        ("ttft_p99<300ms", "ttft_p99", "<", 0.3),
        (" tpot_p50 <= 0.4 ", "tpot_p50", "<=", 0.4),
        ("ttft_s.p99>1us", "ttft_p99", ">", 1e-6),
        ("mfu>=40%", "mfu", ">=", 0.4),
        ("completed==19366", "completed", "==", 19366),
        ("traffic_bytes_hbm_read<2GB", "traffic_bytes_hbm_read", "<", 2e9),
    ],
)
def test_assertions(text, metric, sign, wanted):
    (found,) = parse_requirements([text], RUN_METRICS)
    assert (found.metric, found.sign) == (metric, sign)
    assert found.wanted == pytest.approx(wanted)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ttft_p99",
        "ttft_p99<",
        "<300ms",
        "ttft_p99=300ms",
        "ttft_p99<300ms<400ms",
        "ttft_p99<3GB",
        "ttft_p99<nan",
        "ttft_p99<-1",
        "ttft_p99<40%",
        "completed>5ms",
        "mfu>4xyz",
    ],
)
def test_bad_assertions(text):
    with pytest.raises(InputError, match="--assert"):
        parse_requirements([text], RUN_METRICS)


def test_unknown_metric_names_the_nearest():
    with pytest.raises(InputError, match="unknown metric 'tttf_p99'") as caught:
        parse_requirements(["tttf_p99<1s"], RUN_METRICS)
    assert caught.value.hint == "did you mean 'ttft_p99'?"


def test_all_failures_are_told_and_missing_values_fail():
    texts = ["ttft_p99<300ms", "mfu>=40%", "tpot_p50<1s", "completed>=1"]
    requirements = parse_requirements(texts, RUN_METRICS)
    values = {"ttft_p99": 0.3, "mfu": 0.4, "tpot_p50": None, "completed": 0}
    with pytest.raises(AssertionFailedError) as caught:
        judge(requirements, values, RUN_METRICS)
    message = str(caught.value)
    assert "3 of 4 assertions failed" in message
    assert "ttft_p99 is 300.0 ms (0.3 s), wanted < 300.0 ms" in message
    assert "tpot_p50 is not available" in message
    assert "mfu is" not in message
    judge(requirements, {**values, "ttft_p99": 0.299, "tpot_p50": 0.1, "completed": 1}, RUN_METRICS)


@pytest.mark.parametrize(
    "text", ["4x8", "4x8x", "4x8x12x3", "axbxc", "0x1x1", "4x-8x12", "", "4x8xnan"]
)
def test_bad_shapes(text):
    with pytest.raises(InputError):
        parse_shape(text)


def test_shapes():
    assert parse_shape("4x8X12") == (4, 8, 12)
    assert parse_shape(f"{2**31}x1x1") == (2**31, 1, 1)
    with pytest.raises(InputError, match=f"above {MAX_PRODUCT}"):
        parse_shape("1000000x1000000x1000000")


def cases_error(tmp_path, text):
    path = tmp_path / "in.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_matmuls(str(path), "bf16", ("bf16", "int8"))
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("m,k,n\n1,2,3\n4,x,6\n", 3, 3, "column 'k': found 'x', expected a whole number"),
        ("note,m,k,n\na, 1,2,-3\n", 2, 8, "column 'n': found '-3'"),
        ('note,m,k,n\n"a,b",1,2.5,3\n', 2, 9, "column 'k': found '2.5'"),
        ("m,k,n\n1,,3\n", 2, 3, "found an empty cell"),
        ("m,k,n,dtype\n1,2,3,bf61\n", 2, 7, "found 'bf61', expected one of bf16, int8"),
        ("m,k,n,dtype\n1,2,3,fp8\n", 2, 7, "found 'fp8'"),
        ("m,k,n\n1,2\n", 2, 1, "found 2 cells, expected 3"),
        ("m,k\n1,2\n", 1, None, "missing column 'n'"),
        ("m,k,n,m\n1,2,3,4\n", 1, 7, "column 'm' appears twice"),
        ("m,k,n,\n1,2,3,4\n", 1, 7, "column without a name"),
        ("m,k,n\n", 1, None, "no rows"),
        ("", None, None, "empty"),
        (b"m,k,n\n1,2,\xff\n", 2, None, "UTF-8"),
        ("m,k,n\n2000000000,2000000000,2000000000\n", 2, 1, "multiply-accumulates"),
    ],
)
def test_bad_cases_have_a_place(tmp_path, text, line, column, words):
    error = cases_error(tmp_path, text)
    assert words in error.message
    assert error.location is not None
    assert error.location.file.endswith("in.csv")
    assert (error.location.line, error.location.column) == (line, column)


def test_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "shapes.csv").write_text("m,k,n\n")
    with pytest.raises(InputError) as caught:
        read_cases(str(tmp_path / "shape.csv"), ())
    assert "shapes.csv" in str(caught.value)
    with pytest.raises(InputError, match="directory"):
        read_cases(str(tmp_path), ())


def test_cases_in_any_order_with_extra_columns(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b"\xef\xbb\xbfn,dtype,k,note,m\r\n3,int8,2,hello,1\r\n\r\n6,,5,,4\r\n")
    cases, shapes = read_matmuls(str(path), "bf16", ("bf16", "int8"))
    assert cases.columns == ("n", "dtype", "k", "note", "m")
    assert shapes == [(1, 2, 3, "int8"), (4, 5, 6, "bf16")]


def test_output_directory_is_made_and_taken_back(tmp_path):
    with output_directory(str(tmp_path / "a" / "b")) as made:
        assert made is not None
        assert made.is_dir()
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(KeyboardInterrupt), output_directory(str(tmp_path / "c" / "d")):
        raise KeyboardInterrupt
    assert not (tmp_path / "c").exists()
    with pytest.raises(KeyboardInterrupt), output_directory(str(tmp_path / "a")):
        raise KeyboardInterrupt
    assert (tmp_path / "a").is_dir()


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_output_directory_that_is_a_file(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(InputError, match="expected a directory"),
        output_directory(str(tmp_path / "file") + below),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_traffic_from_a_trace_or_by_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,2\n4,20,3\n8,5,5\n")
    for name, trace in ((str(path), None), (None, str(path))):
        workload, file = load_traffic(name, trace, limit=2, rate_scale=2.0)
        assert file == str(path)
        assert workload.traffic.arrival_ps.tolist() == [0, 2 * 10**12]
    with pytest.raises(InputError, match="trace file has no configuration"):
        load_traffic(None, str(path), overrides=("workload.requests=3",))


def test_generated_traffic():
    workload, file = load_traffic(None, None, limit=5, seed=3)
    assert (workload.name, len(workload.traffic), file) == ("chat", 5, None)
    faster, _ = load_traffic("chat", None, limit=5, rate_scale=2.0, seed=3)
    assert faster.traffic.arrival_ps[-1] == pytest.approx(
        workload.traffic.arrival_ps[-1] / 2, abs=1
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("hbm.bandwidth=3 TB/s", "did you mean 'chip.hbm'?"),
        ("host_overhead=3 us", "did you mean 'system.host_overhead'?"),
        ("layers=3", "did you mean 'model.layers'?"),
        ("chop.clock=1 GHz", "did you mean 'chip'?"),
        ("workload.requests=3", None),
        ("prefill.chip.clock=1 GHz", None),
    ],
)
def test_a_key_without_its_part_is_found(text, hint):
    with pytest.raises(InputError) as caught:
        check_override_roots([text], ("chip", "system", "model"))
    assert "unknown part" in caught.value.message
    assert caught.value.hint == hint


def test_a_time_without_a_unit_is_said_to_be_in_seconds(capsys):
    for text, said in (("ttft_p99<300", True), ("ttft_p99<300ms", False), ("simulated_s<9", False)):
        parse_requirements([text], RUN_METRICS)
        assert ("300 without a unit is in seconds" in capsys.readouterr().err) == said
