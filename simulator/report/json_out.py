"""Results as JSON objects: one ``schema`` key, SI units in the key names, nothing that varies.

The same result always gives the same bytes: keys have a fixed order, floats are written as Python
writes them, and NaN, which no result should hold, becomes null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simulator.report.accuracy import evidence_json

if TYPE_CHECKING:
    from simulator.serving.results import Distribution, PoolResult, RunResult, TransferResult
    from simulator.timing.results import OperatorSpan, StepTiming

Json = dict[str, Any]


def to_json(document: Mapping[str, Any]) -> str:
    """The text of a document, indented, without a newline at its end."""
    import json

    return json.dumps(plain(document), indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """Builtin types all the way down; numpy scalars unpacked, NaN and infinities to None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        return plain(value.item())
    raise TypeError(f"no JSON for {type(value).__name__}")


def run_json(result: RunResult) -> Json:
    """The document ``chipsim.run/1``."""
    counts = result.requests
    return {
        "schema": "chipsim.run/1",
        "system": result.system,
        "model": result.model,
        "workload": result.workload,
        "seed": result.seed,
        "chips": result.chips,
        "tp": result.tp,
        "replicas": result.replicas,
        "layout": result.layout,
        "dtypes": dict(result.dtypes),
        "options": dict(result.options),
        "scheduling": {
            "scheduler": result.options["scheduler"],
            "max_batch_sequences": result.options["max_batch"],
            "token_budget_tokens": result.options["token_budget"],
        },
        "requests": {
            "arrived": counts.arrived,
            "completed": counts.completed,
            "counted": counts.counted,
            "rejected": counts.rejected,
            "failed_calls": counts.failed_calls,
            "prompt_tokens": counts.prompt_tokens,
            "output_tokens": counts.output_tokens,
            "rejected_because": dict(sorted(counts.rejected_because.items())),
        },
        "simulated_s": result.simulated_s,
        "serving_s": result.serving_s,
        "ttft_s": _distribution(result.ttft_s),
        "tpot_s": _distribution(result.tpot_s),
        "itl_s": _distribution(result.itl_s),
        "e2e_s": _distribution(result.e2e_s),
        "queue_s": _distribution(result.queue_s),
        "output_tokens_per_s": result.output_tokens_per_s,
        "output_tokens_per_s_per_chip": result.output_tokens_per_s_per_chip,
        "output_tokens_per_s_per_user": result.output_tokens_per_s_per_user,
        "requests_per_s": result.requests_per_s,
        **goodput_json(result),
        "utilization": dict(result.utilization),
        "mfu": result.mfu,
        "mbu": result.mbu,
        "bound_by": dict(result.bound_by),
        "traffic_bytes": dict(result.traffic_bytes),
        "flops": result.flops,
        "min_bytes": result.min_bytes,
        "iterations": result.iterations,
        "mean_batch": result.mean_batch,
        "mean_tokens_per_iteration": result.mean_tokens_per_iteration,
        "preemptions": result.preemptions,
        "prefix_hit_rate": result.prefix_hit_rate,
        "speculation": None if result.speculation is None else dict(result.speculation),
        "kv_tiers": None if result.kv_tiers is None else dict(result.kv_tiers),
        "lost_requests": result.lost_requests,
        "failures": result.failures,
        "pool_changes": result.pool_changes,
        "kv": dict(result.kv),
        "pools": {role: _pool(pool) for role, pool in result.pools.items()},
        "kv_transfer": None if result.kv_transfer is None else _transfer(result.kv_transfer),
        "memory_bytes": dict(result.memory_bytes),
        "energy_j": result.energy_j,
        "energy_basis": result.energy_basis,
        "cost_usd": result.cost_usd,
        "cost_basis": dict(result.cost_basis),
        "advice": result.advice,
        **evidence_json(result.accuracy, result.unvalidated, result.engine),
        "timeline": [] if result.timeline is None else result.timeline.rows(),
    }


def _pool(pool: PoolResult) -> Json:
    return {
        "system": pool.system,
        "replicas": pool.replicas,
        "final_replicas": pool.final_replicas,
        "chips": pool.chips,
        "tp": pool.tp,
        "layout": pool.layout,
        "utilization": dict(pool.utilization),
        "mfu": pool.mfu,
        "mbu": pool.mbu,
        "flops": pool.flops,
        "min_bytes": pool.min_bytes,
        "bound_by": dict(pool.bound_by),
        "iterations": pool.iterations,
        "serving_s": pool.serving_s,
        "mean_batch": pool.mean_batch,
        "preemptions": pool.preemptions,
        "kv": dict(pool.kv),
        "memory_bytes": dict(pool.memory_bytes),
    }


