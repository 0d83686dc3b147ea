"""A collective as a list of phases of equal steps, and the exact time of that.

Every algorithm of this package becomes a ``Schedule``; its time is a closed form of the size, so
it can be priced by hand, by the numba kernel inside a step, and by ``evaluate`` below, with
the same result to the picosecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PS_PER_S = 10**12

Resource = Literal["link", "injection"]


@dataclass(frozen=True, slots=True)
class Phase:
    """``steps`` equal steps, one after another.

    In a step the busiest link carries size * link_num / link_den bytes, rounded up, at ``rate``
    bytes a second; then size * reduce_num / reduce_den bytes are reduced before the next step.
    ``resource`` says whether that link is one of many or the chip's only port. A transfer of x in
    all steps takes x + x f / (x + f) with f = ``fill_ps``: chunks grow with the buffer until they
    are as large as the library's, and the pipeline waits for the first and the last of them.
    """

    steps: int
    latency_ps: int
    link_num: int
    link_den: int
    rate: int
    reduce_num: int = 0
    reduce_den: int = 1
    reduce_rate: int = 0
    resource: Resource = "link"
    fill_ps: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """One algorithm with one protocol: ``fixed_ps`` and the phases.

    ``wire_num / wire_den`` times the size are the bytes on all links together. ``link_rate`` is
    the rate of the busiest link before any protocol. A schedule serves buffers of more than
    ``smallest`` and up to ``largest`` bytes; 0 means any.
    """

    algorithm: str
    protocol: str
    fixed_ps: int
    phases: tuple[Phase, ...]
    wire_num: int
    wire_den: int
    link_rate: int
    smallest: int = 0
    largest: int = 0

    def serves(self, size: int) -> bool:
        """Whether the software takes this algorithm for a buffer of ``size`` bytes."""
        above = not self.smallest or size > self.smallest
        return above and (not self.largest or size <= self.largest)

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where the time of a schedule goes, in picoseconds, and what its busiest link carries."""

    latency_ps: int
    link_ps: int
    injection_ps: int
    reduction_ps: int
    link_bytes: int

    @property
    def total_ps(self) -> int:
        """The time of the collective."""
        return self.latency_ps + self.link_ps + self.injection_ps + self.reduction_ps


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b; of any length, while the kernels' own is of 64 bits."""
    return -(-a // b)


def evaluate(schedule: Schedule, size: int, concurrent: int = 1) -> Breakdown:
    """The exact time of ``size`` bytes while ``concurrent`` equal collectives share the links.

    Equal flows on the same links get equal rates under max-min fairness, so each link carries
    ``concurrent`` times the bytes; latencies and reductions do not add up.
    """
    latency, link, injection, reduction, carried_in_all = schedule.fixed_ps, 0, 0, 0, 0
    for phase in schedule.phases:
        carried = ceil_div(size * phase.link_num * concurrent, phase.link_den)
        moving = phase.steps * ceil_div(carried * PS_PER_S, phase.rate)
        latency += phase.steps * phase.latency_ps
        if phase.fill_ps and moving:
            latency += ceil_div(moving * phase.fill_ps, moving + phase.fill_ps)
        if phase.resource == "link":
            link += moving
        else:
            injection += moving
        if phase.reduce_num and phase.reduce_rate:
            reduced = ceil_div(size * phase.reduce_num, phase.reduce_den)
            reduction += phase.steps * ceil_div(reduced * PS_PER_S, phase.reduce_rate)
        carried_in_all += phase.steps * carried
    return Breakdown(latency, link, injection, reduction, carried_in_all)
