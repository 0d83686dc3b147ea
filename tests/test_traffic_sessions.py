"""Sessions, prefix blocks, classes and bursts: read from traces, generated, and replayed."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from constant_server import STEP_PS, serve
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cli.entry import main
from simulator.config.loader import load_workload
from simulator.errors import InputError
from simulator.report.files import manifest_json
from simulator.workload.distributions import Constant, Uniform
from simulator.workload.generate import BLOCK_TOKENS, generate
from simulator.workload.request import NO_PARENT, ClosedLoop, Requests, Workload
from simulator.workload.slo import Slo, SloClass
from simulator.workload.spec import (
    Arrivals,
    ClassShare,
    ConstantRate,
    OnOff,
    Poisson,
    Session,
    Users,
    WorkloadSpec,
)
from simulator.workload.trace_writer import write_trace
from simulator.workload.traces import read_trace, scale_rate

FEW = settings(deadline=None, derandomize=True, max_examples=40)


def write(folder: Path, text: str, name: str = "trace.jsonl") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def trace_of(folder: Path, text: str, name: str = "trace.jsonl", **how: Any) -> Requests:
    traffic = read_trace(write(folder, text, name), **how).traffic
    assert isinstance(traffic, Requests)
    return traffic


def bailian(*rows: dict[str, Any]) -> str:
    plain = {"parent_chat_id": -1, "input_length": 32, "output_length": 3, "type": "text"}
    return "".join(json.dumps({**plain, **row}) + "\n" for row in rows)


def refused(folder: Path, text: str, name: str = "trace.jsonl") -> InputError:
    with pytest.raises(InputError) as caught:
        read_trace(write(folder, text, name))
    assert caught.value.exit_code == 3
    return caught.value


# --- Bailian


CHATS = bailian(
    {"chat_id": 7, "timestamp": 1.0, "turn": 1, "hash_ids": [5, 6]},
    {"chat_id": 9, "timestamp": 1.5, "turn": 1, "type": "search", "hash_ids": [8]},
    {"chat_id": 2, "parent_chat_id": 7, "timestamp": 4.0, "turn": 2, "hash_ids": [5, 6]},
    {"chat_id": 4, "parent_chat_id": 2, "timestamp": 4.25, "turn": 3, "hash_ids": []},
)


def test_bailian_sessions(tmp_path: Path) -> None:
    traffic = trace_of(tmp_path, CHATS)
    assert traffic.parent is not None
    assert traffic.session is not None
    assert traffic.turn is not None
    assert traffic.slo_class is not None
    assert traffic.parent.tolist() == [-1, -1, 0, 2]
    assert traffic.session.tolist() == [0, 1, 0, 0]
    assert traffic.turn.tolist() == [0, 0, 1, 2]
    assert [kind.name for kind in traffic.classes] == ["search", "text"]
    assert traffic.slo_class.tolist() == [1, 0, 1, 1]
    assert traffic.prefix is not None
    assert [traffic.prefix.of(i).tolist() for i in range(4)] == [[5, 6], [8], [5, 6], []]
    assert traffic.prefix.block_tokens == 16


def test_a_limit_keeps_the_columns_together(tmp_path: Path) -> None:
    traffic = trace_of(tmp_path, CHATS, limit=3)
    assert traffic.prefix is not None
    assert len(traffic) == len(traffic.prefix) == 3
    assert traffic.prefix.ids.tolist() == [5, 6, 8, 5, 6]
    assert traffic.prefix.counts.sum() == 5


def test_info_counts_sessions_classes_and_reuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write(tmp_path, CHATS))
    assert main(["trace", "info", path, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["sessions"] == 2
    assert document["classes"] == {"search": 1, "text": 3}
    assert document["prefix"] == {"block_tokens": 16, "blocks": 5, "reused_fraction": 0.4}
    assert main(["trace", "info", path]) == 0
    assert "an endless cache would hit 40.0 %" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("change", "words", "key"),
    [
        (
            {"parent_chat_id": 3},
            "chat 4 continues chat 3, and there is no such turn",
            "parent_chat",
        ),
        ({"parent_chat_id": 4}, "no such turn before it", "parent_chat"),
        ({"turn": 4}, "turn 4 of chat 4 continues turn 2 of chat 2, expected turn 3", "turn"),
        ({"turn": 0}, "turn 0 of chat 4", "turn"),
        ({"chat_id": 7}, "chat 7 stands in the trace twice", "chat_id"),
        ({"chat_id": "x"}, "expected a whole number", "chat_id"),
        ({"chat_id": 1.5}, "expected a whole number", "chat_id"),
        ({"type": 5}, "expected a name", "type"),
        ({"hash_ids": [1, 2, 3]}, "3 blocks of 16 tokens, expected at most 2", "hash_ids"),
        ({"hash_ids": [1, "a"]}, "expected block ids", "hash_ids"),
        ({"hash_ids": [2**63]}, "expected block ids", "hash_ids"),
        ({"hash_ids": 7}, "expected a list", "hash_ids"),
        ({"hash_ids": [True]}, "expected block ids", "hash_ids"),
    ],
)
def test_broken_chats_name_the_line(
    tmp_path: Path, change: dict[str, Any], words: str, key: str
) -> None:
    lines = CHATS.splitlines()
    last = json.dumps({**json.loads(lines[3]), **change})
    error = refused(tmp_path, "\n".join([*lines[:3], last]) + "\n")
    assert words in error.message
    assert error.location is not None
    assert error.location.line == 4
    assert error.location.column == last.index(f'"{key}') + 1


def test_mooncake_blocks(tmp_path: Path) -> None:
    rows = [(0, 6758, [0, 1, 2]), (5, 600, [0, 9]), (5, 10, [])]
    text = "".join(
        json.dumps({"timestamp": t, "input_length": n, "output_length": 5, "hash_ids": ids}) + "\n"
        for t, n, ids in rows
    )
    traffic = trace_of(tmp_path, text)
    assert traffic.prefix is not None
    assert traffic.prefix.starts.tolist() == [0, 3, 5]
    assert traffic.prefix.counts.tolist() == [3, 2, 0]
    assert traffic.prefix.ids.tolist() == [0, 1, 2, 0, 9]
    assert traffic.prefix.block_tokens == 512
    assert traffic.parent is None
    assert traffic.classes == ()


# --- classes and priorities in CSV, failed calls

HEAD = "arrived_at,num_prefill_tokens,num_decode_tokens"


def test_class_and_priority_columns(tmp_path: Path) -> None:
    text = f"class,{HEAD},priority\nslow,0,5,6,2\nfast one,1,7,8,0\nslow,2,9,3,11\n"
    traffic = trace_of(tmp_path, text, "trace.csv")
    assert [kind.name for kind in traffic.classes] == ["fast one", "slow"]
    assert traffic.slo_class is not None
    assert traffic.priority is not None
    assert traffic.slo_class.tolist() == [1, 0, 1]
    assert traffic.priority.tolist() == [2, 0, 11]
    assert traffic.prompt_tokens.tolist() == [5, 7, 9]
    stream = io.StringIO()
    write_trace(traffic, stream)
    again = trace_of(tmp_path, stream.getvalue(), "again.csv")
    assert again.classes == traffic.classes
    for name in ("arrival_ps", "prompt_tokens", "output_tokens", "slo_class", "priority"):
        assert getattr(again, name).tolist() == getattr(traffic, name).tolist()


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        ("0,5,6,,1", 7, "column 'class': found ''"),
        ("0,5,6,/x,1", 7, "column 'class'"),
        ("0,5,6,a,-1", 9, "column 'priority'"),
        ("0,5,6,a,1.5", 9, "column 'priority'"),
        ("0,5,6,a,nan", 9, "column 'priority'"),
        ("0,5,6,a,99999999999", 9, "column 'priority'"),
        ("0,5,6,a", 1, "found 4 fields"),
    ],
)
def test_bad_marks_name_the_cell(tmp_path: Path, row: str, column: int, words: str) -> None:
    error = refused(tmp_path, f"{HEAD},class,priority\n0,1,2,a,0\n{row}\n", "trace.csv")
    assert words in error.message
    assert error.location is not None
    assert (error.location.line, error.location.column) == (3, column)


def test_failed_calls_are_counted_and_their_marks_dropped(tmp_path: Path) -> None:
    head = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type,class\n"
    text = f"{head}5,M,472,0,472,API,x\n6,M,10,2,12,API,b\n7,M,10,0,10,API,x\n8,M,9,4,13,API,a\n"
    workload = read_trace(write(tmp_path, text, "burst.csv"))
    assert workload.failed_calls == 2
    assert [kind.name for kind in workload.traffic.classes] == ["a", "b"]
    assert workload.traffic.slo_class is not None
    assert workload.traffic.slo_class.tolist() == [1, 0]
    assert serve(workload).requests.failed_calls == 2


# --- generated sessions


def spec(arrivals: Arrivals, **changes: Any) -> WorkloadSpec:
    session = Session(Uniform(1.0, 6.0), Constant(100.0), Uniform(1e12, 9e12))
    made = WorkloadSpec("s", 60, arrivals, Uniform(1.0, 90.0), Uniform(1.0, 30.0), session)
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize("arrivals", [ConstantRate(0.5), Poisson(2.0), Users(3, Constant(1e12))])
def test_turns_follow_each_other_and_share_their_text(arrivals: Arrivals) -> None:
    traffic = generate(spec(arrivals), seed=3).traffic
    assert traffic.parent is not None
    assert traffic.session is not None
    assert traffic.turn is not None
    assert traffic.prefix is not None
    seen: dict[int, set[int]] = {}
    for i, parent in enumerate(traffic.parent.tolist()):
        ids = traffic.prefix.of(i)
        assert len(ids) == traffic.prompt_tokens[i] // BLOCK_TOKENS
        session = int(traffic.session[i])
        for other, theirs in seen.items():
            assert other == session or not theirs & set(ids.tolist())
        seen.setdefault(session, set()).update(ids.tolist())
        assert parent < i
        if traffic.turn[i] > 0:
            assert traffic.session[parent] == session
            assert traffic.turn[parent] == traffic.turn[i] - 1
            before = traffic.prefix.of(parent)
            assert (ids[: len(before)] == before).all()
            text = traffic.prompt_tokens[parent] + traffic.output_tokens[parent]
            assert traffic.prompt_tokens[i] > text
        elif isinstance(traffic, Requests):
            assert parent == NO_PARENT


def test_sessions_by_hand() -> None:
    session = Session(Constant(3.0), Constant(100.0), Constant(5e12))
    plain = WorkloadSpec("s", 5, ConstantRate(0.01), Constant(10.0), Constant(2.0), session)
    traffic = generate(plain).traffic
    assert isinstance(traffic, Requests)
    assert traffic.parent is not None
    assert traffic.think_ps is not None
    assert traffic.parent.tolist() == [-1, 0, 1, -1, 3]
    assert (traffic.think_ps / 1e12).tolist() == [0, 5, 5, 0, 5]
    assert traffic.prefix is not None
    assert traffic.prefix.of(0).tolist() == list(range(6))
    assert traffic.prefix.of(3).tolist() == list(range(8, 14))


@FEW
@given(st.integers(0, 99), st.sampled_from([0.25, 1.0, 4.0, 1000.0]))
def test_the_next_turn_waits_for_the_last_and_thinks(seed: int, scale: float) -> None:
    traffic = generate(spec(Poisson(2.0)), 40, seed).traffic
    assert isinstance(traffic, Requests)
    scaled = scale_rate(traffic, scale)
    assert scaled.parent is not None
    assert scaled.think_ps is not None
    assert (np.diff(scaled.arrival_ps) >= 0).all()
    table = serve(scaled, max_batch=2).table
    for i, parent in enumerate(scaled.parent.tolist()):
        if parent == NO_PARENT:
            assert table.arrival_ps[i] == scaled.arrival_ps[i]
        else:
            assert table.arrival_ps[i] == table.completed_ps[parent] + scaled.think_ps[i]
    # first turns come ``scale`` times as often, and users think as long as ever
    assert sorted(scaled.think_ps.tolist()) == sorted(traffic.think_ps.tolist())  # type: ignore[union-attr]
    first = scaled.arrival_ps[scaled.parent == NO_PARENT]
    before = traffic.arrival_ps[traffic.parent == NO_PARENT]
    assert np.abs(first - before / scale).max() <= 1


def test_a_follow_up_of_a_trace_comes_at_its_time_or_after_the_answer(tmp_path: Path) -> None:
    rows = [
        {"chat_id": 0, "timestamp": 0, "output_length": 100},
        {"chat_id": 1, "parent_chat_id": 0, "timestamp": 0.03},
        {"chat_id": 2, "parent_chat_id": 1, "timestamp": 5},
    ]
    traffic = trace_of(tmp_path, bailian(*rows))
    table = serve(traffic).table
    assert table.arrival_ps[1] == table.completed_ps[0] > 99 * STEP_PS
    assert table.arrival_ps[2] == 5 * 10**12


def test_a_refused_turn_does_not_end_its_session(tmp_path: Path) -> None:
    rows = [
        {"chat_id": 0, "timestamp": 0, "input_length": 10**6},
        {"chat_id": 1, "parent_chat_id": 0, "timestamp": 1},
    ]
    table = serve(trace_of(tmp_path, bailian(*rows))).table
    assert table.status.tolist() == [2, 0]
    assert table.arrival_ps[1] == 10**12


def test_users_keep_to_their_own_sessions() -> None:
    traffic = generate(spec(Users(3, Constant(1e12))), 40, seed=1).traffic
    assert isinstance(traffic, ClosedLoop)
    assert traffic.parent is not None
    assert (traffic.parent == NO_PARENT).sum() == 3
    result = serve(traffic, max_batch=8)
    table = result.table
    first = int(traffic.think_ps[traffic.parent == NO_PARENT].min())
    for i, parent in enumerate(traffic.parent.tolist()):
        begun = -first if parent == NO_PARENT else table.completed_ps[parent]
        assert table.arrival_ps[i] == begun + traffic.think_ps[i]


def test_agent_has_blocks_that_a_cache_can_hit() -> None:
    traffic = generate(load_workload("agent"), 200, 0).traffic
    assert traffic.prefix is not None
    known: set[int] = set()
    hits = 0
    for i in range(len(traffic)):
        ids = traffic.prefix.of(i).tolist()
        hits += sum(number in known for number in ids)
        known.update(ids)
    assert hits / traffic.prefix.counts.sum() > 0.85


# --- classes, bursts and files of generated workloads


def test_classes_are_drawn_by_their_shares() -> None:
    kinds = (
        ClassShare(SloClass("a", 0, Slo(ttft_ps=5)), 0.7),
        ClassShare(SloClass("b", 3), 0.3),
    )
    made = spec(Poisson(2.0), classes=kinds, session=None, slo=Slo(e2e_ps=9))
    workload = generate(made, 4000, seed=2)
    traffic = workload.traffic
    assert workload.slo == Slo(e2e_ps=9)
    assert traffic.slo_class is not None
    assert traffic.priority is not None
    assert traffic.slo_class.mean() == pytest.approx(0.3, abs=0.03)
    assert (traffic.priority == 3 * traffic.slo_class).all()
    bare = generate(dataclasses.replace(made, classes=()), 4000, seed=2).traffic
    assert (bare.prompt_tokens == traffic.prompt_tokens).all()
    sessions = generate(spec(Poisson(2.0), classes=kinds), 60, seed=2).traffic
    assert sessions.slo_class is not None
    assert sessions.session is not None
    for number in set(sessions.session.tolist()):
        assert len(set(sessions.slo_class[sessions.session == number].tolist())) == 1


CLASSES = """kind: workload
name: two
arrivals: {process: on_off, rate: 4 req/s, on: 2 s, off: 6 s}
prompt_tokens: 20
output_tokens: 3
slo: {e2e: 9 s}
classes:
  chat: {share: 60 %, slo: {ttft: 500 ms, tpot: 50 ms}}
  batch: {share: 0.4, priority: 5}
