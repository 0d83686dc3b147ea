"""The highest rate and the fewest replicas against a scan; throughput by number of users."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from constant_server import STEP_PS, plan, poisson, requests, serve

from simulator.cli.entry import main
from simulator.errors import InfeasibleError, InputError
from simulator.serving.capacity import TOLERANCE, Search
from simulator.serving.curve import serve_curve, with_users
from simulator.serving.results import RunResult
from simulator.workload.request import ClosedLoop, Workload
from simulator.workload.slo import Slo
from simulator.workload.traces import scale_rate

PER_S = 1e12 / STEP_PS
"""Requests a second that the constant server takes."""

PLAN = plan()


def replay(workload: Workload, copies: int) -> RunResult:
    return serve(workload, on=PLAN, copies=copies)


def promised(slo: Slo | None, rate: float = 0.3 * PER_S, count: int = 1500) -> Workload:
    return Workload("test", requests(poisson(rate, count, seed=4)), slo=slo)


def attainment(workload: Workload, factor: float) -> float:
    scaled = Workload("t", scale_rate(workload.traffic, factor), slo=workload.slo)  # type: ignore[arg-type]
    goodput = replay(scaled, 1).goodput
    assert goodput is not None
    return goodput.attainment or 0.0


@pytest.mark.parametrize("wanted", [0.9, 0.99])
@pytest.mark.parametrize("start", [0.05, 0.3, 5.0])
def test_the_highest_rate_is_that_of_a_scan(wanted: float, start: float) -> None:
    workload = promised(Slo(ttft_ps=4 * STEP_PS), start * PER_S)
    search = Search(replay, workload, wanted)
    found = search.highest_rate()
    assert found.bounded
    assert found.best.attainment >= wanted
    assert found.best.rate_per_s < PER_S
    above = found.best.rate_per_s * (1 + TOLERANCE)
    assert attainment(workload, above / search.own_rate) < wanted
    tried = [trial.rate_per_s for trial in found.trials if not trial.passed]
    assert min(tried) <= above
    assert found.most_goodput.goodput_per_s >= found.best.goodput_per_s
    # M/D/1: the stricter promise and the shorter queue go together
    assert len(found.trials) < 25


def test_more_is_promised_less_is_served() -> None:
    rates = [
        Search(replay, promised(Slo(ttft_ps=steps * STEP_PS)), wanted)
        .highest_rate()
        .best.rate_per_s
        for steps, wanted in ((3, 0.99), (3, 0.9), (8, 0.9), (30, 0.9))
    ]
    assert rates == sorted(rates)
    assert rates[0] < 0.7 * rates[-1]


@pytest.mark.parametrize("load", [0.4, 2.5, 7.2])
def test_the_fewest_replicas_are_those_of_a_scan(load: float) -> None:
    search = Search(replay, promised(Slo(ttft_ps=4 * STEP_PS)), 0.9)
    found = search.fewest_replicas(load * PER_S, 32)
    fewest = found.best.replicas
    assert found.best.passed
    assert fewest > load
    assert not any(search.at(load * PER_S, n).passed for n in range(1, fewest))


def test_too_few_replicas_and_hopeless_limits() -> None:
    search = Search(replay, promised(Slo(ttft_ps=4 * STEP_PS)), 0.9)
    with pytest.raises(InfeasibleError, match="4 replicas are too few") as caught:
        search.fewest_replicas(9 * PER_S, 4)
    assert caught.value.exit_code == 4
    for slo in (Slo(ttft_ps=1000), Slo(ttft_ps=10**12, e2e_ps=1000)):
        search = Search(replay, promised(slo), 0.9)
        with pytest.raises(InfeasibleError, match="no request meets"):
            search.highest_rate()
        assert len(search.trials) <= 3
        with pytest.raises(InfeasibleError, match="alone in the system"):
            Search(replay, promised(slo), 0.9).fewest_replicas(PER_S, 8)


def test_what_has_no_capacity_is_refused() -> None:
    ones = np.ones(9, dtype=np.int64)
    slo = Slo(ttft_ps=STEP_PS)
    with pytest.raises(InputError, match="closed loop"):
        Search(replay, Workload("t", ClosedLoop(3, ones, ones, ones), slo=slo), 0.9)
    with pytest.raises(InputError, match="no SLO"):
        Search(replay, promised(None), 0.9)
    with pytest.raises(InputError, match="all of its requests come at once"):
        Search(replay, Workload("t", requests(np.zeros(5)), slo=slo), 0.9)
    with pytest.raises(InputError, match="attainment"):
        Search(replay, promised(slo), 0.0)


def test_requests_too_few_to_fill_the_system_are_said() -> None:
    found = Search(replay, promised(Slo(ttft_ps=10**13), count=40), 0.9).highest_rate()
    assert not found.bounded
    assert found.best.passed


def test_a_short_workload_is_made_longer() -> None:
    """40 requests of which each takes a step: at the capacity they arrive for 400 of them."""
    made: list[int] = []

    def more(count: int) -> Workload:
        made.append(count)
        return promised(Slo(ttft_ps=4 * STEP_PS), 0.01 * PER_S, count)

    short = promised(Slo(ttft_ps=4 * STEP_PS), 0.01 * PER_S, 5)
    found = Search(replay, short, 0.9, more).highest_rate()
    assert made == sorted(made)
    assert made[-1] <= 50
    assert found.best.lengths is not None
    counts = [len(trial.result.table.status) for trial in found.trials]
    assert counts[0] == 5
    for trial, count in zip(found.trials, counts, strict=True):
        assert count == 50 or count >= 9 * trial.rate_per_s / PER_S
    assert Search(replay, short, 0.9).highest_rate().best.rate_per_s > 0


# --- serve-curve


def lengths(count: int = 40) -> Workload:
    return Workload("test", requests(poisson(PER_S, count, seed=2), prompt=3, output=10))


def test_users_share_a_batch_until_it_is_full() -> None:
    """Constant steps: N users up to the batch limit have N tokens a step, then no more."""

    def measure(workload: Workload) -> RunResult:
        return serve(workload, on=PLAN, max_batch=8)

    points = serve_curve(measure, lengths(), (1, 2, 4, 8, 16))
    assert [point.concurrency for point in points] == [1, 2, 4, 8, 16]
    for point, batch in zip(points, (1, 2, 4, 8, 8), strict=True):
        assert point.tokens_per_s_per_chip == pytest.approx(batch * PER_S, rel=0.03)
        assert point.tokens_per_s_per_user == pytest.approx(PER_S, rel=0.01)
    assert points[-1].queue_s.mean > 5 * (STEP_PS / 1e12)
    assert points[3].queue_s.mean < STEP_PS / 1e12
    # the response time law: users = throughput x time of a request
    for point in points:
        assert point.requests_per_s * point.e2e_s.mean == pytest.approx(point.concurrency, rel=0.03)


def test_the_front_is_what_nothing_beats() -> None:
    def measure(workload: Workload) -> RunResult:
        return serve(workload, on=PLAN, max_batch=8)

    points = serve_curve(measure, lengths(), (1, 4, 8))
    best = max(points, key=lambda p: (p.tokens_per_s_per_chip, p.tokens_per_s_per_user or 0))
    assert best.pareto
    for point in points:
        beaten = any(
            other.tokens_per_s_per_chip >= point.tokens_per_s_per_chip
            and (other.tokens_per_s_per_user or 0) >= (point.tokens_per_s_per_user or 0)
            for other in points
            if other is not point
        )
        assert point.pareto != beaten


def test_users_ask_for_the_lengths_in_turn() -> None:
    workload = with_users(lengths(5), 3)
    traffic = workload.traffic
    assert isinstance(traffic, ClosedLoop)
    assert traffic.users == 3
    assert len(traffic) == 21
    assert not traffic.think_ps.any()


@pytest.mark.parametrize("users", [(), (0,), (3, 3), (2**21,)])
def test_bad_numbers_of_users(users: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="--concurrency"):
        serve_curve(lambda workload: replay(workload, 1), lengths(), users)


def test_no_request_fits() -> None:
    workload = Workload("test", requests(np.arange(3.0), prompt=10**6))
    with pytest.raises(InfeasibleError, match="no request"):
        serve_curve(lambda w: replay(w, 1), workload, (1,))


# --- commands

TOY = ["toy", "llama-toy", "--trace"]


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    rows = "".join(f"{i / 1000},20,5\n" for i in range(60))
    path.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n" + rows)
    return str(path)


def test_capacity_command(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["capacity", *TOY, trace, "--slo", "ttft=200us,tpot=1ms"]
    assert main([*words, "--format", "json"]) == 0
    text = capsys.readouterr().out
    document = json.loads(text)
    assert document["schema"] == "chipsim.capacity/1"
    assert document["slo_attainment"] >= document["wanted_attainment"] == 0.9
    assert document["rate_requests_per_s"] > 0
    assert document["system_copies"] == 1
    assert main([*words, "--format", "json"]) == 0
    assert capsys.readouterr().out == text
    rate = f"{3 * document['rate_requests_per_s']:g}"
    assert main([*words, "--rate", rate, "--max-replicas", "9", "--format", "json"]) == 0
    more = json.loads(capsys.readouterr().out)
    assert 2 <= more["system_copies"] <= 9
    assert (document["searched"], more["searched"]) == ("rate", "copies")
    assert more["chips"] == more["system_copies"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "requests/s" in shown
    assert f"cost: {document['cost_usd_per_hour']:.3f} USD/h for all chips" in shown
    assert document["requests"] == document["requests_of_workload"] == 60
    assert {trial["requests"] for trial in document["trials"]} == {60}


def test_more_requests_than_the_workload_has_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["capacity", "toy", "llama-toy", "chat", "--slo", "ttft=1s,tpot=1s"]
    words += ["--set", "workload.requests=5", "--set", "workload.prompt_tokens=20"]
    words += ["--set", "workload.output_tokens=5"]
    assert main([*words, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["requests_of_workload"] == 5 < document["requests"]
    assert max(trial["requests"] for trial in document["trials"]) >= document["requests"]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{document['requests']} requests instead of the workload's 5" in said


def test_serve_curve_command(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg = tmp_path / "curve.svg"
    words = ["serve-curve", *TOY, trace, "--concurrency", "1,2,8"]
    assert main([*words, "--format", "json", "--svg", str(svg)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "chipsim.serve-curve/1"
    assert [row["concurrency"] for row in document["rows"]] == [1, 2, 8]
    assert any(row["pareto"] for row in document["rows"])
    picture = svg.read_text()
    assert len(ElementTree.fromstring(picture).findall(".//{*}circle")) == 3
    assert main([*words, "--format", "csv", "--svg", str(svg)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["concurrency"] for row in rows] == ["1", "2", "8"]
    assert float(rows[0]["ttft_s_p99"]) == document["rows"][0]["ttft_s"]["p99"]
    assert svg.read_text() == picture
    assert main(words) == 0
    assert "tokens/s/chip" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["capacity", *TOY, "{trace}"], 3, "no SLO"),
        (["capacity", *TOY, "{trace}", "--slo", "ttft=1ps"], 4, "no request meets"),
        (["capacity", *TOY, "{trace}", "--slo", "ttft=1s", "--attainment", "120%"], 3, "share"),
        (["capacity", *TOY, "{trace}", "--slo", "ttft=1s", "--rate", "0"], 3, "--rate"),
        (["capacity", *TOY, "{trace}", "--slo", "ttft=1s", "--rate", "nan"], 3, "--rate"),
        (["capacity", *TOY, "{trace}", "--slo", "ttft=1s", "--rate", "3 apples/s"], 3, "unit"),
        (["capacity", "toy", "llama-toy", "chat-users", "--slo", "ttft=1s"], 3, "closed loop"),
        (["capacity", "toy", "llama-toy", "chat", "--trace", "{trace}"], 2, "either"),
        (["serve-curve", *TOY, "{trace}", "--concurrency", "1,,2"], 3, "--concurrency"),
        (["serve-curve", *TOY, "{trace}", "--concurrency", "0"], 3, "--concurrency"),
        (["serve-curve", *TOY, "{trace}", "--concurrency", "2,2"], 3, "twice"),
        (["serve-curve", *TOY, "{trace}", "--svg", "{trace}"], 3, "would be overwritten"),
        (["serve-curve", *TOY, "{trace}", "--svg", "/no/such/folder/x.svg"], 3, "x.svg"),
    ],
)
def test_bad_command_lines(
    words: list[str],
    status: int,
    message: str,
    trace: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([word.replace("{trace}", trace) for word in words]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err
