"""The points of ``chipsim serve-curve`` as JSON, CSV and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.report.accuracy import evidence_json
from simulator.report.console import make_table, show
from simulator.report.figures import count, duration, percent, rate
from simulator.report.json_out import Json, flatten

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.serving.curve import CurvePoint
    from simulator.serving.results import RunResult

_STATISTICS = ("mean", "p50", "p90", "p95", "p99")


def curve_json(points: Sequence[CurvePoint], result: RunResult, workload: str, seed: int) -> Json:
    """The document ``chipsim.serve-curve/1``; ``result`` is one of the replays, for its names."""
    return {
        "schema": "chipsim.serve-curve/1",
        "system": result.system,
        "model": result.model,
        "workload": workload,
        "seed": seed,
        "chips": result.chips,
        "tp": result.tp,
        "replicas": result.replicas,
        "dtypes": dict(result.dtypes),
        "options": dict(result.options),
        **evidence_json(result.accuracy, result.unvalidated, result.engine),
        "rows": [_row(point) for point in points],
    }


def _row(point: CurvePoint) -> Json:
    latencies = {
        name: {which: getattr(getattr(point, name), which) for which in _STATISTICS}
        for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s")
    }
    return {
        "concurrency": point.concurrency,
        "requests": point.requests,
        "tokens_per_s_per_chip": point.tokens_per_s_per_chip,
        "tokens_per_s_per_user": point.tokens_per_s_per_user,
        "pareto": point.pareto,
        "output_tokens_per_s": point.output_tokens_per_s,
        "requests_per_s": point.requests_per_s,
        **latencies,
        "kv_peak_fraction": point.kv_peak_fraction,
        "preemptions": point.preemptions,
        "mfu": point.mfu,
        "mbu": point.mbu,
    }


def curve_csv(document: Json) -> str:
    """One line a point, nested keys joined by an underscore, booleans as 0 and 1."""
    rows = [flatten(row) for row in document["rows"]]
    lines = [",".join(rows[0])]
    for row in rows:
        cells = (
            "" if v is None else str(int(v)) if isinstance(v, bool) else repr(v)
            for v in row.values()
        )
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def print_curve(document: Json, rests_on: str, console: Console) -> None:
    """The points, those of the Pareto front marked, and what their accuracy rests on."""
    heading = (
        f"{document['model']} on {document['system']} ({count(document['chips'], 'chips')} = "
        f"{count(document['replicas'], 'replicas')} x tp {document['tp']}), lengths of "
        f"{document['workload']}, seed {document['seed']}"
    )
    rows = [
        (
            count(row["concurrency"]),
            _figure(row["tokens_per_s_per_chip"]),
            _figure(row["tokens_per_s_per_user"]),
            duration(row["ttft_s"]["p50"]),
            duration(row["ttft_s"]["p99"]),
            duration(row["tpot_s"]["p50"]),
            duration(row["tpot_s"]["p99"]),
            percent(row["kv_peak_fraction"]),
            "*" if row["pareto"] else "",
        )
        for row in document["rows"]
    ]
    columns = ("users", "tokens/s/chip", "tokens/s/user", "TTFT p50", "TTFT p99",
               "TPOT p50", "TPOT p99", "KV peak", "<front")  # fmt: skip
    title = "Output tokens by number of users (* on the Pareto front)"
    show(console, heading, make_table(console, title, columns, rows), f"\n{rests_on}")


def _figure(tokens_per_s: float | None) -> str:
    return rate(tokens_per_s, "tokens").removesuffix(" tokens/s")
