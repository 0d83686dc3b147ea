"""Ranked layouts as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simulator.report.console import make_table, show
from simulator.report.figures import bytes_text, count, duration, rate
from simulator.report.json_out import seconds
from simulator.timing.layout_search import Candidate, reason

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.timing.layout_search import Ranking


def layout_json(ranking: Ranking, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The document ``chipsim.layout/1``; rows in order, the winner first."""
    return {
        "schema": "chipsim.layout/1",
        **asked,
        "legal": ranking.legal,
        "fitting": ranking.fitting,
        "rows": [_row(row, ranking.rows[0]) for row in ranking.rows],
    }


def print_layouts(
    ranking: Ranking, asked: Mapping[str, Any], rests_on: str, console: Console
) -> None:
    """What was asked for, one row a layout, and what the accuracy of their times rests on."""
    show(
        console,
        f"{asked['phase']} of {asked['model']} on {asked['system']}, batch "
        f"{count(asked['batch'], 'sequences')}, context {count(asked['context'], 'tokens')}, "
        f"ranked by {asked['objective']}: {count(ranking.legal, 'legal layouts')}, "
        f"{ranking.fitting:,} of them fit",
    )
    winner = ranking.rows[0]
    rows = [
        (
            str(number),
            row.layout.text,
            duration(seconds(row.time_ps)),
            rate(row.tokens_per_s, "tokens"),
            bytes_text(_used(row)),
            row.bound_by,
            "" if row is winner else reason(row, winner),
        )
        for number, row in enumerate(ranking.rows, start=1)
    ]
    columns = ("#", "<layout", "time", "tokens/s", "HBM a chip", "<bound by", "<lost by")
    show(console, make_table(console, "Layouts", columns, rows))
    if len(rows) > 1:
        show(console, "lost by: what takes longer than in the best; what takes less is not listed")
    show(console, rests_on if len(rows) > 1 else f"\n{rests_on}")


def _used(row: Candidate) -> int:
    memory = row.memory
    return memory.weights + memory.activations + memory.buffers + row.cache


def _row(row: Candidate, winner: Candidate) -> dict[str, Any]:
    memory = row.memory
    return {
        "layout": row.layout.text,
        "parallelism": {k: v for k, v in row.layout.as_dict().items() if k != "text"},
        "time_s": seconds(row.time_ps),
        "tokens_per_s": row.tokens_per_s,
        "memory_bytes": {
            "weights": memory.weights,
            "kv": row.cache,
            "activations": memory.activations,
            "buffers": memory.buffers,
            "reserve": memory.reserve,
            "free": memory.kv - row.cache,
        },
        "bound_by": row.bound_by,
        "time_by_cause_s": {cause: seconds(ps) for cause, ps in row.causes_ps.items()},
        "lost_by": None if row is winner else reason(row, winner),
        "fits": row.cache <= memory.kv,
    }
