"""Which requests a run replays: a named workload, a workload file, or a trace file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.workload.request import Workload

DEFAULT_WORKLOAD = "chat"
_WORKLOAD_SUFFIXES = (".yaml", ".yml")
_TRACE_SUFFIXES = (".csv", ".jsonl", ".json", ".txt")


def load_traffic(
    name: str | None,
    trace: str | None,
    *,
    limit: int | None = None,
    rate_scale: float | None = None,
    seed: int = 0,
    overrides: tuple[str, ...] = (),
) -> tuple[Workload, str | None]:
    """The workload and the file that it came from (None for a shipped one).

    Args:
        name: a workload's name, or the path of a workload file or of a trace.
        trace: the path of a trace; at most one of the two is given.
        limit: number of requests; of a trace the first ones.
        rate_scale: factor on the rate of arrivals.
        seed: of the generator; a trace ignores it.
        overrides: ``workload.*=VALUE``, for anything but a trace.

    Raises:
        InputError: unknown name, bad file, or an option that this traffic cannot follow.
    """
    if trace is None and name is not None and is_trace_path(name):
        trace = name
    if trace is None:
        return _generated(name or DEFAULT_WORKLOAD, limit, rate_scale, seed, overrides)
    if overrides:
        raise InputError(f"--set {overrides[0]}: a trace file has no configuration values")
    from simulator.workload.traces import read_trace

    scale = 1.0 if rate_scale is None else rate_scale
    workload = read_trace(trace, limit=limit, rate_scale=scale)
    if workload.failed_calls:
        calls = "call" if workload.failed_calls == 1 else "calls"
        click.echo(
            f"{trace}: {workload.failed_calls} failed {calls} (no output tokens) left out",
            err=True,
        )
    return workload, trace


def is_trace_path(name: str) -> bool:
    """Whether the word means a trace: a trace file's ending, or a file that is no workload."""
    suffix = Path(name).suffix.lower()
    if suffix in _WORKLOAD_SUFFIXES:
        return False
    return suffix in _TRACE_SUFFIXES or Path(name).is_file()


def _generated(
    name: str, limit: int | None, rate_scale: float | None, seed: int, overrides: tuple[str, ...]
) -> tuple[Workload, str | None]:
    from simulator.config.loader import load_workload
    from simulator.workload.generate import generate
    from simulator.workload.request import Requests

    workload = generate(load_workload(name, overrides), limit, seed)
    file = name if Path(name).is_file() else None
    if rate_scale is None:
        return workload, file
    if not isinstance(workload.traffic, Requests):
        raise InputError(
            f"--rate-scale: workload '{workload.name}' is a closed loop, whose users wait for "
            "their answers; it has no rate of arrival",
            hint="change its number of users or their think time instead",
        )
    from simulator.workload.traces import scale_rate

    return dataclasses.replace(workload, traffic=scale_rate(workload.traffic, rate_scale)), file
