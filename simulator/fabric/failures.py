"""What is broken, by name, and which chips and links of a slice that takes away.

Names: ``chip:5`` or ``chip:1,0,2``, ``host:3``, ``cube:1``, ``link:0-1`` or
``link:0,0,0-1,0,0``; on a switch ``link:5`` is one of the links of chip 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.fabric.links import link_graph
from simulator.hardware.fabric import Fabric

KINDS = ("chip", "host", "cube", "link")


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: its ``kind``, the ``chips`` it takes, or the ends of the link (its chip)."""

    kind: str
    text: str
    chips: tuple[int, ...] = ()
    link: tuple[int, int] | None = None


def parse_failure(fabric: Fabric, text: str) -> Failure:
    """The failure that a name stands for.

    Raises:
        InputError: another form, or a chip, host, cube or link that the slice does not have.
    """
    kind, colon, place = text.strip().partition(":")
    if kind not in KINDS or not colon or not place:
        raise InputError(
            f"--fail: found '{text[:60]}', expected chip:X, host:X, cube:X or link:X-Y",
            hint=did_you_mean(kind, KINDS),
        )
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