"""


def test_a_file_with_classes_and_bursts(tmp_path: Path) -> None:
    made = load_workload(write(tmp_path, CLASSES, "two.yaml"))
    assert made.arrivals == OnOff(4.0, 2.0, 6.0)
    assert made.slo == Slo(e2e_ps=9 * 10**12)
    assert [(c.kind.name, c.kind.priority, c.share) for c in made.classes] == [
        ("chat", 0, 0.6),
        ("batch", 5, 0.4),
    ]
    assert made.classes[0].kind.slo == Slo(500 * 10**9, 50 * 10**9)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("share: 0.4", "share: 0.5", 7, "add up to 1.1"),
        ("{ttft: 500 ms, tpot: 50 ms}", "{}", 8, "no limit"),
        ("ttft: 500 ms", "tfft: 500 ms", 8, "unknown key 'tfft'"),
        ("ttft: 500 ms", "ttft: 0 ms", 8, "zero"),
        ("priority: 5", "priority: -5", 9, "negative"),
        ("on: 2 s", "on: 0 s", 3, "zero"),
        ("off: 6 s", "of: 6 s", 3, "unknown key 'of'"),
        ("share: 60 %", "share: 160 %", 8, "1"),
    ],
)
def test_bad_classes_and_bursts(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_workload(write(tmp_path, CLASSES.replace(old, new), "two.yaml"))
    assert words in caught.value.message
    assert caught.value.location is not None
    assert caught.value.location.line == line


def test_on_off_arrivals_are_an_interrupted_poisson_process() -> None:
    """Squared coefficient of variation of the gaps: 1 + 2 a g / (g + w)**2 with rate a while on,
    and g = 1 / on, w = 1 / off (Kuczura 1973)."""
    on, off, rate = 2.0, 6.0, 4.0
    made = spec(OnOff(rate, on, off), session=None)
    traffic = generate(made, 200_000, seed=5).traffic
    assert isinstance(traffic, Requests)
    gaps = np.diff(traffic.arrival_ps) / 1e12
    assert 1 / gaps.mean() == pytest.approx(rate, rel=0.05)
    burst = rate * (on + off) / on
    leave, enter = 1 / on, 1 / off
    expected = 1 + 2 * burst * leave / (leave + enter) ** 2
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(expected, rel=0.1)
    again = generate(made, 200_000, seed=5).traffic
    assert isinstance(again, Requests)
    assert (again.arrival_ps == traffic.arrival_ps).all()


def test_a_switch_that_never_rests_is_refused() -> None:
    with pytest.raises(InputError, match="on and off more than"):
        generate(spec(OnOff(1e-6, 1e-9, 1e-9), session=None), 2000)


def test_hashes_of_plain_traffic_do_not_change() -> None:
    from result_samples import model, system

    def digest(traffic: Requests) -> Any:
        workload = Workload("w", traffic)
        made = manifest_json(system(), model(), workload, seed=0, options={}, trace_file=None)
        return made["sha256"]["requests"]

    ones = np.ones(3, dtype=np.int64)
    plain = Requests(ones, ones, ones)
    old = "7924726eb278ca4b64e3f982c449c80dd1248e6f21efc8c86134484812f45532"
    assert digest(plain) == old
    assert digest(plain) != digest(dataclasses.replace(plain, priority=ones))
    with_blocks = generate(spec(Poisson(1.0)), 20).traffic
    assert isinstance(with_blocks, Requests)
    assert digest(with_blocks) != digest(dataclasses.replace(with_blocks, prefix=None))
