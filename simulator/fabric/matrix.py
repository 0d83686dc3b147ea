"""An all-to-all with a traffic matrix: each chip sends each other chip its own number of bytes.

All messages leave at once, as in the uniform ``direct`` all-to-all, and the busiest link sets the
time: through a switch the port of the chip that sends or receives most, between fully connected
chips the largest message, in a grid the busiest link under the better of minimal-adaptive and
dimension-ordered routing. In a hierarchy the messages to chip j of any group first go to chip j of
the own group and from there to the others (``hierarchical``), or straight out of the sender's port
(``direct``). Equal messages give the time of the uniform all-to-all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, did_you_mean
from simulator.fabric.collective_timing import (
    Alternative,
    CollectiveTiming,
    no_collective,
    timing_of,
)
from simulator.fabric.collectives import MAX_BYTES, check_concurrent, group_of
from simulator.fabric.links import LinkLoads, link_graph, matrix_loads
from simulator.fabric.nested import join_levels
from simulator.fabric.parts import Step, assemble, rate_of
from simulator.fabric.schedule import Schedule, evaluate
from simulator.hardware.fabric import Fabric, Protocol

MAX_CHIPS = 4096
"""A matrix of more chips would take more than 128 MiB."""

_ORDERED_CHIPS = 1024

Bytes = NDArray[np.int64]


def price_matrix(
    fabric: Fabric,
    matrix: Bytes,
    *,
    group: str | int | None = None,
    algorithm: str = "auto",
    concurrent: int = 1,
) -> CollectiveTiming:
    """Time and traffic of an all-to-all in which chip i sends ``matrix[i, j]`` bytes to chip j.

    The diagonal is what a chip keeps, and copies where its fabric copies. ``size_bytes`` of the
    answer, to which its bandwidths refer, is the largest sum of a row.

    Args:
        fabric: the chips and links.
        matrix: int64 [chips, chips] in bytes.
        group: the ranks, as in ``price_collective``.
        algorithm: ``direct``, ``hierarchical``, or ``auto`` for the faster.
        concurrent: equal exchanges that use the same links at the same time.

    Raises:
        InputError: a matrix of another size, with negative or too large entries, more chips than
            ``MAX_CHIPS``, or an algorithm that the fabric does not have.
    """
    check_concurrent(concurrent)
    part = group_of(fabric, group)
    _check(part, matrix)
    size = int(matrix.sum(axis=1).max())
    if part.chips == 1:
        return no_collective("all-to-all", size, concurrent)
    schedules = _nested(part, matrix, size) if part.inner else _level(part, [matrix], size)
    runs = sorted(
        ((evaluate(schedule, size, concurrent), schedule) for schedule in schedules),
        key=lambda run: run[0].total_ps,
    )
    offered = {schedule.algorithm for _, schedule in runs}
    if algorithm not in ("auto", *offered):
        names = ("auto", *sorted(offered))
        raise InputError(
            f"an exchange by a traffic matrix has no algorithm '{algorithm[:40]}' here",
            hint=did_you_mean(algorithm, names) or f"it has {', '.join(sorted(offered))}",
        )
    best, chosen = next(run for run in runs if algorithm in ("auto", run[1].algorithm))
    others: dict[str, int] = {}
    for parts, schedule in runs:
        if schedule.algorithm != chosen.algorithm:
            others.setdefault(schedule.algorithm, parts.total_ps)
    rest = tuple(Alternative(name, total / 1e12) for name, total in others.items())
    return timing_of("all-to-all", size, part.chips, concurrent, best, chosen, rest)


def _check(fabric: Fabric, matrix: Bytes) -> None:
    if fabric.chips > MAX_CHIPS:
        raise InputError(f"a traffic matrix has at most {MAX_CHIPS} chips, found {fabric.chips}")
    if matrix.shape != (fabric.chips, fabric.chips):
        shape = "x".join(map(str, matrix.shape))
        raise InputError(
            f"a traffic matrix of {shape}, expected {fabric.chips}x{fabric.chips}, a row and a "
            "column for each chip"
        )
    if (matrix < 0).any() or (matrix > MAX_BYTES).any():
        raise InputError(f"a traffic matrix holds bytes from 0 to {MAX_BYTES}")
    if int(matrix.sum(axis=1).max()) > MAX_BYTES:
        raise InputError(f"a chip of a traffic matrix sends more than {MAX_BYTES} bytes")


def _share(amount: int | Fraction, size: int) -> Fraction:
    return Fraction(amount, size) if size else Fraction(0)


def _level(fabric: Fabric, matrices: Sequence[Bytes], size: int, copies: int = 1) -> list[Schedule]:
    """The schedules of one level for the worst of several exchanges that run side by side.

    Shares are those of ``size``; the bytes on the wire are those of one of ``copies``.
    """
    sent = [_others(matrix) for matrix in matrices]
    kept = max(int(matrix.diagonal().max()) for matrix in matrices)
    copied = _share(kept, size)
    if fabric.is_grid:
        loads = [_grid_loads(fabric, matrix) for matrix in sent]
        worst = max(loads, key=lambda found: found.busiest)
        busiest = Fraction(worst.busiest).limit_denominator(10**6)
        wire = _share(sum(round(found.hops) for found in loads), size * copies)
        hops = max(found.diameter for found in loads)
        step = Step(1, hops, _share(busiest, size))
        return [
            assemble(fabric, protocol, "direct", [step], wire, copied=copied)
            for protocol in fabric.protocols
        ]
    wire = _share(sum(int(matrix.sum()) for matrix in sent), size * copies)
    found = []
    for protocol in fabric.protocols:
        step, rate = _message_step(fabric, protocol, sent, size)
        found.append(assemble(fabric, protocol, "direct", [step], wire, copied=copied, rate=rate))
    return found


def _others(matrix: Bytes) -> Bytes:
    """The matrix without what chips keep."""
    sent = matrix.copy()
    np.fill_diagonal(sent, 0)
    return sent


def _grid_loads(fabric: Fabric, sent: Bytes) -> LinkLoads:
    """Loads in bytes under the better routing (see ``inspect.best_loads``)."""
    graph, traffic = link_graph(fabric), sent.astype(np.float64)
    found = matrix_loads(graph, traffic)
    if fabric.kind == "twisted-torus" or fabric.chips > _ORDERED_CHIPS:
        return found
    ordered = matrix_loads(graph, traffic, "dimension-ordered")
    if ordered.busiest < found.busiest:
        return replace(ordered, diameter=found.diameter)
    return found


def _message_step(
    fabric: Fabric, protocol: Protocol, sent: Sequence[Bytes], size: int
) -> tuple[Step, int]:
    """All messages at once between chips one pass apart: the step and the rate of its link."""
    port = rate_of(fabric, protocol)
    if fabric.kind == "fully-connected":
        largest = max(int(matrix.max()) for matrix in sent)
        return Step(1, 1, _share(largest, size)), port
    worst, rate = 0, port
    for matrix in sent:
        load = int(max(matrix.sum(axis=0).max(), matrix.sum(axis=1).max()))
        reached = port
        if protocol.peer_bytes_per_s and load:
            # the channels to the peers work side by side, the one with the most takes longest
            channels = load * protocol.peer_bytes_per_s // int(matrix.max())
            reached = max(1, min(port, channels))
        if load * rate >= worst * reached:
            worst, rate = load, reached
    return Step(1, 1, _share(worst, size), resource="injection"), rate


def _nested(fabric: Fabric, matrix: Bytes, size: int) -> list[Schedule]:
    """Both levels one after the other, and all messages straight out of the chips' ports."""
    inner, outer = fabric.inner, fabric.outer
    assert inner is not None and outer is not None, fabric.kind
    groups, inside = outer.chips, inner.chips
    cut = matrix.reshape(groups, inside, groups, inside)
    # chip j of a group gathers what its group has for chips j, and sends it to them
    within = [cut[group].sum(axis=1) for group in range(groups)]
    between = [cut[:, :, :, chip].sum(axis=1) for chip in range(inside)]
    found = [
        join_levels(fabric, "all-to-all", (("inner", "all-to-all"), ("outer", "all-to-all")), mix)
        for mix in (
            (one, other)
            for one in _level(inner, within, size, groups)
            for other in _level(outer, between, size, inside)
        )
    ]
    away = matrix.copy()
    for group in range(groups):
        own = slice(group * inside, (group + 1) * inside)
        away[own, own] = 0
    leaving = int(max(away.sum(axis=0).max(), away.sum(axis=1).max()))
    step = Step(1, 1, _share(leaving, size), resource="injection")
    wire = _share(int(_others(matrix).sum()), size)
    return found + [
        assemble(outer, protocol, "direct", [step], wire) for protocol in outer.protocols
    ]