def _transfer(moved: TransferResult) -> Json:
    return {
        "transfers": moved.transfers,
        "bytes": moved.bytes,
        "time_s": _distribution(moved.time_s),
        "queue_s": _distribution(moved.queue_s),
        "exposed_s": moved.exposed_s,
        "overlapped_s": moved.overlapped_s,
        "link_utilization": moved.link_utilization,
    }


def goodput_json(result: RunResult) -> Json:
    """What an SLO, and the queue, make of a run; null where there is no SLO or no growth."""
    found, growth = result.goodput, result.queue_growth
    return {
        "goodput_requests_per_s": None if found is None else found.goodput_requests_per_s,
        "slo_attainment": None if found is None else found.attainment,
        "slo": None
        if found is None
        else {
            name: {
                "limits_s": dict(entry.limits_s),
                "priority": entry.priority,
                "requests": entry.requests,
                "met": entry.met,
                "attainment": entry.attainment,
                "goodput_requests_per_s": entry.goodput_requests_per_s,
                "missed": dict(entry.missed),
                "best_s": dict(entry.best_s),
            }
            for name, entry in found.classes.items()
        },
        "mean_requests_in_system": result.mean_requests_in_system,
        "queue_growth": None
        if growth is None
        else {
            "requests_per_s": growth.requests_per_s,
            "arrivals_per_s": growth.arrivals_per_s,
            "served_per_s": growth.served_per_s,
            "waiting": growth.waiting,
        },
    }


def step_json(result: StepTiming) -> Json:
    """The document ``chipsim.step/1``; operators in the order of execution."""
    return {**step_figures(result), "operators": [_operator(span) for span in result.operators]}


def step_figures(result: StepTiming) -> Json:
    """The document without its operators, to list which takes longer than to price them."""
    return {
        "schema": "chipsim.step/1",
        "system": result.system,
        "model": result.model,
        "phase": result.phase,
        "batch": result.batch,
        "context": result.context,
        "tp": result.tp,
        "replicas": result.replicas,
        "layout": result.layout,
        "parallelism": {k: v for k, v in result.parallelism.items() if k != "text"},
        "speculation": dict(result.speculation),
        "dtypes": dict(result.dtypes),
        "time_s": result.time_s,
        "host_s": seconds(result.host_ps),
        "tokens": result.tokens,
        "tokens_per_s": result.tokens / result.time_s if result.time_ps else None,
        "mfu": result.mfu,
        "mbu": result.mbu,
        "utilization": dict(result.utilization),
        "bound_by": dict(result.bound_by),
        "traffic_bytes": dict(result.traffic_bytes),
        "memory_bytes": dict(result.memory_bytes),
        "flops": result.flops,
        "min_bytes": result.min_bytes,
        "energy_j": result.energy_j,
        "energy_basis": result.energy_basis,
        "notes": list(result.notes),
        **evidence_json(result.accuracy, result.unvalidated, result.engine),
        "overheads": [
            {"name": each.name, "why": each.why, "factor": each.factor} for each in result.overheads
        ],
        "collectives": [
            {
                "name": each.name,
                "op": each.op,
                "bytes": each.size_bytes,
                "ranks": each.ranks,
                "count": each.count,
                "time_s": seconds(each.time_ps),
                "exposed_s": seconds(each.exposed_ps),
            }
            for each in result.collectives
        ],
    }


def flatten(document: Mapping[str, Any], prefix: str = "") -> Json:
    """Nested keys joined by an underscore, as CSV columns and ``--assert`` name them.

    >>> flatten({"tile": {"m": 4, "k": 8}, "cycles": 12})
    {'tile_m': 4, 'tile_k': 8, 'cycles': 12}
    """
    flat: Json = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}_")
        else:
            flat[prefix + key] = value
    return flat


def seconds(ps: int) -> float:
    """Picoseconds as seconds, correctly rounded."""
    return int(ps) / 10**12


def _distribution(values: Distribution) -> Json:
    return {name: getattr(values, name) for name in ("mean", "p50", "p90", "p95", "p99")}


def _operator(span: OperatorSpan) -> Json:
    return {
        "name": span.name,
        "kind": span.kind,
        "shape": span.detail,
        "time_s": seconds(span.duration_ps),
        "start_s": seconds(span.start_ps),
        "bound_by": span.bound_by,
        "flops": span.flops,
        "hbm_bytes": span.hbm_read_bytes + span.hbm_write_bytes,
        "hbm_read_bytes": span.hbm_read_bytes,
        "hbm_write_bytes": span.hbm_write_bytes,
        "prefetched_bytes": span.fetch_bytes,
        "fabric_bytes": span.fabric_bytes,
    }
