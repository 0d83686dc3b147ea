"""Serving engines: named host times that every command and the comparison with servers share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator import api
from simulator.cli import main
from simulator.config import find_config, list_names
from simulator.config.loader import load_engine
from simulator.errors import InputError
from simulator.hardware import ServingEngine, Validated
from simulator.report.accuracy import accuracy_line
from simulator.timing.choices import Dtypes
from simulator.timing.evidence import compared
from simulator.timing.layout_options import LayoutOptions
from simulator.timing.plan import make_plan
from simulator.timing.step import price_step
from simulator.validation.machine import Machine
from simulator.validation.operators import OPERATORS

STEP = ("step", "toy", "llama-toy", "--phase", "decode", "--batch", "4", "--context", "8")
RUN = ("llama-toy", "chat", "--limit", "4")
MS = 10**9


def run(capsys, *words):
    status = main(words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def document(capsys, *words):
    status, out, err = run(capsys, *words, "--format", "json")
    assert status == 0, err
    return json.loads(out)


def test_engines_are_listed_shown_and_checked(capsys):
    status, out, _ = run(capsys, "config", "list", "engines")
    assert status == 0
    assert {"vllm", "trtllm", "sglang"} <= set(out.split())
    for name in list_names("engines"):
        shown = document(capsys, "config", "show", name, "--kind", "engine")
        rows = {row["path"]: row for row in shown["rows"]}
        for path in ("engine.iteration", "engine.sequence"):
            assert rows[path]["unit"] == "ps"
            assert rows[path]["source"] not in (None, "default")
        assert main(["config", "check", str(find_config("engines", name))]) == 0
        capsys.readouterr()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iteration: 2 s", "at most 1 s"),
        ("iteration: -1 ms", "iteration"),
        ("iteration: 1 ms\nsequnce: 1 us", "did you mean 'sequence'?"),
        ("iteration: 1 ms\nscheduler: fastest", "scheduler"),
        ("iteration: 1 ms\nprompt_wait: 2", "prompt_wait"),
        ("sequence: 1 us", "iteration"),
    ],
)
def test_faults_of_an_engine_file_are_named_with_their_place(tmp_path, capsys, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(f"kind: engine\nname: mine\n{text}\n")
    status, _, err = run(capsys, "config", "check", str(path))
    assert status == 3
    assert message in err
    assert "mine.yaml" in err


def test_a_step_takes_the_hosts_time_an_iteration_and_a_sequence(capsys):
    bare = document(capsys, *STEP)
    vllm = load_engine("vllm")
    found = document(capsys, *STEP, "--engine", "vllm")
    assert (bare["engine"], found["engine"]) == (None, "vllm")
    host = (vllm.iteration_ps + 4 * vllm.sequence_ps) / 1e12
    assert found["host_s"] == pytest.approx(host)
    assert found["time_s"] - bare["time_s"] == pytest.approx(host - bare["host_s"])
    changed = document(capsys, *STEP, "--engine", "vllm", "--set", "engine.iteration=0 ns")
    assert changed["host_s"] == pytest.approx(4 * vllm.sequence_ps / 1e12)


def test_the_ranks_that_share_sequences_have_a_host_each():
    engine = ServingEngine("e", MS, MS)
    system = replace(api.load_system("h100:4"), engine=engine)
    words = {"phase": "decode", "batch": 10, "context": 64}
    whole = api.price_step(system, "llama3-8b", **words)
    shared = api.price_step(system, "llama3-8b", **words, layout=LayoutOptions(tp=1, dp=4))
    copies = api.price_step(system, "llama3-8b", **words, layout=LayoutOptions(tp=2))
    assert whole.host_ps == 11 * MS
    assert shared.host_ps == 4 * MS  # three sequences on the fullest
    assert copies.host_ps == 6 * MS  # five sequences on each of two replicas


def test_a_run_and_a_step_wait_for_the_same_host(tmp_path, capsys):
    """One request alone: each of its tokens takes a step, and the step its host."""
    trace = tmp_path / "trace.csv"
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,4,9\n")
    words = ("run", "toy", "llama-toy", "--trace", str(trace))
    bare = document(capsys, *words)
    mine = document(capsys, *words, "--engine", "vllm", "--set", "engine.sequence=1ms")
    engine = load_engine("vllm", ["engine.sequence=1ms"])
    more = 9 * (engine.iteration_ps + engine.sequence_ps)
    assert mine["simulated_s"] - bare["simulated_s"] == pytest.approx(more / 1e12)
    assert mine["engine"] == "vllm"


def test_the_engine_chooses_the_scheduler_unless_one_is_named(tmp_path, capsys):
    def recorded(*words):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        assert main(["run", "toy", *RUN, *words, "-o", str(folder)]) == 0
        capsys.readouterr()
        return json.loads((folder / "manifest.json").read_text())

    found = recorded("--engine", "sglang")
    assert found["options"]["scheduler"] == "prefill-first"
    assert found["options"]["engine"] == "sglang"
    assert found["configuration"]["system"]["engine"]["name"] == "sglang"
    assert recorded("--engine", "sglang", "--scheduler", "static")["options"]["scheduler"] == (
        "static"
    )
    plain = recorded()
    assert (plain["options"]["scheduler"], plain["options"]["engine"]) == ("chunked", None)


def test_a_scenario_names_its_engine(tmp_path, capsys):
    path = tmp_path / "s.yaml"
    text = "kind: scenario\nname: s\nmodel: llama-toy\nsystem: toy\nworkload: chat\nlimit: 3\n"
    path.write_text(text + "engine: trtllm\n")
    assert document(capsys, "run", "--scenario", str(path))["engine"] == "trtllm"
    given = document(capsys, "run", "--scenario", str(path), "--engine", "vllm")
    assert given["engine"] == "vllm"
    path.write_text(text + "engine: trtlm\n")
    status, _, err = run(capsys, "run", "--scenario", str(path))
    assert status == 3
    assert "s.yaml:7" in err
    assert "trtllm" in err


@pytest.mark.parametrize(
    "words",
    [
        (*STEP, "--engine", "vlm"),
        ("run", "toy", *RUN, "--engine", "vlm"),
        ("capacity", "toy", *RUN, "--slo", "ttft=1s", "--engine", "vlm"),
        ("serve-curve", "toy", *RUN, "--engine", "vlm"),
        ("layout", *STEP[1:], "--engine", "vlm"),
    ],
)
def test_an_unknown_engine_is_named_with_the_nearest(words, capsys):
    status, out, err = run(capsys, *words)
    assert (status, out) == (3, "")
    assert "unknown engine 'vlm'" in err
    assert "did you mean 'vllm'?" in err


def test_overrides_of_an_engine_need_one(capsys):
    status, _, err = run(capsys, *STEP, "--set", "engine.iteration=1ms")
    assert status == 3
    assert "--engine" in err


def test_images_have_no_serving_engine(capsys):
    words = ("--phase", "prefill", "--batch", "1", "--context", "1", "--engine", "vllm")
    status, _, err = run(capsys, "step", "tpu-v6e", "resnet-50", *words)
    assert status == 3
    assert "convolutional network" in err


def test_validate_prices_a_server_with_the_host_of_the_step():
    inputs = {
        "batch": np.array([1, 5]),
        "prompt_tokens": np.array([64, 64]),
        "output_tokens": np.array([16, 16]),
        "tp": np.array([1, 1]),
        "model": np.array(["llama3-8b"] * 2),
        "engine": np.array(["vllm"] * 2),
        "kv_dtype": np.array(["bf16"] * 2),
    }
    machine = Machine("h100")
    found = OPERATORS["server"].price(machine, "bf16", inputs)
    system = replace(machine.system(1), engine=load_engine("vllm"))
    words = {"phase": "decode", "context": 72}
    steps = [api.price_step(system, "llama3-8b", batch=b, **words).time_s for b in (1, 5)]
    assert found[0] == pytest.approx(steps[0])
    prompt = api.price_step(system, "llama3-8b", phase="prefill", batch=1, context=64)
    refill = 4 / 16 * (prompt.time_ps - prompt.host_ps) / 1e12
    assert found[1] == pytest.approx(steps[1] + refill)
    # half the bytes of a cache make a token slower by no more than the kernels that convert queries
    small = OPERATORS["server"].price(
        machine, "bf16", {**inputs, "kv_dtype": np.array(["fp8"] * 2)}
    )
    assert (small <= 1.01 * found).all()
    with pytest.raises(InputError, match="unknown engine 'vlm'"):
        OPERATORS["server"].price(machine, "bf16", {**inputs, "engine": np.array(["vlm"] * 2)})


def test_the_line_cites_servers_only_of_the_engine_in_use():
    base = [Validated("matmul", "fp8", "t", 10, 1.0), Validated("matmul", "bf16", "t", 10, 2.0)]
    server = Validated("server", "fp8", "s", 5, 4.0)
    engine = ServingEngine("vllm", MS, 0)
    eights = {"weight": "fp8", "activation": "fp8", "kv": "bf16"}
    line = accuracy_line(base, eights)
    assert "matmul 1.0 %" in line
    assert "server" not in line
    assert line.endswith("the host's time is not validated")
    cited = accuracy_line([*base, server], eights, engine)
    assert cited.endswith("matmul 1.0 %, vllm server 4.0 %")
    # a figure in another data type says nothing of this one
    for other in ({**eights, "weight": "bf16", "activation": "bf16"}, {**eights, "weight": "bf16"}):
        assert "server 4.0" not in accuracy_line([*base, server], other, engine)
        assert "servers of vllm were not measured" in accuracy_line([*base, server], other, engine)


def test_shipped_engines_cite_the_chips_that_they_were_measured_on():
    vllm = load_engine("vllm")
    assert {chip for chip, _ in vllm.validation} == {"h100", "h200", "b200"}
    system = replace(api.load_system("h100"), engine=vllm)
    assert [item.operator for item in system.validation].count("server") == 2
    assert "server" not in {item.operator for item in api.load_system("h100").validation}
    on_tpu = replace(api.load_system("tpu-v6e"), engine=vllm)
    assert "server" not in {item.operator for item in on_tpu.validation}


def test_servers_of_dense_models_say_nothing_of_experts():
    system = replace(api.load_system("h100"), engine=load_engine("vllm"))
    of = {
        name: {entry.operator for entry in compared(system, api.load_model(name))}
        for name in ("llama3-8b", "mixtral-8x7b")
    }
    assert "server" in of["llama3-8b"]
    assert "server" not in of["mixtral-8x7b"]
    assert "moe" in of["mixtral-8x7b"]


def test_a_host_overhead_beside_an_engine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["step", "toy", "llama-toy", "--phase", "decode", "--batch", "1", "--context", "4"]
    assert main([*asked, "--engine", "vllm", "--set", "system.host_overhead=1ms"]) == 3
    assert "has no effect beside --engine" in capsys.readouterr().err


def test_a_chip_with_overrides_is_not_the_one_that_was_measured() -> None:
    assert api.load_system("h100", ["chip.hbm.bandwidth=1TB/s"]).chip.validation == ()
    assert api.load_system("h100", ["chip.price=1 $/h"]).chip.validation
    assert api.load_system("h100", ["system.host_overhead=1ms"]).chip.validation


@pytest.mark.parametrize(
    "wrong", ["engine: vlm", "model: llama3", "workload: chatt", 'serve: {system: "h10:8"}']
)
def test_a_scenario_is_checked_with_what_it_names(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {
        "model": "model: llama3-8b",
        "serve": 'serve: {system: "toy"}',
        "kind": "kind: scenario",
    }
    lines |= {"name": "name: x", "workload": "workload: chat", wrong.split(":")[0]: wrong}
    file = tmp_path / "scenario.yaml"
    file.write_text("\n".join(lines.values()))
    assert main(["config", "check", str(file)]) == 3
    place = 1 + list(lines.values()).index(wrong)
    assert f"scenario.yaml:{place}:" in capsys.readouterr().err


def test_engines_have_kernels_for_all_reduce_only(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["collective", "all-gather", "1MiB", "--system", "h100:8"]
    assert main([*asked, "--algorithm", "vllm-0.18"]) == 3
    assert "all-reduce only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("system", "tp", "said"),
    [("h100:8", 8, 0), ("h100:8x2", 8, 0), ("h100:8x2", 16, 1), ("mi300x:8", 8, 1), ("h100", 1, 0)],
)
def test_a_step_says_where_an_engine_has_no_kernels(system: str, tp: int, said: int) -> None:
    under = api.load_system(system).under(load_engine("vllm"))
    model = "llama3-8b" if tp == 1 else "llama3-70b"
    notes = api.price_step(under, model, phase="decode", batch=8, context=100, tp=tp).notes
    assert len(notes) == said
    assert all(f"no all-reduce kernels for {tp} chips" in note for note in notes)


def test_an_engine_may_give_the_cache_a_share_of_what_is_left() -> None:
    """TensorRT-LLM's free_gpu_memory_fraction: of what weights and activations leave."""
    system = api.load_system("h200")
    model = api.load_model("llama3-8b")
    for share in (0.5, 0.9, 1.0):
        own = replace(system, engine=ServingEngine("e", MS, 0, kv_memory=share))
        memory = make_plan(own, model, tp=1).memory(8192, 256)
        left = memory.capacity - memory.weights - memory.activations
        assert memory.kv == pytest.approx(share * left, abs=1)
    plain = make_plan(system, model, tp=1).memory(8192, 256)
    assert plain.reserve == int(0.1 * plain.capacity)


