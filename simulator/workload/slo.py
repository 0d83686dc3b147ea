"""What users were promised: limits on latency, and the classes of users they hold for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slo:
    """Limits in picoseconds, None where there is none: to the first token, per token after it
    (mean of the request), and to the last token."""

    ttft_ps: int | None = None
    tpot_ps: int | None = None
    e2e_ps: int | None = None

    def limits(self) -> dict[str, int]:
        """The limits that there are, by name, in picoseconds."""
        named = (("ttft", self.ttft_ps), ("tpot", self.tpot_ps), ("e2e", self.e2e_ps))
        return {name: limit for name, limit in named if limit is not None}

    def describe(self) -> str:
        """The limits in words: ``ttft <= 500 ms, tpot <= 50 ms``."""
        from simulator.units import format_time

        return ", ".join(f"{k} <= {format_time(ps / 1e12)}" for k, ps in self.limits().items())


@dataclass(frozen=True, slots=True)
class SloClass:
    """A kind of request: the smaller ``priority``, the sooner it is served (as in vLLM).

    ``slo`` is the class's own; None where it has that of the whole workload.
    """

    name: str
    priority: int = 0
    slo: Slo | None = None
