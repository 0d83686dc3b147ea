"""Distributions against closed forms, generated workloads against published statistics."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.config.loader import load_workload
from simulator.errors import InputError
from simulator.workload.distributions import (
    Constant,
    Distribution,
    Exponential,
    LogNormal,
    Quantiles,
    Uniform,
    geometric,
)
from simulator.workload.generate import generate
from simulator.workload.normal import normal_quantile
from simulator.workload.request import ClosedLoop, Requests
from simulator.workload.spec import (
    Arrivals,
    ConstantRate,
    Gamma,
    Poisson,
    Session,
    Users,
    WorkloadSpec,
)

GRID = (np.arange(200_000) + 0.5) / 200_000


def mean(distribution: Distribution) -> float:
    """By the quantile function on a fine grid."""
    return float(distribution.quantile(GRID).mean())


def spec_of(arrivals: Arrivals, prompt: Distribution | None = None) -> WorkloadSpec:
    lengths = prompt or Constant(10.0)
    return WorkloadSpec("w", 100, arrivals, lengths, Exponential(20.0, 0.5))


def open_loop(spec: WorkloadSpec, count: int | None = None, seed: int = 0) -> Requests:
    traffic = generate(spec, count, seed).traffic
    assert isinstance(traffic, Requests)
    return traffic


# --- distributions


def test_normal_quantile_equals_the_standard_librarys() -> None:
    shares = [1e-12, 1e-6, 0.02, 0.0243, 0.3, 0.5, 0.7, 0.98, 1 - 1e-9]
    expected = [NormalDist().inv_cdf(p) for p in shares]
    assert normal_quantile(np.array(shares)) == pytest.approx(expected, abs=1e-7)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.floats(10, 5000), st.floats(1.05, 2.5), st.floats(8, 100))
def test_lognormal_has_the_mean_and_median_asked_for(
    median: float, skew: float, reach: float
) -> None:
    wanted, high = median * skew, median * reach
    try:
        fitted = LogNormal.from_mean_median(wanted, median, 0.5, high)
    except InputError:
        assume(False)
    assert mean(fitted) == pytest.approx(wanted, rel=2e-3)
    assert fitted.quantile(np.array([0.5]))[0] == pytest.approx(median, rel=1e-6)
    ends = fitted.quantile(np.array([0.0, 1 - 1e-12]))
    assert ends[0] * (1 + 1e-6) >= 0.5
    assert ends[1] <= high * (1 + 1e-6)


def test_lognormal_without_bounds_is_the_closed_form() -> None:
    fitted = LogNormal.from_mean_median(math.exp(1.0), math.exp(0.5))
    assert (fitted.mu, fitted.sigma) == pytest.approx((0.5, 1.0))


@pytest.mark.parametrize(("wanted", "median", "high"), [(10, 10, 99), (9, 10, 99), (60, 10, 99)])
def test_impossible_lognormal(wanted: float, median: float, high: float) -> None:
    with pytest.raises(InputError, match="no log-normal"):
        LogNormal.from_mean_median(wanted, median, 0.5, high)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.floats(0, 10), st.floats(1, 100), st.floats(0.02, 0.48))
def test_cut_exponential_has_the_mean_asked_for(low: float, span: float, share: float) -> None:
    wanted = low + share * span
    assert mean(Exponential.from_mean(wanted, low, low + span)) == pytest.approx(wanted, rel=1e-3)


def test_geometric_is_geometric() -> None:
    drawn = np.floor(geometric(4.0).quantile(GRID) + 0.5)
    assert drawn.min() == 1
    for k in range(1, 8):
        assert (drawn == k).mean() == pytest.approx(0.25 * 0.75 ** (k - 1), abs=2e-5)


def test_table_is_met_at_its_points() -> None:
    table = Quantiles(((0.0, 10.0), (0.5, 20.0), (1.0, 100.0)))
    assert table.quantile(np.array([0.0, 0.25, 0.5, 0.75])).tolist() == [10, 15, 20, 60]


# --- arrivals


def test_constant_rate_never_drifts() -> None:
    arrival = open_loop(spec_of(ConstantRate(3.0)), 3_000_001).arrival_ps
    assert arrival[:3].tolist() == [0, 333_333_333_000, 666_666_667_000]
    assert arrival[-1] == 10**18


@pytest.mark.parametrize(
    ("process", "cv"),
    [(Poisson(4.0), 1.0), (Gamma(4.0, 3.0), 3.0), (Gamma(4.0, 0.3), 0.3), (Gamma(4.0, 1.0), 1.0)],
)
def test_gaps_have_rate_and_variation(process: Arrivals, cv: float) -> None:
    arrival = open_loop(spec_of(process), 40_001).arrival_ps
    assert arrival[0] == 0
    gaps = np.diff(arrival) / 1e12
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(0.25, abs=4 * 0.25 * cv / 200)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.1)


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.sort(np.diff(open_loop(spec_of(Poisson(2.0)), 20_001).arrival_ps) / 1e12)
    expected = 1 - np.exp(-2.0 * gaps)
    distance = np.abs(expected - np.arange(1, 20_001) / 20_000).max()
    assert distance < 1.95 / math.sqrt(20_000)  # Kolmogorov-Smirnov at 0.1 %


def test_too_long_for_the_clock() -> None:
    with pytest.raises(InputError, match="106 days"):
        generate(spec_of(ConstantRate(1e-6)), 100)


# --- seeds and counts


def test_known_numbers_of_a_seed() -> None:
    """The same on every machine and numpy version: PCG64's stream and rounding to nanoseconds."""
    traffic = open_loop(load_workload("chat"), 4, 1)
    assert traffic.arrival_ps.tolist() == [0, 129_669_876_000, 673_078_460_000, 701_228_801_000]
    assert traffic.prompt_tokens.tolist() == [821, 1175, 1030, 617]
    assert traffic.output_tokens.tolist() == [109, 103, 100, 60]


