"""``--slo ttft=500ms,tpot=50ms``: what requests were promised, for all or for a class of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from simulator.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from simulator.workload.request import Workload
    from simulator.workload.slo import Slo

LIMITS = ("ttft", "tpot", "e2e")
_EXAMPLE = "for example ttft=500ms,tpot=50ms or, for one class, batch:e2e=60s"

slo_option = click.option(
    "--slo",
    "slos",
    metavar="[CLASS:]LIMITS",
    multiple=True,
    help="Latencies promised, e.g. ttft=500ms,tpot=50ms[,e2e=30s] (repeatable, one a class).",
)


def apply_slos(workload: Workload, texts: Sequence[str]) -> Workload:
    """The workload with the limits of the command line in place of its own.

    Raises:
        InputError: no ``LIMIT=TIME`` list, an unknown limit or class, or one that is given twice.
    """
    from simulator.workload.request import with_slos

    given: dict[str, Slo] = {}
    for text in texts:
        name, limits = _parse(text)
        if name in given:
            whose = f"class '{name}'" if name else "all classes"
            raise InputError(f"--slo: {whose} have limits twice ('{text}')")
        given[name] = limits
    if not given:
        return workload
    known = [kind.name for kind in workload.traffic.classes]
    for name in given:
        if name and name not in known:
            raise InputError(
                f"--slo: unknown class '{name}' of workload '{workload.name}'",
                hint=did_you_mean(name, known) if known else "it has no classes",
            )
    return with_slos(workload, given)


def _parse(text: str) -> tuple[str, Slo]:
    from simulator.workload.slo import Slo

    name, colon, limits = text.rpartition(":")
    name = name.strip()
    if colon and not name:
        raise InputError(f"--slo: found '{text}', expected a class before ':'", hint=_EXAMPLE)
    found: dict[str, int] = {}
    for part in limits.split(","):
        limit, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise InputError(f"--slo: found '{part}', expected LIMIT=TIME", hint=_EXAMPLE)
        if limit not in LIMITS:
            raise InputError(
                f"--slo: unknown limit '{limit}' in '{text}'", hint=did_you_mean(limit, LIMITS)
            )
        if limit in found:
            raise InputError(f"--slo: limit '{limit}' stands twice in '{text}'")
        found[limit] = _picoseconds(value, f"--slo {limit}")
    return name, Slo(found.get("ttft"), found.get("tpot"), found.get("e2e"))


def _picoseconds(text: str, what: str) -> int:
    from simulator.units import parse_quantity

    try:
        ps = parse_quantity(text, "time")
    except InputError as error:
        raise InputError(f"{what}: {error.message}", hint=error.hint) from None
    if ps == 0:
        raise InputError(f"{what}: '{text}' is zero, expected more than 0")
    return ps
