"""What is broken, by name, and which chips and links of a slice that takes away.

Names: ``chip:5`` or ``chip:1,0,2``, ``host:3``, ``cube:1``, ``link:0-1`` or
``link:0,0,0-1,0,0``; on a switch ``link:5`` is one of the links of chip 5. In a hierarchy chips,
hosts and cubes count group by group, coordinates end with the group, and ``uplink:5`` is chip 5's
port to the other groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.fabric.links import link_graph
from simulator.hardware.fabric import Fabric

KINDS = ("chip", "host", "cube", "link", "uplink")


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: its ``kind``, the ``chips`` it takes, or the ends of the link (its chip).

    Chips are numbered within their ``group``, the first where there is only one.
    """

    kind: str
    text: str
    chips: tuple[int, ...] = ()
    link: tuple[int, int] | None = None
    group: int = 0


def parse_failure(fabric: Fabric, text: str) -> Failure:
    """The failure that a name stands for.

    Raises:
        InputError: another form, or a chip, host, cube or link that the slice does not have.
    """
    kind, colon, place = text.strip().partition(":")
    if kind not in KINDS or not colon or not place:
        raise InputError(
            f"--fail: found '{text[:60]}', expected chip:X, host:X, cube:X, link:X-Y or uplink:X",
            hint=did_you_mean(kind, KINDS),
        )
    if fabric.inner is not None:
        return _nested(fabric, fabric.inner, kind, place, text)
    if kind == "uplink":
        raise InputError("this system has no uplinks", hint="only hierarchies have, as h100:8x2")
    if kind == "chip":
        return Failure(kind, text, (_chip(fabric, place, text),))
    if kind == "link":
        return _link(fabric, place, text)
    side = _block(fabric, kind)
    blocks = tuple(-(-size // edge) for size, edge in zip(fabric.axes, side, strict=True))
    count = int(np.prod(blocks))
    number = _number(place, count, kind, text)
    low = np.unravel_index(number, blocks)
    places = np.stack(np.unravel_index(np.arange(fabric.chips), fabric.axes), axis=1)
    inside = np.all(places // np.array(side) == np.array(low), axis=1)
    return Failure(kind, text, tuple(int(chip) for chip in np.nonzero(inside)[0]))


def _nested(fabric: Fabric, inner: Fabric, kind: str, place: str, text: str) -> Failure:
    """A failure in a group of a hierarchy, with the group's own numbers."""
    if kind == "link":
        ends = [_nested_chip(fabric, inner, part, text) for part in place.split("-")]
        if len({group for group, _ in ends}) != 1:
            raise InputError(
                f"--fail {text[:60]}: these chips are in different groups",
                hint="uplink:X is chip X's port to the other groups",
            )
        group, within = ends[0][0], "-".join(str(chip) for _, chip in ends)
    elif kind in ("host", "cube"):
        side = _block(inner, kind)
        each = math.prod(-(-size // edge) for size, edge in zip(inner.axes, side, strict=True))
        number = _number(place, each * (fabric.chips // inner.chips), kind, text)
        group, within = number // each, str(number % each)
    else:
        group, chip = _nested_chip(fabric, inner, place, text)
        if kind == "uplink":
            return Failure(kind, text, (chip,), group=group)
        within = str(chip)
    return replace(parse_failure(inner, f"{kind}:{within}"), text=text, group=group)


def _nested_chip(fabric: Fabric, inner: Fabric, place: str, text: str) -> tuple[int, int]:
    """(group, chip in it) of a number, or of coordinates that end with the group."""
    coordinates, comma, last = place.rpartition(",")
    if comma:
        group = _number(last, fabric.chips // inner.chips, "group", text)
        return group, _chip(inner, coordinates, text)
    return divmod(_number(place, fabric.chips, "chip", text), inner.chips)


def _block(fabric: Fabric, kind: str) -> tuple[int, ...]:
    if kind == "cube":
        if fabric.pod is None:
            raise InputError(
                "this system has no cubes", hint="only pods with optical switches are made of them"
            )
        return (fabric.pod.edge,) * len(fabric.axes)
    if len(fabric.host) != len(fabric.axes):
        raise InputError("the hosts of this system are not known", hint="name its chips instead")
    return fabric.host


def _number(text: str, count: int, what: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < count):
        raise InputError(f"--fail {whole[:60]}: expected a {what} from 0 to {count - 1}")
    return int(text)


def _chip(fabric: Fabric, text: str, whole: str) -> int:
    parts = text.split(",")
    if len(parts) == 1:
        return _number(text, fabric.chips, "chip", whole)
    if not fabric.is_grid or len(parts) != len(fabric.axes):
        raise InputError(
            f"--fail {whole[:60]}: expected a chip's number"
            + (f" or {len(fabric.axes)} coordinates" if fabric.is_grid else "")
        )
    place = tuple(
        _number(part, size, "coordinate", whole)
        for part, size in zip(parts, fabric.axes, strict=True)
    )
    return int(np.ravel_multi_index(place, fabric.axes))


def _link(fabric: Fabric, place: str, text: str) -> Failure:
    one, dash, other = place.partition("-")
    if fabric.is_switched:
        if dash:
            raise InputError(
                f"--fail {text[:60]}: expected link:CHIP, a link of a chip to the switch"
            )
        chip = _chip(fabric, one, text)
        return Failure("link", text, link=(chip, chip))
    if not dash:
        raise InputError(f"--fail {text[:60]}: expected the two chips, such as link:0-1")
    ends = (_chip(fabric, one, text), _chip(fabric, other, text))
    if ends[1] not in link_graph(fabric).neighbour[ends[0]]:
        raise InputError(f"--fail {text[:60]}: no link joins these chips")
    return Failure("link", text, link=ends)
