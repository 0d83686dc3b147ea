"""Address maps as shifts and masks over burst numbers."""

from __future__ import annotations

from typing import NamedTuple

from simulator.errors import InputError, did_you_mean
from simulator.hardware.dram import ADDRESS_FIELDS, CONVENTIONAL_MAPS, DramOrganisation


class AddressMap(NamedTuple):
    """Where each field lies in a burst number: ``(burst >> shift) & mask``."""

    pc_shift: int
    pc_mask: int
    sid_shift: int
    sid_mask: int
    bg_shift: int
    bg_mask: int
    ba_shift: int
    ba_mask: int
    row_shift: int
    row_mask: int
    period_bits: int
    """2^this many consecutive bursts are a period of a stream; 0 if no such number is known."""


MIN_PERIOD_BITS = 8
"""A shorter period is not worth looking at after each: several of them are one."""


def map_fields(name: str) -> tuple[str, ...]:
    """Fields of a map, lowest bits first; an ``InputError`` names what is wrong with it.

    ``name`` is a conventional name or fields joined by dots; ``sid`` or ``pc`` may be left out of
    a written map, which then stand just below and above ``ba`` (they matter only if there are
    several).
    """
    if name in CONVENTIONAL_MAPS:
        return tuple(CONVENTIONAL_MAPS[name].split("."))
    fields = tuple(name.split("."))
    known = (*CONVENTIONAL_MAPS, ".".join(ADDRESS_FIELDS))
    if len(fields) == 1:
        raise InputError(f"unknown address map '{name}'", hint=did_you_mean(name, known))
    for field in fields:
        if field not in ADDRESS_FIELDS:
            raise InputError(
                f"unknown field '{field}' in address map '{name}'",
                hint=did_you_mean(field, ADDRESS_FIELDS),
            )
        if fields.count(field) > 1:
            raise InputError(f"address map '{name}' has the field '{field}' twice")
    return fields


def address_map(name: str, org: DramOrganisation) -> AddressMap:
    """The shifts of a map for an organisation.

    Raises ``InputError`` for an unknown map and for one that leaves out a field of several values.
    """
    sizes = org.field_sizes()
    fields = map_fields(name)
    for field, size in sizes.items():
        if field not in fields and size > 1:
            raise InputError(
                f"address map '{name}' has no field '{field}', of which this memory has {size}"
            )
    shifts: dict[str, int] = dict.fromkeys(sizes, 0)
    shift = 0
    for field in fields:
        shifts[field] = shift
        shift += sizes[field].bit_length() - 1
    return AddressMap(
        pc_shift=shifts["pc"],
        pc_mask=sizes["pc"] - 1,
        sid_shift=shifts["sid"],
        sid_mask=sizes["sid"] - 1,
        bg_shift=shifts["bg"],
        bg_mask=sizes["bg"] - 1,
        ba_shift=shifts["ba"],
        ba_mask=sizes["ba"] - 1,
        row_shift=shifts["row"],
        row_mask=sizes["row"] - 1,
        period_bits=_period_bits(fields, sizes),
    )


def _period_bits(fields: tuple[str, ...], sizes: dict[str, int]) -> int:
    """Bits of the number of bursts after which a stream does the same to other banks or rows.

    Below the row there may be fields of the bank that a period moves on. A carry must not tear
    apart what shares limits: each field may only carry into a finer one.
    """
    if fields[-1] != "row":
        return 0
    moved = len(fields) - 1
    finer = ["sid", "bg", "ba"]
    while moved > 0 and fields[moved - 1] in finer:
        moved -= 1
        finer = finer[: finer.index(fields[moved])]
    bits = sum(sizes[field].bit_length() - 1 for field in fields[:moved])
    return max(bits, MIN_PERIOD_BITS)
