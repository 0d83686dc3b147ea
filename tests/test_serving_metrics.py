"""Goodput, gaps between tokens, the course over time and growing queues, by hand and by bounds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from constant_server import STEP_PS, plan, poisson, requests, serve
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cli.slo_option import apply_slos
from simulator.errors import InputError
from simulator.report.json_out import run_json, to_json
from simulator.serving import token_gaps as acc
from simulator.serving.results import RunResult
from simulator.workload.request import ClosedLoop, Requests, Workload
from simulator.workload.slo import Slo, SloClass

FEW = settings(deadline=None, derandomize=True, max_examples=30)
MS = 10**9


def column(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def at_once(count: int, output: int, slo: Slo | None, **columns: object) -> Workload:
    """``count`` requests at 0 for a server that takes them one after the other."""
    traffic = requests(np.zeros(count), output=output)
    return Workload("test", dataclasses.replace(traffic, **columns), slo=slo)  # type: ignore[arg-type]


# --- goodput


def test_attainment_counts_whole_picoseconds() -> None:
    """Request k of 10 has its first token after 2k + 1 steps, its last one step later."""
    step = int(serve(at_once(1, 1, None)).table.first_token_ps[0])
    first = serve(at_once(10, 2, None)).table.first_token_ps
    for limit, met in ((int(first[4]), 5), (int(first[4]) - 1, 4), (10**12, 10)):
        result = serve(at_once(10, 2, Slo(ttft_ps=limit)))
        assert result.goodput is not None
        entry = result.goodput.classes["all"]
        assert (entry.met, entry.requests) == (met, 10)
        assert entry.missed == {"served": 0, "ttft": 10 - met}
        assert result.goodput.attainment == met / 10
        assert result.goodput.goodput_requests_per_s == pytest.approx(met / result.simulated_s)
        assert entry.best_s["ttft"] == step / 1e12
    assert serve(at_once(10, 2, None)).goodput is None


def test_tpot_is_the_mean_of_a_request_and_one_token_has_none() -> None:
    table = serve(at_once(1, 4, None)).table
    spent = int(table.completed_ps[0] - table.first_token_ps[0])
    per = -(-spent // 3)
    for limit, met in ((per, 1), (per - 1, 0)):
        goodput = serve(at_once(1, 4, Slo(tpot_ps=limit))).goodput
        assert goodput is not None
        assert goodput.classes["all"].met == met
    alone = serve(at_once(1, 1, Slo(tpot_ps=1))).goodput
    assert alone is not None
    assert alone.attainment == 1.0


def test_refused_requests_miss_every_slo() -> None:
    traffic = requests(np.zeros(4))
    traffic.prompt_tokens[1] = 10**6
    result = serve(Workload("test", traffic, slo=Slo(ttft_ps=10**12)))
    assert result.goodput is not None
    assert result.goodput.attainment == 0.75
    assert result.goodput.classes["all"].missed == {"served": 1, "ttft": 0}


def test_classes_have_their_own_limits() -> None:
    kinds = (SloClass("fast", 0, Slo(ttft_ps=2 * STEP_PS)), SloClass("slow", 1), SloClass("none"))
    result = serve(
        at_once(9, 1, Slo(e2e_ps=10**12), slo_class=column(*[0, 1, 2] * 3), classes=kinds)
    )
    goodput = result.goodput
    assert goodput is not None
    assert {n: (e.met, e.requests) for n, e in goodput.classes.items()} == {
        "fast": (1, 3),
        "slow": (3, 3),
        "none": (3, 3),
    }
    assert goodput.classes["fast"].limits_s == {"ttft": 2 * STEP_PS / 1e12}
    assert goodput.attainment == pytest.approx(7 / 9)
    total = sum(entry.goodput_requests_per_s for entry in goodput.classes.values())
    assert total == pytest.approx(goodput.goodput_requests_per_s)


def test_a_hopeless_slo_is_said() -> None:
    result = serve(at_once(3, 2, Slo(ttft_ps=1000, tpot_ps=10**12)))
    assert result.goodput is not None
    assert result.goodput.attainment == 0
    assert "no request meets ttft <= 1 ns: the fastest takes 1 ms" in result.advice


# --- the option


def labelled() -> Workload:
    kinds = (SloClass("a", 0, Slo(ttft_ps=7)), SloClass("b"))
    return at_once(2, 1, Slo(e2e_ps=9), slo_class=column(0, 1), classes=kinds)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], (Slo(7), None, Slo(e2e_ps=9))),
        (["ttft=500ms,tpot=50ms"], (None, None, Slo(500 * MS, 50 * MS))),
        (["a:e2e=2s"], (Slo(e2e_ps=2000 * MS), None, Slo(e2e_ps=9))),
        (["ttft=1s", "b:tpot=1ms"], (None, Slo(tpot_ps=MS), Slo(1000 * MS))),
    ],
)
def test_slo_option(texts: list[str], expected: tuple[Slo | None, ...]) -> None:
    changed = apply_slos(labelled(), texts)
    assert (*(kind.slo for kind in changed.traffic.classes), changed.slo) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected LIMIT=TIME"),
        ("ttft", "expected LIMIT=TIME"),
        ("ttft=", "expected LIMIT=TIME"),
        ("tfft=1s", "unknown limit 'tfft'"),
        ("ttft=1s,ttft=2s", "twice"),
        ("ttft=0 s", "zero"),
        ("ttft=-1s", "negative"),
        ("ttft=nan", "finite"),
        ("ttft=5", "no unit"),
        ("ttft=5 GB", "unknown unit"),
        ("c:ttft=5s", "unknown class 'c'"),
        (":ttft=5s", "expected a class"),
    ],
)
def test_bad_slo(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        apply_slos(labelled(), [text])
    assert caught.value.exit_code == 3


def test_slo_twice_and_without_classes() -> None:
    with pytest.raises(InputError, match="twice"):
        apply_slos(labelled(), ["ttft=1s", "tpot=1s"])
    with pytest.raises(InputError, match="unknown class") as caught:
        apply_slos(at_once(1, 1, None), ["gold:ttft=1s"])
    assert caught.value.hint == "it has no classes"


# --- gaps between tokens


@FEW
@given(st.integers(1, 2**62))
def test_a_gap_is_in_its_bin(gap: int) -> None:
    exponent = max(0, gap.bit_length() - 9)
    index = exponent * acc.SUB_BINS + (gap >> exponent)
    bounds = acc.gap_values()
    assert bounds[index] <= gap < bounds[index + 1] or float(gap) == bounds[index + 1]
    assert bounds[index + 1] - bounds[index] <= max(1.0, gap / acc.SUB_BINS)


def test_gaps_of_one_user_are_the_iterations() -> None:
    traffic = requests(np.zeros(1), prompt=100, output=50)
    result = serve(traffic, record_iterations=True)
    assert result.log is not None
    gaps = (result.log.end_ps - result.log.start_ps)[1:]
    assert len(gaps) == 49
    assert result.itl_s.mean == pytest.approx(gaps.mean() / 1e12, rel=1e-12)
    assert result.itl_s.mean == pytest.approx(result.tpot_s.mean)
    for percent in (50, 90, 95, 99):
        value = getattr(result.itl_s, f"p{percent}")
        assert value == pytest.approx(float(np.percentile(gaps, percent)) / 1e12, rel=0.005)


def test_a_stall_shows_in_the_gaps_and_not_in_the_tpot() -> None:
    """One request decodes; a long prompt of another one takes a budget of 64 tokens 8 iterations,
    in which the first one goes on: no gap grows. With a budget of 1 it would wait."""
    traffic = Requests(column(0, 5 * STEP_PS), column(1, 400), column(100, 1))
    free = serve(traffic, max_batch=2, token_budget=64)
    assert free.itl_s.p99 == pytest.approx(STEP_PS / 1e12, rel=0.01)
    held = serve(traffic, max_batch=1)
    assert held.itl_s.p99 == pytest.approx(STEP_PS / 1e12, rel=0.01)
    assert held.queue_s.p99 > 10 * free.queue_s.p99


def test_drafts_come_together_and_refused_ones_never() -> None:
    traffic = requests(np.zeros(3), prompt=10, output=60)
    result = serve(traffic, max_batch=4, speculate=3, acceptance=0.7)
    line = result.timeline
    assert line is not None
    span = np.diff(np.append(line.time_s, result.simulated_s))
    assert (line.tokens_per_s * span).sum() == pytest.approx(180, rel=1e-6)
    assert result.itl_s.mean == pytest.approx(result.tpot_s.mean)
    # most tokens come with another one, the others a step later
    assert result.itl_s.p50 < 1e-9
    assert result.itl_s.p99 == pytest.approx(STEP_PS / 1e12, rel=0.01)


# --- course over time


def busy_run(count: int = 400, replicas: int = 2) -> RunResult:
    rate = 1.5 * replicas / (STEP_PS / 1e12) / 20
    traffic = requests(poisson(rate, count, seed=1), prompt=30, output=20)
    return serve(traffic, on=plan(replicas=replicas), max_batch=4)


@pytest.mark.parametrize("count", [1, 3, 400])
def test_the_timeline_adds_up(count: int) -> None:
    result = busy_run(count)
    line = result.timeline
    assert line is not None
    assert 1 <= len(line.time_s) <= 1000
    span = np.diff(np.append(line.time_s, result.simulated_s))
    assert (span > 0).all()
    assert line.time_s[0] == 0
    assert (line.tokens_per_s * span).sum() == pytest.approx(20 * count, rel=1e-6)
    assert (line.computed_tokens_per_s * span).sum() == pytest.approx(49 * count, rel=1e-6)
    assert (line.busy_fraction * span).sum() * 2 == pytest.approx(result.serving_s, rel=1e-6)
    assert line.busy_fraction.max() <= 1 + 1e-9
    kv = line.kv_fraction * span * 2
    assert kv.sum() / result.serving_s == pytest.approx(result.kv["mean_fraction"], rel=1e-6)
    both = ((line.running + line.waiting) * span).sum() / result.simulated_s
    assert both == pytest.approx(result.mean_requests_in_system, rel=1e-6)


def test_a_long_run_keeps_its_number_of_points() -> None:
    short = serve(requests(column(0, 10**11)))
    long = serve(requests(column(0, 10**18)))
    for result in (short, long):
        assert result.timeline is not None
        assert len(result.timeline.time_s) <= 1000
        assert result.timeline.running.max() <= 1
    assert long.timeline is not None
    assert long.timeline.busy_fraction[1:-1].max() == 0


def test_the_json_of_a_run_repeats_and_has_the_new_keys() -> None:
    first, second = (to_json(run_json(busy_run(50))) for _ in range(2))
    assert first == second
    document = run_json(busy_run(50))
    assert document["goodput_requests_per_s"] is None
    assert document["slo_attainment"] is None
    assert set(document["timeline"][0]) >= {
        "time_s", "running", "waiting", "kv_fraction", "tokens_per_s",
    }  # fmt: skip
    assert len(document["timeline"]) <= 1000
    assert document["output_tokens_per_s_per_user"] == pytest.approx(1 / document["tpot_s"]["mean"])


# --- queues


@pytest.mark.parametrize(("load", "grows"), [(0.5, False), (0.9, False), (1.3, True), (3.0, True)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_queue_grows_only_beyond_capacity(load: float, grows: bool, seed: int) -> None:
    service = STEP_PS / 1e12
    result = serve(requests(poisson(load / service, 2000, seed)))
    growth = result.queue_growth
    assert (growth is not None) == grows
    if growth is not None:
        assert growth.requests_per_s == pytest.approx((load - 1) / service, rel=0.25)
        assert growth.served_per_s == pytest.approx(1 / service, rel=0.05)
        assert "grows without bound" in result.advice


def test_a_burst_and_a_closed_loop_are_no_growth() -> None:
    assert serve(requests(np.zeros(500))).queue_growth is None
    ones = np.ones(500, dtype=np.int64)
    assert serve(ClosedLoop(400, ones, ones, ones)).queue_growth is None