def test_engines_exchange_what_lies_between_matmuls_in_16_bits() -> None:
    eights = Dtypes("fp8", "fp8", "fp8")
    system, model = api.load_system("h100:4"), api.load_model("llama3-8b")
    engine = ServingEngine("e", MS, 0, residual="bf16")
    sizes = {}
    for name, own in (("none", system), ("engine", replace(system, engine=engine))):
        plan = make_plan(own, model, tp=4, dtypes=eights)
        step = price_step(plan, phase="prefill", batch=1, context=1024)
        sizes[name] = {row.name: row.size_bytes for row in step.collectives}
        assert step.traffic_bytes["fabric"] > 0
    assert sizes["engine"] == {name: 2 * size for name, size in sizes["none"].items()}
    # what is wider already stays as it is
    assert make_plan(replace(system, engine=engine), model, tp=4).bits.tolist() == [16] * 4


def test_attention_of_an_engine_is_that_of_its_cache_chips_and_models() -> None:
    engine = load_engine("trtllm")
    fitted = engine.attention[0]
    assert fitted.cache == "fp8"
    h200, l40s = api.load_chip("h200"), api.load_chip("l40s")
    own = engine.with_attention(h200, "fp8").fused
    assert own is not None and h200.fused is not None
    assert not own.transposes_values and h200.fused.transposes_values
    assert own.expert_launch_ps == h200.fused.expert_launch_ps
    assert engine.with_attention(h200, "bf16") is h200
    assert engine.with_attention(l40s, "fp8") is l40s
    # 8-bit caches are read near the rate of HBM, and never above it
    system = api.load_system("h200").under(engine)
    step = price_step(
        make_plan(system, api.load_model("llama3-8b"), dtypes=Dtypes("fp8", "fp8", "fp8")),
        phase="decode",
        batch=256,
        context=1024,
    )
    spans = [span for span in step.operators if span.kind == "attention"]
    rate = sum(s.hbm_read_bytes for s in spans) / sum(s.duration_ps for s in spans) * 1e12
    assert 0.7 * 4.8e12 < rate < 4.8e12
    # latent attention has figures of its own
    latent = make_plan(
        api.load_system("h200:8").under(engine),
        api.load_model("deepseek-v3"),
        dtypes=Dtypes("fp8", "fp8", "fp8"),
    )
    assert latent.system.chip.fused == h200.fused


def test_tensorrt_llm_never_evicts(tmp_path, capsys) -> None:
    """Six requests whose answers do not fit the cache together; vLLM's scheduler preempts."""
    trace = tmp_path / "t.csv"
    rows = "".join("0,16,240\n" for _ in range(6))
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n" + rows)
    words = ("run", "toy", "llama-toy", "--trace", str(trace))
    room = document(capsys, *words)["memory_bytes"]["kv"]
    tight = document(capsys, *words, "--engine", "trtllm", "--set", "engine.kv_memory=0.001")
    assert tight["memory_bytes"]["kv"] < room / 100
    assert tight["preemptions"] == 0
    assert tight["kv"]["peak_fraction"] <= 1
