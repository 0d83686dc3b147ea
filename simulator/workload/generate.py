"""Requests drawn from a workload's distributions, the same for the same seed everywhere."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError
from simulator.workload.distributions import Distribution
from simulator.workload.normal import FloatArray
from simulator.workload.request import ClosedLoop, Int64Array, Requests, Workload
from simulator.workload.spec import ConstantRate, Gamma, Session, Users, WorkloadSpec
from simulator.workload.trace_cells import PS_PER_S
from simulator.workload.trace_formats import MAX_SPAN_S, MAX_TOKENS

MAX_REQUESTS = 2**26

# Gaps are rounded to nanoseconds: the last bit of a logarithm differs between processors, and the
# same seed has to give the same trace on all of them.
_PS_PER_NS = 1000
_NS_PER_S = 10**9


class _Stream(enum.IntEnum):
    """Each quantity draws from a random stream of its own."""

    ARRIVAL = 0
    PROMPT = 1
    OUTPUT = 2
    THINK = 3
    TURNS = 4
    CONTEXT = 5
    GAP = 6


def generate(spec: WorkloadSpec, count: int | None = None, seed: int = 0) -> Workload:
    """Draw ``count`` requests (the spec's own number where None) from ``spec``.

    The first request of an open loop arrives at 0. The same spec, count and seed give the same
    requests on every machine.

    Raises ``InputError`` for a count or seed that is out of range, and for a workload that lasts
    longer than the clock holds (106 days).
    """
    count = spec.requests if count is None else count
    if not 1 <= count <= MAX_REQUESTS:
        raise InputError(f"{count} requests, expected 1 to {MAX_REQUESTS}")
    if not 0 <= seed < 2**63:
        raise InputError(f"the seed is {seed}, expected 0 to 2**63 - 1")
    if spec.session is not None:
        traffic = _sessions(spec, spec.session, count, seed)
    elif isinstance(spec.arrivals, Users):
        traffic = ClosedLoop(
            spec.arrivals.users,
            _times(spec.arrivals.think_ps, seed, _Stream.THINK, count),
            _lengths(spec.prompt_tokens, seed, _Stream.PROMPT, count),
            _lengths(spec.output_tokens, seed, _Stream.OUTPUT, count),
        )
    else:
        traffic = Requests(
            _arrivals(spec, seed, count),
            _lengths(spec.prompt_tokens, seed, _Stream.PROMPT, count),
            _lengths(spec.output_tokens, seed, _Stream.OUTPUT, count),
        )
    return Workload(spec.name, traffic, spec.source, (f"generated with seed {seed}",))


def _random(seed: int, stream: _Stream) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream])))


def _draw(distribution: Distribution, seed: int, stream: _Stream, count: int) -> FloatArray:
    return distribution.quantile(_random(seed, stream).random(count))


def _lengths(distribution: Distribution, seed: int, stream: _Stream, count: int) -> Int64Array:
    """Whole tokens (or turns), at least 1, rounded half up."""
    drawn = np.floor(_draw(distribution, seed, stream, count) + 0.5)
    return np.clip(drawn, 1, MAX_TOKENS).astype(np.int64)


def _times(distribution: Distribution, seed: int, stream: _Stream, count: int) -> Int64Array:
    """Durations in picoseconds, whole nanoseconds."""
    drawn = np.clip(_draw(distribution, seed, stream, count), 0, MAX_SPAN_S * float(PS_PER_S))
    times: Int64Array = np.rint(drawn / _PS_PER_NS).astype(np.int64) * _PS_PER_NS
    return times


def _arrivals(spec: WorkloadSpec, seed: int, count: int) -> Int64Array:
    """Arrival times [count] of requests or sessions, picoseconds, the first at 0."""
    process = spec.arrivals
    assert not isinstance(process, Users)
    if isinstance(process, ConstantRate):
        # From the absolute count, so that rounding never adds up.
        since = np.rint(np.arange(count) * (_NS_PER_S / process.rate_per_s))
    else:
        random = _random(seed, _Stream.ARRIVAL)
        if isinstance(process, Gamma):
            shape = 1 / process.cv**2
            gaps = random.standard_gamma(shape, count - 1) / shape
        else:
            gaps = -np.log1p(-random.random(count - 1))
        gaps = np.rint(gaps * (_NS_PER_S / process.rate_per_s))
        since = np.concatenate(([0.0], np.cumsum(gaps)))
    if since[-1] > MAX_SPAN_S * float(_NS_PER_S):
        raise InputError(
            f"{count} requests at {process.rate_per_s:g} req/s last longer than"
            f" {MAX_SPAN_S // 86_400} days, which is more than the clock holds"
        )
    arrival: Int64Array = since.astype(np.int64) * _PS_PER_NS
    return arrival


@dataclass(frozen=True, slots=True)
class _Turns:
    """All turns of some sessions, one session after another; each array is [turns]."""

    session: Int64Array
    prompt: Int64Array
    output: Int64Array
    gap_ps: Int64Array


def _sessions(spec: WorkloadSpec, session: Session, count: int, seed: int) -> Requests | ClosedLoop:
    """The first ``count`` turns of whole sessions, in the order in which they are sent."""
    turns = _enough_turns(spec, session, count, seed)
    first = np.concatenate(([True], np.diff(turns.session) > 0))
    if isinstance(spec.arrivals, Users):
        users = spec.arrivals.users
        think = np.where(
            first, _times(spec.arrivals.think_ps, seed, _Stream.THINK, count), turns.gap_ps
        )
        # Users take the sessions in turn, and the requests stand in rounds of one a user.
        user = turns.session % users
        by_user = np.argsort(user, kind="stable")
        sizes = np.bincount(user, minlength=users)
        position = np.empty(count, dtype=np.int64)
        position[by_user] = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rounds = np.lexsort((user, position))
        return ClosedLoop(users, think[rounds], turns.prompt[rounds], turns.output[rounds])
    starts = _arrivals(spec, seed, int(turns.session[-1]) + 1)
    elapsed = _running_sum(np.where(first, 0, turns.gap_ps), turns.session)
    arrival = starts[turns.session] + elapsed
    by_time = np.argsort(arrival, kind="stable")
    return Requests(
        arrival[by_time] - arrival[by_time[0]], turns.prompt[by_time], turns.output[by_time]
    )


def _enough_turns(spec: WorkloadSpec, session: Session, count: int, seed: int) -> _Turns:
    """Turns of as many sessions as it takes to have ``count``."""
    sessions = 16
    while sessions <= 16 * MAX_REQUESTS:
        turns = _draw_turns(spec, session, sessions, count, seed)
        if turns is not None:
            return turns
        if sessions > 8 * count + 64:
            break
        sessions *= 4
    raise InputError(
        f"workload '{spec.name}': the context limit of {session.context_limit} tokens ends almost"
        " every session before its first turn"
    )


def _draw_turns(
    spec: WorkloadSpec, session: Session, sessions: int, count: int, seed: int
) -> _Turns | None:
    """The first ``count`` turns of ``sessions`` sessions, or None where they have fewer."""
    lengths = np.minimum(_lengths(session.turns, seed, _Stream.TURNS, sessions), count)
    # The context limit drops some turns: look at far more than are needed, but not at all.
    owner = np.repeat(np.arange(sessions), lengths)[: 32 * count + 64]
    total = len(owner)
    new = _lengths(spec.prompt_tokens, seed, _Stream.PROMPT, total)
    output = _lengths(spec.output_tokens, seed, _Stream.OUTPUT, total)
    gap = _times(session.gap_ps, seed, _Stream.GAP, total)
    shared = _lengths(session.shared_tokens, seed, _Stream.CONTEXT, sessions)
    prompt = shared[owner] + _running_sum(new + output, owner) - output
    if session.context_limit is not None:
        fits = prompt + output <= session.context_limit
        owner, prompt, output, gap = owner[fits], prompt[fits], output[fits], gap[fits]
    if len(owner) < count:
        return None
    return _Turns(owner[:count], prompt[:count], output[:count], gap[:count])


def _running_sum(values: Int64Array, owner: Int64Array) -> Int64Array:
    """Sums of ``values`` up to and with each element, within runs of equal ``owner``."""
    total = np.cumsum(values)
    first = np.concatenate(([0], np.flatnonzero(np.diff(owner)) + 1))
    before = (total - values)[first]
    runs = np.diff(np.append(first, len(owner)))
    result: Int64Array = total - np.repeat(before, runs)
    return result
