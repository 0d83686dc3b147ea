"""The price of a collective: all algorithms of its fabric, and the fastest or a named one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from simulator.errors import InputError, did_you_mean
from simulator.fabric.collective_timing import (
    Alternative,
    CollectiveTiming,
    no_collective,
    timing_of,
)
from simulator.fabric.grid import grid_schedules
from simulator.fabric.groups import parse_group, sized_group
from simulator.fabric.nested import nested_schedules
from simulator.fabric.parts import ALGORITHMS, OPS, PERSONAL, Op
from simulator.fabric.peer import PROTOCOL as PEER_MEMORY
from simulator.fabric.peer import library_ranges, peer_schedules, with_engine
from simulator.fabric.schedule import Schedule, evaluate
from simulator.fabric.switched import switched_schedules
from simulator.hardware.engine_kernels import ENGINES
from simulator.hardware.fabric import Fabric

MAX_BYTES = 2**44
"""Larger buffers (16 TiB) could leave 64-bit picoseconds on a slow link."""


def price_collective(
    fabric: Fabric,
    op: str,
    size_bytes: int,
    *,
    group: str | int | None = None,
    algorithm: str = "auto",
    concurrent: int = 1,
) -> CollectiveTiming:
    """Time and traffic of one collective; the same arguments are looked up the second time.

    Args:
        fabric: the chips and links.
        op: one of ``OPS``.
        size_bytes: the full buffer of one rank; of an all-gather, the gathered result.
        group: the ranks: a number of chips, axes such as ``xy``, or all chips where None.
        algorithm: one of ``ALGORITHMS``, ``auto`` for the fastest that the collective library
            has, ``engine`` for the fastest of those and of the serving engine's kernels, which
            is what a step takes, or one of ``hardware.engine_kernels.ENGINES`` for what that
            engine takes by its own rule.
        concurrent: equal collectives that use the same links at the same time.

    Raises:
        InputError: an unknown operation or algorithm, one that the fabric does not have, a group
            that does not fit, or a bad size.
    """
    return _priced(fabric, op, size_bytes, group, algorithm, concurrent)


@lru_cache(maxsize=65536)
def _priced(
    fabric: Fabric,
    op: str,
    size: int,
    group: str | int | None,
    algorithm: str,
    concurrent: int,
) -> CollectiveTiming:
    kind = check_op(op)
    if not 0 <= size <= MAX_BYTES:
        raise InputError(f"bytes: found {size}, expected 0 to {MAX_BYTES}")
    check_concurrent(concurrent)
    part = group_of(fabric, group)
    named = _check_algorithm(algorithm)
    if named in ENGINES and kind != "all-reduce":
        raise InputError(f"'{named}' has kernels for all-reduce only, found {kind}")
    if part.chips == 1:
        return no_collective(kind, size, concurrent)
    if named in ENGINES:
        part = with_engine(part, named)
    offered = _offered(part, kind, named, size)
    runs = [(evaluate(schedule, size, concurrent), schedule) for schedule in offered]
    best, chosen = min(runs, key=lambda run: run[0].total_ps)
    others = _others(part, kind, size, concurrent, chosen)
    found = timing_of(kind, size, part.chips, concurrent, best, chosen, others)
    return replace(found, offered_by=_offers(part, kind, size, chosen))


@lru_cache(maxsize=1024)
def all_schedules(fabric: Fabric, op: Op) -> tuple[Schedule, ...]:
    """Every algorithm with every protocol that the topology allows, library or not."""
    if fabric.kind == "none" or fabric.chips == 1:
        return ()
    if fabric.inner is not None:
        return tuple(nested_schedules(fabric, op, schedules))
    build = grid_schedules if fabric.is_grid else switched_schedules
    found = [schedule for protocol in fabric.protocols for schedule in build(fabric, op, protocol)]
    return (*found, *peer_schedules(fabric, op))


@lru_cache(maxsize=1024)
def schedules(fabric: Fabric, op: Op) -> tuple[Schedule, ...]:
    """Those of ``all_schedules`` that the fabric's library has; all where it has none of them."""
    everything = tuple(s for s in all_schedules(fabric, op) if s.protocol != PEER_MEMORY)
    if op in PERSONAL or fabric.inner is not None:
        return everything
    offers = {protocol.name: protocol.algorithms for protocol in fabric.protocols}
    kept = tuple(
        schedule
        for schedule in everything
        if not offers[schedule.protocol] or schedule.algorithm in offers[schedule.protocol]
    )
    return kept or everything


