"""Requests drawn from a workload's distributions, the same for the same seed everywhere."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.errors import InputError
from simulator.workload.distributions import Distribution
from simulator.workload.normal import FloatArray
from simulator.workload.request import (
    MAX_SPAN_S,
    MAX_TOKENS,
    NO_PARENT,
    PS_PER_S,
    ClosedLoop,
    Int64Array,
    PrefixBlocks,
    Requests,
    Workload,
)
from simulator.workload.spec import ConstantRate, Gamma, OnOff, Session, Users, WorkloadSpec

MAX_REQUESTS = 2**26
MAX_BURSTS = 2**24
MAX_BLOCK_IDS = 2**28
"""Ids of prefix blocks that a generated workload may have (2 GiB)."""

BLOCK_TOKENS = 16
"""Tokens of a prefix block of generated sessions."""

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
    CLASS = 7
    PHASE = 8


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
    return Workload(
        spec.name,
        _classified(spec, traffic, seed),
        spec.source,
        (f"generated with seed {seed}",),
        slo=spec.slo,
    )


def _classified(
    spec: WorkloadSpec, traffic: Requests | ClosedLoop, seed: int
) -> Requests | ClosedLoop:
    """The traffic with a class drawn for each request, or for each session as a whole."""
    if not spec.classes:
        return traffic
    session = traffic.session
    count = len(traffic) if session is None else int(session.max()) + 1
    edges = np.cumsum([entry.share for entry in spec.classes])[:-1]
    drawn = np.searchsorted(edges, _random(seed, _Stream.CLASS).random(count), side="right")
    chosen = (drawn if session is None else drawn[session]).astype(np.int64)
    kinds = tuple(entry.kind for entry in spec.classes)
    priorities = np.array([kind.priority for kind in kinds], dtype=np.int64)
    return replace(traffic, slo_class=chosen, classes=kinds, priority=priorities[chosen])


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
        rate = process.rate_per_s
        if isinstance(process, OnOff):
            rate *= (process.on_s + process.off_s) / process.on_s
        gaps = np.rint(gaps * (_NS_PER_S / rate))
        since = np.concatenate(([0.0], np.cumsum(gaps)))
        if isinstance(process, OnOff):
            since += _pauses(process, since, seed)
    if since[-1] > MAX_SPAN_S * float(_NS_PER_S):
        raise InputError(
            f"{count} requests at {process.rate_per_s:g} req/s last longer than"
            f" {MAX_SPAN_S // 86_400} days, which is more than the clock holds"
        )
    arrival: Int64Array = since.astype(np.int64) * _PS_PER_NS
    return arrival


def _pauses(process: OnOff, since: FloatArray, seed: int) -> FloatArray:
    """How long the source had been off, in whole nanoseconds, by each arrival.

    ``since`` is the time (ns) that the source has been on at each arrival. The source is on at
    the first one, and an exponential time has no memory: so the first on time begins there.
    """
    if since[-1] > process.on_s * _NS_PER_S * MAX_BURSTS:
        raise InputError(
            f"the source is switched on and off more than {MAX_BURSTS} times: its on time is far"
            " below the time between two requests",
            hint="raise 'on' and 'off', or take poisson arrivals",
        )
    random = _random(seed, _Stream.PHASE)
    ends, pauses = np.zeros(0), np.zeros(0)
    while len(ends) == 0 or ends[-1] <= since[-1]:
        drawn = -np.log1p(-random.random((max(64, len(ends)), 2)))
        on, off = np.rint(drawn * (np.array([process.on_s, process.off_s]) * _NS_PER_S)).T
        start = ends[-1] if len(ends) else 0.0
        ends = np.concatenate((ends, start + np.cumsum(on)))
        pauses = np.concatenate((pauses, off))
    before = np.concatenate(([0.0], np.cumsum(pauses)))
    elapsed: FloatArray = before[np.searchsorted(ends, since, side="left")]
    return elapsed


@dataclass(frozen=True, slots=True)
class _Turns:
    """All turns of some sessions, one session after another; each array is [turns]."""

    session: Int64Array
    prompt: Int64Array
    output: Int64Array
    gap_ps: Int64Array

    @property
    def first(self) -> npt.NDArray[np.bool_]:
        """Whether a turn is the first of its session."""
        return np.concatenate(([True], np.diff(self.session) > 0))

    def number(self) -> Int64Array:
        """The place of each turn in its session, from 0."""
        return _running_sum(np.ones(len(self.session), dtype=np.int64), self.session) - 1

    def prefix(self) -> PrefixBlocks:
        """Ids of the whole blocks of each prompt: a session's text only ever grows."""
        counts = self.prompt // BLOCK_TOKENS
        longest = np.zeros(int(self.session[-1]) + 1, dtype=np.int64)
        np.maximum.at(longest, self.session, counts)
        ends = np.cumsum(longest)
        if ends[-1] > MAX_BLOCK_IDS:
            raise InputError(
                f"{len(ends)} sessions have {ends[-1]} blocks of {BLOCK_TOKENS} tokens, expected"
                f" at most {MAX_BLOCK_IDS}",
                hint="generate fewer requests",
            )
        ids = np.arange(ends[-1], dtype=np.int64)
        return PrefixBlocks((ends - longest)[self.session], counts, ids, BLOCK_TOKENS)


def _sessions(spec: WorkloadSpec, session: Session, count: int, seed: int) -> Requests | ClosedLoop:
    """The first ``count`` turns of whole sessions, in the order in which they are sent.

    In an open loop ``arrival_ps`` of a later turn is the earliest time that there can be: the sum
    of the gaps, as if every answer came at once.
    """
    turns = _enough_turns(spec, session, count, seed)
    first = turns.first
    before = np.arange(count) - 1
    prefix = turns.prefix()
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
        parent = np.empty(count, dtype=np.int64)
        parent[by_user] = np.where(position[by_user] > 0, np.roll(by_user, 1), NO_PARENT)
        loop = ClosedLoop(
            users,
            think,
            turns.prompt,
            turns.output,
            session=turns.session,
            turn=turns.number(),
            parent=parent,
            prefix=prefix,
        )
        return loop.take(np.lexsort((user, position)))
    starts = _arrivals(spec, seed, int(turns.session[-1]) + 1)
    elapsed = _running_sum(np.where(first, 0, turns.gap_ps), turns.session)
    arrival = starts[turns.session] + elapsed
    by_time = np.argsort(arrival, kind="stable")
    requests = Requests(
        arrival - arrival[by_time[0]],
        turns.prompt,
        turns.output,
        session=turns.session,
        turn=turns.number(),
        parent=np.where(first, NO_PARENT, before),
        think_ps=np.where(first, 0, turns.gap_ps),
        prefix=prefix,
    )
    return requests.take(by_time)


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
