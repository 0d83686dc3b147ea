"""How much a system can take: bisection on the rate of arrival, and on the number of replicas.

A trial replays the same requests in the same order, only closer together or further apart, so
that trials differ in nothing but the rate. It passes where at least the wanted share of the
requests meets the SLO and the queue does not grow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from simulator.errors import InfeasibleError, InputError
from simulator.serving.results import RunResult
from simulator.units import format_time
from simulator.workload.request import Requests, Workload
from simulator.workload.traces import scale_rate

Serve = Callable[[Workload, int], RunResult]
"""Replays a workload on so many replicas of the system."""

TOLERANCE = 0.01
"""How close, relatively, the highest rate that passes and the lowest that fails come."""

MOST_DOUBLINGS = 24
SHORT = 10.0
"""Requests have to arrive for this many times as long as one takes, for a queue to build up."""
ALONE = 0.02
"""Mean requests in the system at which a request is as good as alone in it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One replay of the search; ``passed`` says whether it met the goal."""

    rate_per_s: float
    replicas: int
    passed: bool
    result: RunResult

    @property
    def attainment(self) -> float:
        """Share of the requests that met the SLO."""
        goodput = self.result.goodput
        return (goodput.attainment or 0.0) if goodput is not None else 0.0

    @property
    def goodput_per_s(self) -> float:
        """Requests a second that met the SLO."""
        return 0.0 if self.result.goodput is None else self.result.goodput.goodput_requests_per_s

    @property
    def lengths(self) -> float | None:
        """How many times as long as a request (end to end, mean) requests kept arriving."""
        done = self.result.table.arrival_ps[self.result.table.status == 0]
        mean = self.result.e2e_s.mean
        return int(done.max() - done.min()) / 1e12 / mean if mean and len(done) else None


@dataclass(frozen=True, slots=True)
class Capacity:
    """The best trial and all of them, in the order in which they were made.

    ``best`` has the highest rate that passes, or the fewest replicas.

    ``bounded`` is False where the search for a rate stopped because no rate was too high: the
    requests are too few to fill the system, even when all of them come at once.
    """

    best: Trial
    trials: tuple[Trial, ...]
    bounded: bool = True

    @property
    def most_goodput(self) -> Trial:
        """Of the trials that passed, with as many replicas as the best, that of most goodput.

        A run at the very edge spends so long on its last requests that a slower one, of which
        more meet the SLO, may have served more of them a second.
        """
        passed = [t for t in self.trials if t.passed and t.replicas == self.best.replicas]
        return max(passed, key=lambda trial: (trial.goodput_per_s, trial.rate_per_s))


class Search:
    """Trials of one workload with an SLO on one system.

    Raises InputError for a workload without arrivals at a rate, or without an SLO.
    """

    def __init__(self, serve: Serve, workload: Workload, attainment: float) -> None:
        if not 0 < attainment <= 1:
            raise InputError(
                f"the attainment is {attainment:g}, expected above 0 and at most 1 (100 %)"
            )
        traffic = workload.traffic
        if not isinstance(traffic, Requests):
            raise InputError(
                f"workload '{workload.name}' is a closed loop: its users wait for their answers, "
                "so it has no rate of arrival",
                hint="chipsim serve-curve measures it at each number of users",
            )
        if not workload.slo and not any(kind.slo for kind in traffic.classes):
            raise InputError(
                "there is nothing to hold the system to: the workload has no SLO",
                hint="give one, such as --slo ttft=500ms,tpot=50ms",
            )
        span = int(traffic.arrival_ps[-1]) - int(traffic.arrival_ps[0])
        if span <= 0:
            raise InputError(
                f"workload '{workload.name}' has no rate: all of its requests come at once"
            )
        self.own_rate = (len(traffic) - 1) / (span / 1e12)
        self.attainment = attainment
        self.trials: list[Trial] = []
        self._serve = serve
        self._workload = workload
        self._traffic = traffic

    def highest_rate(self, replicas: int = 1) -> Capacity:
        """The highest rate that passes, to ``TOLERANCE``.

        Raises InfeasibleError where requests miss the SLO even alone in the system.
        """
        low, high = self._bracket(replicas)
        while high is not None and high.rate_per_s > low.rate_per_s * (1 + TOLERANCE):
            trial = self.at(math.sqrt(low.rate_per_s * high.rate_per_s), replicas)
            low, high = (trial, high) if trial.passed else (low, trial)
        return Capacity(low, tuple(self.trials), high is not None)

    def fewest_replicas(self, rate_per_s: float, most: int) -> Capacity:
        """The smallest number of replicas, up to ``most``, that passes at a rate.

        Raises InfeasibleError where ``most`` are too few, or none would do.
        """
        failed = 0
        count = 1
        trial = self.at(rate_per_s, count)
        while not trial.passed:
            failed = count
            if count == 1:
                self._check_alone(trial, 1)
            if count == most:
                raise InfeasibleError(
                    f"{most} replicas are too few for {rate_per_s:g} requests/s: "
                    f"{_percent(trial.attainment)} of the requests meet "
                    f"{_limits(self._workload)}, wanted {_percent(self.attainment)}",
                    hint="raise --max-replicas, or relax the SLO",
                )
            count = min(2 * count, most)
            trial = self.at(rate_per_s, count)
        best = trial
        while best.replicas - failed > 1:
            trial = self.at(rate_per_s, (failed + best.replicas) // 2)
            if trial.passed:
                best = trial
            else:
                failed = trial.replicas
        return Capacity(best, tuple(self.trials))

    def at(self, rate_per_s: float, replicas: int) -> Trial:
        """Replay the workload at a rate.

        Raises InputError for a rate so low that the replay leaves the clock.
        """
        traffic = scale_rate(self._traffic, rate_per_s / self.own_rate)
        result = self._serve(dataclasses.replace(self._workload, traffic=traffic), replicas)
        trial = Trial(rate_per_s, replicas, False, result)
        met = trial.attainment >= self.attainment and result.queue_growth is None
        trial = dataclasses.replace(trial, passed=met)
        self.trials.append(trial)
        return trial

    def _bracket(self, replicas: int) -> tuple[Trial, Trial | None]:
        """A trial that passed and one that failed, next to each other on the search's way."""
        trial = self.at(self.own_rate, replicas)
        if trial.passed:
            for _ in range(MOST_DOUBLINGS):
                faster = self.at(2 * trial.rate_per_s, replicas)
                if not faster.passed:
                    return trial, faster
                trial = faster
            return trial, None
        self._check_alone(trial, replicas)
        slower = self.at(trial.rate_per_s / 2, replicas)
        while not slower.passed:
            trial = slower
            slower = self.at(trial.rate_per_s / 2, replicas)
        return slower, trial

    def _check_alone(self, failed: Trial, replicas: int) -> None:
        """Refuse an SLO that requests miss even where each is alone in the system."""
        load = failed.result.mean_requests_in_system
        if load <= 0:
            raise self._hopeless(failed)
        rate = failed.rate_per_s * min(1.0, ALONE / load)
        trial = self.at(rate, replicas)
        if not trial.passed:
            raise self._hopeless(trial)

    def _hopeless(self, trial: Trial) -> InfeasibleError:
        goodput = trial.result.goodput
        assert goodput is not None
        share = f"only {_percent(trial.attainment)} of the requests meet"
        some = share if trial.attainment else "no request meets"
        facts = []
        for entry in goodput.classes.values():
            for limit, count in entry.missed.items():
                best = entry.best_s.get(limit)
                if count:
                    fastest = "" if best is None else f", the fastest takes {format_time(best)}"
                    facts.append(f"{limit}: {count} of {entry.requests} miss it{fastest}")
        return InfeasibleError(
            f"{some} {_limits(self._workload)}, wanted {_percent(self.attainment)}, even at "
            f"{trial.rate_per_s:.3g} requests/s, where each is alone in the system "
            f"({'; '.join(facts)})",
            hint="no rate is low enough: relax the SLO or take a faster system",
        )


def _limits(workload: Workload) -> str:
    """The promises of a workload, in words."""
    parts = [f"{kind.name}: {kind.slo.describe()}" for kind in workload.traffic.classes if kind.slo]
    if workload.slo:
        parts.insert(0, workload.slo.describe())
    return "; ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
