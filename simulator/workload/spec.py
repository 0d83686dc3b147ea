"""What a workload file says: how requests arrive and how long they are."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.workload.distributions import Distribution


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals at a mean rate (requests, or sessions, a second)."""

    rate_per_s: float


@dataclass(frozen=True, slots=True)
class ConstantRate:
    """Arrivals at equal distances."""

    rate_per_s: float


@dataclass(frozen=True, slots=True)
class Gamma:
    """Bursty arrivals: gamma-distributed gaps with coefficient of variation ``cv``.

    1 is Poisson, above 1 comes in bursts, below 1 is smoother.
    """

    rate_per_s: float
    cv: float


@dataclass(frozen=True, slots=True)
class Users:
    """A closed loop: each user thinks (picoseconds), asks, and waits for the whole answer."""

    users: int
    think_ps: Distribution


Arrivals = Poisson | ConstantRate | Gamma | Users


@dataclass(frozen=True, slots=True)
class Session:
    """Many turns over one growing context, each turn a request.

    The prompt of a turn is the shared context, the new tokens of the turns so far, and their
    answers. ``gap_ps`` lies between the starts of two turns (open loop) or between an answer and
    the next turn (closed loop). A session ends before prompt and answer exceed
    ``context_limit`` tokens.
    """

    turns: Distribution
    shared_tokens: Distribution
    gap_ps: Distribution
    context_limit: int | None = None


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """A workload that can be generated: ``requests`` of them unless told otherwise.

    With a ``session``, ``arrivals`` are those of sessions, and ``prompt_tokens`` what each turn
    adds.
    """

    name: str
    requests: int
    arrivals: Arrivals
    prompt_tokens: Distribution
    output_tokens: Distribution
    session: Session | None = None
    source: str = ""
