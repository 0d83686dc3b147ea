"""The chips of a slice and the loads of its links as an SVG picture.

A grid is drawn plane by plane: the last two axes of a plane across and down, the first axis (of
three) from plane to plane. Each cable is two lines, one a direction, right-hand traffic; a link
that leaves the plane's edge to close a ring is a stub. The links between planes colour the chip:
the upper half leads to the next plane, the lower half to the one before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.atomic import atomic_write
from simulator.errors import InputError
from simulator.units import format_rate, format_time

if TYPE_CHECKING:
    from simulator.fabric.inspect import Inspection

CELL = 46
RADIUS = 9
STUB = 17
MARGIN = 36
HEAD = 92
MAX_PLANES = 8
MAX_SIDE = 32
MAX_GROUPS = 8
MAX_CHIPS = 2048
_STOPS = ((68, 119, 170), (102, 190, 160), (238, 204, 102), (238, 119, 51), (190, 30, 45))


def write_svg(found: Inspection, system: str, path: str | Path) -> None:
    """Write the picture.

    Raises:
        InputError: an axis too long to draw, or a file that cannot be written.
    """
    text = fabric_svg(found, system)
    with atomic_write(path) as stream:
        stream.write(text)


def fabric_svg(found: Inspection, system: str) -> str:
    """The picture as text.

    Raises:
        InputError: an axis too long to draw.
    """
    body, width, height = _groups(found) if found.groups else _level(found)
    width = max(width, 560)
    return "\n".join([*_frame(found, system, width, height), *body, "</svg>", ""])


def _level(found: Inspection) -> tuple[list[str], float, float]:
    return _grid(found) if found.fabric.is_grid else _circle(found)


def _groups(found: Inspection) -> tuple[list[str], float, float]:
    """The groups of a hierarchy, damaged ones before others where not all fit; one scale."""
    inside = found.groups[0].chips
    order = sorted(range(len(found.groups)), key=lambda i: (not _damaged(found.groups[i]), i))
    shown = sorted(order[: max(1, min(MAX_GROUPS, MAX_CHIPS // inside))])
    body: list[str] = []
    width, height, x, y, row = 0.0, 0.0, 0.0, 0.0, 0.0
    for index in shown:
        drawn, wide, high = _level(_on_scale(found.groups[index], _busiest(found)))
        wide = max(wide, 280)
        if x and x + wide > 1800:
            x, y, row = 0.0, y + row, 0.0
        uplink = format_rate(found.uplinks[index] / inside)
        lost = "" if found.groups[index].lost_chips < inside else " (lost)"
        title = f"group {index}{lost}: from chip {index * inside}, {uplink} up"
        body.append(f'<g transform="translate({x:.1f},{y:.1f})">')
        body += [_text(MARGIN, HEAD - 2, title, 11), *drawn, "</g>"]
        x, row = x + wide, max(row, high)
        width, height = max(width, x), max(height, y + high)
    if len(shown) < len(found.groups):
        rest = f"{len(found.groups) - len(shown)} more groups are not drawn"
        body.append(_text(MARGIN, height + 4, rest, 11))
        height += 16
    return body, width, height


def _busiest(found: Inspection) -> float:
    """Shares on the busiest link of a level, or of all groups."""
    levels = (found, *found.groups)
    return max(level.loads.busiest for level in levels if level.loads is not None)


def _on_scale(group: Inspection, most: float) -> Inspection:
    """The group with its colours on the scale of all of them."""
    assert group.loads is not None
    return replace(group, loads=replace(group.loads, busiest=most))


def _damaged(group: Inspection) -> bool:
    return (
        group.lost_chips > 0
        or (group.graph is not None and not group.graph.alive.all())
        or (group.load_after != group.load_before or group.time_after_s != group.time_before_s)
    )


def colour(load: float, most: float) -> str:
    """From blue (idle) over green and yellow to red (the busiest link)."""
    at = min(max(load / most, 0.0), 1.0) * (len(_STOPS) - 1) if most > 0 else 0.0
    low = min(int(at), len(_STOPS) - 2)
    part = at - low
    mixed = (a + (b - a) * part for a, b in zip(_STOPS[low], _STOPS[low + 1], strict=True))
    return "#" + "".join(f"{round(value):02x}" for value in mixed)


def _frame(found: Inspection, system: str, width: float, height: float) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" font-size="12">'
    )
    yield f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>'
    yield _text(MARGIN, 24, f"{system}: loads of the links under a uniform all-to-all", 15)
    most = _busiest(found)
    detail = f"busiest link {most:.6g} shares; {found.traffic} {format_time(found.time_after_s)}"
    if found.lost_chips or found.time_after_s != found.time_before_s:
        detail += f" (before the failures {format_time(found.time_before_s)})"
    yield _text(MARGIN, 43, detail, 12)
    for step in range(40):
        fill = colour(step / 39, 1)
        yield f'<rect x="{MARGIN + 4 * step}" y="54" width="4.2" height="9" fill="{fill}"/>'
    yield _text(MARGIN, 76, "0", 10)
    yield _text(MARGIN + 160, 76, f"{most:.6g}", 10, "end")
    if found.fabric.is_grid and len(found.fabric.axes) == 3:
        hint = "chips: upper half to the next plane, lower half back"
        yield _text(MARGIN + 180, 63, hint, 11)


def _text(x: float, y: float, text: str, size: int, anchor: str = "start") -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{safe}</text>'


def _grid(found: Inspection) -> tuple[list[str], float, float]:
    axes = found.fabric.axes
    shape = (1,) * (3 - len(axes)) + axes
    planes, rows, columns = shape
    if max(rows, columns) > MAX_SIDE or len(axes) > 3:
        raise InputError(f"an axis of more than {MAX_SIDE} chips is not drawn")
    shown = min(planes, MAX_PLANES)
    across = min(shown, max(1, 1500 // (columns * CELL + MARGIN)))
    wide, high = columns * CELL + MARGIN, rows * CELL + MARGIN + 14
    body: list[str] = []
    for plane in range(shown):
        x0 = MARGIN + (plane % across) * wide
        y0 = HEAD + (plane // across) * high
        if planes > 1:
            body.append(_text(x0, y0 + 8, f"plane {plane} of {planes}", 11))
        body += _plane(found, plane, shape, x0 + CELL / 2, y0 + 14 + CELL / 2)
    height = HEAD + math.ceil(shown / across) * high
    if planes > shown:
        body.append(_text(MARGIN, height, f"{planes - shown} more planes are not drawn", 11))
        height += 16
    return body, 2 * MARGIN + across * wide - MARGIN, height + 4


def _plane(
    found: Inspection, plane: int, shape: tuple[int, ...], x0: float, y0: float
) -> Iterator[str]:
    _, rows, columns = shape
    for row in range(rows):
        for column in range(columns):
            chip = (plane * rows + row) * columns + column
            yield from _links(found, chip, (row, column), shape, x0, y0)
    for row in range(rows):
        for column in range(columns):
            chip = (plane * rows + row) * columns + column
            yield from _chip(found, chip, x0 + column * CELL, y0 + row * CELL)


def _links(
    found: Inspection,
    chip: int,
    place: tuple[int, int],
    shape: tuple[int, ...],
    x0: float,
    y0: float,
) -> Iterator[str]:
    """The links of one chip inside its plane: columns are the last axis, rows the one before."""
    assert found.graph is not None and found.loads is not None
    dims = len(found.fabric.axes)
    row, column = place
    x, y = x0 + column * CELL, y0 + row * CELL
    for back, size, at, way in ((1, shape[2], column, (1, 0)), (2, shape[1], row, (0, 1))):
        axis = dims - back
        if axis < 0 or size == 1:
            continue
        for slot, sign in ((2 * axis, 1), (2 * axis + 1, -1)):
            if found.graph.neighbour[chip, slot] < 0:
                continue
            if size == 2:
                sign = 1 if at == 0 else -1
            load = float(found.loads.loads[chip, slot])
            inside = 0 <= at + sign < size
            length = CELL if inside else STUB
            dx, dy = way[0] * sign, way[1] * sign
            # right-hand traffic: the two directions of a cable lie beside each other
            ox, oy = -dy * 2.2, dx * 2.2
            stroke = colour(load, found.loads.busiest)
            yield (
                f'<line x1="{x + ox:.1f}" y1="{y + oy:.1f}" x2="{x + ox + dx * length:.1f}" '
                f'y2="{y + oy + dy * length:.1f}" stroke="{stroke}" stroke-width="3">'
                f"<title>{chip} to {int(found.graph.neighbour[chip, slot])}: {load:.6g}</title>"
                "</line>"
            )


def _chip(found: Inspection, chip: int, x: float, y: float) -> Iterator[str]:
    assert found.graph is not None and found.loads is not None
    if not found.graph.alive[chip]:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="#eeeeee" stroke="#888888"/>'
        yield (
            f'<path d="M{x - 6:.1f},{y - 6:.1f}l12,12m0,-12l-12,12" stroke="#bb0000" '
            'stroke-width="2.5"/>'
        )
        return
    fills = ["#ffffff", "#ffffff"]
    if len(found.fabric.axes) == 3:
        for slot in (0, 1):
            if found.graph.neighbour[chip, slot] >= 0:
                fills[slot] = colour(float(found.loads.loads[chip, slot]), found.loads.busiest)
    for sweep, fill in ((1, fills[0]), (0, fills[1])):
        yield (
            f'<path d="M{x - RADIUS:.1f},{y:.1f}a{RADIUS},{RADIUS} 0 0 {sweep} {2 * RADIUS},0z" '
            f'fill="{fill}" stroke="#333333" stroke-width="0.8"/>'
        )
    plate = '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="8" fill="white" opacity="0.85"/>'
    name = str(chip)
    wide = 5.0 * len(name) + 2
    yield plate.format(x - wide / 2, y - 4, wide)
    yield _text(x, y + 3, name, 8, "middle")


def _circle(found: Inspection) -> tuple[list[str], float, float]:
    """Chips of a switch or a fully connected domain on a circle."""
    assert found.graph is not None and found.loads is not None
    chips = found.chips
    radius = max(90.0, chips * 4.6)
    middle = (MARGIN + radius + 20, HEAD + radius + 20)
    spots = [
        (
            middle[0] + radius * math.sin(2 * math.pi * chip / chips),
            middle[1] - radius * math.cos(2 * math.pi * chip / chips),
        )
        for chip in range(chips)
    ] + [middle]
    body = []
    for node, slots in enumerate(found.graph.neighbour.tolist()):
        for slot, other in enumerate(slots):
            if other < 0:
                continue
            load = float(found.loads.loads[node, slot])
            (x1, y1), (x2, y2) = spots[node], spots[other]
            length = math.hypot(x2 - x1, y2 - y1) or 1.0
            ox, oy = -(y2 - y1) / length * 1.8, (x2 - x1) / length * 1.8
            body.append(
                f'<line x1="{x1 + ox:.1f}" y1="{y1 + oy:.1f}" x2="{x2 + ox:.1f}" '
                f'y2="{y2 + oy:.1f}" stroke="{colour(load, found.loads.busiest)}" '
                f'stroke-width="2"><title>{node} to {other}: {load:.6g}</title></line>'
            )
    if len(found.graph.neighbour) > chips:
        x, y = middle
        body.append(
            f'<rect x="{x - 26:.1f}" y="{y - 12:.1f}" width="52" height="24" rx="4" '
            'fill="white" stroke="#333333"/>'
        )
        body.append(_text(x, y + 4, "switch", 11, "middle"))
    for chip in range(chips):
        body += _chip(found, chip, *spots[chip])
    return body, 2 * (MARGIN + radius + 20), HEAD + 2 * radius + 50
