"""Schema of a workload file, and the ``WorkloadSpec`` that it becomes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.config.distribution_schema import (
    PositiveNumber,
    TimeDistribution,
    TokenDistribution,
    build_time,
    build_tokens,
)
from simulator.config.fields import Count, Name, Rate, Section
from simulator.config.provenance import unwrap
from simulator.config.validation import validate
from simulator.config.yaml_nodes import Mapping, Node, Scalar
from simulator.workload import spec


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


class ClosedLoopArrivals(Section):
    """Users who wait for each answer and think before the next request."""

    process: Literal["closed_loop"]
    users: Annotated[Count, Field(le=2**20)]
    think: TimeDistribution

    def build(self) -> spec.Arrivals:
        """The arrival process."""
        return spec.Users(self.users, build_time(self.think))


Arrivals = Annotated[
    PoissonArrivals | ConstantArrivals | GammaArrivals | ClosedLoopArrivals,
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


class WorkloadConfig(Section):
    """A workload file: how requests arrive, and how long prompts and answers are."""

    kind: Literal["workload"]
    name: Name
    requests: Annotated[Count, Field(le=2**26)] = 1000
    arrivals: Arrivals
    prompt_tokens: TokenDistribution
    output_tokens: TokenDistribution
    session: SessionConfig | None = None

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
        )


def validate_workload(node: Node) -> spec.WorkloadSpec:
    """The workload of a tree of nodes; ``InputError`` with its place for the first fault."""
    return validate(unwrap(node).node, WorkloadConfig).build(source_of(node))


def source_of(node: Node) -> str:
    """The text of the file's own ``source`` key, or nothing."""
    source = node.entries.get("source") if isinstance(node, Mapping) else None
    return source.text if isinstance(source, Scalar) else ""
