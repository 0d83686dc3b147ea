"""The part of a fabric that a group of ranks spans, named by its size or by its axes."""

from __future__ import annotations

import math
from dataclasses import replace

from simulator.errors import InputError
from simulator.hardware.fabric import Fabric, nest

AXIS_NAMES = "xyzw"


def parse_group(fabric: Fabric, text: str) -> Fabric:
    """The sub-fabric of ``text``: a number of chips, or axes such as ``x``, ``xz``, ``y``.

    Raises:
        InputError: neither, an axis that the fabric does not have, or a size that does not fit.
    """
    stripped = text.strip().lower()
    if stripped.isascii() and stripped.isdigit():
        return sized_group(fabric, int(stripped[:12]))
    if fabric.is_grid and stripped and set(stripped) <= set(AXIS_NAMES[: len(fabric.axes)]):
        if len(set(stripped)) != len(stripped):
            raise InputError(f"group '{text}' names an axis twice")
        return axes_group(fabric, tuple(AXIS_NAMES.index(letter) for letter in sorted(stripped)))
    axes = ", ".join(AXIS_NAMES[: len(fabric.axes)]) if fabric.is_grid else ""
    expected = "a number of chips" + (f", or axes out of {axes}" if axes else "")
    raise InputError(f"group: found '{text[:40]}', expected {expected}")


def axes_group(fabric: Fabric, indices: tuple[int, ...]) -> Fabric:
    """The chips along some axes of a grid, all others fixed.

    Raises:
        InputError: the fabric is twisted, and an axis alone does not close in it.
    """
    if fabric.kind == "twisted-torus" and len(indices) < len(fabric.axes):
        raise InputError(
            "an axis of a twisted torus is no ring of its own",
            hint="use a torus without twist for groups along axes, or all chips",
        )
    kept = sorted(indices, key=lambda i: AXIS_NAMES[i])
    axes = tuple(fabric.axes[i] for i in kept)
    if math.prod(axes) == 1:
        return Fabric("none")
    return replace(fabric, axes=axes, wrap=tuple(fabric.wrap[i] for i in kept))


def sized_group(fabric: Fabric, size: int) -> Fabric:
    """A group of ``size`` chips: whole axes of a grid first, then a part of one, which is open.

    Raises:
        InputError: less than one, or the chips or axes cannot be divided so.
    """
    if size < 1:
        raise InputError(f"group: found {size}, expected at least 1 chip")
    if size == 1:
        return Fabric("none")
    if fabric.chips % size:
        divisors = [d for d in range(1, fabric.chips + 1) if fabric.chips % d == 0]
        raise InputError(
            f"a group of {size} does not divide the {fabric.chips} chips",
            hint=f"groups of {_some(divisors)}",
        )
    if size == fabric.chips:
        return fabric
    if fabric.inner is not None and fabric.outer is not None:
        inside = fabric.inner.chips
        if size <= inside:
            return sized_group(fabric.inner, size)
        if size % inside:
            raise InputError(
                f"a group of {size} is not made of whole groups of {inside}",
                hint=f"use a multiple of {inside}, or at most {inside}",
            )
        return nest(fabric.kind, fabric.inner, sized_group(fabric.outer, size // inside))
    if fabric.uplinks:
        # the first blocks stand for any: the least of their uplinks sets the time
        rates = fabric.uplinks[:size]
        fabric = replace(fabric, uplinks=rates, link_bandwidth_bytes_per_s=min(rates))
    if not fabric.is_grid:
        return replace(fabric, axes=(size,), wrap=(False,))
    return _sub_grid(fabric, size)


def strided_group(fabric: Fabric, size: int, stride: int) -> Fabric:
    """A group of ``size`` ranks that lie ``stride`` ranks apart, as the outer of two nested groups.

    The first ``stride`` ranks are those of ``sized_group``; what is left of its axes is what the
    group spans. Where an axis is cut, neighbours are several hops apart and share the links between
    them with the groups beside theirs.

    Raises:
        InputError: the chips or axes cannot be divided so.
    """
    if stride == 1 or size == 1:
        return sized_group(fabric, size)
    if fabric.chips % (size * stride):
        raise InputError(
            f"{size} ranks at a distance of {stride} do not divide the {fabric.chips} chips"
        )
    if fabric.inner is not None and fabric.outer is not None:
        inside = fabric.inner.chips
        if size * stride <= inside:
            return strided_group(fabric.inner, size, stride)
        if stride >= inside:
            _whole(stride, inside)
            return strided_group(fabric.outer, size, stride // inside)
        _whole(inside, stride)
        near = inside // stride
        _whole(size, near)
        far = sized_group(fabric.outer, size // near)
        return nest(fabric.kind, strided_group(fabric.inner, near, stride), far)
    if not fabric.is_grid:
        return sized_group(fabric, size)
    return _strided_grid(fabric, size, stride)


def _whole(number: int, part: int) -> None:
    if number % part:
        raise InputError(f"groups of {number} and of {part} do not nest")


def _strided_grid(fabric: Fabric, size: int, stride: int) -> Fabric:
    axes: list[int] = []
    wrap: list[bool] = []
    apart = 1
    skip, left = stride, size
    for length, closed in zip(fabric.axes, fabric.wrap, strict=True):
        inside = math.gcd(skip, length)
        skip //= inside
        part = math.gcd(left, length // inside) if skip == 1 else 1
        if part > 1:
            left //= part
            axes.append(part)
            wrap.append(closed and part * inside == length and fabric.kind != "twisted-torus")
            apart = max(apart, inside)
    if skip > 1 or left > 1:
        shape = "x".join(str(axis) for axis in fabric.axes)
        raise InputError(f"{size} ranks at a distance of {stride} do not fit the axes {shape}")
    kind = "mesh" if fabric.kind == "twisted-torus" else fabric.kind
    rate = max(1, fabric.link_bandwidth_bytes_per_s // apart)
    return replace(
        fabric,
        kind=kind,
        axes=tuple(axes),
        wrap=tuple(wrap),
        twist=(),
        link_bandwidth_bytes_per_s=rate,
        hop_latency_ps=fabric.hop_latency_ps * apart,
    )


def _sub_grid(fabric: Fabric, size: int) -> Fabric:
    axes: list[int] = []
    wrap: list[bool] = []
    left = size
    for length, closed in zip(fabric.axes, fabric.wrap, strict=True):
        part = math.gcd(left, length)
        if part > 1:
            whole = part == length and fabric.kind != "twisted-torus"
            axes.append(part)
            wrap.append(closed and whole)
            left //= part
    if left > 1:
        shape = "x".join(str(axis) for axis in fabric.axes)
        raise InputError(f"a group of {size} does not fit the axes {shape}")
    kind = "mesh" if fabric.kind == "twisted-torus" else fabric.kind
    return replace(fabric, kind=kind, axes=tuple(axes), wrap=tuple(wrap), twist=())


def _some(numbers: list[int]) -> str:
    texts = [str(number) for number in numbers]
    if len(texts) <= 12:
        return ", ".join(texts)
    return f"{', '.join(texts[:8])}, ... {', '.join(texts[-2:])}"
