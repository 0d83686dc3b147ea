from __future__ import annotations

import csv
import hashlib
import io
import json

import numpy as np
import pytest
import result_samples as samples

from simulator.errors import InputError
from simulator.report import files
from simulator.report.json_out import run_json
from simulator.workload.request import ClosedLoop, Requests, Workload


def column(*values):
    return np.array(values, dtype=np.int64)


def workload(*arrivals):
    ones = column(*(1 for _ in arrivals))
    return Workload("made-up", Requests(column(*arrivals), ones, ones), source="nowhere")


def manifest(**changes):
    arguments = {"seed": 7, "options": {"tp": None}, "trace_file": None} | changes
    return files.manifest_json(samples.system(), samples.model(), workload(0, 5), **arguments)


def test_directory_has_three_whole_files(tmp_path):
    result = samples.run()
    files.write_directory(tmp_path, run_json(result), result.table, manifest())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "manifest.json",
        "requests.csv",
        "result.json",
    ]
    assert json.loads((tmp_path / "result.json").read_text()) == run_json(result)


def test_a_directory_that_cannot_be_completed_keeps_its_old_files(tmp_path, monkeypatch):
    (tmp_path / "result.json").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_rows", full)
    with pytest.raises(InputError, match=r"requests\.csv: No space left"):
        files.write_directory(tmp_path, {}, samples.table(), {})
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert (tmp_path / "result.json").read_text() == "old"


def test_result_json_appears_last(tmp_path, monkeypatch):
    renamed = []
    replace = type(tmp_path).replace
    monkeypatch.setattr(
        type(tmp_path),
        "replace",
        lambda self, target: (renamed.append(target.name), replace(self, target))[1],
    )
    files.write_directory(tmp_path, {}, samples.table(), {})
    assert renamed == list(files.FILES)
    assert renamed[-1] == "result.json"


def requests_csv():
    stream = io.StringIO()
    files.write_requests(samples.table(), stream)
    return stream.getvalue()


def test_requests_csv():
    rows = list(csv.DictReader(io.StringIO(requests_csv())))
    first, second, third = rows
    assert first["arrival_s"] == "0.000000000000"
    assert first["ttft_s"] == "0.101000000000"
    assert float(first["tpot_s"]) == 0.05
    assert first["e2e_s"] == "0.301000000000"
    assert first["queue_s"] == "0.001000000000"
    assert second["tpot_s"] == ""
    assert second["preemptions"] == "2"
    assert third["status"] == "rejected_context_length"
    assert third["replica"] == third["e2e_s"] == third["first_token_s"] == ""


def test_long_tables_are_written_in_chunks(monkeypatch):
    whole = requests_csv()
    monkeypatch.setattr(files, "_CHUNK", 2)
    assert requests_csv() == whole


def test_manifest_resolves_the_configuration():
    found = manifest()
    assert found["configuration"]["chip"]["hbm"]["bandwidth_bytes_per_s"] == 10**11
    assert found["configuration"]["chip"]["matrix"]["type"] == "SystolicArray"
    assert found["configuration"]["system"]["fabric"]["kind"] == "torus"
    assert found["configuration"]["model"]["stacks"][0]["repeat"] == 2
    assert found["seed"] == 7
    assert found["versions"]["python"].startswith("3.")
    assert found == manifest()


def test_manifest_hashes_what_was_simulated(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("arrived_at\n")
    found = manifest(trace_file=str(trace))
    assert found["sha256"]["trace_file"] == hashlib.sha256(b"arrived_at\n").hexdigest()
    other = files.manifest_json(
        samples.system(), samples.model(), workload(0, 6), seed=7, options={}, trace_file=None
    )
    assert other["sha256"]["requests"] != found["sha256"]["requests"]
    assert other["sha256"]["chip"] == found["sha256"]["chip"]


def test_closed_loops_are_hashed_too():
    def hashed(users):
        ones = column(1, 1)
        loop = Workload("loop", ClosedLoop(users, ones, ones, ones))
        found = files.manifest_json(
            samples.system(), samples.model(), loop, seed=0, options={}, trace_file=None
        )
        return found["sha256"]["requests"]

    assert hashed(1) != hashed(2)


def test_a_trace_that_has_gone_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv"):
        manifest(trace_file=str(tmp_path / "gone.csv"))