def test_seeds_differ_and_repeat() -> None:
    spec = load_workload("code")
    first, again, other = open_loop(spec, 50, 7), open_loop(spec, 50, 7), open_loop(spec, 50, 8)
    assert np.array_equal(first.arrival_ps, again.arrival_ps)
    assert np.array_equal(first.prompt_tokens, again.prompt_tokens)
    assert not np.array_equal(first.prompt_tokens, other.prompt_tokens)
    assert not np.array_equal(first.arrival_ps, other.arrival_ps)


def test_streams_are_independent_of_each_other() -> None:
    """Another length distribution leaves the arrivals alone, and more requests the first ones."""
    one = open_loop(spec_of(Poisson(2.0)), 50)
    two = open_loop(spec_of(Poisson(2.0), Uniform(1.0, 9.0)), 80)
    assert np.array_equal(one.arrival_ps, two.arrival_ps[:50])
    assert np.array_equal(one.output_tokens, two.output_tokens[:50])


def test_default_count_is_the_specs() -> None:
    assert len(open_loop(spec_of(Poisson(2.0)))) == 100
    assert len(open_loop(spec_of(Poisson(2.0)), 1)) == 1


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-1, 0), (2**27, 0), (1, -1), (1, 2**63)])
def test_bad_count_or_seed(count: int, seed: int) -> None:
    with pytest.raises(InputError):
        generate(spec_of(Poisson(2.0)), count, seed)


# --- closed loops and sessions


def test_closed_loop() -> None:
    traffic = generate(spec_of(Users(4, Exponential(2e12)), Constant(7.0)), 5000).traffic
    assert isinstance(traffic, ClosedLoop)
    assert traffic.users == 4
    assert traffic.think_ps.dtype == np.int64
    assert traffic.think_ps.mean() == pytest.approx(2e12, rel=0.06)
    assert (traffic.prompt_tokens == 7).all()
    assert len(traffic) == 5000


def session_spec(arrivals: Arrivals, limit: int | None = None) -> WorkloadSpec:
    session = Session(Constant(3.0), Constant(100.0), Constant(5e12), limit)
    return WorkloadSpec("s", 10, arrivals, Constant(10.0), Constant(2.0), session)


def test_open_sessions_by_hand() -> None:
    """Prompts 110, 122, 134 at 0, 5, 10 s; the next session begins 100 s later."""
    traffic = open_loop(session_spec(ConstantRate(0.01)), 5)
    assert (traffic.arrival_ps / 1e12).tolist() == [0, 5, 10, 100, 105]
    assert traffic.prompt_tokens.tolist() == [110, 122, 134, 110, 122]
    assert traffic.output_tokens.tolist() == [2] * 5