@lru_cache(maxsize=1024)
def engine_schedules(fabric: Fabric, op: Op) -> tuple[Schedule, ...]:
    """Those of ``schedules`` and the serving engine's kernels, up to the largest size of each.

    The fastest of them is what a step takes: more bytes are never faster. The engine's own rule,
    that of ``ruled_schedules``, can take a slower one just below a limit.
    """
    if fabric.kind == "none" or fabric.inner is not None:
        return schedules(fabric, op)
    own = (replace(schedule, smallest=0) for schedule in peer_schedules(fabric, op))
    return (*schedules(fabric, op), *own)


@lru_cache(maxsize=1024)
def ruled_schedules(fabric: Fabric, op: Op) -> tuple[Schedule, ...]:
    """The serving engine's kernels for the sizes that it has them for, ``schedules`` for others."""
    own, library = peer_schedules(fabric, op), schedules(fabric, op)
    left = library_ranges(fabric, op) if own else [(0, 0)]
    ranged = (replace(s, smallest=low, largest=high) for s in library for low, high in left)
    return (*ranged, *own)


def check_op(op: str) -> Op:
    """The operation of a name.

    Raises:
        InputError: there is none of that name.
    """
    for known in OPS:
        if op == known:
            return known
    raise InputError(f"unknown collective '{op[:40]}'", hint=did_you_mean(op, OPS))


def check_concurrent(concurrent: int) -> None:
    """Raises InputError for a number of equal collectives that is out of range."""
    if not 1 <= concurrent <= 2**20:
        raise InputError(f"concurrent: found {concurrent}, expected 1 to {2**20}")


def _check_algorithm(name: str) -> str:
    known = ("auto", "engine", *ENGINES, *ALGORITHMS)
    if name not in known:
        raise InputError(f"unknown algorithm '{name[:40]}'", hint=did_you_mean(name, known))
    return name


def group_of(fabric: Fabric, group: str | int | None) -> Fabric:
    """The chips that a collective runs among: all where ``group`` is None."""
    if group is None:
        return fabric
    return sized_group(fabric, group) if isinstance(group, int) else parse_group(fabric, group)


def _offered(fabric: Fabric, op: Op, algorithm: str, size: int) -> Sequence[Schedule]:
    if algorithm == "auto":
        return schedules(fabric, op)
    if algorithm == "engine":
        return [s for s in engine_schedules(fabric, op) if s.serves(size)]
    if algorithm in ENGINES:
        return [s for s in ruled_schedules(fabric, op) if s.serves(size)]
    return _named(fabric, op, algorithm)


def _named(fabric: Fabric, op: Op, algorithm: str) -> list[Schedule]:
    everything = all_schedules(fabric, op)
    found = [schedule for schedule in everything if schedule.algorithm == algorithm]
    if found:
        return found
    exchanges = op in ("all-reduce", "all-gather", "reduce-scatter")
    if algorithm == "halving-doubling" and exchanges and not (fabric.is_grid or fabric.inner):
        raise InputError(f"halving-doubling needs a power of two of ranks, found {fabric.chips}")
    possible = sorted({schedule.algorithm for schedule in everything})
    raise InputError(
        f"a {fabric.kind} of {fabric.chips} chips has no algorithm '{algorithm}' for {op}",
        hint=f"it has {', '.join(possible)}",
    )


def _others(
    fabric: Fabric, op: Op, size: int, concurrent: int, chosen: Schedule
) -> tuple[Alternative, ...]:
    """The fastest time of each other algorithm, in order of time.

    The protocols that the software has for an algorithm stand for it; the others only where it
    has none.
    """
    times: dict[tuple[str, str], int] = {}
    for schedule in all_schedules(fabric, op):
        if schedule.algorithm != chosen.algorithm:
            key = (schedule.algorithm, _offers(fabric, op, size, schedule))
            total = evaluate(schedule, size, concurrent).total_ps
            times[key] = min(total, times.get(key, total))
    offered = {name for name, source in times if source != "none"}
    kept = [
        (total, name, source)
        for (name, source), total in times.items()
        if source != "none" or name not in offered
    ]
    return tuple(Alternative(name, total / 1e12, source) for total, name, source in sorted(kept))


def _offers(fabric: Fabric, op: Op, size: int, schedule: Schedule) -> str:
    """Whose software has the schedule for this size: ``Alternative.offered_by``."""
    if replace(schedule, smallest=0, largest=0) in schedules(fabric, op):
        return "library"
    kernel = replace(schedule, smallest=0)
    served = kernel.serves(size) and kernel in engine_schedules(fabric, op)
    return "engine" if served else "none"
