"""Hierarchical algorithms: groups of chips inside, and an outer fabric that joins the groups.

Chip i of every group talks over the outer fabric only to chip i of the others, on its own port.
An all-reduce scatters inside, reduces the shards outside and gathers inside, so that only an
inner nth of the buffer goes out of each chip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

from simulator.fabric.parts import Op, Step, assemble
from simulator.fabric.schedule import Phase, Schedule
from simulator.hardware.fabric import Fabric, Protocol

Finder = Callable[[Fabric, Op], Sequence[Schedule]]
"""The schedules that a level may use on its own."""

_LEVELS: dict[Op, tuple[tuple[str, Op], ...]] = {
    "all-reduce": (
        ("inner", "reduce-scatter"),
        ("outer", "all-reduce"),
        ("inner", "all-gather"),
    ),
    "reduce-scatter": (("inner", "reduce-scatter"), ("outer", "reduce-scatter")),
    "all-gather": (("outer", "all-gather"), ("inner", "all-gather")),
    "all-to-all": (("inner", "all-to-all"), ("outer", "all-to-all")),
    "broadcast": (("outer", "broadcast"), ("inner", "broadcast")),
}
_WHOLE: tuple[Op, ...] = ("all-to-all", "broadcast")
"""Operations that move the whole buffer on both levels."""


def nested_schedules(fabric: Fabric, op: Op, find: Finder) -> list[Schedule]:
    """Every mix of the algorithms of the two levels, and plain messages where they make sense."""
    inner, outer = fabric.inner, fabric.outer
    assert inner is not None and outer is not None, fabric.kind
    if op in ("p2p", "permute"):
        wire = Fraction(1 if op == "p2p" else fabric.chips)
        return [
            assemble(outer, protocol, "direct", [Step(1, 1, Fraction(1))], wire)
            for protocol in outer.protocols
        ]
    levels = _LEVELS[op]
    options = [find(inner if place == "inner" else outer, part) for place, part in levels]
    mixes = []
    for mix in product(*options):
        if op == "all-reduce" and _kind(mix[0]) != _kind(mix[2]):
            continue
        mixes.append(join_levels(fabric, op, levels, mix))
    if op == "all-to-all":
        mixes += [_direct(fabric, inner, outer, protocol) for protocol in outer.protocols]
    return mixes


def _kind(schedule: Schedule) -> tuple[str, str]:
    return schedule.algorithm, schedule.protocol


def join_levels(
    fabric: Fabric, op: Op, levels: tuple[tuple[str, Op], ...], mix: Sequence[Schedule]
) -> Schedule:
    """One schedule of the parts in ``mix``, which run one after the other on their ``levels``."""
    assert fabric.inner is not None and fabric.outer is not None
    inside, groups = fabric.inner.chips, fabric.outer.chips
    phases: list[Phase] = []
    fixed = fabric.collective_overhead_ps
    wire = Fraction(0)
    for (place, _), part in zip(levels, mix, strict=True):
        level = fabric.inner if place == "inner" else fabric.outer
        scattered = place == "outer" and op not in _WHOLE
        share = Fraction(1, inside) if scattered else Fraction(1)
        phases += [_scaled(phase, share) for phase in part.phases]
        fixed += part.fixed_ps - level.collective_overhead_ps
        copies = groups if place == "inner" else inside
        if place == "outer" and op == "broadcast":
            copies = 1
        wire += copies * share * Fraction(part.wire_num, part.wire_den)
    return Schedule(
        algorithm="hierarchical",
        protocol="+".join(dict.fromkeys(part.protocol for part in mix)),
        fixed_ps=fixed,
        phases=tuple(phases),
        wire_num=wire.numerator,
        wire_den=wire.denominator,
        link_rate=0,
    )


def _scaled(phase: Phase, share: Fraction) -> Phase:
    return replace(
        phase,
        link_num=phase.link_num * share.numerator,
        link_den=phase.link_den * share.denominator,
        reduce_num=phase.reduce_num * share.numerator,
        reduce_den=phase.reduce_den * share.denominator,
    )


def _direct(fabric: Fabric, inner: Fabric, outer: Fabric, protocol: Protocol) -> Schedule:
    """All messages at once: most of them leave the group and share the chip's outer port."""
    n, inside = fabric.chips, inner.chips
    out = Step(1, 1, Fraction(n - inside, n), resource="injection")
    return assemble(outer, protocol, "direct", [out], Fraction(n - 1))
