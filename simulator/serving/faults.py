"""What fails and when: replicas, chips and links, at given times or at a rate.

Texts are ``replica:2@30s``, ``chip:5@1min,repair 60s``, ``link:0@10s,repair 5s`` or
``mtbf:3600s,repair 60s``. What is not repaired stays broken. A chip takes its replica with it. A
link is that of a replica to the network: while it is down nothing reaches the replica, and the
transfers on it stand still. ``mtbf`` is the mean time between failures of each replica; times are
exponential and seeded.
"""

from __future__ import annotations

import heapq
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simulator.errors import InputError, did_you_mean

KINDS = ("replica", "chip", "link", "mtbf")
FORMS = "replica:2@30s, chip:5@1min,repair 60s, link:0@10s or mtbf:3600s,repair 60s"

_PLACE = re.compile(r"(?P<number>\d{1,9})@(?P<time>.+)")

SHORTEST_MTBF_PS = 10 * 10**12
"""Where replicas fail more often than requests take, retries go on without end."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, or a rate of them. ``at_ps`` is the mean time between failures of an ``mtbf``.

    ``repair_ps`` is how long the repair takes, None where there is none.
    """

    kind: str
    number: int
    at_ps: int
    repair_ps: int | None = None
    text: str = ""


def parse_fault(text: str) -> Fault:
    """The fault that a text stands for.

    Raises:
        InputError: another form, an unknown kind or unit, or a time of zero where none can be.
    """
    head, comma, tail = text.partition(",")
    kind, colon, place = head.strip().partition(":")
    if kind not in KINDS or not colon:
        raise InputError(
            f"--fail: found '{text[:60]}', expected {FORMS}", hint=did_you_mean(kind, KINDS)
        )
    repair = None
    if comma:
        word, _, duration = tail.strip().partition(" ")
        if word != "repair" or not duration.strip():
            raise InputError(f"--fail {text[:60]}: expected ',repair 60s' behind the comma")
        repair = _time(duration, text, "a repair")
    if kind == "mtbf":
        mean = _time(place, text, "a mean time between failures")
        if mean < SHORTEST_MTBF_PS:
            raise InputError(
                f"--fail {text[:60]}: found a mean time between failures of {place}, "
                f"expected at least {SHORTEST_MTBF_PS // 10**12} s",
                hint="requests that are retried would never end",
            )
        return Fault(kind, 0, mean, repair, text)
    found = _PLACE.fullmatch(place.strip())
    if found is None:
        raise InputError(f"--fail: found '{text[:60]}', expected {kind}:N@TIME", hint=FORMS)
    at = _time(found["time"], text, "a time", zero=True)
    return Fault(kind, int(found["number"]), at, repair, text)


def _time(text: str, whole: str, what: str, *, zero: bool = False) -> int:
    from simulator.units import parse_quantity

    try:
        ps = parse_quantity(text, "time")
    except InputError as error:
        raise InputError(f"--fail {whole[:60]}: {error.message}", hint=error.hint) from None
    if ps == 0 and not zero:
        raise InputError(f"--fail {whole[:60]}: {what} has to be above zero")
    return ps


def check_faults(faults: Sequence[Fault], replicas: int, chips: int) -> None:
    """Refuse a replica, chip or link that the deployment does not have.

    Raises:
        InputError: its number is out of range.
    """
    for fault in faults:
        count = chips if fault.kind == "chip" else replicas
        if fault.kind != "mtbf" and fault.number >= count:
            what = "chip" if fault.kind == "chip" else "replica"
            known = f"there are {count} {what}s, expected 0 to {count - 1}"
            if count == 1:
                known = f"there is one {what}, expected 0"
            raise InputError(f"--fail {fault.text}: {known}")


def outages(
    faults: Sequence[Fault], replica: int, chips: Sequence[int], seed: int
) -> Iterator[tuple[int, int | None]]:
    """Outages of a replica with ``chips``: (start, end or None), in order, never overlapping.

    An outage that begins while the replica is down is left out.
    """
    fixed = sorted(
        (fault.at_ps, -1 if fault.repair_ps is None else fault.repair_ps)
        for fault in faults
        if (fault.kind == "replica" and fault.number == replica)
        or (fault.kind == "chip" and fault.number in chips)
    )
    sources: list[Iterator[tuple[int, int]]] = [iter(fixed)]
    for number, fault in enumerate(faults):
        if fault.kind == "mtbf":
            sources.append(_exponential(fault, f"{seed} {number} {replica}"))
    up_from = 0
    for start, repair in heapq.merge(*sources):
        if start < up_from:
            continue
        if repair < 0:
            yield start, None
            return
        up_from = start + repair
        yield start, up_from


def link_outages(faults: Sequence[Fault], replica: int) -> list[tuple[int, int | None]]:
    """Outages of a replica's link: (start, end or None), in order."""
    found = sorted(
        (fault.at_ps, -1 if fault.repair_ps is None else fault.repair_ps)
        for fault in faults
        if fault.kind == "link" and fault.number == replica
    )
    merged: list[tuple[int, int | None]] = []
    for start, repair in found:
        end = None if repair < 0 else start + repair
        if merged:
            before, until = merged[-1]
            if until is None:
                break
            if start <= until:
                merged[-1] = (before, None if end is None else max(until, end))
                continue
        merged.append((start, end))
    return merged


def _exponential(fault: Fault, seed: str) -> Iterator[tuple[int, int]]:
    """Failures at exponential distances, counted from the end of each repair."""
    draw = random.Random(seed)
    repair = -1 if fault.repair_ps is None else fault.repair_ps
    now = 0
    while True:
        now += max(1, round(-math.log1p(-draw.random()) * fault.at_ps))
        yield now, repair
        now += max(0, repair)
