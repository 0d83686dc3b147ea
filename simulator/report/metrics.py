"""Results as named numbers: what ``--assert`` may ask for, and in which unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.report.json_out import flatten
from simulator.timing.results import CAUSES, UNITS

DISTRIBUTIONS = ("ttft", "tpot", "itl", "e2e", "queue")
ROLES = ("serve", "prefill", "decode")
STATISTICS = ("mean", "p50", "p90", "p95", "p99")

_SHARED = {
    **{f"utilization_{unit}": "fraction" for unit in UNITS},
    **{f"bound_by_{cause}": "fraction" for cause in CAUSES},
    **{f"traffic_bytes_{way}": "bytes" for way in ("hbm_read", "hbm_write", "fabric")},
    **{f"memory_bytes_{part}": "bytes" for part in ("weights", "activations", "reserve", "kv")},
    "mfu": "fraction",
    "mbu": "fraction",
    "flops": "number",
    "min_bytes": "bytes",
    "energy_j": "number",
}

RUN_METRICS: Mapping[str, str] = {
    **{f"{name}_{which}": "time" for name in DISTRIBUTIONS for which in STATISTICS},
    **_SHARED,
    **dict.fromkeys(("arrived", "completed", "rejected"), "number"),
    **dict.fromkeys(("prompt_tokens", "output_tokens"), "number"),
    **dict.fromkeys(("output_tokens_per_s", "requests_per_s"), "number"),
    **dict.fromkeys(("iterations", "preemptions"), "number"),
    **dict.fromkeys(("mean_batch", "mean_tokens_per_iteration"), "number"),
    **dict.fromkeys(("simulated_s", "serving_s"), "time"),
    **dict.fromkeys(("kv_peak_fraction", "kv_mean_fraction"), "fraction"),
    "kv_blocks": "number",
    **dict.fromkeys(("lost_requests", "failures", "pool_changes"), "number"),
    "prefix_hit_rate": "fraction",
    **{f"pools_{role}_{name}": "fraction" for role in ROLES for name in ("mfu", "mbu")},
    "kv_transfer_bytes": "bytes",
    "kv_transfer_transfers": "number",
    **{f"kv_transfer_time_s_{which}": "time" for which in STATISTICS},
    **{f"kv_transfer_queue_s_{which}": "time" for which in STATISTICS},
    "kv_transfer_exposed_s": "time",
    "kv_transfer_overlapped_s": "time",
    "kv_transfer_link_utilization": "fraction",
    "slo_attainment": "fraction",
    "goodput_requests_per_s": "number",
    "mean_requests_in_system": "number",
    "queue_growth_requests_per_s": "number",
    **dict.fromkeys(("output_tokens_per_s_per_chip", "output_tokens_per_s_per_user"), "number"),
    "cost_usd": "number",
}
"""Metric of a run -> kind of its value: time (s), fraction, bytes, or a plain number."""

STEP_METRICS: Mapping[str, str] = {
    **_SHARED,
    "time_s": "time",
    "host_s": "time",
    "tokens": "number",
    "tokens_per_s": "number",
}
"""Metric of a step -> kind of its value."""


def canonical_name(name: str, metrics: Mapping[str, str]) -> str | None:
    """The metric that ``name`` means, None where there is none.

    Besides its own name a metric may be called as in the JSON, with the unit in its place:
    ``ttft_s_p99`` for ``ttft_p99``, ``requests_completed`` for ``completed``; and a time without
    its unit: ``simulated`` for ``simulated_s``.
    """
    tries = (name, f"{name}_s", name.replace("_s_", "_", 1), name.removeprefix("requests_"))
    return next((candidate for candidate in tries if candidate in metrics), None)


def metric_values(document: Mapping[str, Any], metrics: Mapping[str, str]) -> dict[str, Any]:
    """The value of every metric in a JSON document; None where the result has none."""
    flat = flatten(document)
    # a cause that never bound anything may be left out of the result
    found: dict[str, Any] = {f"bound_by_{cause}": 0.0 for cause in CAUSES}
    for key, value in flat.items():
        name = canonical_name(key, metrics)
        if name is not None and (value is None or isinstance(value, int | float)):
            found[name] = value
    return {name: found.get(name) for name in metrics}
