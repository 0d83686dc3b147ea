"""Shapes of a system: which ones a family allows, and which of their axes close into rings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulator.errors import InputError, nearest

Axes = tuple[int, ...]

_SHOWN_IN_FULL = 12

TWISTED = "_twisted"
"""Behind a shape: the torus is twisted, as in Google Cloud's name ``4x4x8_twisted``."""


def shape_text(axes: Axes) -> str:
    """(2, 2, 1) as ``2x2x1``."""
    return "x".join(str(axis) for axis in axes)


def cubes(edge: int, largest: Axes, max_chips: int) -> list[Axes]:
    """Shapes made of whole cubes, axes in non-decreasing order, smallest first.

    ``largest`` bounds each axis in that order, ``max_chips`` the product. A TPU v4, v5p or 7x
    slice beyond one host row is made of 4x4x4 cubes (docs.cloud.google.com/tpu/docs/v4).
    """
    found: list[Axes] = [()]
    for bound in largest:
        found = [
            (*axes, axis)
            for axes in found
            for axis in range(max((edge, *axes)), bound + 1, edge)
            if math.prod(axes) * axis <= max_chips
        ]
    return sorted(found, key=lambda axes: (math.prod(axes), axes))


def wraps(axes: Axes, axis_of: int | None, multiple_of: int | None) -> tuple[bool, ...]:
    """Which axes close into a ring.

    An axis closes where it is ``axis_of`` long (v5e, v6e: 16), or where all axes are multiples of
    ``multiple_of`` (v4, v5p, 7x: whole cubes of 4). An axis of two never does: its two chips are
    joined already.
    """
    whole = multiple_of is not None and all(axis % multiple_of == 0 for axis in axes)
    return tuple(axis > 2 and (whole or axis == axis_of) for axis in axes)


def ports_needed(axes: Axes) -> int:
    """Links of a chip in the middle of the shape: two an axis, one where the axis is two long."""
    return sum(min(axis - 1, 2) for axis in axes)


def choose_shape(family: str, text: str, allowed: Sequence[Axes]) -> Axes:
    """The allowed shape that ``text`` names; an ``InputError`` that lists them otherwise."""
    by_text = {shape_text(axes): axes for axes in allowed}
    if text in by_text:
        return by_text[text]
    close = _nearest_shape(text, allowed)
    raise InputError(
        f"system '{family}' has no shape '{text}'",
        hint=(f"did you mean '{family}:{close}'? " if close else "")
        + f"allowed: {', '.join(_runs(allowed))}; '{family}' alone is one chip",
    )


def listing(allowed: Sequence[Axes]) -> str:
    """The shapes in words, abbreviated where there are many."""
    shapes = [shape_text(axes) for axes in allowed]
    if len(shapes) <= _SHOWN_IN_FULL:
        return ", ".join(shapes)
    return f"{', '.join(shapes[:8])}, ... {', '.join(shapes[-2:])} ({len(shapes)} shapes)"


def _runs(allowed: Sequence[Axes]) -> list[str]:
    """The shapes in words; four and more that count up on their last axis are ``8x2 to 8x64``."""
    runs: list[list[Axes]] = []
    for axes in allowed:
        if runs and runs[-1][-1] == (*axes[:-1], axes[-1] - 1):
            runs[-1].append(axes)
        else:
            runs.append([axes])
    texts: list[str] = []
    for run in runs:
        if len(run) > 3:
            texts.append(f"{shape_text(run[0])} to {shape_text(run[-1])}")
        else:
            texts.extend(map(shape_text, run))
    return texts


def _nearest_shape(text: str, allowed: Sequence[Axes]) -> str | None:
    """The same axes in another order, or else the nearest number of chips."""
    parts = text.split("x")
    if not allowed:
        return None
    if not all(part.isascii() and part.isdigit() for part in parts):
        return nearest(text, [shape_text(axes) for axes in allowed])
    if any(int(part[:9]) == 0 for part in parts):
        return None  # nothing is near to no chips
    wanted = sorted(int(part[:9]) for part in parts)
    for axes in allowed:
        if sorted(axes) == wanted:
            return shape_text(axes)
    chips = math.prod(wanted)
    return shape_text(min(allowed, key=lambda axes: abs(math.log(math.prod(axes) / chips))))
