"""What the accuracy of a result's prices rests on: one line, and its JSON."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.hardware import Validated

UNVALIDATED = "accuracy: unvalidated (prices of this chip were compared with no measurement)"


SHORT = {"attention-decode": "decode attention", "attention-prefill": "prefill attention"}


def accuracy_line(entries: Sequence[Validated], dtypes: Collection[str]) -> str:
    """``accuracy: mean error against measurements: matmul 5.9 %, ...`` for the data types in use.

    The first comparison of each operator counts; those of other data types are left out, unless
    there are no others.
    """
    if not entries:
        return UNVALIDATED
    used = [entry for entry in entries if entry.dtype in dtypes] or list(entries)
    first: dict[str, Validated] = {}
    for entry in used:
        first.setdefault(entry.operator, entry)
    parts = ", ".join(
        f"{SHORT.get(name, name)} {entry.mape_percent:.1f} %" for name, entry in first.items()
    )
    rows = sum(entry.count for entry in first.values())
    plural = "" if rows == 1 else "s"
    return f"accuracy: mean error against {rows:,} measurement{plural} of this chip: {parts}"


def accuracy_json(entries: Sequence[Validated]) -> list[dict[str, Any]]:
    """One object a comparison; an empty list where there was none."""
    return [
        {
            "operator": entry.operator,
            "dtype": entry.dtype,
            "table": entry.table,
            "count": entry.count,
            "mape_percent": entry.mape_percent,
        }
        for entry in entries
    ]
