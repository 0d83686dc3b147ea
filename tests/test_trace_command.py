"""``chipsim trace info`` and ``generate``, the writer, and files written aside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.atomic import atomic_write, check_writable
from simulator.cli.trace_command import trace
from simulator.errors import InputError
from simulator.workload.distributions import Exponential
from simulator.workload.generate import generate
from simulator.workload.request import Requests
from simulator.workload.spec import Poisson, WorkloadSpec
from simulator.workload.trace_writer import write_trace
from simulator.workload.traces import read_trace


def run(*words: str) -> str:
    result = CliRunner().invoke(trace, list(words))
    if result.exception is not None:
        raise result.exception
    return result.stdout


def requests_of(path: Path) -> Requests:
    traffic = read_trace(path).traffic
    assert isinstance(traffic, Requests)
    return traffic


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def same(a: Requests, b: Requests) -> bool:
    return (
        np.array_equal(a.arrival_ps, b.arrival_ps)
        and np.array_equal(a.prompt_tokens, b.prompt_tokens)
        and np.array_equal(a.output_tokens, b.output_tokens)
    )


# --- round trip


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(1, 200), st.integers(0, 2**32), st.floats(1e-3, 1e9))
def test_generated_traces_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int, rate: float
) -> None:
    spec = WorkloadSpec("w", 1, Poisson(rate), Exponential(500.0, 0.5), Exponential(50.0, 0.5))
    traffic = generate(spec, count, seed).traffic
    assert isinstance(traffic, Requests)
    path = tmp_path_factory.getbasetemp() / "round.csv"
    with atomic_write(path) as stream:
        write_trace(traffic, stream)
    assert same(requests_of(path), traffic)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.integers(0, 9 * 10**18), min_size=1, max_size=8), st.integers(1, 2**40))
def test_any_picosecond_reads_back(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], tokens: int
) -> None:
    arrival = np.array(sorted(times), dtype=np.int64)
    arrival -= arrival[0]
    counts = np.full(len(arrival), tokens, dtype=np.int64)
    traffic = Requests(arrival, counts, counts)
    path = tmp_path_factory.getbasetemp() / "any.csv"
    with atomic_write(path) as stream:
        write_trace(traffic, stream)
    assert same(requests_of(path), traffic)


# --- the commands


def test_generate_writes_what_generate_gives(tmp_path: Path) -> None:
    from simulator.config.loader import load_workload

    out = tmp_path / "chat.csv"
    assert run("generate", "chat", "--count", "50", "--seed", "3", "-o", str(out)) == ""
    expected = generate(load_workload("chat"), 50, 3).traffic
    assert isinstance(expected, Requests)
    assert same(requests_of(out), expected)
    assert run("generate", "chat", "--count", "50", "--seed", "3", "-o", "-") == out.read_text()
    assert names(tmp_path) == ["chat.csv"]


def test_generate_follows_overrides() -> None:
    text = run("generate", "chat", "--count", "3", "--set", "workload.prompt_tokens=77", "-o", "-")
    assert [line.split(",")[1] for line in text.splitlines()[1:]] == ["77"] * 3


@pytest.mark.parametrize("name", ["chat", "code", "summarize", "reasoning", "agent"])
def test_the_five_workloads_can_be_written(name: str) -> None:
    assert len(run("generate", name, "--count", "5", "-o", "-").splitlines()) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("chat", "--count", "0", "-o", "-"), "--count"),
        (("chat", "--count", "1.5", "-o", "-"), "--count"),
        (("chat", "--seed", "-1", "-o", "-"), "--seed"),
        (("chatt", "-o", "-"), "unknown workload 'chatt'"),
        (("chat-users", "-o", "-"), "closed loop"),
        (("chat", "--set", "chip.clock=1GHz", "-o", "-"), "chip"),
        (("chat", "-o", "{folder}"), "is a directory"),
        (("chat", "-o", "{folder}/none/x.csv"), "no directory"),
        (("chat", "-o", "{folder}/old.csv/x.csv"), "cannot write"),
    ],
)
def test_generate_refuses(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    (tmp_path / "old.csv").write_text("old")
    with pytest.raises(InputError) as caught:
        run("generate", *(word.format(folder=tmp_path) for word in words))
    assert message in caught.value.message
    assert names(tmp_path) == ["old.csv"]


def test_generate_needs_an_output() -> None:
    assert CliRunner().invoke(trace, ["generate", "chat"]).exit_code == 2


def test_info_json_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n1,10,1\n2,20,1\n5,60,4\n")
    found = json.loads(run("info", str(path), "--format", "json"))
    assert found["schema"] == "chipsim.trace/1"
    assert found["format"] == "arrived-at-csv"
    assert found["requests"] == 3
    assert found["duration_s"] == 4.0
    assert found["requests_per_s"] == 0.5
    tokens = {"mean": 30.0, "p50": 20.0, "p90": 52.0, "p99": 59.2, "max": 60, "total": 90}
    assert found["prompt_tokens"] == pytest.approx(tokens)
    assert found["output_tokens"]["total"] == 6


def test_info_table_and_a_single_request(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n1,1234,1\n")
    text = run("info", str(path))
    assert "1 request" in text
    assert "1,234" in text
    assert json.loads(run("info", str(path), "--format", "json"))["requests_per_s"] is None


# --- files written aside


def test_atomic_write_replaces_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o640)
    with atomic_write(path) as stream:
        stream.write("nêw\n")
        assert path.read_text() == "old"
    assert path.read_bytes() == "nêw\n".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    with atomic_write(path, binary=True) as raw:
        raw.write(b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, InputError])
def test_atomic_write_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(error), atomic_write(path) as stream:
        stream.write("half")
        raise error("stop")
    assert names(tmp_path) == []


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(InputError, match="No space"), atomic_write(path):
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_atomic_write_passes_other_files_errors_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        (tmp_path / "other").read_text()


def test_atomic_write_follows_links_and_devices(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    with atomic_write(link) as stream:
        stream.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    with atomic_write("/dev/null") as stream:
        stream.write("gone")
    assert Path("/dev/null").is_char_device()
    check_writable("/dev/null")


@pytest.mark.parametrize("writer", [check_writable, lambda p: atomic_write(p).__enter__()])
def test_unwritable_places(tmp_path: Path, writer: object) -> None:
    assert callable(writer)
    for bad in (tmp_path, tmp_path / "none" / "x", "", "a\0b", tmp_path / ("x" * 300 + "/y")):
        with pytest.raises(InputError, match="cannot write"):
            writer(bad)
    assert names(tmp_path) == []