def test_overlapping_sessions_are_sorted() -> None:
    traffic = open_loop(session_spec(ConstantRate(0.5)), 6)
    assert (traffic.arrival_ps / 1e12).tolist() == [0, 2, 5, 7, 10, 12]
    assert traffic.prompt_tokens.tolist() == [110, 110, 122, 122, 134, 134]


def test_context_limit_ends_sessions() -> None:
    traffic = open_loop(session_spec(ConstantRate(0.01), limit=124), 4)
    assert traffic.prompt_tokens.tolist() == [110, 122, 110, 122]
    assert (traffic.arrival_ps / 1e12).tolist() == [0, 5, 100, 105]
    with pytest.raises(InputError, match="context limit"):
        generate(session_spec(ConstantRate(0.01), limit=111), 4)


def test_closed_sessions_stand_in_rounds_of_the_users() -> None:
    traffic = generate(session_spec(Users(2, Constant(1e12))), 8).traffic
    assert isinstance(traffic, ClosedLoop)
    # user 0 has sessions 0 and 2, user 1 has session 1; user 0's last turns stand alone
    assert traffic.prompt_tokens.tolist() == [110, 110, 122, 122, 134, 134, 110, 122]
    assert (traffic.think_ps / 1e12).tolist() == [1, 1, 5, 5, 5, 5, 1, 5]


# --- shipped workloads: the statistics that their files name

PUBLISHED = [
    ("chat", 5.53, {"mean": 1155, "median": 1020, "max": 14050},
     {"mean": 211, "median": 129, "max": 1000}),
    ("code", 2.57, {"mean": 2048, "median": 1469, "max": 7437},
     {"mean": 28, "median": 13, "max": 1899}),
    ("summarize", None, {"median": 7059, "p90": 12985, "max": 16384},
     {"median": 208, "p90": 371}),
    ("reasoning", None, {"max": 4096}, {"mean": 3886, "max": 20000}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rate", "prompt", "output"), PUBLISHED)
def test_generated_statistics_are_the_published_ones(
    name: str, rate: float | None, prompt: dict[str, float], output: dict[str, float]
) -> None:
    traffic = open_loop(load_workload(name), 40_000, 5)
    if rate is not None:
        measured = (len(traffic) - 1) / (traffic.arrival_ps[-1] / 1e12)
        assert measured == pytest.approx(rate, rel=4 / math.sqrt(len(traffic)))
    for tokens, stated in ((traffic.prompt_tokens, prompt), (traffic.output_tokens, output)):
        assert tokens.min() >= 1
        check_tokens(tokens.astype(float), stated)


def check_tokens(tokens: np.ndarray, stated: dict[str, float]) -> None:
    """Each figure within four standard errors, and half a token for rounding."""
    error = tokens.std() / math.sqrt(len(tokens))
    if "mean" in stated:
        assert tokens.mean() == pytest.approx(stated["mean"], abs=4 * error + 0.5)
    for key, share in (("median", 0.5), ("p90", 0.9)):
        if key in stated:
            margin = 4 * math.sqrt(share * (1 - share) / len(tokens))
            low, high = np.quantile(tokens, (share - margin, share + margin))
            assert low - 0.5 <= stated[key] <= high + 0.5
    if "max" in stated:
        assert tokens.max() <= stated["max"]


def test_agent_grows_as_published() -> None:
    """Context from 12K growing 2,242 a turn, median 33 turns, 131 input tokens to one of output."""
    spec = load_workload("agent")
    assert spec.session is not None
    turns = np.floor(spec.session.turns.quantile(GRID) + 0.5)
    assert np.median(turns) == 33
    gaps = spec.session.gap_ps.quantile(GRID) / 1e12
    assert 5.2 <= gaps.min() <= 5.3
    assert 81.0 <= gaps.max() <= 81.4
    assert mean(spec.prompt_tokens) + mean(spec.output_tokens) == pytest.approx(2242, rel=1e-3)
    first = mean(spec.session.shared_tokens) + mean(spec.prompt_tokens)
    assert first == pytest.approx(12_000, rel=1e-3)
    traffic = open_loop(spec, 20_000)
    ratio = traffic.prompt_tokens.sum() / traffic.output_tokens.sum()
    assert ratio == pytest.approx(131, rel=0.05)
    assert (traffic.prompt_tokens + traffic.output_tokens).max() <= 131_072
