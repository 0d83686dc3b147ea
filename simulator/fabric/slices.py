"""Slices of a pod: which cubes, how many optical circuits, and which cube a chip or link is in.

A cube's six faces of edge^2 fibres each end at optical circuit switches, which join the face of
any cube to the opposite face of any other (or of itself, where an axis is one cube long). So a
slice needs 3 edge^2 circuits a cube, and its cubes may lie anywhere in the pod: Jouppi et al.,
"TPU v4", ISCA 2023, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from simulator.errors import InfeasibleError
from simulator.hardware.fabric import Fabric, Pod


@dataclass(frozen=True, slots=True)
class Slice:
    """The pod's cubes that a slice is made of, in order of the slice's grid of cubes."""

    cubes: tuple[int, ...]
    grid: tuple[int, ...]
    circuits: int
    spare_cubes: int


def assemble_slice(fabric: Fabric, busy: Iterable[int] = ()) -> Slice | None:
    """The first free cubes of the pod, wired as the fabric's axes ask; None without a pod.

    ``busy`` are cubes that other slices hold or that are broken. A slice smaller than a cube
    takes part of one and no circuits.

    Raises:
        InfeasibleError: there are too few free cubes.
    """
    pod = fabric.pod
    if pod is None:
        return None
    taken = set(busy)
    free = [cube for cube in range(pod.cubes) if cube not in taken]
    grid = cube_grid(fabric, pod)
    needed = math.prod(grid)
    if needed > len(free):
        raise InfeasibleError(
            f"the slice needs {needed} cubes, and {len(free)} of the pod's {pod.cubes} are free"
        )
    circuits = 0 if is_part_of_cube(fabric, pod) else needed * bundles_per_cube(fabric, pod)
    return Slice(tuple(free[:needed]), grid, circuits, len(free) - needed)


def is_part_of_cube(fabric: Fabric, pod: Pod) -> bool:
    """Whether the slice is smaller than one cube."""
    return any(size % pod.edge for size in fabric.axes)


def cube_grid(fabric: Fabric, pod: Pod) -> tuple[int, ...]:
    """Cubes along each axis."""
    return tuple(-(-size // pod.edge) for size in fabric.axes)


def bundles_per_cube(fabric: Fabric, pod: Pod) -> int:
    """Circuits that leave a cube upwards along all axes."""
    return len(fabric.axes) * pod.edge ** (len(fabric.axes) - 1)


def cube_of(fabric: Fabric, pod: Pod, chip: int) -> int:
    """The place of a chip's cube in the slice's grid of cubes."""
    place = np.unravel_index(chip, fabric.axes)
    return int(
        np.ravel_multi_index(tuple(int(at) // pod.edge for at in place), cube_grid(fabric, pod))
    )


def is_optical(fabric: Fabric, pod: Pod, one: int, other: int) -> bool:
    """Whether neighbours meet through a switch: between cubes, or around an axis."""
    if is_part_of_cube(fabric, pod):
        return False
    a, b = np.unravel_index(one, fabric.axes), np.unravel_index(other, fabric.axes)
    steps = sum(abs(int(i) - int(j)) for i, j in zip(a, b, strict=True))
    return steps != 1 or cube_of(fabric, pod, one) != cube_of(fabric, pod, other)


def circuits_touching(fabric: Fabric, pod: Pod, cubes: Iterable[int]) -> int:
    """Circuits with an end in one of the slice's ``cubes``; all are re-plugged to move it."""
    grid = cube_grid(fabric, pod)
    if is_part_of_cube(fabric, pod):
        return 0
    gone = set(cubes)
    bundles = set()
    for cube in gone:
        place = np.unravel_index(cube, grid)
        for axis, size in enumerate(grid):
            bundles.add((cube, axis))
            below = [int(at) for at in place]
            below[axis] = (below[axis] - 1) % size
            bundles.add((int(np.ravel_multi_index(tuple(below), grid)), axis))
    return len(bundles) * pod.edge ** (len(grid) - 1)
