"""Loads of a uniform all-to-all on a large torus that has lost chips or links.

Every source sees the damage from elsewhere, so each has to be routed. All sources along the last
axis go side by side (``kernels.fabric_torus``), and where the damage looks the same in a mirror
(x -> k - x along an axis), so do the loads, and half of the sources are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from simulator.hardware.fabric import Fabric
from simulator.kernels import fabric_torus as kernels
from simulator.kernels.arrays import Int64Array

Float64Array = NDArray[np.float64]


def fits(fabric: Fabric) -> bool:
    """Whether the fabric is an untwisted torus of several axes whose last one is a ring."""
    closed = all(c or s <= 2 for s, c in zip(fabric.axes, fabric.wrap, strict=True))
    several = len(fabric.axes) > 1
    return fabric.kind == "torus" and several and closed and fabric.axes[-1] > 2


@dataclass(frozen=True, eq=False)
class Routed:
    """``loads[chip, slot]`` of all sources but the ``missing``, which need detours.

    ``diameter`` is the greatest distance that the others' traffic goes.
    """

    loads: Float64Array
    missing: Int64Array
    diameter: int


def damaged_loads(
    fabric: Fabric, whole: Int64Array, left: Int64Array, alive: NDArray[np.bool_]
) -> Routed:
    """Loads of shares that every living chip sends to every other.

    ``whole`` and ``left`` are the neighbours before and after the damage, as in ``LinkGraph``.
    """
    length, slots = fabric.axes[-1], whole.shape[1]
    places = fabric.chips // length
    links = (left >= 0).astype(np.float64).reshape(places, length, slots).transpose(0, 2, 1)
    living = alive.astype(np.float64).reshape(places, length)
    mirrors = _mirrors(fabric, links, living)
    weight = _weights(mirrors, places)
    load = np.zeros((places, slots, 2 * length), dtype=np.float64)
    lost = np.zeros((places, length), dtype=np.int64)
    order = _template(whole.reshape(places, length, slots)[:, 0, :-2] // length)
    kernels.torus_loads(
        _shifted(fabric, order.nodes),
        order.first,
        order.before,
        order.slot,
        np.ascontiguousarray(np.concatenate([links, links], axis=2)),
        np.concatenate([living, living], axis=1),
        weight,
        load,
        lost,
    )
    load = load[:, :, :length] + load[:, :, length:]
    for mirror in mirrors:
        load = load + load[mirror.places][:, mirror.slots]
        lost = np.maximum(lost, lost[mirror.places])
    received = load.transpose(0, 2, 1).reshape(fabric.chips, slots)
    direct = alive & (lost.ravel() == 0)
    return Routed(
        _by_sender(fabric, whole, received),
        np.nonzero(lost.ravel())[0].astype(np.int64),
        _diameter(fabric, alive, direct),
    )


def _diameter(fabric: Fabric, alive: NDArray[np.bool_], sources: NDArray[np.bool_]) -> int:
    """The greatest distance from a source to a living chip, both counted as on the whole torus.

    With few chips lost there is a source whose farthest chip lives; less far is tried for the rest.
    """
    living, source = alive.reshape(fabric.axes), sources.reshape(fabric.axes)
    steps = product(*(range(size // 2, -1, -1) for size in fabric.axes))
    axes = tuple(range(len(fabric.axes)))
    for away in sorted(steps, key=sum, reverse=True):
        for way in product(*((-1, 1) if step else (1,) for step in away)):
            moved = tuple(step * sign for step, sign in zip(away, way, strict=True))
            if np.any(source & np.roll(living, moved, axes)):
                return sum(away)
    return 0


def _by_sender(fabric: Fabric, whole: Int64Array, received: Float64Array) -> Float64Array:
    loads = np.zeros_like(received)
    for slot in range(whole.shape[1]):
        there = np.nonzero(whole[:, slot] >= 0)[0]
        opposite = slot ^ 1 if fabric.axes[slot // 2] > 2 else slot
        loads[whole[there, slot], opposite] = received[there, slot]
    return loads


@dataclass(frozen=True, eq=False)
class _Order:
    """Places by distance from the first, and the minimal neighbours of each: [first[i], ...)."""

    nodes: Int64Array
    first: Int64Array
    before: Int64Array
    slot: Int64Array


def _template(neighbour: Int64Array) -> _Order:
    places = len(neighbour)
    distance = [0] + [-1] * (places - 1)
    nodes = [0]
    table = neighbour.tolist()
    for node in nodes:
        for other in table[node]:
            if other >= 0 and distance[other] < 0:
                distance[other] = distance[node] + 1
                nodes.append(other)
    index = {node: at for at, node in enumerate(nodes)}
    first, before, slots = [0], [], []
    for node in nodes:
        for slot, other in enumerate(table[node]):
            if other >= 0 and distance[other] == distance[node] - 1:
                before.append(index[other])
                slots.append(slot)
        first.append(len(before))
    arrays = (np.array(part, dtype=np.int64) for part in (nodes, first, before, slots))
    return _Order(*arrays)


def _shifted(fabric: Fabric, nodes: Int64Array) -> Int64Array:
    """[o', i]: the place of node i for a source at o'."""
    axes = fabric.axes[:-1]
    at = np.stack(np.unravel_index(np.arange(len(nodes)), axes), axis=1)
    moved = (at[:, np.newaxis, :] + at[nodes][np.newaxis, :, :]) % np.array(axes)
    return np.ravel_multi_index(tuple(np.moveaxis(moved, 2, 0)), axes).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Mirror:
    """The place and the slot that each is the image of, along one axis."""

    places: Int64Array
    slots: Int64Array


def _mirrors(fabric: Fabric, links: Float64Array, living: Float64Array) -> list[_Mirror]:
    """One mirror for each axis but the last that leaves the damage as it is."""
    axes = fabric.axes[:-1]
    at = np.unravel_index(np.arange(len(living)), axes)
    found = []
    for axis, size in enumerate(axes):
        slots = np.arange(links.shape[1])
        if size > 2:
            slots[2 * axis], slots[2 * axis + 1] = 2 * axis + 1, 2 * axis
        for k in range(size if size > 1 else 0):
            image = list(at)
            image[axis] = (k - at[axis]) % size
            places = np.ravel_multi_index(tuple(image), axes)
            same = np.array_equal(living, living[places])
            if same and np.array_equal(links, links[places][:, slots]):
                found.append(_Mirror(places.astype(np.int64), slots))
                break
    return found


def _weights(mirrors: list[_Mirror], places: int) -> Float64Array:
    """1 for a place that stands for its images in all mirrors, less where some are itself."""
    weight = np.ones(places, dtype=np.float64)
    here = np.arange(places)
    for mirror in mirrors:
        weight[mirror.places < here] = 0.0
        weight[mirror.places == here] /= 2
    return weight
