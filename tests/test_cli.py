"""The command line from outside: statuses, streams and files, on a made-up engine."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import signal
import subprocess
import sys
import types
from dataclasses import fields
from pathlib import Path

import pytest
import result_samples as samples

import simulator.config.loader
from simulator.cli import main
from simulator.cli.entry import COMMANDS
from simulator.errors import InfeasibleError, InputError
from simulator.serving.pools import Deployment, Member, Pool, Servers

ROOT = Path(__file__).parent.parent


@pytest.fixture
def engine(monkeypatch):
    """Stands in for ``simulator.api``: remembers its calls and returns the samples."""
    calls: list[tuple[str, dict]] = []
    api = types.ModuleType("simulator.api")

    laid: dict = {}

    def deploy(model, pools, workload, *, dtypes, max_batch):
        (servers,) = pools["serve"]
        laid.update({f"{name}_dtype": kind for name, kind in dtypes.as_dict().items()})
        laid["layout"], laid["tp"] = servers.layout, servers.layout.tp
        plan = types.SimpleNamespace(system=servers.system, replicas=1)
        return Deployment((Pool("serve", (Member(plan),)),))

    def serve(deployment, workload, options, progress):
        chosen = {field.name: getattr(options, field.name) for field in fields(options)}
        calls.append(("serve", {"workload": workload, "progress": progress, **laid, **chosen}))
        return samples.run(log=samples.log() if options.record_iterations else None)

    def price_step(system, model, **options):
        calls.append(("price_step", options))
        return samples.step()

    def price_matmul(chip, m, k, n, dtype="bf16", **_options):
        calls.append(("price_matmul", {"shape": (m, k, n), "dtype": dtype}))
        return samples.matmul(m=m, k=k, n=n, dtype=dtype)

    def price_matmuls(chip, cases, **_options):
        return [price_matmul(chip, *case) for case in cases]

    api.Servers = Servers
    for function in (deploy, serve, price_step, price_matmul, price_matmuls):
        setattr(api, function.__name__, function)
    monkeypatch.setitem(sys.modules, "simulator.api", api)
    monkeypatch.setattr(simulator.config.loader, "load_system", lambda *_: samples.system())
    for loader in ("load_model", "load_any_model"):
        monkeypatch.setattr(simulator.config.loader, loader, lambda *_: samples.model())
    monkeypatch.setattr(simulator.config.loader, "load_chip", lambda *_: samples.chip())
    return calls


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,2\n4,20,3\n")
    return str(path)


def run(capsys, *words):
    status = main(words)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


STEP = ("step", "sample", "tiny", "--phase", "decode", "--batch", "4", "--context", "128")


def test_run_prints_the_table(engine, trace, capsys):
    status, out, err = run(capsys, "run", "sample", "tiny", "--trace", trace)
    assert (status, err) == (0, "")
    assert "time to first token (TTFT)" in out
    assert engine[0][1]["max_batch"] == 256
    assert engine[0][1]["token_budget"] == 8192
    assert engine[0][1]["progress"] is None


def test_run_passes_its_options_on(engine, trace, capsys):
    words = "--tp 2 --dtype fp8 --weight-dtype int8 --max-batch 8 --token-budget 64 --seed 5"
    words += " --warmup 2s --limit 1 --format json"
    status, out, _ = run(capsys, "run", "sample", "tiny", trace, *words.split())
    assert status == 0
    document = json.loads(out)
    assert document["schema"] == "chipsim.run/1"
    call = engine[0][1]
    assert len(call["workload"].traffic) == 1
    assert call["layout"].tp == 2
    wanted = {"weight_dtype": "int8", "activation_dtype": "fp8", "kv_dtype": "bf16"}
    wanted |= {"max_batch": 8, "token_budget": 64, "seed": 5, "warmup_s": 2.0}
    assert {name: call[name] for name in wanted} == wanted


def test_run_writes_its_files(engine, trace, tmp_path, capsys):
    directory, timeline = tmp_path / "out" / "deep", tmp_path / "t.json.gz"
    status, _, err = run(
        capsys, "run", "sample", "tiny", trace, "-o", str(directory), "--timeline", str(timeline)
    )
    assert (status, err) == (0, "")
    names = ["manifest.json", "requests.csv", "result.json"]
    assert sorted(p.name for p in directory.iterdir()) == names
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["options"]["max_batch"] == 256
    assert len(manifest["sha256"]["trace_file"]) == 64
    assert timeline.stat().st_size > 0
    assert engine[0][1]["record_iterations"] is True


def test_run_explains_in_both_formats(engine, trace, capsys):
    _, table, _ = run(capsys, "run", "sample", "tiny", trace, "--explain")
    assert "MFU = FLOPs of the model / (time x peak x chips)" in table
    _, text, _ = run(capsys, "run", "sample", "tiny", trace, "--explain", "--format", "json")
    reasons = json.loads(text)["explain"]
    assert {"figure", "formula", "values"} <= set(reasons[0])


def test_failed_assertions_end_with_1_after_the_result(engine, trace, capsys):
    words = ("run", "sample", "tiny", trace, "--format", "json")
    status, out, err = run(capsys, *words, "--assert", "ttft_p99<100ms", "--assert", "mfu>=30%")
    assert status == 1
    assert json.loads(out)["mfu"] == 0.3
    assert "ttft_p99 is 204.5 ms" in err
    assert "1 of 2" in err
    assert run(capsys, *words, "--assert", "ttft_p99<205ms")[0] == 0


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("run", "sample"), 2, "Missing argument 'MODEL'"),
        (("run", "sample", "tiny", "chat", "--trace", "x.csv"), 2, "not both"),
        (("run", "sample", "tiny", "--limt", "3"), 2, "--limit"),
        (("run", "sample", "tiny", "--limit"), 2, "requires an argument"),
        (("step", "sample", "tiny", "--phase", "decode", "--batch", "4"), 2, "--context"),
        (("op", "matmul", "--chip", "sample"), 2, "either"),
        (("op", "matmul", "1x1x1", "--cases", "x.csv", "--chip", "sample"), 2, "either"),
        (("op", "matmul", "1x1x1"), 2, "--chip"),
        (("stp",), 2, "did you mean 'step'?"),
        (("--nonsense",), 2, "--nonsense"),
        ((), 2, "Usage:"),
        (("run", "sample", "tiny", "--limit", "-1"), 3, "--limit: found -1"),
        (("run", "sample", "tiny", "--limit", "abc"), 3, "--limit: found 'abc'"),
        (("run", "sample", "tiny", "--rate-scale", "nan"), 3, "--rate-scale: found 'nan'"),
        (("run", "sample", "tiny", "--warmup", "-1"), 3, "--warmup"),
        (("run", "sample", "tiny", "--max-batch", "0"), 3, "--max-batch"),
        (("run", "sample", "tiny", "--dtype", "bf61"), 3, "did you mean 'bf16'?"),
        (("run", "sample", "tiny", "--format", "xml"), 3, "--format"),
        (("run", "sample", "tiny", "--seed", "-1"), 3, "--seed"),
        (("run", "sample", "tiny", "--set", "chp.clock=1"), 3, "did you mean 'chip'?"),
        (("run", "sample", "tiny", "--assert", "ttft<1"), 3, "--assert"),
        (("run", "sample", "tiny", "--trace", "missing.csv"), 3, "missing.csv"),
        (("run", "sample", "tiny", "--timeline", "no/such/t.json"), 3, "no/such"),
        ((*STEP[:5], "--batch", "0", *STEP[7:]), 3, "--batch"),
        ((*STEP[:3], "--phase", "decod", *STEP[5:]), 3, "did you mean 'decode'?"),
        (("op", "matmul", "4x8", "--chip", "sample"), 3, "expected a shape MxKxN"),
        (("op", "matmul", "4x8x0", "--chip", "sample"), 3, "N of '4x8x0': found 0"),
        (
            ("op", "matmul", "-4x4x4", "--chip", "sample"),
            3,
            "found '-4x4x4', expected a positive size",
        ),
        (("op", "matmul", "-4", "--chip", "sample"), 3, "found '-4', expected"),
        (("systolic", "-4x4x4", "--array", "4x4", "--dataflow", "ws"), 3, "found '-4x"),
        (("memory", "hbm2-2000", "--pattern", "stride"), 3, "expected stride:BYTES"),
        (("run", "", "tiny"), 3, "SYSTEM is empty"),
        (("run", "sample", " "), 3, "MODEL is empty"),
        (("run", "sample", "tiny", ""), 3, "WORKLOAD is empty"),
        (("run", "sample", "tiny", "-o", ""), 3, "--output: found an empty path"),
        (("run", "sample", "tiny", "--trace", ""), 3, "--trace: found an empty path"),
        (("run", "sample", "tiny", "--timeline", ""), 3, "--timeline: found an empty path"),
        (("run", "sample", "tiny", "--timeline", "-"), 3, "--timeline: found '-'"),
        ((*STEP, "--timeline", "-"), 3, "--timeline: found '-'"),
        (("trace", "generate", "chat", "-o", ""), 3, "--output: found an empty path"),
        (("op", "matmul", "4x8x1", "--chip", "s", "--dtype", "fp8"), 3, "no rate for data type"),
    ],
)
def test_bad_command_lines(engine, capsys, words, status, message):
    found, out, err = run(capsys, *words)
    assert (found, out) == (status, "")
    assert message in err
    assert engine == []


def test_output_that_cannot_be_written_is_found_before_the_run(engine, trace, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    for words in (("-o", str(tmp_path / "file")), ("--timeline", str(tmp_path))):
        status, out, err = run(capsys, "run", "sample", "tiny", trace, *words)
        assert (status, out) == (3, "")
        assert "directory" in err
    assert engine == []


def test_no_output_replaces_an_input(engine, trace, capsys, tmp_path):
    before = Path(trace).read_text()
    (tmp_path / "link.csv").hardlink_to(trace)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "requests.csv").symlink_to(trace)
    for words in (("--timeline", trace), ("--timeline", str(tmp_path / "link.csv"))):
        status, _, err = run(capsys, "run", "sample", "tiny", trace, *words)
        assert (status, "is an input of this command" in err) == (3, True)
    words = ("--trace", trace, "-o", str(tmp_path / "out"))
    status, _, err = run(capsys, "run", "sample", "tiny", *words)
    assert (status, "is an input of this command" in err) == (3, True)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["requests.csv"]
    assert Path(trace).read_text() == before
    assert engine == []


def test_no_output_replaces_a_configuration_file(engine, capsys, tmp_path):
    chip, system, model, workload = (tmp_path / f"{name}.yaml" for name in "csmw")
    shipped = ROOT / "configs"
    chip.write_text((shipped / "chips" / "toy.yaml").read_text())
    system.write_text("kind: system\nname: pair\nchip: ./c.yaml\nfabric: {kind: none}\n")
    model.write_text((shipped / "models" / "llama3-8b.yaml").read_text())
    workload.write_text((ROOT / "workloads" / "chat.yaml").read_text())
    start = ("step", str(system), str(model), *STEP[3:])
    for path in (chip, system, model):
        before = path.read_bytes()
        status, out, err = run(capsys, *start, "--timeline", str(path))
        assert (status, out) == (3, "")
        assert f"'{path}' is an input of this command" in err
        assert path.read_bytes() == before
    status, _, err = run(capsys, "trace", "generate", str(workload), "-o", str(workload))
    assert (status, f"'{workload}' is an input" in err) == (3, True)
    assert engine == []


def test_outputs_must_differ(engine, trace, capsys, tmp_path):
    words = ("-o", str(tmp_path / "out"), "--timeline", str(tmp_path / "out" / "result.json"))
    status, _, err = run(capsys, "run", "sample", "tiny", trace, *words)
    assert (status, "would be written twice" in err) == (3, True)
    assert not (tmp_path / "out").exists()
    null = ("--timeline", os.devnull)
    assert run(capsys, "run", "sample", "tiny", trace, *null)[0] == 0


@pytest.mark.parametrize("name", ["result.json", "requests.csv", "manifest.json"])
def test_every_file_of_the_output_is_checked_before_the_run(engine, trace, capsys, tmp_path, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    status, out, err = run(capsys, "run", "sample", "tiny", trace, "-o", str(tmp_path / "out"))
    assert (status, out) == (3, "")
    assert f"{name}: it is a directory" in err
    assert engine == []


def test_ctrl_c_that_a_library_turned_into_its_own_error(engine, trace, capsys, monkeypatch):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    def wrapped(*_, error, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error from None

    try:
        for error in (ValueError("schema"), InputError("bad file"), SystemExit(1)):
            fail = functools.partial(wrapped, error=error)
            monkeypatch.setattr(sys.modules["simulator.api"], "serve", fail)
            found = run(capsys, "run", "sample", "tiny", trace)
            assert found == (130, "", "error: interrupted\n")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        # the next command starts afresh
        assert run(capsys, "run", "sample", "tiny", "--trace", "no.csv")[0] == 3
    finally:
        signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(
    "module", ["simulator.cli.start", "click", "simulator.cli.entry", "simulator.cli.run_command"]
)
def test_ctrl_c_while_modules_are_imported(module):
    program = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: exec('signal.raise_signal(signal.SIGINT)')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from simulator.cli import main\n"
        "sys.argv[1:] = ['run', '--help']\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_other_exceptions_are_not_called_interrupts(engine, trace, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["simulator.api"], "serve", fail)
    with pytest.raises(ZeroDivisionError):
        main(["run", "sample", "tiny", trace])


def test_stdout_that_is_closed_is_found_before_the_run(engine, trace, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["run", "sample", "tiny", trace]) == 3
    assert capsys.readouterr().err.startswith("error: standard output is closed")
    assert engine == []


def test_stderr_that_is_closed_changes_nothing(engine, trace, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["run", "sample", "tiny", trace]) == 0
    assert main(["run", "sample", "tiny", trace, "--assert", "ttft_p99<1ps"]) == 1
    sys.stderr.close()


def test_errors_of_the_engine_keep_their_status(engine, trace, capsys, monkeypatch, tmp_path):
    directory = tmp_path / "out"
    words = ("run", "sample", "tiny", trace, "-o", str(directory))
    for error, status in (
        (InfeasibleError("the model does not fit"), 4),
        (KeyboardInterrupt(), 130),
        (RecursionError(), 3),
        (MemoryError(), 3),
        (OSError(28, "No space left on device"), 3),
    ):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(sys.modules["simulator.api"], "serve", fail)
        found, out, err = run(capsys, *words)
        assert (found, out) == (status, "")
        assert err.startswith("error: ")
        assert not directory.exists()


def test_step(engine, capsys, tmp_path):
    timeline = tmp_path / "step.json"
    status, out, _ = run(capsys, *STEP, "--timeline", str(timeline), "--explain")
    assert status == 0
    assert "qkv x2" in out
    assert "time of the step = end of the last operator + host overhead" in out
    assert json.loads(timeline.read_text())["traceEvents"]
    status, out, _ = run(capsys, *STEP, "--format", "json", "--assert", "time_s<2ns")
    assert status == 0
    assert json.loads(out)["schema"] == "chipsim.step/1"
    assert run(capsys, *STEP, "--assert", "time_s<1ps")[0] == 1


def test_op(engine, capsys):
    status, out, _ = run(capsys, "op", "matmul", "4x8x12", "--chip", "sample", "--format", "json")
    assert status == 0
    assert json.loads(out)["schema"] == "chipsim.op/1"
    status, out, _ = run(capsys, "op", "matmul", "4x8x12", "--chip", "sample", "--explain")
    assert status == 0
    assert "runner-up" in out
    assert "cycles = computing + stalled" in out


def test_cases(engine, capsys, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('note,n,k,m,cycles\n"a,b",3,2,1,77\nc,6,5,4,88\n')
    status, out, err = run(capsys, "op", "matmul", "--cases", str(path), "--chip", "sample")
    assert (status, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["note"] for row in rows] == ["a,b", "c"]
    assert [(row["m"], row["k"], row["n"]) for row in rows] == [("1", "2", "3"), ("4", "5", "6")]
    assert rows[0]["cycles"] == "200"
    assert rows[0]["input_cycles"] == "77"
    assert (rows[0]["tile_m"], rows[0]["tile_k"], rows[0]["tile_n"]) == ("4", "8", "12")
    assert rows[0]["dtype"] == "bf16"


def test_cases_without_tiles_have_empty_cells(engine, capsys, tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_text("m,k,n\n1,2,3\n")
    api = sys.modules["simulator.api"]
    bare = [samples.matmul(tile=None, runner_up=None)]
    monkeypatch.setattr(api, "price_matmuls", lambda *_, **_options: bare)
    _, out, _ = run(capsys, "op", "matmul", "--cases", str(path), "--chip", "sample")
    (row,) = csv.DictReader(io.StringIO(out))
    assert row["tile_m"] == row["tile_n"] == row["runner_up_cycles"] == ""


def test_one_bad_case_prints_nothing(engine, capsys, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("m,k,n\n1,2,3\n1,two,3\n")
    status, out, err = run(capsys, "op", "matmul", "--cases", str(path), "--chip", "sample")
    assert (status, out) == (3, "")
    assert f"{path}:3:3" in err
    assert engine == []


def test_version_and_help(capsys):
    status, out, _ = run(capsys, "--version")
    assert status == 0
    assert out.startswith("chipsim ")
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("name", ["run", "step", "op"])
def test_command_help(capsys, name):
    status, out, _ = run(capsys, name, "--help")
    assert status == 0
    assert out.startswith(f"Usage: chipsim {name}")


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from simulator.cli import main; main(['--help']); main(['run', '--help']); "
        "print([m for m in ('numpy', 'numba', 'pydantic', 'rich', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["--help"], ["trace", "info", "TRACE"]])
def test_a_reader_that_goes_away_is_no_error(words, trace):
    words = [trace if word == "TRACE" else word for word in words]
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "simulator", *words]
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("model", "batch", "context", "message"),
    [
        ("llama3-70b", "1", "10", "smaller --weight-dtype, or smaller batches"),
        ("llama3-8b", "2", "131000", "not even one sequence of this length fits"),
        ("llama3-8b", "200", "2048", "sequences of this length fit"),
    ],
)
def test_what_does_not_fit_says_what_would(capsys, model, batch, context, message):
    words = ("step", "tpu-v6e", model, "--phase", "decode", "--batch", batch)
    status, out, err = run(capsys, *words, "--context", context)
    assert (status, out) == (4, "")
    assert message in err
    assert "--token-budget" not in err


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("deepseek-r1", (), "the weights of deepseek-r1 are published in fp8 (--weight-dtype fp8)"),
        ("gpt-oss-120b", (), "the experts of gpt-oss-120b are published in fp4"),
        ("deepseek-r1", ("--weight-dtype", "fp8"), None),
        ("llama3-70b", (), None),
    ],
)
def test_what_does_not_fit_names_the_type_of_published_weights(capsys, model, given, said):
    words = ("step", "tpu-v6e", model, "--phase", "decode", "--batch", "1", "--context", "10")
    status, _, err = run(capsys, *words, *given)
    assert status == 4
    assert "published" not in err if said is None else said in err
