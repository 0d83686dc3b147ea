"""Workload files: what they may say, and where an error is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.config.loader import load_workload
from simulator.config.workload_schema import validate_workload
from simulator.config.yaml_nodes import parse_yaml
from simulator.errors import InputError
from simulator.workload import spec
from simulator.workload.distributions import Constant, LogNormal, Uniform

GOOD = """\
kind: workload
name: mine
source: made up
requests: 12
arrivals:
  process: poisson
  rate: 2 req/s
prompt_tokens:
  distribution: uniform
  min: 10
  max: 20
output_tokens: 5
"""


def parse(text: str) -> spec.WorkloadSpec:
    return validate_workload(parse_yaml(text, "mine.yaml"))


def refused(old: str, new: str) -> InputError:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        parse(GOOD.replace(old, new))
    return caught.value


def test_a_whole_file() -> None:
    found = parse(GOOD)
    assert found == spec.WorkloadSpec(
        "mine", 12, spec.Poisson(2.0), Uniform(9.5, 20.5), Constant(5.0), None, "made up"
    )


def test_uniform_tokens_are_all_alike() -> None:
    drawn = np.floor(parse(GOOD).prompt_tokens.quantile((np.arange(11_000) + 0.5) / 11_000) + 0.5)
    assert np.bincount(drawn.astype(int))[10:].tolist() == [1000] * 11


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{process: constant, rate: 30 req/min}", spec.ConstantRate(0.5)),
        ("{process: gamma, rate: 4/s, cv: 2.5}", spec.Gamma(4.0, 2.5)),
        ("{process: closed_loop, users: 8, think: 2 s}", spec.Users(8, Constant(2e12))),
        (
            "{process: closed_loop, users: 8, think: {distribution: uniform, min: 1 s, max: 2 s}}",
            spec.Users(8, Uniform(1e12, 2e12)),
        ),
    ],
)
def test_arrivals(text: str, expected: spec.Arrivals) -> None:
    changed = GOOD.replace("arrivals:\n  process: poisson\n  rate: 2 req/s", f"arrivals: {text}")
    assert parse(changed).arrivals == expected


def test_lognormal_by_mu_and_sigma() -> None:
    text = "{distribution: lognormal, mu: 5.5, sigma: 0.75, max: 1000}"
    found = parse(GOOD.replace("output_tokens: 5", f"output_tokens: {text}"))
    assert found.output_tokens == LogNormal(5.5, 0.75, 0.5, 1000.5)


def test_values_with_their_source() -> None:
    changed = GOOD.replace("rate: 2 req/s", "rate: {value: 3 req/s, confidence: estimate}")
    assert parse(changed).arrivals == spec.Poisson(3.0)


BAD = [
    ("rate: 2 req/s", "rate: 2", 7, 9, "has no unit"),
    ("rate: 2 req/s", "rate: -2 req/s", 7, 9, "negative"),
    ("rate: 2 req/s", "rate: nan req/s", 7, 9, "not a finite number"),
    ("rate: 2 req/s", "rate: 0 req/s", 7, 9, "zero"),
    ("rate: 2 req/s", "rat: 2 req/s", 7, 3, "unknown key 'rat'"),
    ("process: poisson", "process: poison", 6, 12, "poison"),
    ("requests: 12", "requests: 0", 4, 11, "zero"),
    ("requests: 12", "requests: 1.5", 4, 11, "not a whole number"),
    ("requests: 12", "requests: 999999999999", 4, 11, "999999999999"),
    ("min: 10", "min: 30", 8, None, "min is not below max"),
    ("min: 10", "min: 0", 10, 8, "not above 0"),
    ("min: 10", "min: inf", 10, 8, "not a finite number"),
    ("output_tokens: 5", "output_tokens: 0", 12, 16, "not above 0"),
    ("output_tokens: 5", "output_tokens: [5]", 12, 1, "expected a mapping"),
    (
        "output_tokens: 5",
        "output_tokens: {distribution: lognormal, mean: 5}",
        12, 1, "cannot be made of mean",
    ),
    (
        "output_tokens: 5",
        "output_tokens: {distribution: lognormal, mean: 5, median: 6}",
        12, 1, "no log-normal",
    ),
    (
        "output_tokens: 5",
        "output_tokens: {distribution: lognormal, median: 6, sigma: 0}",
        12, 60, "not above 0",
    ),
    (
        "output_tokens: 5",
        "output_tokens: {distribution: exponential, mean: 60, max: 100}",
        12, 1, "no falling exponential",
    ),
    (
        "output_tokens: 5",
        "output_tokens: {distribution: quantiles, table: {0: 1, 0.5: 9, 1: 8}}",
        12, 1, "must not fall",
    ),
    (
        "output_tokens: 5",
        "output_tokens: {distribution: quantiles, table: {0.5: 9, 1: 10}}",
        12, 1, "from 0 to 1",
    ),
    ("name: mine", "nam: mine", 2, 1, "unknown key 'nam'"),
    ("kind: workload", "kind: chip", 1, 7, "chip"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "column", "words"), BAD, ids=[b[1] for b in BAD])
def test_refused_with_a_place(
    old: str, new: str, line: int, column: int | None, words: str
) -> None:
    error = refused(old, new)
    assert words in error.message
    assert error.location is not None
    assert error.location.file == "mine.yaml"
    assert error.location.line == line
    if column is not None:
        assert error.location.column == column


def test_nearest_key() -> None:
    assert refused("rate: 2 req/s", "rat: 2 req/s").hint == "did you mean 'rate'?"


@pytest.mark.parametrize("name", ["chat", "chat-users", "code", "summarize", "reasoning", "agent"])
def test_shipped_files(name: str) -> None:
    found = load_workload(name)
    assert found.name == name
    assert found.source


def test_overrides() -> None:
    found = load_workload("chat", ["workload.arrivals.rate=9 req/s", "workload.requests=3"])
    assert found.arrivals == spec.Poisson(9.0)
    assert found.requests == 3
    with pytest.raises(InputError, match="unknown key 'rat'") as caught:
        load_workload("chat", ["workload.arrivals.rat=9 req/s"])
    assert caught.value.hint == "did you mean 'rate'?"


def test_by_path_and_unknown(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert load_workload(path).requests == 12
    path.write_text(GOOD.replace("kind: workload", "kind: chip"))
    with pytest.raises(InputError, match="this is a chip file"):
        load_workload(path)
    with pytest.raises(InputError, match="unknown workload 'chatt'") as caught:
        load_workload("chatt")
    assert caught.value.hint == "did you mean 'chat'?"
