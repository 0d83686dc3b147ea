"""What a workload file says: how requests arrive and how long they are."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.workload.distributions import Distribution
from simulator.workload.slo import Slo, SloClass


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
class OnOff:
    """Bursts: Poisson arrivals while a source is on, none while it is off.

    On and off times are exponential with means ``on_s`` and ``off_s``; ``rate_per_s`` is the mean
    over both (the interrupted Poisson process of Kuczura, Bell System Technical Journal 52, 1973).
    """

    rate_per_s: float
    on_s: float
    off_s: float


@dataclass(frozen=True, slots=True)
class Users:
    """A closed loop: each user thinks (picoseconds), asks, and waits for the whole answer."""

    users: int
    think_ps: Distribution


Arrivals = Poisson | ConstantRate | Gamma | OnOff | Users


@dataclass(frozen=True, slots=True)
class Session:
    """Many turns over one growing context, each turn a request.

    The prompt of a turn is the shared context, the new tokens of the turns so far, and their
    answers. A turn is sent ``gap_ps`` after the answer to the one before. A session ends before
    prompt and answer exceed ``context_limit`` tokens.
    """

    turns: Distribution
    shared_tokens: Distribution
    gap_ps: Distribution
    context_limit: int | None = None


@dataclass(frozen=True, slots=True)
class ClassShare:
    """A class of requests (or of sessions), and its share of all of them."""

    kind: SloClass
    share: float


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """A workload that can be generated: ``requests`` of them unless told otherwise.

    With a ``session``, ``arrivals`` are those of sessions, and ``prompt_tokens`` what each turn
    adds. The shares of ``classes`` add up to 1; ``slo`` holds for those without one of their own.
    """

    name: str
    requests: int
    arrivals: Arrivals
    prompt_tokens: Distribution
    output_tokens: Distribution
    session: Session | None = None
    source: str = ""
    classes: tuple[ClassShare, ...] = ()
    slo: Slo | None = None
