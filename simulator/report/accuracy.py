"""What the accuracy of a result's prices rests on: one line, and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.hardware import Validated

UNVALIDATED = "accuracy: unvalidated (prices of this chip were compared with no measurement)"


def accuracy_line(entries: Sequence[Validated]) -> str:
    """``accuracy: matmul bf16 off by 5.9 % on 35,742 rows; ...``, or that there is none."""
    if not entries:
        return UNVALIDATED
    parts = (
        f"{entry.operator} {entry.dtype} off by {entry.mape_percent:.1f} % on {entry.count:,} rows"
        for entry in entries
    )
    return f"accuracy: mean error of prices against measurements: {'; '.join(parts)}"


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
