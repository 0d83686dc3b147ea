"""``chipsim validate``: tables, what is left out of them, errors, and the simple methods beside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import api
from simulator.api import price_matmuls
from simulator.cli import main
from simulator.errors import InputError
from simulator.hardware.fused_kernels import USUAL
from simulator.report.validation_doc import report as written
from simulator.validation.baselines import halves, lookup, two_efficiencies
from simulator.validation.compare import compare, regimes_of, summarize
from simulator.validation.files import read_tables
from simulator.validation.layer_rows import SAME
from simulator.validation.machine import Machine
from simulator.validation.operators import OPERATORS
from simulator.validation.run import validate
from simulator.validation.table import Table, without_faults
from simulator.validation.totals import totals
from simulator.validation.work import Work

MATMUL = OPERATORS["matmul"]


def matmul_table(shapes, seconds, chip="h100", source="mine", stack="mine"):
    columns = np.array(shapes, dtype=np.int64).T
    inputs = dict(zip("mkn", columns, strict=True)) | dict.fromkeys(
        ("buffers", "quantize"), np.zeros(len(shapes), int)
    )
    return Table(chip, "matmul", "bf16", source, stack, inputs, np.array(seconds, dtype=float))


def run(capsys, *words):
    status = main(words)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def shapes():
    sizes = (16, 128, 1024, 4096)
    return [(m, k, n) for m in sizes for k in sizes for n in sizes]


@pytest.fixture(scope="module")
def priced(shapes):
    cases = [(m, k, n, "bf16") for m, k, n in shapes]
    return np.array([timing.time_s for timing in price_matmuls("h100", cases)])


def write(path, shapes, seconds, header="m,k,n,dtype,measured_s"):
    rows = [f"{m},{k},{n},bf16,{s!r}" for (m, k, n), s in zip(shapes, seconds, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def validated(capsys, path, *words, chip="h100"):
    status, out, err = run(
        capsys,
        *("validate", chip, "--operator", "matmul", "--table", path, "--format", "json"),
        *words,
    )
    assert status == 0, err
    return json.loads(out)


def test_a_table_of_our_own_prices_has_no_error(tmp_path, shapes, priced, capsys):
    found = validated(capsys, write(tmp_path / "t.csv", shapes, priced.tolist()))
    whole = found["rows"][0]
    assert (whole["regime"], whole["count"]) == ("all", len(shapes))
    assert whole["mape_percent"] == whole["weighted_percent"] == whole["bias_percent"] == 0
    assert found["left_out"] == []
    assert whole["baselines"]["roofline"] > 10
    assert whole["baselines"]["stacks"] is None
    bare = validated(capsys, str(tmp_path / "t.csv"), "--no-baselines")["rows"][0]
    assert set(bare["baselines"].values()) == {None}
    assert {**bare, "baselines": whole["baselines"]} == whole


def test_a_constant_factor_is_the_error_and_the_bias(tmp_path, shapes, priced, capsys):
    path = write(tmp_path / "t.csv", shapes, (priced * 1.25).tolist())
    whole = validated(capsys, path)["rows"][0]
    for key in ("mape_percent", "median_percent", "p90_percent", "weighted_percent"):
        assert whole[key] == pytest.approx(20)
    assert whole["bias_percent"] == pytest.approx(-20)


def test_regimes_share_out_all_rows(tmp_path, shapes, priced, capsys):
    path = write(tmp_path / "t.csv", shapes, (priced * 1.5).tolist())
    rows = validated(capsys, path)["rows"]
    assert sum(row["count"] for row in rows[1:]) == rows[0]["count"] == len(shapes)
    assert {row["regime"] for row in rows} >= {"all", "launch", "compute"}
    assert set(rows[0]) == {
        *("chip", "operator", "dtype", "table", "regime", "count", "mape_percent"),
        *("median_percent", "p90_percent", "bias_percent", "weighted_percent", "baselines"),
    }


def test_impossible_rows_are_named_and_counted(tmp_path, shapes, priced, capsys):
    seconds = priced.tolist()
    seconds[0], seconds[1] = 0.0, float("nan")
    seconds[-1] /= 1000  # 4096^3 faster than any H100
    path = write(tmp_path / "t.csv", [*shapes, shapes[5]], [*seconds, seconds[5]])
    found = validated(capsys, path)
    counts = {item["reason"]: item["count"] for item in found["left_out"]}
    assert found["rows"][0]["count"] == len(shapes) - 3
    assert sorted(counts.values()) == [1, 1, 2]
    assert any("zero" in reason for reason in counts)
    assert any("data sheet" in reason for reason in counts)
    assert any("before" in reason for reason in counts)


def test_bytes_that_may_lie_in_a_cache_are_no_fault():
    # 2 MB of weights in 1 us: above HBM's bandwidth, but L2 holds them
    table = matmul_table([(1, 1024, 1024)], [0.5e-6])
    machine = Machine("h100")
    work = MATMUL.work(machine, "bf16", table.inputs)
    assert work.roofline_s[0] > 0.6e-6
    assert len(without_faults(table, work.floor_s)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("m,k,measured_s\n1,2,3\n", "missing column 'n'"),
        ("m,k,n,measured_us\n1,2,3,4\n", "another unit"),
        ("m,k,n,measured\n1,2,3,4\n", "is 'measured' meant?"),
        ("m,k,n,measured_s\n1,2,x,4\n", "t.csv:2:5"),
        ("m,k,n,measured_s\n1,2,-3,4\n", "found '-3'"),
        ("m,k,n,measured_s\n1,2,3,fast\n", "found 'fast'"),
        ("m,k,n,measured_s\n1,2,3,1e308\n", "seconds, at most 1e+06"),
        ("m,k,n,dtype,measured_s\n1,2,3,fp4,1\n", "no row with a data type"),
        ("m,k,n,measured_s\n", "no rows"),
        ("m,k,n,measured_s\n1,2,3,0\n", "no measured rows"),
        ("operator,m,k,n,measured_s\ncopy,1,2,3,4\n", "no row of operator 'matmul'"),
    ],
)
def test_bad_tables(tmp_path, capsys, text, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    status, out, err = run(capsys, "validate", "h100", "--operator", "matmul", "--table", str(path))
    assert (status, out) == (3, "")
    assert said in err


def test_other_data_types_are_left_out_by_name(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("m,k,n,dtype,measured_s\n64,64,64,bf16,1e-5\n64,64,64,fp4,1e-5\n")
    found = validated(capsys, str(path))
    assert [item["reason"] for item in found["left_out"]] == [
        "h100 has no rate for data type 'fp4'"
    ]


def test_unknown_names_and_grammar(tmp_path, capsys):
    assert run(capsys, "validate", "h1000")[0] == 3
    assert "did you mean 'matmul'" in run(capsys, "validate", "h100", "--operator", "matmull")[2]
    assert run(capsys, "validate", "--table", "x.csv")[0] == 2
    assert run(capsys, "validate", "h100", "--date", "today")[0] == 2
    words = ("validate", "h100", "--operator", "matmul", "--table", "none.csv")
    assert run(capsys, *words)[0] == 3


def test_published_points_of_tpus_are_met(capsys):
    status, out, _ = run(
        capsys, "validate", "tpu-v7x-die", "tpu-v7x", "tpu-v6e", "tpu-v5p", "--format", "json"
    )
    assert status == 0
    whole = {
        (row["chip"], row["operator"], row["dtype"]): row
        for row in json.loads(out)["rows"]
        if row["regime"] == "all"
    }
    # nothing of the chip file knows why the arrays of TPU v6e are slower in 8 bits
    int8 = whole.pop(("tpu-v6e", "matmul", "int8"))
    assert -20 < int8["bias_percent"] < -10
    assert set(whole) == {
        ("tpu-v7x-die", "matmul", "bf16"),
        ("tpu-v7x-die", "copy", "bf16"),
        ("tpu-v7x", "copy", "bf16"),
        ("tpu-v7x", "collective", "bf16"),
        ("tpu-v6e", "matmul", "bf16"),
        ("tpu-v6e", "copy", "bf16"),
        ("tpu-v6e", "collective", "bf16"),
        ("tpu-v5p", "collective", "bf16"),
    }
    for row in whole.values():
        assert row["mape_percent"] < 8
        assert row["mape_percent"] < row["baselines"]["roofline"]


def test_a_die_is_half_a_chip():
    die, chip = Machine("tpu-v7x-die").chip, Machine("tpu-v7x").chip
    assert die.peak_flops_per_s("bf16") * 2 == chip.peak_flops_per_s("bf16")
    assert die.hbm.bandwidth_bytes_per_s * 2 == chip.hbm.bandwidth_bytes_per_s
    assert die.hbm.capacity_bytes * 2 == chip.hbm.capacity_bytes
    assert die.sram.capacity_bytes * 2 == chip.sram.capacity_bytes


def test_the_page_holds_its_data_and_nothing_from_elsewhere(tmp_path, shapes, priced, capsys):
    path = write(tmp_path / "a<b.csv", shapes, (priced * 2).tolist())
    page = tmp_path / "page.html"
    validated(capsys, path, "--html", str(page))
    text = page.read_text()
    data = text.split('id="data">')[1].split("</script>")[0]
    plot = json.loads(data)["plots"][0]
    assert len(plot["measured"]) == len(shapes) == plot["count"]
    assert plot["names"] == ["m", "k", "n", "buffers", "quantize"]
    assert plot["mape"] == 50
    assert "http://www.w3.org" in text
    assert text.replace("http://www.w3.org/2000/svg", "").count("http") == 0
    assert "<td>a<b.csv" not in text


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["4096,4096,4096,bf16,1e-6"], "1 row of h100 matmul bf16 (t.csv): faster than the chip"),
        (["64,64,64,bf16,0", "64,64,128,bf16,nan"], "2 rows of h100 matmul bf16 (t.csv): latency"),
        (["64,64,64,fp7,1e-5"], "no row with a data type of h100"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "calibrate"])
def test_a_file_of_which_nothing_is_left_says_why(tmp_path, capsys, rows, reason, command):
    pytest.importorskip("scipy")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["m,k,n,dtype,measured_s", *rows]) + "\n")
    words = ("validate", "h100", "--table", str(path))
    if command == "calibrate":
        out = tmp_path / "o.yaml"
        words = ("calibrate", "h100", "--measurements", str(path), "-o", str(out))
    status, out, err = run(capsys, *words, "--operator", "matmul")
    assert (status, out) == (3, "")
    assert reason in err


@pytest.mark.parametrize(("scale", "unit"), [(1e3, "milli"), (1e6, "micro"), (1e9, "nano")])
@pytest.mark.parametrize("command", ["validate", "calibrate"])
def test_times_in_another_unit_are_recognised(
    tmp_path, shapes, priced, capsys, scale, unit, command
):
    pytest.importorskip("scipy")
    path = write(tmp_path / "t.csv", shapes, (priced * scale).tolist())
    words = ("validate", "h100", "--table", path)
    if command == "calibrate":
        out = tmp_path / "o.yaml"
        words = ("calibrate", "h100", "--measurements", path, "-o", str(out))
    status, out, err = run(capsys, *words, "--operator", "matmul")
    assert (status, out) == (3, "")
    assert f"are the times in {unit}seconds?" in err
    assert f"{len(shapes)} rows" in err


def test_a_slow_table_is_no_other_unit(tmp_path, shapes, priced, capsys):
    path = write(tmp_path / "t.csv", shapes, (priced * 20).tolist())
    assert validated(capsys, path)["rows"][0]["count"] == len(shapes)


def test_same_inputs_same_bytes(tmp_path, shapes, priced, capsys):
    path = write(tmp_path / "t.csv", shapes, (priced * 1.1).tolist())
    words = ("validate", "h100", "--operator", "matmul", "--table", path, "--format", "json")
    assert run(capsys, *words)[1] == run(capsys, *words)[1]


def test_a_file_of_several_operators_gives_those_that_are_asked_for(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("operator,m,k,n,bytes,measured_s\nmatmul,8,8,8,,1e-5\ncopy,,,,1024,1e-5\n")
    chip = Machine("h100").chip
    (copies,) = read_tables(str(path), chip, OPERATORS["copy"])
    assert copies.inputs["bytes"].tolist() == [1024]


def test_the_two_efficiencies_are_found():
    rng = np.random.default_rng(1)
    work = Work(10 ** rng.uniform(9, 13, 400), 10 ** rng.uniform(5, 9, 400), 1e15, 3e12)
    measured = 3e-6 + np.maximum(work.compute_s / 0.7, work.transfer_s / 0.8)
    found = two_efficiencies(work, measured, 0)
    assert np.abs(found / measured - 1).mean() < 0.01


@pytest.mark.parametrize("with_tree", [True, False])
def test_a_lookup_knows_only_the_other_half(monkeypatch, with_tree):
    if with_tree:
        pytest.importorskip("scipy")
    else:
        monkeypatch.setattr("simulator.validation.baselines._tree", lambda: None)
    sizes = 2 ** np.arange(4, 13)
    grid = np.array(np.meshgrid(sizes, sizes, sizes)).reshape(3, -1)
    inputs = dict(zip("mkn", grid, strict=True)) | dict.fromkeys(
        ("buffers", "quantize"), 0 * grid[0]
    )
    work = MATMUL.work(Machine("h100"), "bf16", inputs)
    smooth = 2 * work.roofline_s
    found = lookup(MATMUL, inputs, work, smooth, 0)
    assert np.allclose(found, smooth)
    outlier = smooth.copy()
    outlier[100] *= 50  # a row never sees itself
    found = lookup(MATMUL, inputs, work, outlier, 0)
    assert found[100] == pytest.approx(smooth[100], rel=0.2)


def test_a_second_stack_is_compared_on_common_rows_only(shapes, priced):
    table = matmul_table(shapes, priced)
    other = matmul_table(shapes[::2], priced[::2] * 1.1, source="other", stack="other")
    pair = compare(Machine("h100"), table, [table, other])
    assert pair is not None
    row = pair.rows()[0]
    assert row.baselines["stacks"] == pytest.approx(10)
    few = matmul_table(shapes[:2], priced[:2], source="few", stack="few")
    assert compare(Machine("h100"), table, [few]).rows()[0].baselines["stacks"] is None


def test_rows_of_absent_systems_and_stages_are_counted():
    inputs = {
        "bytes": np.array([1024, 1024]),
        "op": np.array(["all-reduce", "all-reduce"]),
        "ranks": np.array(["8", "5"]),
        "engine": np.array(["", ""]),
    }
    table = Table("h100", "collective", "bf16", "t", "t", inputs, np.array([1e-5, 1e-5]))
    pair = compare(Machine("h100"), table, baselines=False)
    assert pair is not None
    assert [note.count for note in pair.table.left_out] == [1]


def test_a_busy_server_takes_longer_for_a_token():
    inputs = {
        "batch": np.array([1, 8, 64]),
        "prompt_tokens": np.array([1024, 1024, 1024]),
        "output_tokens": np.array([128, 128, 128]),
        "tp": np.array([1, 1, 1]),
        "model": np.array(["llama3-8b"] * 3),
        "engine": np.array([""] * 3),
        "kv_dtype": np.array(["bf16"] * 3),
    }
    machine = Machine("h100")
    seconds = OPERATORS["server"].price(machine, "bf16", inputs)
    work = OPERATORS["server"].work(machine, "bf16", inputs)
    assert seconds[0] < seconds[1] < seconds[2]
    assert (seconds > work.floor_s).all()
    # engines add a time a step and a sequence; what they do not wait for takes no time
    named = {
        name: OPERATORS["server"].price(machine, "bf16", {**inputs, "engine": np.array([name] * 3)})
        for name in ("vllm", "trtllm", "sglang")
    }
    vllm, trtllm = api.load_engine("vllm"), api.load_engine("trtllm")
    added = named["vllm"] - named["trtllm"]
    for row, batch in ((0, 1), (2, 64)):
        more = vllm.iteration_ps - trtllm.iteration_ps
        more += batch * (vllm.sequence_ps - trtllm.sequence_ps)
        assert added[row] == pytest.approx(more / 1e12)
    chips = {}
    for name, priced in named.items():
        host = machine.system(1).under(api.load_engine(name))
        chips[name] = [priced[row] - host.host_ps(n) / 1e12 for row, n in ((0, 1), (2, 64))]
    assert chips["sglang"][0] == pytest.approx(chips["trtllm"][0])
    assert chips["sglang"][1] < chips["trtllm"][1]
    with pytest.raises(InputError, match="unknown engine 'vlm'"):
        OPERATORS["server"].price(machine, "bf16", {**inputs, "engine": np.array(["vlm"] * 3)})


def test_servers_of_8_bits_exchange_and_attend_in_16():
    inputs = {
        "batch": np.array([32]),
        "prompt_tokens": np.array([1024]),
        "output_tokens": np.array([128]),
        "tp": np.array([8]),
        "model": np.array(["llama3-8b"]),
        "engine": np.array(["vllm"]),
        "kv_dtype": np.array(["bf16"]),
    }
    machine = Machine("h100")
    mixed = OPERATORS["server"].price(machine, "fp8", inputs)[0]
    wide = OPERATORS["server"].price(machine, "bf16", inputs)[0]
    step = api.price_step(
        machine.system(8),
        "llama3-8b",
        phase="decode",
        batch=32,
        context=1088,
        weight_dtype="fp8",
        activation_dtype="fp8",
    )
    assert (step.time_ps - step.host_ps) / 1e12 < mixed < wide


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)), min_size=1, max_size=30))
def test_errors_are_what_their_names_say(pairs):
    predicted, measured = (np.array(values) for values in zip(*pairs, strict=True))
    found = summarize(predicted, measured)
    signed = [p / m - 1 for p, m in pairs]
    assert found.mape_percent == pytest.approx(100 * sum(map(abs, signed)) / len(signed))
    assert found.bias_percent == pytest.approx(100 * sum(signed) / len(signed), abs=1e-6)
    assert abs(found.bias_percent) <= found.mape_percent + 1e-9
    assert found.median_percent <= found.p90_percent + 1e-9


def test_regimes_by_the_roofline():
    work = Work(np.array([1.0, 1e-5, 1e-5, 1e-5]), np.array([1.0, 3e-5, 1.5e-5, 0.2e-5]), 1.0, 1.0)
    work.flops[0] = work.bytes[0] = 4e-6
    assert regimes_of(work).tolist() == ["launch", "memory", "transitional", "compute"]


def test_halves_are_random_but_fixed():
    one, other = halves(101, 3), halves(101, 3)
    assert (one == other).all()
    assert one.sum() == 50
    assert (halves(101, 4) != one).any()
    assert halves(10, 0, 0.8).sum() == 8


def test_unknown_operator_in_python():
    with pytest.raises(InputError, match="unknown operator"):
        from simulator.validation.operators import find_operator

        find_operator("mathmul")


def test_installed_tables():
    pytest.importorskip("aiconfigurator_core")
    pytest.importorskip("pyarrow")
    from simulator.validation.run import tables_of

    chosen, every = tables_of(Machine("h100"), "matmul")
    (bf16,) = [table for table in chosen if table.dtype == "bf16"]
    assert bf16.stack == "vllm"
    assert len(bf16) > 30_000
    assert {table.stack for table in every} >= {"vllm", "trtllm", "sglang"}
    assert any("fp8_block" in note.reason for table in chosen for note in table.left_out)


def test_layers_are_priced_and_never_beat_their_least_work():
    machine = Machine("h100")
    grid = np.array([(b, n) for b in (1, 16, 128) for n in (64, 1024, 8192)]).T
    count = grid.shape[1]
    attention = {
        "batch": grid[0],
        "heads": np.full(count, 32),
        "kv_heads": np.full(count, 8),
        "head_dim": np.full(count, 128),
        "context": grid[1],
        "window": np.zeros(count, dtype=np.int64),
        "buffers": np.zeros(count, dtype=np.int64),
        "latent": np.zeros(count, dtype=np.int64),
    }
    experts = {
        "tokens": grid[0] * 8,
        "hidden": np.full(count, 2048),
        "intermediate": grid[1],
        "experts": np.full(count, 32),
        "top_k": np.full(count, 4),
        "tp": np.ones(count, dtype=np.int64),
        "ep": np.ones(count, dtype=np.int64),
        "gated": np.ones(count, dtype=np.int64),
        "blocks": np.zeros(count, dtype=np.int64),
        "buffers": np.zeros(count, dtype=np.int64),
        "expert_load": np.full(count, "balanced"),
        "weights": np.full(count, SAME),
        "kernels": np.full(count, USUAL),
    }
    cases = {"attention-decode": attention, "attention-prefill": attention, "moe": experts}
    for name, inputs in cases.items():
        operator = OPERATORS[name]
        assert set(inputs) == {*operator.columns, *operator.words}
        seconds = operator.price(machine, "bf16", inputs)
        assert (seconds >= operator.work(machine, "bf16", inputs).floor_s).all(), name
        # rows are in order of the batch, then of the size
        table = seconds.reshape(3, 3)
        assert (np.diff(table, axis=0) >= 0).all(), name
        assert (np.diff(table, axis=1) >= 0).all(), name


def test_columns_of_installed_tables_are_ours():
    from simulator.validation.silicon_columns import READERS

    attention = {
        "latency": np.array([0.01, 0.02, 0.03]),
        "batch_size": np.array([1, 2, 3]),
        "num_heads": np.array([8, 8, 8]),
        "num_key_value_heads": np.array([2, 0, 2]),
        "head_dim": np.array([128, 128, 128]),
        "isl": np.array([1, 1, 1]),
        "step": np.array([7, 15, 31]),
        "window_size": np.array([0, 0, 128]),
        "attn_dtype": np.array(["bfloat16"] * 3, dtype=object),
        "kv_cache_dtype": np.array(["bfloat16", "bfloat16", "fp8"], dtype=object),
    }
    bf16, fp8 = READERS["attention-decode"](attention, "h100", "s 1", "s")
    assert bf16.inputs["context"].tolist() == [7, 15]  # cached
    assert bf16.inputs["kv_heads"].tolist() == [2, 8]  # 0 stands for as many as heads
    assert fp8.measured_s.tolist() == [3e-5]
    gemm = {
        "latency": np.array([0.01, 0.02]),
        **{name: np.array([64, 64]) for name in "mkn"},
        "gemm_dtype": np.array(["fp8", "nvfp4"], dtype=object),
    }
    (only,) = READERS["matmul"](gemm, "b200", "s 1", "s")
    assert only.inputs["quantize"].tolist() == [1]
    assert [note.reason for note in only.left_out] == ["no price for data type nvfp4"]
    nccl = {
        "latency": np.array([0.01, 0.02]),
        "message_size": np.array([512, 512]),
        "num_gpus": np.array([8, 8]),
        "op_name": np.array(["alltoall", "all_reduce"], dtype=object),
        "nccl_dtype": np.array(["half", "int8"], dtype=object),
    }
    half, whole = READERS["collective"](nccl, "h100", "s 1", "s")
    assert (half.inputs["bytes"].tolist(), whole.inputs["bytes"].tolist()) == ([1024], [512])
    assert half.inputs["op"].tolist() == ["all-to-all"]


def test_newest_version_of_a_stack():
    from simulator.validation.silicon import _version

    names = ["0.9.1", "1.0.0rc3", "0.14.0", "1.0.0", "0.8.1.post1", "0.8.1"]
    assert sorted(names, key=_version) == [
        *("0.8.1", "0.8.1.post1", "0.9.1", "0.14.0", "1.0.0rc3", "1.0.0"),
    ]


def test_the_report_names_what_is_not_validated(tmp_path, shapes, priced, capsys):
    path = write(tmp_path / "t.csv", shapes, (priced * 1.25).tolist())
    report = tmp_path / "report.md"
    validated(capsys, path, "--markdown", str(report), "--date", "2020-02-02")
    text = report.read_text()
    assert "Date: 2020-02-02. Versions: chipsim" in text
    assert "| h100 bf16, t.csv | 64 | 20.0 | 20.0 | 20.0 | -20.0 | 20.0 |" in text
    # a report of one table says nothing of other chips
    assert "wse3-core" not in text
    part = validate(["tpu-v6e"], operators=["copy"], baselines=False)
    assert "wse3-core" not in written(part, "2020-02-02")
    assert "- wse3-core: all operators" in written(replace(part, complete=True), "2020-02-02")


def test_errors_are_recorded_in_chip_and_engine_files(tmp_path, monkeypatch):
    import importlib.util
    from pathlib import Path

    from simulator.config import find_config, load_chip

    script = Path(__file__).parent.parent / "benchmarks" / "record_validation.py"
    spec = importlib.util.spec_from_file_location("record_validation", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CONFIGS", tmp_path)
    (tmp_path / "chips").mkdir()
    (tmp_path / "engines").mkdir()
    chip = tmp_path / "chips" / "toy.yaml"
    engine = tmp_path / "engines" / "vllm.yaml"
    kernels = (
        "{chip: toy, operator: attention-decode, dtype: fp8, table: x, count: 9, mape_percent: 2}"
    )
    engine.write_text(f"kind: engine\nname: vllm\niteration: 1 ms\nvalidation:\n  - {kernels}\n")
    original = find_config("chips", "toy").read_text()
    chip.write_text(original)
    row = {"chip": "toy", "operator": "matmul", "dtype": "bf16", "table": "lab: 1", "count": 7}
    rows = [
        {**row, "regime": "all", "mape_percent": 3.14159},
        {**row, "regime": "launch", "mape_percent": 9},
        {**row, "operator": "server", "regime": "all", "mape_percent": 9},
        {**row, "operator": "server", "regime": "vllm", "mape_percent": 5},
    ]
    document = tmp_path / "v.json"
    for _ in range(2):  # a second time replaces the block
        document.write_text(json.dumps({"rows": rows}))
        module.main([str(document)])
        (entry,) = load_chip(str(chip)).validation
        assert (entry.table, entry.count, entry.mape_percent) == ("lab: 1", 7, 3.1)
        assert [e.mape_percent for e in api.load_engine(engine).validated_on("toy")] == [2, 5]
    # servers of another chip leave this one's in place
    rows[-1]["chip"] = rows[-2]["chip"] = "h100"
    document.write_text(json.dumps({"rows": rows}))
    module.main([str(document)])
    assert {name for name, _ in api.load_engine(engine).validation} == {"toy", "h100"}
    rows[0]["chip"] = rows[1]["chip"] = "h200"
    (tmp_path / "chips" / "h200.yaml").write_text(original)
    rows[-1]["chip"] = rows[-2]["chip"] = "h200"
    document.write_text(json.dumps({"rows": rows}))
    module.main([str(document)])
    assert {name for name, _ in api.load_engine(engine).validation} == {"toy", "h100", "h200"}
    document.write_text(json.dumps({"rows": []}))
    module.main([str(document), "toy"])
    assert chip.read_text().rstrip("\n") == original.rstrip("\n")


def test_totals_are_those_of_all_rows_together(shapes, priced):
    """Every row has the same weight, whichever table it is of."""
    tables = [matmul_table(shapes, priced * 1.25), matmul_table(shapes[:3], priced[:3] * 2)]
    found = [compare(Machine("h100"), table, baselines=False) for table in tables]
    assert totals(found[:1]) == []
    (line,) = totals(found)
    count = len(shapes) + 3
    assert (line.operator, line.dtype, line.chips, line.tables) == ("matmul", None, ("h100",), 2)
    assert line.errors.count == count
    assert line.errors.mape_percent == pytest.approx((20 * len(shapes) + 50 * 3) / count)
    assert line.errors.median_percent == pytest.approx(20)


@pytest.mark.parametrize("option", ["--html", "--markdown"])
def test_a_table_is_not_overwritten(option: str, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("m,k,n,dtype,measured_s\n64,64,64,bf16,1e-5\n")
    asked = ["validate", "h100", "--operator", "matmul", "--table", str(table)]
    assert main([*asked, option, str(table)]) == 3
    page = str(tmp_path / "page")
    assert main([*asked, "--html", page, "--markdown", page]) == 3
    assert main([*asked, "--markdown", page, "--date", "2026-13-45"]) == 3
    assert table.read_text().startswith("m,k,n") and not Path(page).exists()


def test_what_is_named_twice_counts_once():
    once = validate(["tpu-v7x-die"], operators=["matmul"], baselines=False)
    twice = validate(["tpu-v7x-die"] * 2, operators=["matmul"] * 2, baselines=False)
    assert len(twice.rows()) == len(once.rows()) > 0


def test_a_calibration_does_not_overwrite_its_measurements(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("m,k,n,measured_s\n64,64,64,1e-5\n")
    asked = ["calibrate", "toy", "--operator", "matmul", "--measurements", str(table)]
    assert main([*asked, "-o", str(table)]) == 3
    assert table.read_text().startswith("m,k,n")


def test_a_table_without_the_data_type_says_what_it_has(capsys, tmp_path, shapes, priced):
    path = write(tmp_path / "t.csv", shapes, priced.tolist())
    asked = ("validate", "h100", "--operator", "matmul", "--table", path, "--dtype", "fp8")
    status, out, err = run(capsys, *asked)
    assert (status, out) == (3, "")
    assert "t.csv: no row has the data type fp8" in err
    assert "it has bf16" in err
