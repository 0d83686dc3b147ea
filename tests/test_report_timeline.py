from __future__ import annotations

import gzip
import itertools
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import result_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.report import timeline
from simulator.serving.results import MovedCache
from simulator.timing.results import UNITS


def slices_by_track(document):
    tracks = defaultdict(list)
    for event in document["traceEvents"]:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    return tracks


def assert_no_overlap(document):
    for events in slices_by_track(document).values():
        events.sort(key=lambda event: event["ts"])
        for one, two in itertools.pairwise(events):
            assert round((one["ts"] + one["dur"]) * 1e6) <= round(two["ts"] * 1e6)


def track_names(document):
    return {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in document["traceEvents"]
        if event["name"] == "thread_name"
    }


def test_step_timeline(tmp_path):
    path = tmp_path / "step.json"
    timeline.write_step_timeline(samples.step(), path)
    document = json.loads(path.read_text())
    assert_no_overlap(document)
    tracks = slices_by_track(document)
    names = track_names(document)
    assert sorted(names.values()) == sorted(["operators", *UNITS])
    operators = tracks[1, 1]
    assert [event["name"] for event in operators][-1] == "host overhead"
    assert operators[1]["ts"] == 0.0001
    assert operators[1]["dur"] == 0.0003
    assert operators[1]["args"]["shape"] == "4x8x12"
    matrix = next(key for key, name in names.items() if name == "matrix")
    assert sum(event["dur"] for event in tracks[matrix]) == pytest.approx(700e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["step.json"]


def test_weights_fetched_ahead_are_a_slice_of_their_own():
    spans = (
        samples.span("a", 0, 100, busy_ps=(0, 0, 20, 0, 0)),
        samples.span("b", 100, 150, busy_ps=(9, 0, 50, 0, 0), fetch_start_ps=20, fetch_ps=70),
    )
    hbm = [("a", 0, 20), ("b (fetch ahead)", 20, 70), ("b", 100, 50)]
    assert timeline.unit_slices(spans, UNITS.index("hbm")) == hbm
    assert timeline.unit_slices(spans, UNITS.index("matrix")) == [("b", 100, 9)]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.tuples(*[st.integers(0, 50)] * 4), max_size=8))
def test_slices_of_a_unit_never_overlap(rows):
    spans = []
    clock = 0
    for length, busy, fetch_start, fetch in rows:
        times = {"fetch_start_ps": max(0, clock - fetch_start), "fetch_ps": fetch}
        spans.append(samples.span("op", clock, clock + length, busy_ps=(busy,) * 5, **times))
        clock += length
    for unit in range(len(UNITS)):
        end = 0
        for _, start, length in timeline.unit_slices(spans, unit):
            assert end <= start
            assert length > 0
            end = start + length


def test_run_timeline(tmp_path):
    path = tmp_path / "run.json"
    timeline.write_run_timeline(samples.run(log=samples.log()), path)
    document = json.loads(path.read_text())
    assert_no_overlap(document)
    tracks = slices_by_track(document)
    assert len(tracks[1, 1]) == 3
    assert len(tracks[2, 1]) == 1
    second = tracks[1, 1][1]
    assert second["ts"] == 1.234567
    assert second["args"] == {"tokens": 2, "sequences": 2, "waiting": 3, "kv_blocks": 9}
    assert [event["dur"] for event in tracks[1, 2]] == [5e-05, 6e-05, 8e-05]
    counters = [e for e in document["traceEvents"] if e["ph"] == "C" and e["pid"] == 1]
    assert {"running": 1, "waiting": 4} in [event["args"] for event in counters]
    assert len(counters) == 6


def test_gzip_is_the_same_every_time(tmp_path):
    for name in ("a.json.gz", "b.json.gz"):
        timeline.write_run_timeline(samples.run(log=samples.log()), tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("a.json.gz", "b.json.gz"))
    assert one == two
    assert json.loads(gzip.decompress(one))["traceEvents"]


def test_more_events_than_one_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(timeline, "CHUNK", 3)
    path = tmp_path / "run.json"
    timeline.write_run_timeline(samples.run(log=samples.log()), path)
    assert len(json.loads(path.read_text())["traceEvents"]) == 2 * 13 + 4 * 5


def test_an_empty_log_is_still_a_document(tmp_path):
    log = samples.log()
    none = np.zeros(0, dtype=np.int64)
    empty = type(log)(none, none, none, none, none, none, none, np.zeros((0, 5), dtype=np.int64))
    timeline.write_run_timeline(samples.run(log=empty), tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"] == []


def test_no_log_and_no_directory(tmp_path):
    with pytest.raises(ValueError, match="record_iterations"):
        timeline.write_run_timeline(samples.run(), tmp_path / "t.json")
    with pytest.raises(InputError):
        timeline.write_step_timeline(samples.step(), tmp_path / "no" / "t.json")


def test_replicas_are_named_by_pool_and_caches_that_move_are_drawn(tmp_path):
    moved = (MovedCache(7, 0, 1, 50, 1_500_050, 4096), MovedCache(8, 0, 1, 60, 90, 16))
    log = replace(samples.log(), roles=("prefill", "decode"), transfers=moved)
    timeline.write_run_timeline(samples.run(log=log), tmp_path / "t.json")
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert [name.partition(":")[0] for name in names] == (
        ["prefill replica 0", "decode replica 1", "KV transfers"]
    )
    own = [event for event in events if event["ph"] in ("b", "e")]
    assert [(event["ph"], event["id"], event["ts"]) for event in own] == (
        [("b", 7, 0.00005), ("e", 7, 1.50005), ("b", 8, 0.00006), ("e", 8, 0.00009)]
    )
    assert own[0]["args"] == {"request": 7, "bytes": 4096}
    assert {event["pid"] for event in own} == {3}
    one = replace(samples.log(), roles=("serve", "serve"))
    timeline.write_run_timeline(samples.run(log=one), tmp_path / "one.json")
    assert "serve" not in (tmp_path / "one.json").read_text()
