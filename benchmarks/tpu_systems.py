"""Steps and servers of TPUs and LPUs beside the rates that their makers published.

    python benchmarks/tpu_systems.py

A row of ``tpu_systems.csv`` is a batch that decodes without end: its rate is batch over the time of
a step. ``cache``: a step sees as much of it as is used, half-way through the answer, or, where a
program of fixed shapes reads it so, the whole of it. Rows with a cache that is used are replayed,
too: as many users, who ask again at once. Layouts of Groq's systems are an assumption.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from simulator.api import LayoutOptions, load_engine, load_model, load_system, plan_of
from simulator.serving.cluster import replay
from simulator.serving.options import ServingOptions
from simulator.timing.choices import Dtypes
from simulator.timing.layout_room import Search
from simulator.timing.plan import Plan
from simulator.timing.step import price_step
from simulator.workload.request import ClosedLoop, Workload

TABLE = Path(__file__).with_suffix(".csv")
ASKS = 6
"""Requests of each user."""


def plan_for(row: dict[str, str], context: int) -> Plan:
    """The system of a row with its layout and data types."""
    return plan_of(
        load_system(row["system"]),
        load_model(row["model"]),
        LayoutOptions(layout=row["layout"]),
        Dtypes(row["weight"], row["activation"], row["kv"]),
        Search("decode", int(row["batch"]), context),
    )


def step_rate(row: dict[str, str]) -> float:
    """Tokens a second of decode steps alone."""
    prompt, output, batch = int(row["prompt"]), int(row["output"]), int(row["batch"])
    context = prompt + (output - 1 if row["cache"] == "whole" else output // 2)
    return (
        batch
        / price_step(plan_for(row, context), phase="decode", batch=batch, context=context).time_s
    )


def replayed_rate(row: dict[str, str], engine: str | None) -> float:
    """Output tokens a second of users who ask again at once, prompts between the tokens."""
    users, prompt, output = int(row["batch"]), int(row["prompt"]), int(row["output"])
    plan = plan_for(row, prompt)
    options = ServingOptions(max_batch=users)
    if engine:
        found = load_engine(engine)
        plan = replace(plan, system=replace(plan.system, engine=found))
        options = ServingOptions(max_batch=users, scheduler=found.scheduler)
    count = ASKS * users
    lengths = np.full(count, prompt), np.full(count, output)
    asked = Workload("users", ClosedLoop(users, np.zeros(count, np.int64), *lengths))
    tpot = replay(plan, asked, options).tpot_s
    return users / float(tpot.mean)


def rows() -> Iterator[tuple[dict[str, str], float, list[float]]]:
    """(row, rate of steps, replayed rates with the system's host and with vLLM's)."""
    with TABLE.open() as file:
        for row in csv.DictReader(file):
            ways = (None, "vllm") if row["cache"] == "used" else ()
            yield row, step_rate(row), [replayed_rate(row, way) for way in ways]


def main() -> None:
    print(
        "| system | model | batch | weights | published tokens/s | steps | replayed, vLLM's host |"
    )
    print("|---|---|---|---|---|---|---|")
    for row, steps, replayed in rows():
        published = float(row["tokens_per_s"])
        shown = [f"{each:,.0f} ({each / published:.2f})" for each in (steps, *replayed)]
        print(
            f"| {row['system']} | {row['model']} | {row['batch']} | {row['weight']}"
            f" | {published:,.0f} | {shown[0]} | {', '.join(shown[1:]) or '–'} |"
        )


if __name__ == "__main__":
    main()
