"""Schema of a workload file, and the ``WorkloadSpec`` that it becomes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from simulator.config.distribution_schema import (
    PositiveNumber,
    TimeDistribution,
    TokenDistribution,
    build_time,
    build_tokens,
)
from simulator.config.fields import (
    Count,
    CountOrZero,
    Duration,
    Fraction,
    Name,
    Rate,
    Section,
    user_error,
)
from simulator.config.provenance import unwrap
from simulator.config.validation import validate
from simulator.config.yaml_nodes import Mapping, Node, Scalar
from simulator.workload import spec
from simulator.workload.slo import Slo, SloClass


class PoissonArrivals(Section):
    """Independent arrivals at a mean rate."""

    process: Literal["poisson"]
    rate: Rate

    def build(self) -> spec.Arrivals:
        """The arrival process."""
        return spec.Poisson(self.rate)


class ConstantArrivals(Section):
    """Arrivals at equal distances."""

    process: Literal["constant"]
    rate: Rate

    def build(self) -> spec.Arrivals:
        """The arrival process."""
        return spec.ConstantRate(self.rate)


class GammaArrivals(Section):
    """Bursty (``cv`` above 1) or smooth (below 1) arrivals at a mean rate."""

    process: Literal["gamma"]
    rate: Rate
    cv: Annotated[PositiveNumber, Field(ge=0.01, le=100)]

    def build(self) -> spec.Arrivals:
        """The arrival process."""
        return spec.Gamma(self.rate, self.cv)


class OnOffArrivals(Section):
    """Poisson arrivals while a source is on, none while it is off; ``rate`` is the mean of both."""

    process: Literal["on_off"]
    rate: Rate
    on: Duration
    off: Duration

    def build(self) -> spec.Arrivals:
        """The arrival process."""
        return spec.OnOff(self.rate, self.on / 1e12, self.off / 1e12)


class ClosedLoopArrivals(Section):
    """Users who wait for each answer and think before the next request."""

    process: Literal["closed_loop"]
    users: Annotated[Count, Field(le=2**20)]
    think: TimeDistribution

    def build(self) -> spec.Arrivals:
        """The arrival process."""
        return spec.Users(self.users, build_time(self.think))


Arrivals = Annotated[
    PoissonArrivals | ConstantArrivals | GammaArrivals | OnOffArrivals | ClosedLoopArrivals,
    Field(discriminator="process"),
]


class SessionConfig(Section):
    """Many turns over one growing context."""

    turns: TokenDistribution
    shared_tokens: TokenDistribution
    gap: TimeDistribution
    context_limit: Count | None = None

    def build(self) -> spec.Session:
        """The specification of sessions."""
        return spec.Session(
            build_tokens(self.turns),
            build_tokens(self.shared_tokens),
            build_time(self.gap),
            self.context_limit,
        )


class SloConfig(Section):
    """Limits on latency; at least one of them."""

    ttft: Duration | None = None
    tpot: Duration | None = None
    e2e: Duration | None = None

    def build(self) -> Slo:
        """The limits."""
        return Slo(self.ttft, self.tpot, self.e2e)


def _some_limit(limits: SloConfig) -> SloConfig:
    if limits.ttft is None and limits.tpot is None and limits.e2e is None:
        raise user_error("there is no limit in 'slo'", "keys: ttft, tpot, e2e")
    return limits


Limits = Annotated[SloConfig, AfterValidator(_some_limit)]


class ClassConfig(Section):
    """A class of requests: its share of all, how urgent it is, and what it was promised."""

    share: Fraction
    priority: CountOrZero = 0
    slo: Limits | None = None

    def build(self, name: str) -> spec.ClassShare:
        """The class."""
        limits = None if self.slo is None else self.slo.build()
        return spec.ClassShare(SloClass(name, self.priority, limits), self.share)


def _whole(classes: dict[str, ClassConfig]) -> dict[str, ClassConfig]:
    total = sum(entry.share for entry in classes.values())
    if classes and abs(total - 1) > 1e-9:
        raise user_error(f"the shares of the classes add up to {total:g}", "expected 1")
    return classes


class WorkloadConfig(Section):
    """A workload file: how requests arrive, and how long prompts and answers are."""

    kind: Literal["workload"]
    name: Name
    requests: Annotated[Count, Field(le=2**26)] = 1000
    arrivals: Arrivals
    prompt_tokens: TokenDistribution
    output_tokens: TokenDistribution
    session: SessionConfig | None = None
    classes: Annotated[dict[Name, ClassConfig], AfterValidator(_whole)] = Field(
        default_factory=dict
    )
    slo: Limits | None = None

    def build(self, source: str = "") -> spec.WorkloadSpec:
        """The workload's specification."""
        return spec.WorkloadSpec(
            name=self.name,
            requests=self.requests,
            arrivals=self.arrivals.build(),
            prompt_tokens=build_tokens(self.prompt_tokens),
            output_tokens=build_tokens(self.output_tokens),
            session=None if self.session is None else self.session.build(),
            source=source,
            classes=tuple(entry.build(name) for name, entry in self.classes.items()),
            slo=None if self.slo is None else self.slo.build(),
        )


def validate_workload(node: Node) -> spec.WorkloadSpec:
    """The workload of a tree of nodes; ``InputError`` with its place for the first fault."""
    return validate(unwrap(node).node, WorkloadConfig).build(source_of(node))


def source_of(node: Node) -> str:
    """The text of the file's own ``source`` key, or nothing."""
    source = node.entries.get("source") if isinstance(node, Mapping) else None
    return source.text if isinstance(source, Scalar) else ""
