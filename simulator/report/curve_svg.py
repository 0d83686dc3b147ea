"""Tokens a second of a chip against tokens a second of a user, as an SVG picture.

Both axes are logarithmic, base 10. Points are labelled with their number of users; those of the
Pareto front are filled and joined by a line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from simulator.atomic import atomic_write
from simulator.report.json_out import Json

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 56, 52
_FRONT, _OTHER, _GRID = "#be1e2d", "#4477aa", "#dddddd"


def write_svg(document: Json, path: str | Path) -> None:
    """Write the picture of a ``chipsim.serve-curve/1`` document.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_write(path) as stream:
        stream.write(curve_svg(document))


def curve_svg(document: Json) -> str:
    """The picture as text."""
    points = [
        (row["tokens_per_s_per_user"], row["tokens_per_s_per_chip"], row)
        for row in document["rows"]
        if row["tokens_per_s_per_user"] and row["tokens_per_s_per_chip"]
    ]
    across = _Axis([x for x, _, _ in points], LEFT, WIDTH - RIGHT)
    up = _Axis([y for _, y, _ in points], HEIGHT - BOTTOM, TOP)
    body = [*_frame(document), *_grid(across, up)]
    front = sorted((x, y) for x, y, row in points if row["pareto"])
    if len(front) > 1:
        path = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in front)
        body.append(f'<polyline points="{path}" fill="none" stroke="{_FRONT}" stroke-width="1.5"/>')
    for x, y, row in points:
        colour = _FRONT if row["pareto"] else _OTHER
        fill = colour if row["pareto"] else "white"
        title = (
            f"{row['concurrency']} users: {x:.4g} tokens/s of a user, {y:.4g} tokens/s of a chip"
        )
        body.append(
            f'<circle cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="4" fill="{fill}" '
            f'stroke="{colour}"><title>{title}</title></circle>'
        )
        body.append(_text(across.at(x) + 7, up.at(y) - 6, str(row["concurrency"]), 10))
    return "\n".join([*body, "</svg>", ""])


class _Axis:
    """A logarithmic axis from ``start`` to ``end`` (pixels) that holds all values with a margin."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        low, high = (min(values), max(values)) if values else (1.0, 10.0)
        self.low, self.high = math.log10(low) - 0.08, math.log10(high) + 0.08
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """The place of a value."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """1, 2 and 5 times powers of ten, or finer where that leaves fewer than three."""
        for steps in ((1, 2, 5), tuple(range(1, 10)), tuple(i / 10 for i in range(10, 100))):
            found = [
                step * 10.0**power
                for power in range(math.floor(self.low), math.ceil(self.high) + 1)
                for step in steps
                if self.low <= math.log10(step) + power <= self.high
            ]
            if len(found) >= 3:
                break
        return found[:: max(1, len(found) // 8)]


def _frame(document: Json) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    title = f"{document['model']} on {document['system']}, {document['workload']}"
    yield _text(LEFT, 22, title, 14)
    yield _text(LEFT, 40, "by number of users; the Pareto front is filled", 11)
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "output tokens/s of a user", 12, "middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield (
        f'<text x="18" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 18 {middle:.1f})">output tokens/s of a chip</text>'
    )


def _grid(across: _Axis, up: _Axis) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in across.ticks():
        x = across.at(value)
        yield f'<path d="M{x:.1f},{TOP}V{bottom}" stroke="{_GRID}"/>'
        yield _text(x, bottom + 16, f"{value:g}", 10, "middle")
    for value in up.ticks():
        y = up.at(value)
        yield f'<path d="M{LEFT},{y:.1f}H{right}" stroke="{_GRID}"/>'
        yield _text(LEFT - 6, y + 3, f"{value:g}", 10, "end")
    yield (
        f'<rect x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{bottom - TOP}" '
        'fill="none" stroke="#333333"/>'
    )


def _text(x: float, y: float, words: str, size: int, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
