"""``--assert 'ttft_p99<300ms'``: parsed before the simulation starts, judged after it."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from simulator.cli.values import parse_number
from simulator.errors import AssertionFailedError, InputError, did_you_mean

_OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_EXPRESSION = re.compile(r"\s*([A-Za-z0-9_.]+)\s*(<=|>=|==|<|>)\s*([^<>=]+?)\s*")
_PERCENT = re.compile(r"(.*?)\s*%")
_PLAIN = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One parsed ``--assert``; ``wanted`` is in SI units."""

    text: str
    metric: str
    sign: str
    wanted: float

    def holds(self, actual: float | None) -> bool:
        """Whether the metric's value satisfies this; a value that does not exist never does."""
        return actual is not None and bool(_OPERATORS[self.sign](actual, self.wanted))


def parse_requirements(texts: Sequence[str], metrics: Mapping[str, str]) -> list[Requirement]:
    """Parse every ``--assert`` of a command line.

    Raises:
        InputError: a text that is no comparison, an unknown metric (the nearest is named), or a
            value that does not fit the metric.
    """
    return [_parse(text, metrics) for text in texts]


def judge(
    requirements: Sequence[Requirement], values: Mapping[str, Any], metrics: Mapping[str, str]
) -> None:
    """Check all of them against a result's values.

    Raises:
        AssertionFailedError: names each metric that failed, its value, and what was wanted.
    """
    failed = [r for r in requirements if not r.holds(values.get(r.metric))]
    if not failed:
        return
    lines = [f"{len(failed)} of {len(requirements)} assertions failed"]
    for item in failed:
        kind = metrics[item.metric]
        lines.append(
            f"  {item.metric} is {_shown(values.get(item.metric), kind)}, "
            f"wanted {item.sign} {_shown(item.wanted, kind)} ('{item.text}')"
        )
    raise AssertionFailedError("\n".join(lines))


def _parse(text: str, metrics: Mapping[str, str]) -> Requirement:
    from simulator.report.metrics import canonical_name

    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise InputError(
            f"--assert: found '{text}', expected a metric, one of {' '.join(_OPERATORS)}, "
            "and a value",
            hint="for example 'ttft_p99<300ms' or 'mfu>=40%'",
        )
    name, sign, value = match.groups()
    metric = canonical_name(name.replace(".", "_"), metrics)
    if metric is None:
        raise InputError(
            f"--assert: unknown metric '{name}' in '{text}'", hint=did_you_mean(name, metrics)
        )
    if metrics[metric] == "time" and _PLAIN.fullmatch(value) and not name.endswith("_s"):
        # whoever means milliseconds would never see the assertion fail
        click.echo(f"chipsim: --assert '{text}': {value} without a unit is in seconds", err=True)
    return Requirement(text, metric, sign, _value(value, metrics[metric], text))


def _value(text: str, kind: str, whole: str) -> float:
    what = f"--assert '{whole}'"
    if _PLAIN.fullmatch(text):
        number = parse_number(text, what, allow_zero=True)
        if kind == "fraction" and number > 1:
            raise InputError(
                f"{what}: found {text}, expected a share of at most 1",
                hint=f"is it {text}%?",
            )
        return number
    share = _PERCENT.fullmatch(text)
    if share is not None and kind == "fraction":
        return parse_number(share.group(1), what, allow_zero=True) / 100
    if kind not in ("time", "bytes"):
        unit = " or a percentage" if kind == "fraction" else ""
        raise InputError(f"{what}: found '{text}', expected a number{unit}")
    from simulator.units import parse_quantity

    dimension: Literal["time", "bytes"] = "time" if kind == "time" else "bytes"
    try:
        quantity = float(parse_quantity(text, dimension))
    except InputError as error:
        raise InputError(f"{what}: {error.message}", hint=error.hint) from None
    return quantity / 1e12 if kind == "time" else quantity


def _shown(value: float | None, kind: str) -> str:
    from simulator.report.figures import bytes_text, duration, percent

    if value is None:
        return "not available"
    if kind == "time":
        return f"{duration(value)} ({value!r} s)"
    if kind == "fraction":
        return f"{percent(value)} ({value!r})"
    return f"{bytes_text(value)} ({value!r} B)" if kind == "bytes" else repr(value)
