"""Sizes and options that once ended in a traceback, a killed process, a hang, or silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulator.cli.entry import main
from simulator.config.loader import load_model, load_system
from simulator.errors import InputError
from simulator.timing.choices import Dtypes
from simulator.timing.expert_load import power_law
from simulator.timing.layout_room import Search, smallest_sufficient

STEP = "step h100:8 llama3-8b --phase decode --context 10"


@pytest.mark.parametrize(
    ("line", "status", "expected"),
    [
        (f"{STEP} --batch 999999999", 3, "expected at most 4194304 sequences"),
        (f"{STEP} --batch 999999999 --layout auto", 3, "expected at most 4194304 sequences"),
        (f"{STEP} --batch 1 --layout auo", 3, "did you mean 'auto'?"),
        ("run tpu-v6e llama3-8b --max-batch 1000000000", 3, "--max-batch must be at most 65536"),
        ("run tpu-v6e llama3-8b --kv-link 4GB/s", 3, "--kv-link needs a prefill and a decode"),
        ("run tpu-v6e llama3-8b --disaggregate never", 3, "--disaggregate needs a prefill"),
        ("run tpu-v6e llama3-8b chat --prefill toy --decode toy", 2, "SYSTEM 'tpu-v6e' is to be"),
        ("run tpu-v6e llama3-8b --set chip=3", 3, "names no value of the chip"),
        ("run tpu-v6e llama3-8b --assert mfu<40", 3, "is it 40%?"),
        ("op matmul 1x1x1 --chip h100 --rotating-buffers -1", 3, "a whole number of at least 0"),
        ("op matmul 1x1x1 --chip tpu-v6e --rotating-buffers 4", 3, "is no GPU with known kernels"),
        ("op copy -1 --chip h100", 3, "found '-1', expected a positive size"),
        ("collective all-reduce -5MB --system h100:8", 3, "found '-5MB', expected a positive"),
        ("systolic -4x8x8 --array 4x4 --dataflow ws", 3, "found '-4x8x8', expected a positive"),
        ("run tpu-v6e llama3-8b --fail mtbf:1us", 3, "expected at least 10 s"),
        ("run tpu-v6e llama3-405b", 4, "the smallest number of such chips that would do is 32"),
    ],
)
def test_one_clear_error(
    line: str, status: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == status
    assert expected in capsys.readouterr().err


def test_a_number_of_chips_comes_with_the_layout_that_fits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """24 does not divide 128 heads: what is named has to run as it is named."""
    line = "step h100:8 deepseek-v3 --phase prefill --batch 1 --context 2048"
    assert main(line.split()) == 4
    assert "would do is 24 (h100:8x3 with --layout auto)" in capsys.readouterr().err
    assert main(line.replace("h100:8", "h100:8x3").split()) == 3
    capsys.readouterr()
    assert main([*line.replace("h100:8", "h100:8x3").split(), "--layout", "auto"]) == 0
    capsys.readouterr()
    plain = "step h100 llama3-70b --phase decode --batch 1 --context 100"
    assert main(plain.split()) == 4
    assert "would do is 2 (h100:2)" in capsys.readouterr().err
    assert main(plain.replace("h100", "h100:2").split()) == 0


@pytest.mark.parametrize(
    ("chips", "more", "model"),
    [
        ("h100:8", "h100:8x3 with --layout auto", "deepseek-v3"),
        ("tpu-v6e", "tpu-v6e:4x4", "qwen3-235b"),
    ],
)
def test_a_run_on_the_chips_of_the_hint_starts(
    chips: str, more: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Qwen3 on 16 v6e has room for a cache, if not for one of 8,192 tokens."""
    assert main(["run", chips, model, "chat", "--limit", "1"]) == 4
    assert f"({more})" in capsys.readouterr().err
    words = more.replace("with ", "").split()
    assert main(["run", words[0], model, "chat", "--limit", "1", *words[1:]]) == 0


def test_extreme_power_laws_are_priced_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for alpha in (1e-9, 1.0, 2.0, 100.0):
        for tokens in (1, 10**6):
            shares = power_law(8, 2, alpha, tokens, 2)
            assert 0 < shares.sum() <= 1
    line = "step h100:8 mixtral-8x7b --phase decode --batch 1 --context 10"
    assert main([*line.split(), "--expert-load", "power:1e9"]) == 3
    assert "at most 100" in capsys.readouterr().err


def test_no_number_of_small_chips_is_found_without_trying_them_all() -> None:
    """The activations of a chip with 230 MB do not fit however many share the model."""
    types = Dtypes("bf16", "bf16", "bf16")
    small = load_system("groq-lpu"), load_model("llama3-8b"), types
    assert smallest_sufficient(*small, Search("prefill", 1, 8192)) is None


def test_a_bad_load_of_experts_is_shown_in_its_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "moe.csv"
    head = "tokens,hidden,intermediate,experts,top_k,expert_load\n"
    path.write_text(f"{head}8,64,64,8,2,balanced\n8,64,64,8,2,powr:1.2\n")
    assert main(["op", "moe", "--chip", "h100", "--cases", str(path)]) == 3
    error = capsys.readouterr().err
    assert "moe.csv:3:13" in error
    assert "did you mean 'power:1.2'?" in error


def test_a_pipe_is_written_as_it_is() -> None:
    """The link behind ``/dev/stdout`` has no name that could be replaced."""
    from simulator.atomic import atomic_write, check_writable

    source, sink = os.pipe()
    path = f"/dev/fd/{sink}"
    check_writable(path)
    with atomic_write(path) as stream:
        stream.write("whole\n")
    os.close(sink)
    with os.fdopen(source) as stream:
        assert stream.read() == "whole\n"


def test_a_trace_of_sessions_says_what_it_loses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "agent.csv")
    assert main(["trace", "generate", "agent", "--count", "9", "-o", target]) == 0
    assert "a CSV trace has no sessions" in capsys.readouterr().err
    assert main(["trace", "generate", "chat", "--count", "9", "-o", target]) == 0
    assert "no sessions" not in capsys.readouterr().err


def test_control_characters_of_a_file_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("m,k,n\n1,2,\x1b[31m3\n")
    assert main(["op", "matmul", "--cases", str(path), "--chip", "h100"]) == 3
    error = capsys.readouterr().err
    assert " | 1,2,.[31m3" in error
    assert "\x1b" not in error


def test_loads_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    from simulator.workload.expert_histogram import read_histogram

    with pytest.raises(InputError, match="Is a directory"):
        read_histogram(str(tmp_path), 8)
    (tmp_path / "loads").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="it is not UTF-8 text"):
        read_histogram(str(tmp_path / "loads"), 8)
    with pytest.raises(InputError, match="expected balanced, random, random:SPREAD, power:ALPHA"):
        read_histogram("balancd", 8)
