"""Which requests were served as promised: attainment and goodput, in all and by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.serving.results import RequestTable
from simulator.workload.request import Workload
from simulator.workload.slo import Slo

Int64Array = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

UNNAMED = "all"
"""The class of requests that have none."""


@dataclass(frozen=True, slots=True)
class ClassGoodput:
    """``requests`` that arrived after the warm-up, refused and lost ones included; ``met`` of them
    kept every limit, ``missed`` counts by limit those that did not (``served``: never completed).

    ``best_s`` is the smallest latency of the class for each limit, None where none completed.
    """

    limits_s: dict[str, float]
    priority: int
    requests: int
    met: int
    missed: dict[str, int]
    best_s: dict[str, float | None]
    goodput_requests_per_s: float

    @property
    def attainment(self) -> float | None:
        """Share of the requests that met the SLO."""
        return self.met / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class Goodput:
    """Attainment and goodput of a run; requests of classes without any limit count as met."""

    attainment: float | None
    goodput_requests_per_s: float
    classes: dict[str, ClassGoodput]

    def hopeless(self) -> list[str]:
        """What no request of a class kept, in words."""
        lines = []
        for name, entry in self.classes.items():
            if entry.requests == 0 or entry.met > 0:
                continue
            whose = "" if name == UNNAMED else f" of class {name}"
            for limit, best in entry.best_s.items():
                allowed = entry.limits_s[limit]
                if best is not None and best > allowed:
                    lines.append(
                        f"no request{whose} meets {limit} <= {_time(allowed)}: "
                        f"the fastest takes {_time(best)}"
                    )
        return lines


def judge(
    table: RequestTable, workload: Workload, *, since_ps: int, span_s: float
) -> Goodput | None:
    """Hold a run against the limits of its workload; None where there are none.

    Counted are requests that arrived from ``since_ps`` on (times of ``table``); goodput is over
    ``span_s`` seconds.
    """
    traffic = workload.traffic
    slos = [kind.slo or workload.slo for kind in traffic.classes] or [workload.slo]
    if not any(slos):
        return None
    counted = table.arrival_ps >= since_ps
    done = table.status == 0
    chosen = traffic.slo_class
    classes = {}
    names = [kind.name for kind in traffic.classes] or [UNNAMED]
    for index, (name, slo) in enumerate(zip(names, slos, strict=True)):
        mine = counted if chosen is None else counted & (chosen == index)
        urgency = traffic.classes[index].priority if traffic.classes else 0
        classes[name] = _of_class(table, mine, done, slo or Slo(), urgency, span_s)
    total = sum(entry.requests for entry in classes.values())
    met = sum(entry.met for entry in classes.values())
    return Goodput(
        attainment=met / total if total else None,
        goodput_requests_per_s=met / span_s if span_s else 0.0,
        classes=classes,
    )


def _of_class(
    table: RequestTable, mine: Bools, done: Bools, slo: Slo, priority: int, span_s: float
) -> ClassGoodput:
    rows = np.flatnonzero(mine & done)
    requests = int(mine.sum())
    first = table.first_token_ps[rows]
    end = table.completed_ps[rows]
    arrival = table.arrival_ps[rows]
    steps = table.output_tokens[rows] - 1
    kept = np.ones(len(rows), dtype=np.bool_)
    missed = {"served": requests - len(rows)}
    best: dict[str, float | None] = {}
    for name, limit in slo.limits().items():
        taken = {"ttft": first - arrival, "tpot": end - first, "e2e": end - arrival}[name]
        # whole numbers: a mean of (end - first) / steps above the limit is end - first above
        # limit * steps, and an answer of one token has no such mean
        per = np.maximum(steps, 1) if name == "tpot" else np.ones_like(steps)
        passed = taken <= limit * per
        missed[name] = int((~passed).sum())
        some = taken[steps > 0] / per[steps > 0] if name == "tpot" else taken
        best[name] = float(some.min()) / 1e12 if len(some) else None
        kept &= passed
    met = int(kept.sum())
    return ClassGoodput(
        limits_s={name: ps / 1e12 for name, ps in slo.limits().items()},
        priority=priority,
        requests=requests,
        met=met,
        missed=missed,
        best_s=best,
        goodput_requests_per_s=met / span_s if span_s else 0.0,
    )


def _time(seconds: float) -> str:
    from simulator.units import format_time

    return format_time(seconds)
