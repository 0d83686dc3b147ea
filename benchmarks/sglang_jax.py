"""SGLang-JAX on four TPU v6e: steps and prompts of Qwen3 beside a published table.

    python benchmarks/sglang_jax.py [--rows]

``sglang_jax.csv``: sgl-project/sglang-jax, docs/cookbook/base/benchmarks/qwen3_benchmark.md of
September 2025. Prompts and 1,024 tokens of answer, as many users as stated, chunks of 2,048
tokens. A time between two tokens (``itl_ms``) is compared with a decode step half-way through the
answer where the cache holds that many sequences. ``ttft_ms`` is of answers of one token, where all
users wait for the prompts of all: divided by the users it is the time of a prompt.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from simulator.api import LayoutOptions, load_engine, load_model, load_system, plan_of
from simulator.errors import InfeasibleError
from simulator.model.transformer import Transformer
from simulator.timing.choices import Dtypes
from simulator.timing.layout_room import Search
from simulator.timing.step import price_step

TABLE = Path(__file__).with_suffix(".csv")
SYSTEM, CHIPS, ANSWER = "tpu-v6e:2x2", 4, 1024
RESERVE = "system.hbm_reserve_fraction=20 %"
"""These servers leave a fifth of their memory free of weights and cache."""

SMALLER = ("layers=36", "hidden=4096", "heads=32", "intermediate=12288")
"""What Qwen3-8B has otherwise than Qwen3-32B (Hugging Face Qwen/Qwen3-8B config.json)."""


def model_of(name: str) -> Transformer:
    """The model of a row; one of the two has no file of its own."""
    sets = [f"model.{value}" for value in SMALLER] if name == "qwen3-8b" else []
    return load_model("qwen3-32b", sets)


def step_ms(
    model: Transformer, phase: str, batch: int, context: int, engine: str | None = None
) -> float:
    """A step, with the host of an engine or the system's; NaN where the cache is too small."""
    system = load_system(SYSTEM, [RESERVE])
    system = replace(system, engine=load_engine(engine) if engine else None)
    layout, search = LayoutOptions(tp=CHIPS), Search(phase, batch, context)
    try:
        plan = plan_of(system, model, layout, Dtypes(), search)
        return 1e3 * price_step(plan, phase=phase, batch=batch, context=context).time_s
    except InfeasibleError:
        return float("nan")


def ratios() -> list[tuple[dict[str, str], float, float, float]]:
    """(row, decode step over time between tokens, the same with SGLang's host, prompt)."""
    with TABLE.open() as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        model, users, prompt = model_of(row["model"]), int(row["users"]), int(row["prompt"])
        decode, hosted = (
            step_ms(model, "decode", users, prompt + ANSWER // 2, engine) / float(row["itl_ms"])
            for engine in (None, "sglang")
        )
        one = step_ms(model, "prefill", 1, prompt) / (float(row["ttft_ms"]) / users)
        found.append((row, decode, hosted, one))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", action="store_true", help="each row, too")
    words = parser.parse_args()
    every = ratios()
    print("| model | prompt | rows | decode step | with SGLang's host | prompt |")
    print("|---|---|---|---|---|---|")
    for key in dict.fromkeys((row["model"], row["prompt"]) for row, *_ in every):
        mine = [each for each in every if (each[0]["model"], each[0]["prompt"]) == key]
        decode = np.array([each[1] for each in mine])
        fits = decode[~np.isnan(decode)]
        hosted = np.nanmean([each[2] for each in mine])
        prompt = np.mean([each[3] for each in mine])
        print(
            f"| {key[0]} | {key[1]} | {len(fits)} | {fits.mean():.2f} "
            f"({fits.min():.2f}–{fits.max():.2f}) | {hosted:.2f} | {prompt:.2f} |"
        )
        if words.rows:
            for row, step, with_host, one in mine:
                print(f"    {row['users']} users: {step:.2f}, {with_host:.2f}, {one:.2f}")


if __name__ == "__main__":
    main()
