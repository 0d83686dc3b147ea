"""The answer of ``chipsim capacity`` as JSON and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.report.accuracy import evidence_json
from simulator.report.console import make_table, show
from simulator.report.figures import count, duration, percent, price_basis, rate, usd
from simulator.report.json_out import Json, goodput_json
from simulator.serving.capacity import ALONE, SHORT
from simulator.serving.goodput import UNNAMED

if TYPE_CHECKING:
    from rich.console import Console

    from simulator.serving.capacity import Capacity, Trial
    from simulator.workload.request import Workload


def capacity_json(found: Capacity, workload: Workload, attainment: float, seed: int) -> Json:
    """The document ``chipsim.capacity/1``; ``trials`` in the order in which they were made."""
    best = found.best
    result = best.result
    return {
        "schema": "chipsim.capacity/1",
        "system": result.system,
        "model": result.model,
        "workload": workload.name,
        "seed": seed,
        "tp": result.tp,
        "dtypes": dict(result.dtypes),
        "options": dict(result.options),
        "searched": found.searched,
        "wanted_attainment": attainment,
        "bounded": found.bounded,
        "arrivals_over_e2e": best.lengths,
        "rate_requests_per_s": best.rate_per_s,
        "system_copies": best.replicas,
        "replicas": result.replicas,
        "chips": result.chips,
        "requests": result.requests.arrived,
        "requests_of_workload": len(workload.traffic),
        "most_goodput": _trial(found.most_goodput),
        **{k: v for k, v in goodput_json(result).items() if k != "queue_growth"},
        "ttft_p99_s": result.ttft_s.p99,
        "tpot_p99_s": result.tpot_s.p99,
        "output_tokens_per_s": result.output_tokens_per_s,
        "output_tokens_per_s_per_chip": result.output_tokens_per_s_per_chip,
        "cost_usd_per_hour": None
        if result.cost_usd is None or not result.simulated_s
        # 2.7 and not 2.7000000000000002
        else round(result.cost_usd / result.simulated_s * 3600, 9),
        "cost_basis": dict(result.cost_basis),
        **evidence_json(result.accuracy, result.unvalidated, result.engine),
        "trials": [_trial(trial) for trial in found.trials],
    }


def _trial(trial: Trial) -> Json:
    result = trial.result
    growth = result.queue_growth
    return {
        "rate_requests_per_s": trial.rate_per_s,
        "system_copies": trial.replicas,
        "passed": trial.passed,
        "attainment": trial.attainment,
        "requests": result.requests.arrived,
        "goodput_requests_per_s": trial.goodput_per_s,
        "ttft_p99_s": result.ttft_s.p99,
        "tpot_p99_s": result.tpot_s.p99,
        "mean_requests_in_system": result.mean_requests_in_system,
        "queue_growth_requests_per_s": None if growth is None else growth.requests_per_s,
    }


def print_capacity(document: Json, rests_on: str, console: Console) -> None:
    """The answer in a line or two, the trials by load, and what its accuracy rests on."""
    limits = "; ".join(
        (f"{name}: " if name != UNNAMED else "")
        + ", ".join(f"{k} <= {duration(v)}" for k, v in entry["limits_s"].items())
        for name, entry in document["slo"].items()
        if entry["limits_s"]
    )
    lines = [
        f"{document['model']} on {document['system']} "
        f"({count(document['chips'], 'chips')}), workload {document['workload']} "
        f"({count(document['requests'], 'requests')}), seed {document['seed']}",
        f"promised to {percent(document['wanted_attainment'])} of requests: {limits}",
        f"{_answer(document)} {percent(document['slo_attainment'])} meet the SLO: goodput "
        f"{rate(document['goodput_requests_per_s'], 'requests')}",
    ]
    lines.append(
        "goodput: requests that met the SLO over the time from the first arrival to the last answer"
    )
    most = document["most_goodput"]
    if most["goodput_requests_per_s"] > document["goodput_requests_per_s"]:
        lines.append(
            f"most goodput: {rate(most['goodput_requests_per_s'], 'requests')} at "
            f"{rate(most['rate_requests_per_s'], 'requests')}, of which "
            f"{percent(most['attainment'])} meet the SLO"
        )
    if document["cost_usd_per_hour"] is not None:
        basis = price_basis(document["cost_basis"])
        said = f" ({basis})" if basis else ""
        lines.append(f"cost: {usd(document['cost_usd_per_hour'])}/h for all chips{said}")
    own = document["requests_of_workload"]
    if document["requests"] > own:
        lines.append(
            f"{count(document['requests'], 'requests')} instead of the workload's {count(own)}, so "
            "that a queue has time to build up; another system may get another number of them "
            "(--limit N: the same for all)"
        )
    lasted = document["arrivals_over_e2e"]
    if document["bounded"] and lasted is not None and lasted < SHORT / 2:
        lines.append(
            f"requests arrive for only {lasted:.1f} times as long as one of them takes, too short "
            "for a queue to build up, so the rate is too high: give more of them with --limit"
        )
    if not document["bounded"]:
        lines.append(
            f"{count(document['requests'], 'requests')} are too few to fill the system: give more "
            "of them with --limit"
        )
    rows = [
        (
            _figure(trial["rate_requests_per_s"]),
            count(trial["system_copies"]),
            count(trial["requests"]),
            percent(trial["attainment"]),
            _figure(trial["goodput_requests_per_s"]),
            duration(trial["ttft_p99_s"]),
            duration(trial["tpot_p99_s"]),
            _verdict(trial),
        )
        for trial in sorted(document["trials"], key=_by_load)
    ]
    columns = (
        *("rate, req/s", "copies", "requests", "met", "goodput, req/s"),
        *("TTFT p99", "TPOT p99", "<verdict"),
    )
    show(console, *lines, make_table(console, "Trials", columns, rows), f"\n{rests_on}")


def _figure(requests_per_s: float) -> str:
    return rate(requests_per_s, "requests").removesuffix(" requests/s")


def _answer(document: Json) -> str:
    served = rate(document["rate_requests_per_s"], "requests")
    if document["searched"] == "copies":
        return f"fewest copies: {document['system_copies']} for {served}, of which"
    if not document["bounded"]:
        # any higher rate would have passed as well
        return "capacity: not found, no rate was too high; where all come at once"
    return f"capacity: {served}, of which"


def _by_load(trial: Json) -> Any:
    return trial["rate_requests_per_s"], trial["system_copies"]


def _verdict(trial: Json) -> str:
    if trial["passed"]:
        alone = trial["mean_requests_in_system"] < 2 * ALONE
        return "within the SLO" + (", one at a time" if alone else "")
    return "queue grows" if trial["queue_growth_requests_per_s"] else "misses the SLO"
